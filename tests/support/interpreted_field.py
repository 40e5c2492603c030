"""What a Field is worth: slow, obvious and without JAX, its sums, gradients and derivatives added up one after the other.

With it the Field is compared to the Model that it was derived from, before any kernel is made of it.
"""

from functools import cached_property, reduce

import numpy as np

from mdsl.interpret import dual, functions
from mdsl.interpret.dual import primal
from mdsl.interpret.expressions import Interpreter
from mdsl.interpret.quantities import row_times_matrix, volume
from mdsl.interpret.rows import Rows, Whole, entries, expand
from mdsl.interpret.values import extreme, total
from mdsl.lowering.field.names import AdjointOf
from mdsl.lowering.field.series import ENTRY, Entry, at_entry
from mdsl.model.domains import Pairs
from mdsl.model.nodes import Call, Read, transform, walk


def numbered(expr):
    """The expression with a name of its own for each entry of a value over a range."""

    def rule(node):
        if isinstance(node, Read) and len(node.indices) > 1 and isinstance(node.indices[1], Entry):
            assert node.indices[1].number is not None, f"{node} without a number"
            return Read(f"{node.symbol} {node.indices[1].number}", node.indices[:1], type=node.type)
        return node

    return transform(expr, rule)


def span(axis):
    return range(axis.first, axis.last + 1)


class _WithArrays(Interpreter):
    """It knows the derivatives of learned functions by the array that they take, [rows, entries], too."""

    def _value(self, expr, rows):
        if not isinstance(expr, Call) or len(expr.by) != 1 or expr.args[expr.by[0]].type.kind != "array":
            return super()._value(expr, rows)
        (k,), args = expr.by, self._arguments(expr.function, expr.body, expr.args, rows)

        def of(array):
            return functions.value(expr.body, (*args[:k], array, *args[k + 1 :]))

        directions = np.eye(args[k].shape[-1])
        return np.stack([primal(dual.derivative(of, args[k], 0 * args[k] + d)) for d in directions], axis=-1)


class FieldOfAtoms:
    """The numbers of a Field for a system."""

    def __init__(self, field, system):
        self.field, self.now = field, _WithArrays(field.model, system)
        self.atoms = np.arange(len(system.x))
        self.names = {}  # what is known of sums and per-atom values, as rows call them
        with np.errstate(all="ignore"):
            for value in field.values:
                self.need([Read(value.name)])
            for name in field.far:
                if self.field.sum(name).axis is None:
                    self.need([Read(name)])

    # -- values ------------------------------------------------------------------------------------------

    def value(self, expr, rows):
        """[rows, ...]: of numbers as many as there are rows."""
        found = np.asarray(primal(self.now.value(numbered(expr), rows)), float)
        return np.broadcast_to(found, (rows.size, *found.shape[1:]))

    def each(self, centre):
        return Rows(len(self.atoms), {centre: self.atoms, **self.names})

    def rows(self, domain, both=False):
        """The tuples of atoms of a domain; ``both``: pairs both ways round."""
        _, rows = expand(domain, Rows(1, self.names), len(self.atoms), self.now.topologies)
        if not both:
            return rows
        i, j = (rows.find(b) for b in domain.binders)
        turned = {a: np.concatenate(pair) for a, pair in zip(domain.binders, ((i, j), (j, i)))}
        return Rows(2 * len(i), turned | self.names)

    def need(self, exprs):
        """Know what expressions read: per-atom values and sums, each after those that it needs itself."""
        for read in (n for e in exprs for n in walk(e) if isinstance(n, Read)):
            value = self.field.value(read.symbol)
            if value is not None and entries(read.symbol) not in self.names:
                self.need([value.summand])
                read_here = {n.symbol for n in walk(value.summand) if isinstance(n, Read)}
                deep = [v.depth for v in self.field.values if v.name in read_here]
                assert value.domain is None or value.depth > max(deep, default=0), f"{value.name} is not deep enough"
                self.bind(read.symbol, self.of_atoms(value), value.axis)
            elif read.symbol in self.field.far and read.symbol not in self.names and not read.indices:
                measure = self.field.sum(read.symbol)
                self.need([measure.summand])
                self.names[read.symbol] = self.summed(measure.summand, measure.domain, measure.op)

    def bind(self, name, values, axis):
        """The values [N] or [N, entries] of all atoms."""
        self.names[entries(name)] = Whole(values)
        for k, number in enumerate(() if axis is None else span(axis)):
            self.names[entries(f"{name} {number}")] = Whole(values[:, k])

    def of_atoms(self, value):
        found = []
        for summand in at_entry(value.summand, value.axis):
            rows = self.each(value.centre)
            if value.domain is None:
                found.append(self.value(summand, rows))
            else:
                owner, inner = expand(value.domain, rows, rows.size, self.now.topologies)
                found.append(total(self.value(summand, inner), owner, rows.size))
        return found[0] if value.axis is None else np.stack(found, axis=1)

    def summed(self, summand, domain, op="sum"):
        rows = self.rows(domain)
        values, owner = self.value(summand, rows), np.zeros(rows.size, int)
        return total(values, owner, 1) if op == "sum" else extreme(values, owner, 1, op)

    def observed(self, name):
        """[...] or [entries, ...]: an energy or an observable."""
        combination, axis = self.field.combination(name), self.field.model.equation(name).series
        sums = [self.field.sum(n.symbol) for n in walk(combination.expr) if self.is_sum(n)]
        self.need([m.summand for m in sums])
        self.names |= {entries("f"): Whole(self.forces), "virial": self.virial[None]}
        names = dict(self.names) | ({} if axis is None else {ENTRY: np.array(span(axis))})
        rows = Rows(1 if axis is None else len(span(axis)), names | {m.name: self.entries(m) for m in sums})
        with np.errstate(all="ignore"):
            found = self.value(combination.expr, rows)
        return found[0] if axis is None else found

    def is_sum(self, node):
        return isinstance(node, Read) and not node.indices and node.symbol in self.field.far | {*self.field.on_the_spot}

    def entries(self, measure):
        if measure.axis is None:
            return self.summed(measure.summand, measure.domain, measure.op)
        if measure.bin is None:
            parts = at_entry(measure.summand, measure.axis)
            return np.concatenate([self.summed(e, measure.domain, measure.op) for e in parts])
        rows = self.rows(measure.domain)
        bins, values = (self.value(e, rows) for e in (measure.bin, measure.summand))
        return np.stack([values[bins == k].sum(0) for k in span(measure.axis)])

    # -- derivatives -------------------------------------------------------------------------------------

    @cached_property
    def terms(self):
        """All terms, with the derivatives of the potential by what they read in place. The sums that are read by none
        come first, then those that these read, and so on."""
        terms = (*self.field.terms, *self.field.carriers)
        self.names |= {AdjointOf(name): np.zeros(1) for name in self.field.inner}
        for name in reversed(self.field.inner):
            self.adjoints()
            found = sum(
                self.value(e, self.rows(t.domain)).sum()
                for t in terms
                for leaf, slope in t.inner
                if leaf.symbol == name
                for e in at_entry(slope, t.axis)
            )
            self.names[AdjointOf(name)] = np.array([float(found)])
        self.adjoints()
        return terms

    def adjoints(self):
        found = {v.name: 0 * self.names[entries(v.name)].value for v in self.field.values if v.adjoint is not None}

        def add(term):
            for leaf, slope in term.partials:
                for one, e in zip(at_entry(leaf, term.axis), at_entry(slope, term.axis)):
                    rows = self.rows(term.domain, both=isinstance(term.domain, Pairs))
                    whole = found[one.symbol]
                    at = (rows.find(one.indices[0]),)
                    if len(one.indices) > 1:
                        at = (*at, one.indices[1].number - one.indices[1].start)
                    np.add.at(whole, at, self.value(e, rows))

        for term in self.field.terms:
            add(term)
        for value in reversed(self.field.values):
            if value.adjoint is not None:
                self.bind(AdjointOf(value.name), found[value.name], value.axis)
                add(value.adjoint)

    @cached_property
    def gradient(self):
        """[N, d] and [d, d]: the derivative of the potential by the positions, and by a strain of displacements."""
        slope, strain = np.zeros(self.now.system.x.shape), np.zeros((self.field.model.dim,) * 2)
        for term in self.terms:
            for gradient in term.gradients:
                rows = self.rows(term.domain)
                d = self.value(gradient.displacement, rows)
                pull = np.zeros_like(d)
                if gradient.radial is not None:
                    pull += sum(2 * self.value(e, rows)[:, None] * d for e in at_entry(gradient.radial, term.axis))
                if gradient.direct is not None:
                    parts = [at_entry(e, term.axis) for e in gradient.direct]
                    direct = np.stack([sum(self.value(e, rows) for e in part) for part in parts], axis=1)
                    pull += direct
                if gradient.along is not None:
                    sums = [(f, v) for factor, v in gradient.along for f in at_entry(factor, term.axis)]
                    along = sum(self.value(factor, rows)[:, None] * self.value(v, rows) for factor, v in sums)
                    assert np.allclose(along, direct, rtol=1e-10, atol=1e-10, equal_nan=True)
                for point, sign in zip(gradient.displacement.args, (1, -1)):
                    if point.indices:
                        np.add.at(slope, rows.find(point.indices[0]), sign * pull)
                strain += np.einsum("na,nb->ab", d, pull)
        return slope, strain

    @cached_property
    def forces(self):
        """[N, d]"""
        with np.errstate(all="ignore"):
            return -self.gradient[0]

    @cached_property
    def virial(self):
        """[d, d]: what the terms give, what they do with the volume, and what is made of sums does with the box."""
        now, dim = self.now, self.field.model.dim

        def energy(strain):
            cell = dual.add(now.cell, dual.bilinear(np.matmul)(now.cell, strain))
            return self.potential(now.changed(cell=cell, x=dual.add(now.x, row_times_matrix(now.x, strain))))

        with np.errstate(all="ignore"):
            by_volume = sum(s for leaf, s in self.slopes if leaf == Read("volume")) * float(primal(volume(now))[0])
            slopes = dual.derivative(energy, np.zeros((1, dim, dim)), np.eye(dim * dim).reshape(-1, 1, dim, dim))
            outside = np.broadcast_to(primal(slopes), (dim * dim, 1)).reshape(dim, dim)
            return -self.gradient[1] - by_volume * np.eye(dim) - outside

    def potential(self, now):
        """The potential for other params or another box, its sums as they are."""
        parts = [c.expr for c in self.field.combinations if c.kind == "energy"]
        return reduce(dual.add, [now.value(e, Rows(1, self.names)) for e in parts], np.zeros(1))

    @cached_property
    def slopes(self):
        """The derivatives of terms by the params that they read, in the shapes of these."""
        found = []
        for term in self.terms:
            for leaf, slope in (*term.slopes, *term.data):
                param = self.field.model.param(leaf.symbol)
                of_atoms = (leaf, slope) in term.data
                for one, e in zip(at_entry(leaf, term.axis), at_entry(slope, term.axis)):
                    rows = self.rows(term.domain, of_atoms and isinstance(term.domain, Pairs))
                    values = self.value(e, rows)
                    if param is None or not param.axes:
                        found.append((leaf if param is None else Read(leaf.symbol), values.sum()))
                        continue
                    place = [self.now._place(i, axis, rows) for i, axis in zip(one.indices, param.axes)]
                    whole = np.zeros(primal(self.now.param(leaf.symbol)).shape)
                    np.add.at(whole, tuple(np.broadcast_to(p, values.shape) for p in place), values)
                    found.append((Read(leaf.symbol), whole))
        return found

    def by(self, name):
        """The derivative of the potential by a param, through those that are made of it."""
        start = self.now.param(name)
        result = np.zeros(primal(start).shape)
        with np.errstate(all="ignore"):
            for entry in np.ndindex(result.shape):
                direction = np.zeros(result.shape)
                direction[entry] = 1.0
                result[entry] = self._along(name, start, direction)
        return result

    def _along(self, name, start, direction):
        def other(param):
            return Interpreter(self.now.model, self.now.system, params={**self.now.params, name: param})

        change = float(primal(dual.derivative(lambda p: self.potential(other(p)), start, direction))[0])
        for leaf, slope in self.slopes:
            if leaf != Read("volume"):
                change += np.sum(
                    slope * primal(dual.derivative(lambda p: other(p).param(leaf.symbol), start, direction))
                )
        for term in (t for t in self.terms if name in {leaf.symbol for leaf in t.networks}):
            for e in at_entry(term.weighted, term.axis):
                rows = self.rows(term.domain)
                by = primal(dual.derivative(lambda p: other(p).value(numbered(e), rows.bind({})), start, direction))
                change += np.broadcast_to(by, (rows.size,)).sum()
        return change

"""From the Model to the Field: sums are taken out of equations, and energies are differentiated.

The summand of an energy becomes a function of squared distances: |d| is written sqrt(d·d), so even powers
need no square root, and SymPy's derivative by d·d gives the force as a factor of the displacement.
"""

from __future__ import annotations

from dataclasses import replace

import sympy

from mdsl.dimensions import LENGTH
from mdsl.faults import fault
from mdsl.grammar.diagnostics import Diagnostic, Rejected
from mdsl.model import EACH, SCALAR, Equation, Expr, Model, Number, Op, Read, Reduce, Type, transform, walk
from mdsl.symbolic import Leaves, from_sympy, to_sympy

from . import series, tuples
from .field import Combination, Field, Gradient, Measure, Support, Term
from .support import reach

COMPONENTS = ("component_x", "component_y", "component_z")


class Derivation:
    def __init__(self, model: Model):
        self.model = model
        self.length = model.units.dimension(LENGTH)
        self.sums: list[tuple[str, Reduce]] = []
        self.combinations: dict[str, Combination] = {}

    # -- taking sums out ---------------------------------------------------------------------------------

    def combine(self, equation: Equation) -> Combination:
        """The equation with its sums replaced by ``Read("#k")`` and other equations written out."""
        known = self.combinations.get(equation.name)
        if known is None:
            known = Combination(equation.name, equation.kind, self.extract(equation.body, equation.name))
            self.combinations[equation.name] = known
        return known

    def extract(self, expr: Expr, name: str) -> Expr:
        """Top-down: what is inside a sum stays there."""
        if isinstance(expr, Reduce):
            self.check(expr)
            self.sums.append((name, expr))
            return Read(f"#{len(self.sums) - 1}", span=expr.span, via=expr.via, type=expr.type)
        if isinstance(expr, Read) and not expr.indices:
            other = self.model.equation(expr.symbol)
            if other is not None:
                return self.combine(other).expr
            if expr.symbol == "potential":
                return self.potential()
        if isinstance(expr, Op):
            return replace(expr, args=tuple(self.extract(a, name) for a in expr.args))
        return expr

    def potential(self) -> Expr:
        energies = [self.combine(e).expr for e in self.model.of_kind("energy")]
        total = energies[0] if energies else Number(0.0, type=SCALAR)
        for energy in energies[1:]:
            total = Op("add", (total, energy), type=energy.type)
        return total

    def check(self, reduce: Reduce) -> None:
        kind = reduce.domain.kind
        inner = [n for n in walk(reduce.body) if isinstance(n, Reduce)]
        if kind not in ("each", "ordered", "members") or inner:
            what = "a sum inside a sum" if inner else {"others": "a sum over neighbours", "triples": "a sum over triples"}[kind]
            notes = ("this version runs sums over atoms, over pairs of atoms and over topologies",)
            raise Rejected(fault(self.model.source, "not-yet", f"{what} is not lowered yet", inner[0] if inner else reduce, notes=notes))

    # -- differentiating ---------------------------------------------------------------------------------

    def term(self, number: int, equation: str, reduce: Reduce, weight: sympy.Expr, weight_leaves: Leaves) -> Term:
        """One sum of an energy with the gradient of its summand. ``weight`` multiplies the sum in the potential."""
        if reduce.domain.kind == "members":
            return self.tuple_term(number, equation, reduce, weight, weight_leaves)
        source = self.model.source
        plain = transform(reduce.body, self.canonical(reduce))
        leaves = Leaves(dict(weight_leaves.symbols), dict(weight_leaves.exprs))
        written = to_sympy(plain, leaves)
        displacement = self.displacement(reduce)
        square = Op("dot", (displacement, displacement))
        s = leaves.symbols.get(square)
        kernel = _squared_conditions(written, s)
        order = ranking(leaves, self.model)
        gradient = Gradient(displacement, None, None)
        direct: dict[int, sympy.Expr | Expr] = {}
        for symbol, leaf in list(leaves.exprs.items()):
            if symbol not in kernel.free_symbols or not any(_is_position(n) for n in walk(leaf)):
                continue
            slope = weight * sympy.diff(kernel, symbol)
            if symbol == s:
                gradient = replace(gradient, radial=from_sympy(slope, leaves, order, like=reduce))
            elif isinstance(leaf, Op) and leaf.op in COMPONENTS and leaf.args[0] == displacement:
                axis = COMPONENTS.index(leaf.op)
                direct[axis] = direct.get(axis, sympy.Integer(0)) + slope
            else:
                raise Rejected(fault(source, "not-yet", "this geometry has no derivative in this version", leaf, notes=("energies may use distances and components of displacements",)))
        if direct:
            gradient = replace(gradient, direct=tuple(from_sympy(direct.get(k, sympy.Integer(0)), leaves, order, like=reduce) for k in range(self.model.dim)))
        support = self.support(written, s, leaves, reduce) if reduce.domain.kind == "ordered" else Support(None)
        slopes = self.parameter_slopes(kernel, weight, leaves, reduce)
        summand = from_sympy(kernel, leaves, order, like=reduce)
        return Term(number, equation, reduce.domain, summand, (gradient,), support, slopes, plain)

    def parameter_slopes(self, kernel: sympy.Expr, weight: sympy.Expr, leaves: Leaves, reduce: Reduce) -> tuple[tuple[Expr, Expr], ...]:
        order = ranking(leaves, self.model)
        return tuple(
            (leaf, from_sympy(weight * sympy.diff(kernel, symbol), leaves, order, like=reduce))
            for symbol, leaf in list(leaves.exprs.items())
            if isinstance(leaf, Read) and (self.is_parameter(leaf) or leaf == Read("volume")) and symbol in kernel.free_symbols
        )

    def tuple_term(self, number: int, equation: str, reduce: Reduce, weight: sympy.Expr, weight_leaves: Leaves) -> Term:
        """One sum over a topology: its summand may depend on several displacements between the atoms of a tuple."""
        rewrite = tuples.oriented(reduce.domain.binders)
        leaves = Leaves(dict(weight_leaves.symbols), dict(weight_leaves.exprs))
        plain = transform(reduce.body, rewrite)
        written = to_sympy(plain, leaves)
        kernel = tuples.by_cosine(written, leaves, rewrite)
        order = ranking(leaves, self.model)
        slopes = tuples.Slopes(self.model.dim)
        for symbol, leaf in list(leaves.exprs.items()):
            if symbol in kernel.free_symbols and tuples.moves(leaf):
                if not slopes.add(leaf, from_sympy(weight * sympy.diff(kernel, symbol), leaves, order, like=reduce)):
                    notes = ("energies over a topology may use displacements, their products and components, angles and dihedral angles",)
                    raise Rejected(fault(self.model.source, "not-yet", "this geometry has no derivative in this version", leaf if leaf.span else reduce, notes=notes))
        summand = from_sympy(kernel, leaves, order, like=reduce)
        parameters = self.parameter_slopes(kernel, weight, leaves, reduce)
        return Term(number, equation, reduce.domain, summand, slopes.gradients(), Support(None), parameters, plain)

    def is_parameter(self, leaf: Read) -> bool:
        param = self.model.param(leaf.symbol)
        return param is not None and param.lifetime == "param"

    def near(self, measure: Measure, terms: list[Term]) -> bool:
        """Whether a pair sum of an observable is proved to end where the energies do, or before."""
        if measure.summand.type is not None and measure.summand.type.kind != "scalar":
            raise Rejected(fault(self.model.source, "not-yet", "a sum over pairs of vectors or matrices is not lowered yet", measure.summand))
        leaves = Leaves()
        summand = series.bounded(measure)
        kernel = to_sympy(summand, leaves)
        displacement = next((n for n in walk(summand) if isinstance(n, Op) and n.op == "displacement"), None)
        s = leaves.symbols.get(Op("dot", (displacement, displacement)))
        found = reach(kernel, s) if s is not None else None
        if found is None:
            return False
        cutoff = from_sympy(found.cutoff, leaves)
        reaches = [t.support.cutoff for t in terms if t.domain.kind == "ordered" and t.support.cutoff is not None]
        numbers = [r.value for r in reaches if isinstance(r, Number)]
        return cutoff in reaches or isinstance(cutoff, Number) and bool(numbers) and cutoff.value <= max(numbers)

    def displacement(self, reduce: Reduce) -> Expr:
        i = Read("x", (reduce.domain.binders[0],))
        other = Read("x", (reduce.domain.binders[1],)) if len(reduce.domain.binders) > 1 else Read("origin")
        point = Type("point", self.length)
        return Op("displacement", (replace(i, type=point), replace(other, type=point)), type=Type("vector", self.length))

    def canonical(self, reduce: Reduce):
        """A rewrite that gives every displacement of the domain one orientation, and |d| as sqrt(d·d)."""
        wanted = self.displacement(reduce)
        flipped = replace(wanted, args=wanted.args[::-1])

        def rule(expr: Expr) -> Expr:
            if not isinstance(expr, Op):
                return expr
            if expr == flipped:
                return Op("neg", (wanted,), type=expr.type, span=expr.span, via=expr.via)
            if expr.op == "norm" and expr.args[0].type.kind == "vector":
                vector = _without_sign(expr.args[0])
                square = Op("dot", (vector, vector), type=SCALAR, span=expr.span, via=expr.via)
                return Op("sqrt", (square,), type=SCALAR, span=expr.span, via=expr.via)
            if (product := tuples.by_components(expr)) is not expr:
                return transform(product, rule)
            if expr.op == "dot" and expr.args[0] == expr.args[1]:
                vector = _without_sign(expr.args[0])
                return replace(expr, args=(vector, vector))
            if expr.op in COMPONENTS and isinstance(expr.args[0], Op) and expr.args[0].op == "neg":
                inner = replace(expr, args=expr.args[0].args)
                return Op("neg", (inner,), type=expr.type, span=expr.span, via=expr.via)
            if expr.op in COMPONENTS and expr.args[0].type.kind == "point":
                origin = Read("origin", type=expr.args[0].type)
                inner = Op("displacement", (expr.args[0], origin), type=Type("vector", self.length))
                return replace(expr, args=(inner,))
            return expr

        return rule

    def support(self, kernel: sympy.Expr, s: sympy.Symbol | None, leaves: Leaves, reduce: Reduce) -> Support:
        found = reach(kernel, s) if s is not None else None
        if found is None:
            return Support(None, why="no condition bounds the distance")
        cutoff = from_sympy(found.cutoff, leaves, like=reduce)
        if rank(cutoff, self.model) > 1:
            return Support(None, why="the bound is another for each atom")
        # A positive symbol for the cutoff: the root of its square is then itself.
        rc = sympy.Symbol("rc", positive=True)
        leaves.exprs[rc] = cutoff
        slope = (sympy.diff(found.inner, s) * 2 * rc).xreplace({s: rc**2})
        return Support(
            cutoff,
            from_sympy(found.inner.xreplace({s: rc**2}), leaves, like=reduce),
            from_sympy(slope, leaves, like=reduce),
            "the summand is 0 from there on",
        )


def _squared_conditions(kernel: sympy.Expr, s: sympy.Symbol | None) -> sympy.Expr:
    """``r < b`` as ``r² < b|b|``, which is the same for every b and needs no square root."""
    if s is None:
        return kernel
    root = sympy.sqrt(s)
    changed = {}
    for relation in kernel.atoms(sympy.core.relational.Relational):
        if relation.lhs == root and s not in relation.rhs.free_symbols:
            changed[relation] = relation.func(s, relation.rhs * sympy.Abs(relation.rhs))
        elif relation.rhs == root and s not in relation.lhs.free_symbols:
            changed[relation] = relation.func(relation.lhs * sympy.Abs(relation.lhs), s)
    return kernel.xreplace(changed)


def _without_sign(vector: Expr) -> Expr:
    while isinstance(vector, Op) and vector.op == "neg":
        vector = vector.args[0]
    return vector


def _is_position(expr: Expr) -> bool:
    return isinstance(expr, Read) and expr.symbol == "x" and expr.indices != ()


def ranking(leaves: Leaves, model: Model):
    """Orders factors by how often they change: parameters, then species tables, atoms, geometry."""
    ranks = {symbol: rank(leaf, model) for symbol, leaf in leaves.exprs.items()}

    def order(e: sympy.Expr) -> int:
        return max((ranks.get(symbol, 0) for symbol in e.free_symbols), default=0)

    return order


def rank(expr: Expr, model: Model) -> int:
    """0: one value for the program; 1: one for each pair of species; 2: one for each atom; 3: one for each pair."""
    best = 0
    for node in walk(expr):
        if isinstance(node, Read) and any(isinstance(i, str) for i in node.indices):
            param = model.param(node.symbol)
            by_species = param is not None and all(a.kind == "species" for a in param.axes) and param.axes
            best = max(best, 1 if by_species else 2)
        elif isinstance(node, Op) and node.op == "displacement":
            best = 3
    return best


def derive(model: Model) -> Field:
    """The Field of a typed Model without functions. Raises Rejected: ``not-yet``."""
    model = series.written_out(model)
    work = Derivation(model)
    for equation in model.equations:
        if equation.kind == "quantity":
            raise Rejected(Diagnostic("not-yet", "quantities are not lowered yet", equation.span))
        work.combine(equation)
    potential = work.potential()
    total_leaves = Leaves()
    total = to_sympy(potential, total_leaves)
    terms, measures = [], []
    for number, (name, reduce) in enumerate(work.sums):
        symbol = total_leaves.symbols.get(Read(f"#{number}"))
        weight = sympy.diff(total, symbol) if symbol is not None and model.equation(name).kind == "energy" else sympy.Integer(0)
        if weight == 0:
            summand = reduce.body if reduce.domain.kind == "members" else transform(reduce.body, work.canonical(reduce))
            measures.append(series.with_axis(Measure(number, name, reduce.domain, summand, op=reduce.op), model.equation(name)))
            continue
        if any(isinstance(total_leaves.exprs[w], Read) and total_leaves.exprs[w].symbol.startswith("#") for w in weight.free_symbols):
            raise Rejected(fault(model.source, "not-yet", "an energy must be linear in its sums in this version", reduce))
        terms.append(work.term(number, name, reduce, weight, total_leaves))
    measures = [replace(m, near=work.near(m, terms)) if m.domain.kind == "ordered" else m for m in measures]
    for equation in model.equations:
        combination = work.combine(equation)
        for node in walk(combination.expr):
            if isinstance(node, Read) and node.indices and node.indices != (EACH,) and any(isinstance(i, str) for i in node.indices):
                raise Rejected(fault(model.source, "wrong-index", f"`{node.symbol}` is one for each atom; an {equation.kind} is one number", node))
    return Field(model, tuple(terms), tuple(measures), tuple(work.combinations.values()))

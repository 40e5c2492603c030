"""The parts of a Field: terms with the gradients of their summands, per-atom values, measures, and where each ends.

A per-atom value carries derivatives by a term of its own: with the adjoint ~rho[i], the derivative of the
potential by rho[i], a sum rho[i] = sum(j != i) g(i, j) acts like the pair energy ~rho[i]*g(i, j) + ~rho[j]*g(j, i).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import sympy

from mdsl.grammar.diagnostics import Rejected
from mdsl.model.dimensions import LENGTH
from mdsl.model.domains import Domain, Each, Whole
from mdsl.model.faults import not_yet
from mdsl.model.nodes import SCALAR, Axis, Expr, Model, OfAll, Op, Read, Reduce, transform, walk
from mdsl.symbolic.bridge import Leaves, from_sympy, to_sympy
from mdsl.symbolic.components import COMPONENTS
from mdsl.symbolic.magnitude import derivative

from . import series
from . import tuple_form as tuples
from .contact import regular
from .cutoff_bounds import bounded
from .field import CUTOFF, Gradient, Measure, PerAtom, Support, Term
from .names import AdjointOf, SumOf
from .pair_form import displacement, squared_conditions
from .ranks import fixed_value, rank, ranking
from .singularities import squared_distance
from .sums import Within, renamed
from .support import reach

NOWHERE = Support(None)
# What energies may read beside positions, parameters, data and values of atoms. Derivatives by the volume are a part of
# the virial; by the others there are none.
FIXED = frozenset({"volume", "t", "t_start", "N", "dim", "degrees_of_freedom", "species", "m", series.ENTRY})


@dataclass(frozen=True)
class Summand:
    """What a sum adds up: ``body`` for the atoms ``binders`` of a ``domain``, times ``weight`` in the potential."""

    equation: str
    domain: Domain
    binders: tuple[str, ...]
    body: Expr
    weight: sympy.Expr = sympy.Integer(1)
    leaves: Leaves | None = None  # what the weight is made of
    axis: Axis | None = None  # a range over whose numbers it is added up too


class Derivation:
    """The parts of a Field, each from what it is in the Model. ``values``: the names of per-atom values; ``inner``: of
    sums that summands read."""

    def __init__(self, model: Model, values: frozenset[str], inner: frozenset[str] = frozenset()):
        self.model, self.inner = model, inner
        self.length = model.units.dimension(LENGTH)
        self.values = values

    # -- pairs and single atoms --------------------------------------------------------------------------

    def term(self, number: int | None, summand: Summand) -> Term:
        """One sum of an energy with the gradient of its summand."""
        if isinstance(summand.domain, Whole):
            return self.whole(number, summand)
        if summand.domain.tuples:
            return self.tuple_term(number, summand)
        body, weight = summand.body, summand.weight
        d = displacement(summand.binders, self.length)
        plain = transform(body, tuples.oriented(summand.binders, self.model.dim))
        leaves = _copy(summand.leaves)
        written = to_sympy(plain, leaves)
        s = leaves.symbols.get(Op("dot", (d, d)))
        kernel = squared_conditions(written, [s])
        self.check_leaves(kernel, leaves, body)
        gradient = Gradient(d, None, None)
        direct: dict[int, sympy.Expr | Expr] = {}
        for symbol, leaf in list(leaves.exprs.items()):
            if symbol not in kernel.free_symbols or not tuples.moves(leaf):
                continue
            slope = weight * derivative(kernel, symbol)
            if symbol == s:
                gradient = replace(gradient, radial=self.formula(slope, leaves, body))
            elif isinstance(leaf, Op) and leaf.op in COMPONENTS and leaf.args[0] == d:
                axis = COMPONENTS.index(leaf.op)
                direct[axis] = direct.get(axis, sympy.Integer(0)) + slope
            else:
                raise self.no_derivative(
                    leaf,
                    body,
                    "energies over atoms and pairs may use distances, products and components of displacements",
                )
        if direct:
            gradient = replace(
                gradient,
                direct=tuple(
                    self.formula(direct.get(k, sympy.Integer(0)), leaves, body) for k in range(self.model.dim)
                ),
            )
        pairs = summand.domain.reaches
        support = self.support(written, s, leaves, body, axis=summand.axis) if pairs else NOWHERE
        first = summand.binders[:1]  # of a pair this is enough: the list holds every pair both ways round

        def value(leaf: Read) -> bool:
            return leaf.symbol in self.values and leaf.indices[:1] == first

        def datum(leaf: Read) -> bool:
            return self.is_data(leaf) and not (pairs and leaf.indices != first)

        return self.by_leaves(number, summand, plain, kernel, leaves, (gradient,), support, value, datum)

    def whole(self, number: int | None, summand: Summand) -> Term:
        """An energy by a function of Python of all atoms, which JAX differentiates: ``weighted`` is its product with
        the weight of the sum."""
        body, domain, leaves = summand.body, summand.domain, _copy(summand.leaves)
        assert isinstance(body, OfAll)
        weight = self.formula(summand.weight, leaves, body)
        weighted = Op("mul", (weight, body), type=body.type, span=body.span, via=body.via)
        param = self.model.param(body.weights)  # None before the function is given
        learned = () if param is None else (Read(body.weights, type=param.type),)
        support = self.told(body)
        return Term(number, summand.equation, domain, body, (), support, networks=learned, weighted=weighted)

    @staticmethod
    def told(body: OfAll) -> Support:
        """How far the pairs lie apart that a function of Python is told of."""
        return Support(body.radius[0], why="the program says so") if body.radius else NOWHERE

    # -- leaves --------------------------------------------------------------------------------------------

    def check_leaves(self, kernel: sympy.Expr, leaves: Leaves, body: Expr) -> None:
        """Whether a kernel is differentiated by all that it reads: SymPy does so by its leaves, so each of them must be
        one number that is read, or made of displacements between atoms alone. Raises Rejected: ``not-yet``."""
        for symbol, leaf in leaves.exprs.items():
            if symbol in kernel.free_symbols and not (self.is_known(leaf) or tuples.is_geometry(leaf)):
                self.check_numbers(leaf)
                raise self.no_derivative(leaf, body, "energies may use displacements between atoms, not shifted points")

    def check_numbers(self, expr: Expr) -> None:
        """That no energy reads a vector or matrix of each atom. Raises Rejected: ``not-yet``."""
        for node in walk(expr):
            if isinstance(node, Read) and node.symbol in self.values and node.type.kind in ("vector", "matrix"):
                raise not_yet(
                    self.model.source,
                    f"an energy of a {node.type.kind} for each atom is not lowered yet",
                    node,
                    help="write a quantity for each of its components",
                )

    def formula(self, expr: sympy.Expr, leaves: Leaves, like: Expr) -> Expr:
        """A function of leaves as it is computed, also where two atoms lie at one place."""
        squares = [s for s, leaf in leaves.exprs.items() if squared_distance(leaf)]
        return from_sympy(regular(expr, squares), leaves, ranking(leaves, self.model), like=like)

    def is_known(self, leaf: Expr) -> bool:
        """Whether it is clear of a Read by what it is differentiated, if at all."""
        return isinstance(leaf, Read) and (
            leaf.symbol in self.values
            or leaf.symbol in FIXED
            or isinstance(leaf.symbol, SumOf | AdjointOf)
            or self.model.param(leaf.symbol) is not None
        )

    def by_leaves(
        self,
        number: int | None,
        summand: Summand,
        plain: Expr,
        kernel: sympy.Expr,
        leaves: Leaves,
        gradients: tuple[Gradient, ...],
        support: Support,
        value: Callable[[Read], bool],
        datum: Callable[[Read], bool],
    ) -> Term:
        """The term with these gradients, and the derivatives of its summand by what else it reads: ``value`` and
        ``datum`` say by which per-atom values and data."""

        def slopes(wanted: Callable[[Read], bool]) -> tuple[tuple[Read, Expr], ...]:
            return self.slopes(kernel, summand, leaves, wanted)

        learned = {p.name for p in self.model.params if p.learned is not None}
        reads = (e for symbol, e in leaves.exprs.items() if isinstance(e, Read) and symbol in kernel.free_symbols)
        networks = tuple(leaf for leaf in reads if leaf.symbol in learned)
        return Term(
            number,
            summand.equation,
            summand.domain,
            self.formula(kernel, leaves, summand.body),
            gradients,
            support,
            slopes(self.is_parameter),
            plain,
            slopes(value),
            slopes(datum),
            summand.axis,
            networks,
            self.by_inner(kernel, summand, leaves),
            self.formula(summand.weight * kernel, leaves, summand.body) if networks else None,
        )

    def slopes(self, kernel: sympy.Expr, summand: Summand, leaves: Leaves, wanted) -> tuple[tuple[Read, Expr], ...]:
        """The derivatives of a summand, with its weight, by the leaves that are wanted."""
        found = []
        for symbol, leaf in list(leaves.exprs.items()):
            if isinstance(leaf, Read) and wanted(leaf) and symbol in kernel.free_symbols:
                slope = summand.weight * derivative(kernel, symbol)
                if slope != 0:  # as by what only a condition reads
                    found.append((leaf, self.formula(slope, leaves, summand.body)))
        return tuple(found)

    def by_inner(self, kernel: sympy.Expr, summand: Summand, leaves: Leaves) -> tuple[tuple[Read, Expr], ...]:
        """The derivatives of a summand by the sums that it reads."""
        for symbol, leaf in leaves.exprs.items():
            if isinstance(leaf, Read) or symbol not in kernel.free_symbols:
                continue
            found = next((n for n in walk(leaf) if isinstance(n, Read) and n.symbol in self.inner), None)
            if found is not None:
                raise self.no_derivative(found, summand.body, "a sum inside a sum is read as a number")
        return self.slopes(kernel, summand, leaves, lambda leaf: leaf.symbol in self.inner)

    def is_parameter(self, leaf: Read) -> bool:
        param = self.model.param(leaf.symbol)
        return (
            param is not None
            and param.learned is None
            and (param.lifetime == "param" or param.data is not None and not param.per_atom)
            or leaf == Read("volume")
        )

    def is_number(self, leaf: Read) -> bool:
        """Whether this is a per-atom value, of which sums over tuples read numbers only."""
        if leaf.symbol in self.values and leaf.type.kind == "array":
            help = "call the function in a quantity, and read that"
            raise not_yet(
                self.model.source,
                "a function of an array in a sum over triples or a topology is not lowered yet",
                leaf,
                help=help,
            )
        return leaf.symbol in self.values

    def is_data(self, leaf: Read) -> bool:
        param = self.model.param(leaf.symbol)
        return param is not None and param.per_atom

    # -- tuples ------------------------------------------------------------------------------------------

    def tuple_term(self, number: int | None, summand: Summand) -> Term:
        """A sum over a topology or over triples: its summand may depend on several displacements between the atoms."""
        body = summand.body
        rewrite = tuples.oriented(summand.binders, self.model.dim)
        leaves = _copy(summand.leaves)
        plain = transform(body, rewrite)
        written = to_sympy(plain, leaves)
        kernel = tuples.by_cosine(written, leaves, rewrite)
        self.check_leaves(kernel, leaves, body)
        slopes = tuples.Slopes(self.model.dim)
        for symbol, leaf in list(leaves.exprs.items()):
            if symbol in kernel.free_symbols and tuples.moves(leaf):
                if not slopes.add(leaf, self.formula(summand.weight * derivative(kernel, symbol), leaves, body)):
                    raise self.no_derivative(
                        leaf,
                        body,
                        "energies over tuples of atoms may use displacements, their products and components, angles "
                        "and dihedral angles",
                    )
        support = NOWHERE
        if summand.domain.reaches or len(summand.binders) == 2:
            leg = tuples.between(*(Read("x", (b,)) for b in summand.binders[:2]))
            support = self.support(written, leaves.symbols.get(Op("dot", (leg, leg))), leaves, body, ends=False)
        gradients = slopes.gradients()
        return self.by_leaves(number, summand, plain, kernel, leaves, gradients, support, self.is_number, self.is_data)

    # -- per-atom values -----------------------------------------------------------------------------------

    def value(self, within: Within, energetic: bool) -> PerAtom:
        """A per-atom value; ``energetic``: an energy depends on it."""
        domain, body, axis = within.domain, within.summand, within.axis
        if energetic and body.type.kind != "scalar":
            raise AssertionError(f"an energy reads `{within.name}`, a {body.type.kind}")
        adjoint = self.adjoint(within) if energetic else None
        value = PerAtom(
            within.name, within.equation, within.centre, domain, body, NOWHERE, within.depth, adjoint, axis=axis
        )
        if domain is None:
            return value
        if domain.tuples:
            if adjoint is not None:
                return replace(value, support=adjoint.support)
            return replace(value, support=self.end(domain, body)) if domain.reaches else value
        plain = transform(body, tuples.oriented(domain.atoms, self.model.dim))
        if body.type.kind != "scalar":
            return replace(value, summand=plain)
        d, leaves = displacement(domain.atoms, self.length), Leaves()
        written = to_sympy(plain, leaves)
        s = leaves.symbols.get(Op("dot", (d, d)))
        summand = self.formula(squared_conditions(written, [s]), leaves, body)
        return replace(value, summand=summand, support=self.support(written, s, leaves, body, axis=axis))

    def adjoint(self, within: Within) -> Term:
        """The term that carries derivatives through a per-atom value."""
        domain, body, centre = within.domain, within.summand, within.centre

        def weighted(atom: str, expr: Expr) -> Expr:
            indices = (atom, *(() if within.axis is None else (series.Entry(within.axis.first),)))
            return Op(
                "mul",
                (Read(AdjointOf(within.name), indices, type=SCALAR), expr),
                type=SCALAR,
                span=body.span,
                via=body.via,
            )

        everywhere: Domain
        if domain is None:
            everywhere, summand = Each((centre,)), weighted(centre, body)
        elif not domain.mirrored:
            everywhere, summand = domain.everywhere, weighted(centre, body)
        else:
            everywhere = domain.everywhere
            i, j = domain.atoms
            there = renamed(body, {i: j, j: i})
            summand = Op("add", (weighted(i, body), weighted(j, there)), type=SCALAR, span=body.span, via=body.via)
        return self.term(None, Summand(within.equation, everywhere, everywhere.binders, summand, axis=within.axis))

    # -- observables ---------------------------------------------------------------------------------------

    def measure(self, number: int, equation: str, reduce: Reduce) -> Measure:
        domain, body = reduce.domain, reduce.body
        if domain.tuples or isinstance(domain, Whole):
            return Measure(number, equation, domain, body)
        summand = transform(body, tuples.oriented(domain.binders, self.model.dim))
        return Measure(number, equation, domain, summand, op=reduce.op)

    def end(self, domain: Domain, summand: Expr) -> Support:
        """How far a sum over pairs or triples for an observable reaches: the pair, or each leg of a triple."""
        if isinstance(summand, OfAll):
            return self.told(summand)
        if summand.type.kind not in ("scalar", "untyped"):
            return Support(None, why="this is only looked for in sums of numbers")
        binders = domain.atoms
        d = (
            tuples.between(*(Read("x", (b,)) for b in binders[:2]))
            if domain.tuples
            else displacement(binders, self.length)
        )
        leaves = Leaves()
        written = to_sympy(
            transform(summand, tuples.oriented(binders, self.model.dim)) if domain.tuples else summand, leaves
        )
        return self.support(written, leaves.symbols.get(Op("dot", (d, d))), leaves, summand, ends=False)

    def near(self, support: Support, reaching: list[Term]) -> bool:
        """Whether a sum for an observable is proved to end where the energies do, or before, whatever the
        parameters."""
        reaches = [t.support.cutoff for t in reaching if t.support.cutoff is not None]
        fixed = [v for v in (fixed_value(self.model, r) for r in reaches) if v is not None]
        own = None if support.cutoff is None else fixed_value(self.model, support.cutoff)
        return (
            support.cutoff is not None
            and support.cutoff in reaches
            or own is not None
            and own <= max(fixed, default=0.0)
        )

    # -- support -------------------------------------------------------------------------------------------

    def support(
        self,
        kernel: sympy.Expr,
        s: sympy.Symbol | None,
        leaves: Leaves,
        body: Expr,
        ends: bool = True,
        axis: Axis | None = None,
    ) -> Support:
        """How far a function of the squared distance ``s`` reaches; with ``ends`` also how it ends there. ``axis``: a
        range for whose numbers it may be another."""
        found = reach(kernel, s) if s is not None else None
        if found is None:
            return Support(None, why="no condition bounds the distance")
        cutoff = from_sympy(found.cutoff, leaves, like=body)
        if any(isinstance(n, Read) and n.symbol in self.inner for n in walk(cutoff)):
            return Support(None, why="the bound depends on a sum over all")
        if rank(cutoff, self.model) > 1 and not bounded(cutoff, self.model):
            return Support(None, why="the bound is another for each atom")
        if changing := next(
            (
                n.symbol
                for n in walk(cutoff)
                if isinstance(n, Read)
                and n.symbol not in ("pi", "dim", series.ENTRY)
                and self.model.param(n.symbol) is None
            ),
            None,
        ):
            return Support(None, why=f"the bound depends on `{changing}`, not on parameters alone")
        why, each = "the summand is 0 from there on", None
        if series.reads_entry(cutoff):
            if axis is None:
                return Support(None, why="the bound is another for each number of the range")
            each, (cutoff, *others) = cutoff, series.at_entry(cutoff, axis)
            for other in others:
                cutoff = Op("max", (cutoff, other), type=SCALAR, span=body.span, via=body.via)
        if not ends:
            return Support(cutoff, why=why, each=each)
        # A positive symbol for the cutoff: the root of its square is then itself.
        rc = sympy.Symbol("rc", positive=True)
        leaves.exprs[rc] = Read(CUTOFF, type=SCALAR)
        slope = (derivative(found.inner, s) * 2 * rc).xreplace({s: rc**2})
        return Support(
            cutoff,
            from_sympy(found.inner.xreplace({s: rc**2}), leaves, like=body),
            from_sympy(slope, leaves, like=body),
            why,
            each,
        )

    def no_derivative(self, leaf: Expr, body: Expr, note: str) -> Rejected:
        return not_yet(
            self.model.source,
            "this geometry has no derivative in this version",
            leaf if leaf.span else body,
            notes=(note,),
        )


def _copy(leaves: Leaves | None) -> Leaves:
    return Leaves() if leaves is None else Leaves(dict(leaves.symbols), dict(leaves.exprs))

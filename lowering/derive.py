"""From the Model to the Field: sums are taken out of equations, and energies are differentiated.

The summand of an energy becomes a function of squared distances: |d| is written sqrt(d·d), so even powers
need no square root, and SymPy's derivative by d·d gives the force as a factor of the displacement.

A per-atom value carries derivatives by a term of its own: with the adjoint ~rho[i], the derivative of the
potential by rho[i], a sum rho[i] = sum(j != i) g(i, j) acts like the pair energy ~rho[i]*g(i, j) + ~rho[j]*g(j, i).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import sympy

from mdsl.dimensions import LENGTH
from mdsl.faults import fault
from mdsl.grammar.diagnostics import Rejected
from mdsl.interpret import constant
from mdsl.model import EACH, SCALAR, Advance, Axis, Domain, Expr, Model, Op, Read, Reduce, Type, transform, walk
from mdsl.steps import FIELDS
from mdsl.symbolic import Leaves, from_sympy, to_sympy

from . import series, tuples
from .bounds import bounded
from .field import ADJOINT, CUTOFF, Field, Gradient, Measure, PerAtom, Support, Term
from .step import reads, statements
from .sums import Sums, Within, renamed
from .support import reach

COMPONENTS = ("component_x", "component_y", "component_z")
NOWHERE = Support(None)


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
    def __init__(self, model: Model, values: frozenset[str]):
        self.model = model
        self.length = model.units.dimension(LENGTH)
        self.values = values  # the names of per-atom values

    # -- pairs and single atoms --------------------------------------------------------------------------

    def term(self, number: int | None, summand: Summand) -> Term:
        """One sum of an energy with the gradient of its summand."""
        if summand.domain.kind in ("members", "triples"):
            return self.tuple_term(number, summand)
        body, weight = summand.body, summand.weight
        displacement = self.displacement(summand.binders)
        plain = transform(body, self.canonical(displacement))
        leaves = _copy(summand.leaves)
        written = to_sympy(plain, leaves)
        s = leaves.symbols.get(Op("dot", (displacement, displacement)))
        kernel = _squared_conditions(written, [s])
        order = ranking(leaves, self.model)
        gradient = Gradient(displacement, None, None)
        direct: dict[int, sympy.Expr | Expr] = {}
        for symbol, leaf in list(leaves.exprs.items()):
            if symbol not in kernel.free_symbols or not tuples.moves(leaf):
                continue
            slope = weight * sympy.diff(kernel, symbol)
            if symbol == s:
                gradient = replace(gradient, radial=from_sympy(slope, leaves, order, like=body))
            elif isinstance(leaf, Op) and leaf.op in COMPONENTS and leaf.args[0] == displacement:
                axis = COMPONENTS.index(leaf.op)
                direct[axis] = direct.get(axis, sympy.Integer(0)) + slope
            else:
                raise self.no_derivative(leaf, body, "energies may use distances and components of displacements")
        if direct:
            gradient = replace(gradient, direct=tuple(from_sympy(direct.get(k, sympy.Integer(0)), leaves, order, like=body) for k in range(self.model.dim)))
        pairs = summand.domain.kind == "ordered"
        support = self.support(written, s, leaves, body, axis=summand.axis) if pairs else NOWHERE
        slopes = self.slopes(kernel, summand, leaves, self.is_parameter)
        # Of a pair the first atom is enough: the list holds every pair both ways round.
        partials = self.slopes(kernel, summand, leaves, lambda leaf: leaf.symbol in self.values and leaf.indices[:1] == summand.binders[:1])
        data = self.slopes(kernel, summand, leaves, lambda leaf: self.is_data(leaf) and not (pairs and leaf.indices != summand.binders[:1]))
        return Term(number, summand.equation, summand.domain, from_sympy(kernel, leaves, order, like=body), (gradient,), support, slopes, plain, partials, data, summand.axis, **self.by_networks(kernel, summand, leaves))

    def slopes(self, kernel: sympy.Expr, summand: Summand, leaves: Leaves, wanted) -> tuple[tuple[Read, Expr], ...]:
        """The derivatives of a summand, with its weight, by the leaves that are wanted."""
        order = ranking(leaves, self.model)
        return tuple(
            (leaf, from_sympy(summand.weight * sympy.diff(kernel, symbol), leaves, order, like=summand.body))
            for symbol, leaf in list(leaves.exprs.items())
            if isinstance(leaf, Read) and wanted(leaf) and symbol in kernel.free_symbols
        )

    def is_parameter(self, leaf: Read) -> bool:
        param = self.model.param(leaf.symbol)
        return param is not None and param.learned is None and (param.lifetime == "param" or param.data is not None and not param.per_atom) or leaf == Read("volume")

    def is_number(self, leaf: Read) -> bool:
        """Whether this is a per-atom value, of which sums over tuples read numbers only."""
        if leaf.symbol in self.values and leaf.type is not None and leaf.type.kind == "array":
            help = "call the function in a quantity, and read that"
            raise Rejected(fault(self.model.source, "not-yet", "a function of an array in a sum over triples or a topology is not lowered yet", leaf, help=help))
        return leaf.symbol in self.values

    def by_networks(self, kernel: sympy.Expr, summand: Summand, leaves: Leaves) -> dict[str, object]:
        """What a term holds of the weights that it reads."""
        learned = {p.name for p in self.model.params if p.learned is not None}
        networks = tuple(leaf for symbol, leaf in leaves.exprs.items() if isinstance(leaf, Read) and leaf.symbol in learned and symbol in kernel.free_symbols)
        if not networks:
            return {}
        return {"networks": networks, "weighted": from_sympy(summand.weight * kernel, leaves, ranking(leaves, self.model), like=summand.body)}

    def is_data(self, leaf: Read) -> bool:
        param = self.model.param(leaf.symbol)
        return param is not None and param.per_atom

    # -- tuples ------------------------------------------------------------------------------------------

    def tuple_term(self, number: int | None, summand: Summand) -> Term:
        """A sum over a topology or over triples: its summand may depend on several displacements between the atoms."""
        body = summand.body
        rewrite = tuples.oriented(summand.binders)
        leaves = _copy(summand.leaves)
        plain = transform(body, rewrite)
        written = to_sympy(plain, leaves)
        kernel = tuples.by_cosine(written, leaves, rewrite)
        order = ranking(leaves, self.model)
        slopes = tuples.Slopes(self.model.dim)
        for symbol, leaf in list(leaves.exprs.items()):
            if symbol in kernel.free_symbols and tuples.moves(leaf):
                if not slopes.add(leaf, from_sympy(summand.weight * sympy.diff(kernel, symbol), leaves, order, like=body)):
                    raise self.no_derivative(leaf, body, "energies over tuples of atoms may use displacements, their products and components, angles and dihedral angles")
        support = NOWHERE
        if summand.domain.kind == "triples":
            leg = tuples.between(*(Read("x", (b,)) for b in summand.binders[:2]))
            support = self.support(written, leaves.symbols.get(Op("dot", (leg, leg))), leaves, body, ends=False)
        return Term(
            number,
            summand.equation,
            summand.domain,
            from_sympy(kernel, leaves, order, like=body),
            slopes.gradients(),
            support,
            self.slopes(kernel, summand, leaves, self.is_parameter),
            plain,
            self.slopes(kernel, summand, leaves, self.is_number),
            self.slopes(kernel, summand, leaves, self.is_data),
            summand.axis,
            **self.by_networks(kernel, summand, leaves),
        )

    # -- per-atom values -----------------------------------------------------------------------------------

    def value(self, within: Within, energetic: bool) -> PerAtom:
        """A per-atom value; ``energetic``: an energy depends on it."""
        domain, body, centre = within.domain, within.summand, within.centre
        scalar = body.type.kind == "scalar"
        if energetic and not scalar:
            raise Rejected(fault(self.model.source, "not-yet", f"an energy of a {body.type.kind} for each atom is not lowered yet", body))
        adjoint = self.adjoint(within) if energetic else None
        if domain is None:
            return PerAtom(within.name, within.equation, centre, None, body, NOWHERE, within.depth, adjoint, axis=within.axis)
        if domain.kind == "around":
            support = adjoint.support if adjoint else self.end(domain, (centre, *domain.binders), body)
            return PerAtom(within.name, within.equation, centre, domain, body, support, within.depth, adjoint, axis=within.axis)
        displacement = self.displacement((centre, *domain.binders))
        plain = transform(body, self.canonical(displacement))
        if not scalar:
            return PerAtom(within.name, within.equation, centre, domain, plain, NOWHERE, within.depth)
        leaves = Leaves()
        written = to_sympy(plain, leaves)
        s = leaves.symbols.get(Op("dot", (displacement, displacement)))
        summand = from_sympy(_squared_conditions(written, [s]), leaves, ranking(leaves, self.model), like=body)
        return PerAtom(within.name, within.equation, centre, domain, summand, self.support(written, s, leaves, body, axis=within.axis), within.depth, adjoint, axis=within.axis)

    def adjoint(self, within: Within) -> Term:
        """The term that carries derivatives through a per-atom value."""
        domain, body, centre = within.domain, within.summand, within.centre

        def weighted(atom: str, expr: Expr) -> Expr:
            indices = (atom, *(() if within.axis is None else (series.Entry(within.axis.first),)))
            return Op("mul", (Read(ADJOINT + within.name, indices, type=SCALAR), expr), type=SCALAR, span=body.span, via=body.via)

        if domain is None:
            binders, kind, summand = (centre,), "each", weighted(centre, body)
        elif domain.kind == "around":
            binders, kind, summand = (centre, *domain.binders), "triples", weighted(centre, body)
        else:
            i, j = binders = (centre, *domain.binders)
            kind, there = "ordered", renamed(body, {i: j, j: i})
            summand = Op("add", (weighted(i, body), weighted(j, there)), type=SCALAR, span=body.span, via=body.via)
        excluded = () if domain is None else domain.excluded
        return self.term(None, Summand(within.equation, Domain(kind, binders, excluded=excluded), binders, summand, axis=within.axis))

    # -- observables ---------------------------------------------------------------------------------------

    def measure(self, number: int, equation: str, reduce: Reduce) -> Measure:
        domain, body = reduce.domain, reduce.body
        if domain.kind in ("members", "triples"):
            return Measure(number, equation, domain, body)
        summand = transform(body, self.canonical(self.displacement(domain.binders)))
        return Measure(number, equation, domain, summand, op=reduce.op)

    def end(self, domain: Domain, binders: tuple[str, ...], summand: Expr) -> Support:
        """How far a sum over pairs or triples for an observable reaches: the pair, or each leg of a triple."""
        if summand.type is not None and summand.type.kind != "scalar":
            return Support(None, why="this is only looked for in sums of numbers")
        triples = domain.kind in ("triples", "around")
        d = tuples.between(*(Read("x", (b,)) for b in binders[:2])) if triples else self.displacement(binders)
        leaves = Leaves()
        written = to_sympy(transform(summand, tuples.oriented(binders)) if triples else summand, leaves)
        return self.support(written, leaves.symbols.get(Op("dot", (d, d))), leaves, summand, ends=False)

    def near(self, support: Support, reaching: list[Term]) -> bool:
        """Whether a sum for an observable is proved to end where the energies do, or before, whatever the parameters."""
        reaches = [t.support.cutoff for t in reaching if t.support.cutoff is not None]
        fixed = [v for v in (fixed_value(self.model, r) for r in reaches) if v is not None]
        own = None if support.cutoff is None else fixed_value(self.model, support.cutoff)
        return support.cutoff is not None and support.cutoff in reaches or own is not None and own <= max(fixed, default=0.0)

    # -- geometry ------------------------------------------------------------------------------------------

    def displacement(self, binders: tuple[str, ...]) -> Expr:
        """From the second atom to the first, or from the origin to the only one."""
        i = Read("x", binders[:1])
        other = Read("x", binders[1:2]) if len(binders) > 1 else Read("origin")
        point = Type("point", self.length)
        return Op("displacement", (replace(i, type=point), replace(other, type=point)), type=Type("vector", self.length))

    def canonical(self, wanted: Expr):
        """A rewrite that gives every displacement of a pair the orientation ``wanted``, and |d| as sqrt(d·d)."""
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

    def support(self, kernel: sympy.Expr, s: sympy.Symbol | None, leaves: Leaves, body: Expr, ends: bool = True, axis: Axis | None = None) -> Support:
        """How far a function of the squared distance ``s`` reaches; with ``ends`` also how it ends there. ``axis``: a
        range for whose numbers it may be another."""
        found = reach(kernel, s) if s is not None else None
        if found is None:
            return Support(None, why="no condition bounds the distance")
        cutoff = from_sympy(found.cutoff, leaves, like=body)
        if rank(cutoff, self.model) > 1 and not bounded(cutoff, self.model):
            return Support(None, why="the bound is another for each atom")
        if changing := next((n.symbol for n in walk(cutoff) if isinstance(n, Read) and n.symbol not in ("pi", "dim", series.ENTRY) and self.model.param(n.symbol) is None), None):
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
        slope = (sympy.diff(found.inner, s) * 2 * rc).xreplace({s: rc**2})
        return Support(cutoff, from_sympy(found.inner.xreplace({s: rc**2}), leaves, like=body), from_sympy(slope, leaves, like=body), why, each)

    def no_derivative(self, leaf: Expr, body: Expr, note: str) -> Rejected:
        return Rejected(fault(self.model.source, "not-yet", "this geometry has no derivative in this version", leaf if leaf.span else body, notes=(note,)))


def fixed_value(model: Model, expr: Expr) -> float | None:
    """What an expression is worth whatever the parameters; None where that is not known."""
    reads = [n for n in walk(expr) if isinstance(n, Read) and n.symbol != "pi"]
    if any(n.indices or (p := model.param(n.symbol)) is None or p.lifetime != "const" for n in reads):
        return None
    return float(constant(model, expr))


def _copy(leaves: Leaves | None) -> Leaves:
    return Leaves() if leaves is None else Leaves(dict(leaves.symbols), dict(leaves.exprs))


def _squared_conditions(kernel: sympy.Expr, squares: Iterable[sympy.Symbol | None]) -> sympy.Expr:
    """``r < b`` as ``r² < b|b|``, which is the same for every b and needs no square root.

    Not where the function may be singular at its end, as exp(1/(r - b)) is: rounded, r² < b² does not mean r < b.
    """
    changed = {}
    for s in squares:
        if s is None or _singular(kernel, s):
            continue
        root = sympy.sqrt(s)
        for relation in kernel.atoms(sympy.core.relational.Relational):
            if relation.lhs == root and s not in relation.rhs.free_symbols:
                changed[relation] = relation.func(s, relation.rhs * sympy.Abs(relation.rhs))
            elif relation.rhs == root and s not in relation.lhs.free_symbols:
                changed[relation] = relation.func(relation.lhs * sympy.Abs(relation.lhs), s)
    return kernel.xreplace(changed)


def _singular(kernel: sympy.Expr, s: sympy.Symbol) -> bool:
    """Whether a function of the squared distance may have singular points beside 0."""

    def product(e: sympy.Expr) -> bool:
        return all(f == s or s not in f.free_symbols for f in sympy.Mul.make_args(e) for f in [f.as_base_exp()[0]])

    powers = (p.base for p in kernel.atoms(sympy.Pow) if not (p.exp.is_Integer and p.exp.is_nonnegative))
    return any(s in e.free_symbols and not product(e) for e in (*powers, *(f.args[0] for f in kernel.atoms(sympy.log))))


def _without_sign(vector: Expr) -> Expr:
    while isinstance(vector, Op) and vector.op == "neg":
        vector = vector.args[0]
    return vector


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
    sums = Sums(model)
    for equation in model.equations:
        if equation.kind == "quantity":
            sums.quantity(equation)
        else:
            sums.combine(equation)
    dynamics = tuple(sums.dynamics(a) for a in model.run if isinstance(a, Advance))
    work = Derivation(model, frozenset(sums.within))
    leaves = Leaves()
    potential = to_sympy(sums.potential(), leaves)
    terms, measures = [], []
    hidden = {n.symbol for leaf in leaves.exprs.values() if not isinstance(leaf, Read) for n in walk(leaf) if isinstance(n, Read)}
    for total in sums.totals:
        if f"#{total.number}" in hidden:
            raise Rejected(fault(model.source, "not-yet", "an energy of a sum of vectors or matrices is not lowered yet", total.reduce, help="an energy may be any function of sums of numbers"))
        symbol = leaves.symbols.get(Read(f"#{total.number}"))
        weight = sympy.Integer(0) if symbol is None else sympy.diff(potential, symbol)
        if weight == 0:
            measure, equation = work.measure(total.number, total.equation, total.reduce), model.equation(total.equation)
            measures.append(measure if equation is None else series.with_axis(measure, equation))
            continue
        domain = total.reduce.domain
        terms.append(work.term(total.number, Summand(total.equation, domain, domain.binders, total.reduce.body, weight, leaves)))
    needed = _needed(sums, [t.summand for t in terms])
    values = [work.value(w, w.name in needed) for w in sums.within.values()]
    reaching = [t for t in (*terms, *(v.adjoint for v in values if v.adjoint)) if t.domain.kind in ("ordered", "triples")]
    ends = {m.number: work.end(m.domain, m.binders, series.bounded(m)) for m in measures if m.domain.kind in ("ordered", "triples")}
    measures = [replace(m, support=ends[m.number], near=work.near(ends[m.number], reaching)) if m.number in ends else m for m in measures]
    values = [replace(v, near=v.adjoint is not None or v.domain is not None and work.near(v.support, reaching)) for v in values]
    for equation in model.equations:
        if equation.kind != "quantity":
            _no_atoms_left(model, equation, sums.combine(equation).expr)
    field = Field(model, tuple(terms), tuple(values), tuple(measures), tuple(sums.combinations.values()), dynamics)
    for advance in dynamics:
        _nothing_computed(field, advance)
    return field


def _nothing_computed(field: Field, advance: Advance) -> None:
    """Sums that flows read, and that are known after an evaluation of the energies, must not depend on what flows compute
    or remember, which changes in between."""
    read = {name for statement in statements(advance) for name in reads(statement)}
    changing = {s.target for s in advance.body} | {s.name for s in advance.states} | {p.name for p in field.model.params if p.lifetime == "state"}
    for measure in field.measures:
        if f"#{measure.number}" in read & field.far:
            found = next((n for n in walk(measure.summand) if isinstance(n, Read) and n.symbol in changing - {*FIELDS}), None)
            if found is not None:
                notes = ("sums over atoms may: `sum(i) ...`", "a factor that does not depend on the pair may stand before the sum")
                raise Rejected(fault(field.model.source, "not-yet", f"a sum over pairs in a flow cannot read `{found.symbol}`, which flows change, yet", found, notes=notes))


def _needed(sums: Sums, summands: list[Expr]) -> set[str]:
    """The per-atom values that these summands depend on."""
    needed: set[str] = set()
    pending = list(summands)
    while pending:
        found = {n.symbol for n in walk(pending.pop()) if isinstance(n, Read) and n.symbol in sums.within} - needed
        needed |= found
        pending += [sums.within[name].summand for name in found]
    return needed


def _no_atoms_left(model: Model, equation, expr: Expr) -> None:
    for node in walk(expr):
        if isinstance(node, Read) and node.indices and node.indices != (EACH,) and any(isinstance(i, str) for i in node.indices):
            raise Rejected(fault(model.source, "wrong-index", f"`{node.symbol}` is one for each atom; an {equation.kind} is one number", node))

"""Expressions of the syntax tree to expressions of the Model: every name finds what it stands for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from mdsl.grammar import tree
from mdsl.grammar.diagnostics import Diagnostic, Label, Rejected, counted, some_indices, suggest
from mdsl.model import nodes as model
from mdsl.model.domains import Each, Over
from mdsl.model.operators import BINARY, BUILTINS, MEMBERS, NEIGHBOURS, OPERATORS
from mdsl.model.units import UnitSystem, UnitValue

from .domains import resolve_domain
from .modules import near
from .scope import Binder, Bound, Global, Local, Scope
from .units import unit_value

# Names that are usual elsewhere, and what is written here.
USUAL = {
    "r": "a distance is written `|x[i] - x[j]|`; name it by `where r = |x[i] - x[j]|`",
    "distance": "a distance is written `|x[i] - x[j]|`",
    "norm": "the length of a vector is written `|d|`",
    "dot": "the scalar product is written `a·b`",
    "ln": "the natural logarithm is `log`",
    "log10": "the natural logarithm is `log`; to base 10 it is `log(a)/log(10)`",
    "e": "a power of e is written `exp(a)`",
    "x_i": "the position of an atom is written `x[i]`",
    "x_j": "the position of an atom is written `x[j]`",
    "r_ij": "a distance is written `|x[i] - x[j]|`; name it by `where r_ij = |x[i] - x[j]|`",
}
ARGUMENT = "·argument"  # of a tabulated function: no name that a program could give


@dataclass
class Resolver:
    """Resolves expressions of one module. Diagnostics go to ``report``, so one text yields many."""

    units: UnitSystem
    known_units: Mapping[str, UnitValue]
    topologies: Mapping[str, int]
    report: list[Diagnostic]
    in_flow: bool = False
    lost: set[str] = field(default_factory=set)  # names that a wrong `use` would have brought; "*module": any
    tables: Mapping[str, model.Param] = field(default_factory=dict)
    used: set[int] = field(default_factory=set)  # identities of `where` bindings that were used
    closed: set[str] = field(default_factory=set)  # indices of the sums that are over
    _open: list[tree.Binding] = field(default_factory=list)
    _bound: dict = field(default_factory=dict)

    def error(self, id: str, message: str, node: tree.Node, **more) -> model.Expr:
        """Report, and stand in for the expression that could not be resolved."""
        self.report.append(Diagnostic(id, message, node.span, **more))
        return model.Read("?", span=node.span, type=model.UNKNOWN)

    def is_lost(self, name: str, entity) -> bool:
        """Whether a name is not known because a `use` is wrong, which has been said."""
        return entity is None and (name in self.lost or any(n.startswith("*") for n in self.lost))

    def unknown(self, name: str, node: tree.Node, scope: Scope, what: str = "name") -> model.Expr:
        if self.is_lost(name, None):
            return model.Read("?", span=node.span, type=model.UNKNOWN)
        help = USUAL.get(name) or near(name, set(scope.visible()))
        return self.error("unknown-name", f"there is no {what} `{name}` here", node, help=help)

    def expr(self, node: tree.Expr, scope: Scope) -> model.Expr:
        return getattr(self, "_" + type(node).__name__.lower())(node, scope)

    # -- leaves ----------------------------------------------------------------------------------------

    def _number(self, node: tree.Number, scope: Scope) -> model.Expr:
        if node.unit is None:
            return model.Number(node.value, span=node.span)
        try:
            unit = unit_value(node.unit, self.known_units)
        except Rejected as rejected:
            if not self.units.reduced:
                self.report.extend(rejected.diagnostics)
                return model.Read("?", span=node.span, type=model.UNKNOWN)
            unit = UnitValue(1.0, model.ONE)
        if self.units.reduced:
            return self.error(
                "unit-in-reduced",
                f"`units.{self.units.name}` has no units: every quantity is a pure number",
                node.unit,
                help="leave the unit out, or use units.metal, units.real or units.si",
            )
        return model.Number(self.units.to_internal(node.value, unit), unit.dimension, span=node.span)

    def _text(self, node: tree.Text, scope: Scope) -> model.Expr:
        return model.Text(node.value, span=node.span)

    def _name(self, node: tree.Name, scope: Scope) -> model.Expr:
        entity = scope.find(node.id)
        match entity:
            case None:
                return self.unknown(node.id, node, scope)
            case Local(symbol=symbol, per_atom=True) if not self.in_flow:
                return self.error(
                    "wrong-index",
                    f"`{node.id}` is one for each atom: it needs an index",
                    node,
                    help=f"write `{node.id}[i]`",
                )
            case Local(symbol=symbol, per_atom=per_atom):
                return model.Read(symbol, (model.EACH,) if per_atom else (), span=node.span)
            case Binder(symbol=symbol, kind="range"):
                return model.Read(symbol, span=node.span, type=model.Type("index"))
            case Binder():
                return self.error(
                    "wrong-type", f"`{node.id}` is an atom, not a number", node, help=f"`x[{node.id}]` is its position"
                )
            case Bound():
                return self._where(entity, node, scope)
            case Global(kind="species"):
                return model.Label(entity.symbol, span=node.span)
            case Global(kind="function"):
                return model.Read(entity.symbol, span=node.span)
            case Global(kind="operator", symbol="D"):
                return self.error(
                    "function-as-value",
                    "D needs the function that it differentiates",
                    node,
                    help="`D(u)(r)` is du/dr at r",
                )
            case Global(kind="operator", symbol="integral"):
                return self.error(
                    "function-as-value",
                    "integral needs the function that it integrates",
                    node,
                    help="`integral(u, a, b)` is that of u(s) for s from a to b",
                )
            case Global(kind="operator", symbol=op):
                names = tuple("abcd"[: OPERATORS[op].arity])
                body = model.Op(op, tuple(model.Read(n, span=node.span) for n in names), span=node.span)
                return model.Lambda(names, body, span=node.span)
            case Global(kind="scheme" | "topology" | "module"):
                return self.error("wrong-type", f"`{node.id}` is a {entity.kind}, not a value", node)
            case Global(kind="builtin", symbol=symbol) if BUILTINS[symbol].per_atom:
                if self.in_flow:
                    return model.Read(symbol, (model.EACH,), span=node.span)
                return self.error(
                    "wrong-index",
                    f"`{symbol}` is one for each atom: it needs an index",
                    node,
                    help=f"write `{symbol}[i]`",
                )
            case Global(kind="table", symbol=symbol, arity=arity) if not arity or symbol not in self.tables:
                return self.tabulated(symbol, (), node)
            case Global(kind="param" | "equation" | "table" as kind, symbol=symbol, arity=arity) if arity:
                if self.in_flow and arity == 1:
                    indices = (model.EACH,)
                    return (
                        self.tabulated(symbol, indices, node)
                        if kind == "table"
                        else model.Read(symbol, indices, span=node.span)
                    )
                help = f"such as `{node.id}[{', '.join('ijk'[:arity])}]` in a sum"
                return self.error(
                    "wrong-index", f"`{node.id}` is an array: it needs {some_indices(arity)}", node, help=help
                )
            case Global(symbol=symbol):
                return model.Read(symbol, span=node.span)
        raise AssertionError(f"{type(entity).__name__} has no meaning")

    def tabulated(self, symbol: str, indices: tuple[model.Index, ...], node: tree.Node) -> model.Expr:
        """A function of a table, `F[i]`."""
        param = self.tables.get(symbol)
        if param is None or param.table is None:  # its file is wrong, which has been said
            return model.Read("?", span=node.span, type=model.UNKNOWN)
        number = model.Type("scalar")
        which = model.Read(symbol, indices, type=number) if indices else model.Number(0.0, type=number)
        at = model.Read(ARGUMENT, span=node.span)
        body = model.Tabulated(symbol, which, 0, at, curves=param.table.curves, span=node.span)
        return model.Lambda((ARGUMENT,), body, span=node.span)

    def _where(self, bound: Bound, node: tree.Name, scope: Scope) -> model.Expr:
        binding = bound.binding
        self.used.add(id(binding))
        if any(binding is b for b in self._open):
            return self.error("cyclic-definition", f"`{node.id}` is defined by itself", binding.name)
        binders = scope.binders()
        key = (id(binding), id(bound.scope), tuple(sorted((n, e.symbol) for n, e in binders.items())))
        if key not in self._bound:
            self._open.append(binding)
            inner = bound.scope.inside(binders)
            self._bound[key] = (binding, self.function(binding.groups, binding.value, inner))
            self._open.pop()
        return self._bound[key][1]

    def function(self, groups: tuple[tuple[tree.Identifier, ...], ...], value: tree.Expr, scope: Scope) -> model.Expr:
        """A curried function: a Lambda for each group of parameters around the value."""
        self.parameters(p for group in groups for p in group)
        for group in groups:
            scope = scope.inside({p.id: Local(p.id, span=p.span) for p in group})
        body = self.expr(value, scope)
        for group in reversed(groups):
            body = model.Lambda(tuple(p.id for p in group), body, span=value.span)
        return body

    def bindings(self, where: tuple[tree.Binding, ...], scope: Scope) -> Scope:
        """The scope in which a `where` holds: its names may use each other in any order."""
        names: dict[str, Bound] = {}
        inner = Scope(names, scope)
        for binding in where:
            if binding.name.id in names:
                self.duplicate(binding.name, names[binding.name.id])
            names[binding.name.id] = Bound(binding, inner, span=binding.name.span)
        return inner

    def unused(self, where: tuple[tree.Binding, ...]) -> None:
        """Warn of the bindings that nothing used."""
        for binding in where:
            if id(binding) not in self.used:
                self.report.append(
                    Diagnostic("unused-binding", f"`{binding.name.id}` is never used", binding.name.span)
                )

    def parameters(self, names: Iterable[tree.Identifier]) -> None:
        """The parameters of a function have different names."""
        seen: dict[str, tree.Identifier] = {}
        for name in names:
            if name.id in seen:
                self.duplicate(name, seen[name.id])
            seen[name.id] = name

    def duplicate(self, name: tree.Identifier, earlier) -> None:
        first = Label(earlier.span, "first declared here")
        self.report.append(
            Diagnostic("duplicate-name", f"`{name.id}` is declared twice", name.span, secondary=(first,))
        )

    # -- arrays ----------------------------------------------------------------------------------------

    def _index(self, node: tree.Index, scope: Scope) -> model.Expr:
        if not isinstance(node.base, tree.Name):
            return self.error("wrong-index", "only a named array has indices", node.base)
        name = node.base.id
        entity = scope.find(name)
        if entity is None:
            return self.unknown(name, node.base, scope, "array")
        if isinstance(entity, Local) and (entity.per_atom or not entity.state or entity.arity):
            return self._of_local(node, entity, scope)
        if isinstance(entity, Global) and entity.kind == "foreign":
            return self.error(
                "wrong-index",
                f"`{name}` is a function: its argument stands in parentheses",
                node,
                help=f"`{name}(G[i])`",
            )
        if not isinstance(entity, Global) or entity.kind not in ("param", "table", "equation", "builtin"):
            named = (
                (Label(entity.span, "it is named here"),)
                if entity.span is not None and entity.span.source is node.span.source
                else ()
            )
            return self.error("wrong-index", f"`{name}` has no indices", node, secondary=named)
        if entity.kind == "table" and entity.symbol not in self.tables:
            return self.tabulated(entity.symbol, (), node)
        per_atom = entity.kind == "builtin" and BUILTINS[entity.symbol].per_atom
        arity = 1 if per_atom else entity.arity
        if entity.kind == "param" and name == "m" and arity == 0 and len(node.indices) == 1:
            arity = 1  # one mass for all is still the mass of each atom
        whole = (
            entity.kind == "equation" and arity == 2 and len(node.indices) == 1
        )  # all entries of a quantity over a range
        if len(node.indices) != arity and not whole:
            unit = arity == 0 and isinstance(node.indices[0], tree.Name) and node.indices[0].id in self.known_units
            mixed = entity.kind == "param" and arity == 1 and len(node.indices) == 2
            help = (
                f"a unit stands after a number; `{name}` has its own"
                if unit
                else f"mixing is arithmetic, such as `({name}[i] + {name}[j])/2`"
                if mixed
                else None
            )
            return self.error(
                "wrong-index", f"`{name}` has {some_indices(arity)}, but is given {len(node.indices)}", node, help=help
            )
        indices: list[str | int | model.Species | model.Expr] = []
        for place, index in enumerate(node.indices):
            found = scope.find(index.id) if isinstance(index, tree.Name) else None
            if isinstance(found, Binder):
                if entity.kind == "table" and found.kind == "range":
                    return self.error("wrong-index", f"the indices of `{name}` are species or atoms", index)
                indices.append(found.symbol)
            elif isinstance(found, Global) and found.kind == "species":
                if entity.kind not in ("param", "table"):
                    return self.error(
                        "wrong-index", f"`{name}` is one for each atom, and `{found.symbol}` is a species", index
                    )
                indices.append(model.Species(found.symbol))
            elif isinstance(index, tree.Number) and index.unit is None and index.value == int(index.value):
                if entity.kind == "table":
                    return self.error("wrong-index", f"the indices of `{name}` are species or atoms", index)
                if entity.kind != "param" and not entity.series and not (entity.kind == "equation" and place == 1):
                    return self.error(
                        "not-yet", f"one atom by its number, as in `{node.span.text}`, is not implemented yet", node
                    )
                indices.append(int(index.value))
            elif entity.kind == "param" and (isinstance(found, Local) or isinstance(index, tree.Binary | tree.Unary)):
                indices.append(self.expr(index, scope))
            elif isinstance(index, tree.Name):
                help = suggest(index.id, scope.binders()) or f"use `{name}` inside a sum such as `sum({index.id})`"
                if index.id in self.closed:
                    help = "a sum ends before `+` and `-`: put all of its body in parentheses"
                return self.error(
                    "wrong-index", f"`{index.id}` is not an index: no sum here binds it", index, help=help
                )
            else:
                return self.error("wrong-index", "an index is an index of a sum, a species or a whole number", index)
        if entity.kind == "table":
            return self.tabulated(entity.symbol, tuple(indices), node)
        return model.Read(entity.symbol, tuple(indices), span=node.span)

    def _of_local(self, node: tree.Index, entity: Local, scope: Scope) -> model.Expr:
        """A value of a flow at an atom; an entry of a state, or of one that a flow was given as a parameter."""
        if len(node.indices) != 1:
            return self.error(
                "wrong-index", f"`{entity.symbol}` has {some_indices(1)}, but is given {len(node.indices)}", node
            )
        (index,) = node.indices
        found = scope.find(index.id) if isinstance(index, tree.Name) else None
        if isinstance(found, Binder):
            return model.Read(entity.symbol, (found.symbol,), span=node.span)
        if entity.per_atom:
            return self.error(
                "wrong-index", f"`{entity.symbol}` is one for each atom: its index is that of a sum", index
            )
        flow, self.in_flow = self.in_flow, False
        computed = self.expr(index, scope)
        self.in_flow = flow
        return model.Read(entity.symbol, (computed,), span=node.span)

    def _member(self, node: tree.Member, scope: Scope) -> model.Expr:
        if node.field not in MEMBERS:
            return self.error(
                "unknown-name",
                f"a vector has no component `{node.field}`",
                node,
                help="the components are x, y and z; those of a matrix are xx, xy, ...",
            )
        return model.Op(MEMBERS[node.field], (self.expr(node.base, scope),), span=node.span)

    # -- calls -----------------------------------------------------------------------------------------

    def _call(self, node: tree.Call, scope: Scope) -> model.Expr:
        name = node.function.id if isinstance(node.function, tree.Name) else ""
        entity = scope.find(name)
        if isinstance(entity, Global) and entity.kind in ("param", "equation", "builtin"):
            array = entity.arity or entity.kind == "builtin" and BUILTINS[entity.symbol].per_atom
            help = (
                f"an index stands in brackets: `{name}[i]`"
                if array
                else "a product is written with `*`, an index in brackets [ ]"
            )
            return self.error("not-a-function", f"`{name}` is a value, not a function", node.function, help=help)
        for named in node.named:
            self.error(
                "wrong-arguments",
                "a function takes its arguments by position",
                named,
                help=f"leave out `{named.name} =`",
            )
        if isinstance(entity, Global) and entity.kind == "operator" and name in NEIGHBOURS and not self.in_flow:
            return self.error(
                "misplaced",
                f"`{name}` is of a neighbouring replica, and stands in flows, outside of sums and states",
                node,
                help=f"give it a name in the flow first: `d = {name}(x) - x`, and then `sum(i) d[i]·d[i]`",
            )
        args = tuple(self.expr(a, scope) for a in node.args)
        if isinstance(node.function, tree.Name):
            if node.function.id == "D" and isinstance(entity, Global) and entity.kind == "operator":
                if len(args) != 1:
                    return self.error(
                        "wrong-arguments", f"D takes one function, but is given {len(args)} arguments", node
                    )
                return model.Derivative(args[0], span=node.span)
            if node.function.id == "integral" and isinstance(entity, Global) and entity.kind == "operator":
                if len(args) != 3:
                    return self.error(
                        "wrong-arguments",
                        f"integral takes a function and two bounds, but is given {counted(len(args), 'argument')}",
                        node,
                        help="`integral(u, a, b)` is that of u(s) for s from a to b",
                    )
                return model.Integral(*args, span=node.span)
            if entity is None:
                return self.unknown(node.function.id, node.function, scope, "function")
            if isinstance(entity, Global) and entity.kind == "operator":
                if len(args) != OPERATORS[entity.symbol].arity:
                    return self.error(
                        "wrong-arguments",
                        f"`{node.function.id}` takes {counted(OPERATORS[entity.symbol].arity, 'argument')}, but is "
                        f"given {len(args)}",
                        node,
                    )
                return model.Op(entity.symbol, args, span=node.span)
            if isinstance(entity, Global) and entity.kind in ("scheme", "topology", "species"):
                return self.error(
                    "not-a-function", f"`{node.function.id}` is a {entity.kind}, not a function", node.function
                )
        return model.Apply(self.expr(node.function, scope), args, span=node.span)

    # -- operations ------------------------------------------------------------------------------------

    def _unary(self, node: tree.Unary, scope: Scope) -> model.Expr:
        return model.Op({"-": "neg", "not": "not"}[node.op], (self.expr(node.operand, scope),), span=node.span)

    def _binary(self, node: tree.Binary, scope: Scope) -> model.Expr:
        return model.Op(BINARY[node.op], (self.expr(node.left, scope), self.expr(node.right, scope)), span=node.span)

    def _norm(self, node: tree.Norm, scope: Scope) -> model.Expr:
        return model.Op("norm", (self.expr(node.operand, scope),), span=node.span)

    def _if(self, node: tree.If, scope: Scope) -> model.Expr:
        parts = (self.expr(node.condition, scope), self.expr(node.then, scope), self.expr(node.otherwise, scope))
        return model.Op("choose", parts, span=node.span)

    def _tuple(self, node: tree.Tuple, scope: Scope) -> model.Expr:
        if len(node.items) > 3:
            return self.error(
                "misplaced", "a list of values has no meaning here", node, help="a vector has two components, or three"
            )
        return model.Op("vector", tuple(self.expr(item, scope) for item in node.items), span=node.span)

    def _range(self, node: tree.Range, scope: Scope) -> model.Expr:
        return self.error("misplaced", "a range has no meaning here", node)

    def _table(self, node: tree.Table, scope: Scope) -> model.Expr:
        return self.error(
            "misplaced", "a table stands only as the value of a declaration or as an option of a builder", node
        )

    def _sum(self, node: tree.Sum, scope: Scope) -> model.Expr:
        domain = resolve_domain(self, node.domain, scope)
        if domain is None:
            return model.Read("?", span=node.span, type=model.UNKNOWN)
        kind = "range" if isinstance(domain, Over) else "atoms"
        inner = scope.inside({name: Binder(name, kind, span=node.domain.span) for name in domain.binders})
        flow, self.in_flow = self.in_flow, self.in_flow and kind == "range"
        body = self.expr(node.body, inner)
        self.in_flow = flow
        self.closed.update(domain.binders)
        if node.op != "sum" and not isinstance(domain, Each | Over):
            return self.error(
                "not-yet", f"`{node.op}` over anything but all atoms, `{node.op}(i)`, is not implemented yet", node
            )
        return model.Reduce(domain, body, node.op, span=node.span)

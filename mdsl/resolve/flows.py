"""Flows, integrators and minimizers: their parameters, their memory, and what they do in order."""

from __future__ import annotations

from dataclasses import dataclass, field

from mdsl.grammar import tree
from mdsl.grammar.diagnostics import Diagnostic, suggest
from mdsl.model import nodes as model
from mdsl.model.dependencies import used
from mdsl.model.dynamics import FIELDS
from mdsl.model.nodes import DISTRIBUTIONS, EACH, names_in

from .expressions import Resolver
from .modules import near
from .names import BUILT_IN, Module, Resolution, duplicate
from .scope import Binder, Entity, Global, Local, Scope


def resolve_scheme(
    work: Resolution, module: Module, resolver: Resolver, kind: str, statement: tree.Flow | tree.Integrator
) -> model.Scheme:
    """The Model of a flow, an integrator or a minimizer."""
    resolver.parameters(statement.parameters)
    parameters: dict[str, Entity] = {}
    defaults: list[model.Expr | None] = []
    for p in statement.parameters:
        if p.default is None and any(d is not None for d in defaults):
            resolver.error(
                "wrong-arguments",
                f"`{p.id}` has no default, but follows a parameter that has one",
                p,
                help="parameters with defaults come last",
            )
        # A default may read the parameters before it.
        defaults.append(None if p.default is None else resolver.expr(p.default, module.scope.inside(dict(parameters))))
        parameters[p.id] = Local(p.id, span=p.span)
    block = _Block(work, resolver, module.scope, parameters)
    states = tuple(block.state(s) for s in statement.body if isinstance(s, tree.Declaration))
    steps = block.steps(statement.body, block.scope)
    observes = tuple(block.observe(s) for s in statement.body if isinstance(s, tree.Equation))
    names = tuple(p.id for p in statement.parameters)
    symbol = module.symbol(statement.name.id)
    return model.Scheme(
        kind,
        symbol,
        statement.name.id,
        names,
        steps,
        statement.span,
        tuple(defaults),
        states,
        tuple(o for o in observes if o),
    )


@dataclass
class _Block:
    """The body of one scheme. ``locals`` are the values that it computes, known from where they are computed on."""

    work: Resolution
    resolver: Resolver
    outside: Scope
    parameters: dict[str, Entity]
    states: dict[str, Entity] = field(default_factory=dict)
    locals: dict[str, Local] = field(default_factory=dict)

    @property
    def memory(self) -> Scope:
        """What is known before the first step."""
        return self.outside.inside(self.parameters).inside(self.states)

    @property
    def scope(self) -> Scope:
        return self.memory.inside(self.locals)

    # -- what is declared ------------------------------------------------------------------------------

    def state(self, node: tree.Declaration) -> model.State:
        name, axis, scope = node.name, None, self.memory
        earlier = self.parameters.get(name.id) or self.states.get(name.id) or BUILT_IN.get(name.id)
        if earlier is not None:
            self.resolver.report.append(duplicate(name, earlier.span))
        given = next((a.range for a in node.axes), None)
        if len(node.axes) > 1 or node.axes and given is None:
            self.resolver.error(
                "bad-axis", f"a state has at most one axis, a range such as `{name.id}[k in 1..3]`", node.axes[-1]
            )
        elif given is not None:
            (index,) = node.axes
            axis = index.name, self.number(given.first, scope), self.number(given.last, scope)
            scope = scope.inside({index.name: Binder(index.name, "range", span=index.span)})
        value = self.number(node.value, scope)
        self.states[name.id] = Local(name.id, span=name.span, state=True, arity=int(axis is not None))
        return model.State(name.id, value, node.span, axis)

    def observe(self, node: tree.Equation) -> model.Equation | None:
        if node.axes:
            self.resolver.error("misplaced", "an observe in a scheme has no indices", node.name)
            return None
        if (earlier := self.parameters.get(node.name.id) or self.states.get(node.name.id)) is not None:
            self.resolver.report.append(duplicate(node.name, earlier.span))
        flow, self.resolver.in_flow = self.resolver.in_flow, False
        body = self.resolver.expr(node.value, self.resolver.bindings(node.where, self.memory))
        self.resolver.in_flow = flow
        self.resolver.unused(node.where)
        return model.Equation("observe", node.name.id, (), body, node.span)

    def number(self, node: tree.Expr, scope: Scope) -> model.Expr:
        """An expression that is one for all atoms."""
        flow, self.resolver.in_flow = self.resolver.in_flow, False
        value = self.resolver.expr(node, scope)
        self.resolver.in_flow = flow
        return value

    # -- what is done ----------------------------------------------------------------------------------

    def steps(
        self, body: tuple[tree.Step, ...], scope: Scope
    ) -> tuple[model.Update | model.Draw | model.Invoke | model.Loop, ...]:
        out: list[model.Update | model.Draw | model.Invoke | model.Loop | None] = []
        for step in body:
            match step:
                case tree.Update():
                    out.append(self.update(step, scope))
                case tree.Draw():
                    out.append(self.draw(step, scope))
                case tree.Call():
                    out.append(self.invoke(step, scope))
                case tree.Loop(variable=variable, range=range, down=down):
                    first, last = self.number(range.first, scope), self.number(range.last, scope)
                    inner = scope.inside({variable.id: Binder(variable.id, "range", span=variable.span)})
                    out.append(model.Loop(variable.id, first, last, down, self.steps(step.body, inner), step.span))
                case tree.Declaration() | tree.Equation() if scope.names is not self.locals:
                    word = "state" if isinstance(step, tree.Declaration) else "observe"
                    self.resolver.error(
                        "misplaced",
                        f"`{word}` stands in a loop",
                        step,
                        help="declare it in the braces of the scheme itself",
                    )
        return tuple(s for s in out if s is not None)

    def update(self, step: tree.Update, scope: Scope) -> model.Update:
        target, op = step.target, step.op
        value = self.resolver.expr(step.value, scope)
        index = None if step.index is None else self.number(step.index, scope)
        found = scope.find(target.id)
        remembered = isinstance(found, Local) and (found.state or target.id in self.parameters) or self.at_top(found)
        if remembered:
            if isinstance(found, Local) and found.state and found.arity != (index is not None):
                self.resolver.error(
                    "wrong-index",
                    f"`{target.id}` has {'one index' if found.arity else 'no index'}",
                    step,
                    help=f"write `{target.id}[k] {op} ...`" if found.arity else None,
                )
        elif index is not None:
            self.resolver.error(
                "wrong-index",
                f"`{target.id}` is no state with indices",
                target,
                help=f"declare it: `state {target.id}[k in 1..3] = 0`",
            )
        elif target.id not in FIELDS and target.id not in self.locals:
            if (
                op == "+="
                or isinstance(found, Binder)
                or isinstance(found, Global)
                and found.kind in ("param", "equation", "builtin", "operator")
            ):
                help = "flows change x, v, cell, states and values of their own"
                if isinstance(found, Global) and found.kind == "param":
                    help = f"what changes is declared `state {target.id} = ...`"
                self.resolver.error("misplaced", f"a flow cannot change `{target.id}`", target, help=help)
        if not remembered and target.id not in FIELDS:
            each = any(isinstance(n, model.Read) and EACH in n.indices for n in model.walk(value))
            each = each or op == "+=" and target.id in self.locals and self.locals[target.id].per_atom
            self.locals[target.id] = Local(target.id, per_atom=each, span=target.span)
        return model.Update(target.id, op, value, step.span, remembered, index)

    def at_top(self, found: Entity | None) -> bool:
        """Whether a name stands for a state at the top level."""
        return isinstance(found, Global) and found.kind == "param" and found.symbol in self.work.states

    def draw(self, step: tree.Draw, scope: Scope) -> model.Draw:
        target, node = step.target, step.distribution
        name = node.function if isinstance(node, tree.Call) else node
        given = node.args if isinstance(node, tree.Call) else ()
        id = name.id if isinstance(name, tree.Name) else ""
        if (
            id not in DISTRIBUTIONS
            or len(given) != DISTRIBUTIONS[id]
            or isinstance(node, tree.Call)
            and (node.named or not given)
        ):
            help = suggest(id, DISTRIBUTIONS) if id not in DISTRIBUTIONS else None
            help = (
                help
                or "`xi ~ normal` for each atom and axis; `normal_number`, `uniform_number` and `chi_squared(n)` are "
                "one number"
            )
            self.resolver.error(
                "wrong-arguments",
                "a flow draws from `normal`, `normal_number`, `uniform_number` or `chi_squared(n)`",
                node,
                help=help,
            )
            id = "normal"
        if target.id in BUILT_IN:
            self.resolver.report.append(duplicate(target, None))
        elif target.id in self.states or target.id in self.parameters or self.at_top(scope.find(target.id)):
            self.resolver.error(
                "misplaced",
                f"`{target.id}` is drawn, but is a {'state' if target.id not in self.parameters else 'parameter'}",
                target,
                help="draw a value of another name, and then change the state",
            )
        self.locals[target.id] = Local(target.id, per_atom=id == "normal", span=target.span)
        return model.Draw(target.id, id, step.span, tuple(self.number(a, scope) for a in given))

    def invoke(self, step: tree.Call, scope: Scope) -> model.Invoke | None:
        name = step.function.id if isinstance(step.function, tree.Name) else ""
        entity = scope.find(name)
        if not (isinstance(entity, Global) and entity.kind == "scheme"):
            if not self.resolver.is_lost(name, entity):
                help = near(name, scope.of_kind("scheme"))
                self.resolver.error("unknown-name", f"there is no flow `{name}` here", step, help=help)
            return None
        for named in step.named:
            self.resolver.error(
                "wrong-arguments", "a flow takes its arguments by position", named, help=f"leave out `{named.name} =`"
            )
        return model.Invoke(entity.symbol, tuple(self.resolver.expr(a, scope) for a in step.args), step.span)


def observes(
    scheme: model.Scheme, schemes: dict[str, model.Scheme], seen: frozenset[str] = frozenset()
) -> dict[str, model.Equation]:
    """What can be recorded where a scheme runs: its own, and what the flows in it observe."""
    found = {e.name: e for e in scheme.observes}
    for symbol in scheme.invoked():
        inner = schemes.get(symbol)
        if inner is not None and symbol not in seen:
            found = observes(inner, schemes, seen | {scheme.symbol}) | found
    return found


def schemes_mean_the_prelude(work: Resolution, program: model.Model, prelude: Module, main: Module) -> None:
    """A scheme of a module that reads `kinetic` means that of every program: the program then has no other."""
    taken = prelude.declared.keys() & main.declared.keys()
    run = (s.scheme for s in program.run if isinstance(s, model.Advance))
    for item in used(program, run).values():
        for name in sorted(names_in(item) & taken) if item.span.source is not main.program.span.source else ():
            message = f"every program has its `{name}`, which `{item.name}` reads"
            work.report.append(
                Diagnostic("duplicate-name", message, main.declared[name].span, help="choose another name")
            )

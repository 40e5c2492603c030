"""Flows, integrators and minimizers as trees of the language, for `printing`.

Once `inline` has written a scheme out as updates, it is printed as an integrator (or a minimizer, where it has no
time) of these updates, with its states and what it observes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from mdsl.grammar import tree
from mdsl.model.dynamics import FIELDS
from mdsl.model.nodes import Advance, Draw, Equation, Invoke, Loop, Op, Read, Scheme, State, Update, walk
from mdsl.model.traverse import inside

from .expressions import NOWHERE, Expressions, Place, call, identifier, name_of


class Schemes:
    """``written`` are the integrators made of what `inline` wrote out."""

    def __init__(self, exprs: Expressions):
        self.exprs, self.names = exprs, exprs.names
        self.integrators: dict[tuple, str] = {}
        self.written: list[tree.Statement] = []

    def scheme(self, scheme: Scheme) -> tree.Statement:
        name = identifier(self.names.symbol(scheme.symbol))
        place = Place(
            locals=frozenset((*scheme.parameters, *(s.name for s in scheme.states), *_computed(scheme.statements())))
        )
        defaults = scheme.defaults or (None,) * len(scheme.parameters)
        parameters = tuple(
            tree.Parameter(NOWHERE, p, None if d is None else self.exprs.expr(d, place))
            for p, d in zip(scheme.parameters, defaults)
        )
        body = self.body(scheme.states, scheme.observes, scheme.body, place)
        if scheme.kind == "flow":
            return tree.Flow(NOWHERE, name, parameters, body)
        return tree.Integrator(NOWHERE, scheme.kind, name, parameters, body)

    def body(self, states: Iterable[State], observes: Iterable[Equation], steps, place: Place) -> tuple[tree.Step, ...]:
        return (
            *(self.state(s, place) for s in states),
            *(self.observe(e, place) for e in observes),
            *self.steps(steps, place),
        )

    def state(self, state: State, place: Place) -> tree.Step:
        axes: tuple[tree.Axis, ...] = ()
        if state.axis is not None:
            variable, first, last = state.axis
            place = place.inside((variable,))
            axes = (
                tree.Axis(
                    NOWHERE, variable, tree.Range(NOWHERE, self.exprs.expr(first, place), self.exprs.expr(last, place))
                ),
            )
        return tree.Declaration(
            NOWHERE,
            "state",
            identifier(place.renamed.get(state.name, state.name)),
            axes,
            self.exprs.expr(state.value, place),
        )

    def observe(self, equation: Equation, place: Place) -> tree.Step:
        return tree.Equation(
            NOWHERE, "observe", identifier(equation.name), (), self.exprs.expr(equation.body, place), ()
        )

    def steps(
        self, body, place: Place, at_top: dict[str, tuple[str, int | None]] | None = None
    ) -> tuple[tree.Step, ...]:
        """``at_top``: the targets that stand for states at the top level, and the entry of those."""
        out: list[tree.Step] = []
        for step in body:
            match step:
                case Update(target=target, op=op, value=value, index=index):
                    name, k = (at_top or {}).get(target, (place.renamed.get(target, target), None))
                    place_ = (
                        tree.Number(NOWHERE, str(k))
                        if k is not None
                        else None
                        if index is None
                        else self.exprs.expr(index, place)
                    )
                    out.append(tree.Update(NOWHERE, identifier(name), op, self.exprs.expr(value, place), place_))
                case Draw(target=target, distribution=distribution, args=args):
                    given = [self.exprs.expr(a, place) for a in args]
                    drawn = call(name_of(distribution), *given) if args else name_of(distribution)
                    out.append(tree.Draw(NOWHERE, identifier(place.renamed.get(target, target)), drawn))
                case Invoke(symbol=symbol, args=args):
                    out.append(call(name_of(self.names.symbol(symbol)), *(self.exprs.expr(a, place) for a in args)))
                case Loop(variable=variable, first=first, last=last, down=down):
                    ends = tree.Range(NOWHERE, self.exprs.expr(first, place), self.exprs.expr(last, place))
                    out.append(
                        tree.Loop(
                            NOWHERE,
                            identifier(variable),
                            ends,
                            down,
                            self.steps(step.body, place.inside((variable,)), at_top),
                        )
                    )
        return tuple(out)

    def advance(self, advance: Advance) -> tuple[str, dict[str, str]]:
        """The name of an integrator made of the updates of a statement, and the names of its parameters."""
        within = inside((advance.body, advance.states, advance.observes))
        reads = {n.symbol for e in within for n in walk(e) if isinstance(n, Read) and not n.indices}
        # An option must not hide a value of that name which an update reads; `dt` is what advances the time.
        parameters = {
            n: n if n == "dt" or n not in self.names.globals & reads else self.names.fresh(n)
            for n, _ in advance.options
        }
        at_top = {s.name: s.param for s in advance.states if s.param is not None}
        targets = {s.target for s in advance.statements} | {s.name for s in advance.states}
        targets -= {*FIELDS, *at_top}
        hidden = self.names.globals | {n for n, _ in advance.options}
        renamed = {t: self.names.fresh(t) for t in sorted(targets) if t in hidden}
        values = {id(v): parameters[n] for n, v in advance.options}
        for expr in within:
            for node in walk(expr):
                same = next((n for n, v in advance.options if isinstance(v, Op) and node == v), None)
                if same is not None:
                    values[id(node)] = parameters[same]
        place = Place(locals=frozenset(targets), known=values, renamed=renamed)
        states = [s for s in advance.states if s.param is None]
        body = self.body(states, advance.observes, (), place) + self.steps(advance.statements, replace(place), at_top)
        kind = "minimizer" if advance.dt is None else "integrator"
        key = (advance.scheme, kind, tuple(parameters.values()), body)
        if key not in self.integrators:
            name = self.names.fresh(advance.scheme.rpartition(".")[2])
            self.integrators[key] = name
            given = tuple(tree.Parameter(NOWHERE, p) for p in parameters.values())
            self.written.append(tree.Integrator(NOWHERE, kind, identifier(name), given, body))
        return self.integrators[key], parameters


def _computed(statements) -> set[str]:
    return {s.target for s in statements if isinstance(s, Update | Draw)} - {*FIELDS}

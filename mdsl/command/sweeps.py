"""`--sweep NAME=VALUES`: the values of parameters at each point."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np

from mdsl.compiler import Compiled
from mdsl.grammar.diagnostics import Diagnostic, Rejected
from mdsl.interpret.meaning import parameter

from .options import Setting, Sweep


def swept(
    compiled: Compiled, sweeps: tuple[Sweep, ...], compile: Callable[[Setting], Compiled]
) -> list[dict[str, object]]:
    """The values of what is swept, in internal units: one point for each combination, the last sweep the fastest.

    ``compile`` gives the program with another value, as of ``--set``: what the compiler says of it holds here too.
    Raises Rejected: ``unknown-parameter``, ``wrong-unit``, whatever else a value may hold.
    """
    axes: list[list[np.ndarray]] = []
    for sweep in sweeps:
        old = compiled.model.param(sweep.name)
        if old is not None and old.lifetime == "const":
            help = "declare it as a `param`, or run the program with one value after the other, by --set"
            message = f"`{sweep.name}` is a constant, which is one for all replicas"
            raise Rejected(Diagnostic("unknown-parameter", message, old.span, help=help))
        models = (compile(Setting(sweep.name, text)).model for text in sweep.values)
        values = [np.asarray(parameter(model, sweep.name), float) for model in models]
        if sweep.count is not None:
            if np.ndim(values[0]):
                message = f"--sweep {sweep.name}={sweep.text}: a range is one of numbers, and `{sweep.name}` is a table"
                raise Rejected(Diagnostic("bad-option", message, help="list the tables instead"))
            steps = np.linspace(0, 1, sweep.count)
            values = list((1 - steps) * values[0] + steps * values[1])  # exact at both ends
        axes.append(values)
    names = [s.name for s in sweeps]
    return [dict(zip(names, values)) for values in itertools.product(*axes)]

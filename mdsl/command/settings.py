"""`--set NAME=VALUE`: other values for the parameters of a program."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np

from mdsl.grammar.diagnostics import Diagnostic, Rejected, suggest
from mdsl.grammar.source import Source
from mdsl.interpret import meaning as interpret
from mdsl.model.nodes import Model, Param, TableOf
from mdsl.passes.differentiate import differentiate
from mdsl.passes.finite import check_finite
from mdsl.passes.infer.expressions import infer
from mdsl.passes.inline.expressions import inline
from mdsl.printing.program import print_params
from mdsl.resolve.program import resolve

from .options import Setting, Sweep


def with_settings(model: Model, settings: tuple[Setting, ...]) -> Model:
    """The Model in which parameters and constants have the values given.

    A value is an expression of the language that may read other parameters. Raises Rejected:
    ``unknown-parameter``, ``wrong-unit``, whatever else the value may hold.
    """
    for setting in settings:
        old = model.param(setting.name)
        if old is not None and old.learned:
            raise Rejected(
                Diagnostic(
                    "unknown-parameter",
                    f"`{setting.name}` is a learned function",
                    setting.name_span,
                    help="its weights come from a file: --params weights.safetensors",
                )
            )
        if old is not None and (old.data or old.table):
            what, help = (
                ("data, which come with the atoms", "a `param` can be set")
                if old.data
                else ("a function that is read from a file", "change the file, or name another in the program")
            )
            raise Rejected(Diagnostic("unknown-parameter", f"`{setting.name}` is {what}", setting.name_span, help=help))
        if old is None or old.name == "kB":
            known = [p.name for p in model.params if p.name != "kB" and not (p.data or p.table or p.learned)]
            raise Rejected(
                Diagnostic(
                    "unknown-parameter",
                    f"the program has no parameter `{setting.name}`",
                    setting.name_span,
                    help=suggest(setting.name, known) or (f"its parameters are {', '.join(known)}" if known else None),
                )
            )
        if setting.name in model.folded:
            help = "change it in the program: loops and states are written out when it is compiled"
            raise Rejected(
                Diagnostic(
                    "nonconstant", f"`{setting.name}` decides the form of a scheme", setting.name_span, help=help
                )
            )
        new = _declared(model, old, setting)
        model = replace(model, params=tuple(new if p.name == old.name else p for p in model.params))
    found = check_finite(model)
    if found:
        raise Rejected(*found)
    return model


def swept(model: Model, sweeps: tuple[Sweep, ...]) -> tuple[Model, list[dict[str, object]]]:
    """The Model in which what is swept is free, and the values of each point, in internal units: one point for each
    combination, the last sweep the fastest. Raises Rejected as `with_settings` does."""
    axes: list[list[object]] = []
    for sweep in sweeps:
        old = model.param(sweep.name)
        if old is not None and old.lifetime == "const":
            help = "declare it as a `param`, or run the program with one value after the other, by --set"
            raise Rejected(
                Diagnostic(
                    "unknown-parameter",
                    f"`{sweep.name}` is a constant, which is one for all replicas",
                    old.span,
                    help=help,
                )
            )
        found = []
        for text in sweep.values:
            changed = with_settings(model, (Setting(sweep.name, text),))
            found.append(np.asarray(interpret.parameter(changed, sweep.name, {}), float))
        model = changed
        steps = np.linspace(0, 1, sweep.count)[:, None] if sweep.count else None
        if steps is not None and np.ndim(found[0]):
            raise Rejected(
                Diagnostic(
                    "bad-option",
                    f"--sweep {sweep.name}={sweep.text}: a range is one of numbers, and `{sweep.name}` is a table",
                    help="list the tables instead",
                )
            )
        # Exact at both ends.
        axes.append(found if steps is None else list(((1 - steps) * found[0] + steps * found[1])[:, 0]))
    names = [s.name for s in sweeps]
    return model, [dict(zip(names, values)) for values in itertools.product(*axes)]


def _declared(model: Model, old: Param, setting: Setting) -> Param:
    """The parameter with its new default, compiled as a declaration of a small program with the same units, species
    and other parameters."""
    axes = f"[{', '.join(a.kind for a in old.axes)}]" if old.axes else ""
    species = f"species {', '.join(model.species)}\n" if model.species else ""
    others = "\n".join(print_params(replace(model, params=tuple(p for p in model.params if p.name != old.name))))
    text = f"use units.{model.units.name}\n{species}param {setting.name}{axes} = {setting.text}\n{others}"
    small, report = resolve(Source("--set", text), Path.cwd())
    small, more = inline(small)
    report = [d for d in report + more if d.id != "empty-program"]
    if any(d.severity == "error" for d in report):
        raise Rejected(*report)
    small, report = infer(small)
    if any(d.severity == "error" for d in report):
        raise Rejected(*report)
    small, report = differentiate(small)
    if report:
        raise Rejected(*report)
    new = small.param(setting.name)
    if old.type.dimension != new.type.dimension:
        shown = model.units.display(old.type.dimension).text
        raise Rejected(
            Diagnostic(
                "wrong-unit",
                f"`{setting.name}` is {old.type}, but the value given is {new.type}",
                new.default.span,
                help=f"for example --set '{setting.name}=1.0 [{shown}]'" if shown else None,
            )
        )
    if old.axes and not isinstance(new.default, TableOf) and any(a.kind != "species" for a in old.axes):
        raise Rejected(
            Diagnostic("bad-table", f"`{setting.name}` is an array and cannot be set here", new.default.span)
        )
    return replace(old, default=new.default, binder=None)

"""What has no derivative: what is folded when a program is compiled, labels, bonds, numbers of atoms and steps.

JAX traces what it differentiates or batches. Where a traced value would be dropped without a word, or end in an error
of JAX's own, the diagnostic `no-derivative` says what it is that has none, and what can be done instead.
"""

from __future__ import annotations

from collections.abc import Mapping

from mdsl.grammar.diagnostics import Diagnostic, Rejected, suggest
from mdsl.lowering.tracing import is_traced
from mdsl.model.dependencies import reads
from mdsl.model.nodes import Model

BIND = {
    "x": "bind numbers outside of the transformation, and give `x` to `energy(x)` or `run(key, x=x)`",
    "box": "bind a number outside of the transformation, and give `box=` to `energy` or `run`",
    "velocities": "bind numbers outside of the transformation, and give `v=` to `run`",
    "masses": "declare the masses as `param m[species] = { ... }`",
    "data": "bind numbers outside of the transformation, and give `data=` to `energy` or `run`",
    "species": "the species of an atom is a label; what depends on it can be a `param NAME[species]`, which has "
    "derivatives",
    "topologies": "who is bonded to whom is no number; a factor in the energy of the bonds can be a `param`",
    "seed": "a seed chooses among random numbers, and does not vary them",
    "skin": "the skin of a neighbour list changes no result",
}


def refuse(what: str, help: str | None = None) -> Rejected:
    return Rejected(Diagnostic("no-derivative", f"{what} in a transformation of JAX", help=help))


def check_bound(given: Mapping[str, object]) -> None:
    """Arguments of `bind` are numbers. Raises Rejected: ``no-derivative``."""
    for name, value in given.items():
        if is_traced(value):
            raise refuse(f"`{name}` of `bind` is traced", BIND[name])


def unknown(model: Model, free, name: str, value) -> Rejected:
    """What is said of a value for something that is no free parameter."""
    declared = model.param(name)
    if declared is None:
        return Rejected(
            Diagnostic("unknown-parameter", f"the program has no free parameter `{name}`", help=suggest(name, free))
        )
    if declared.data:
        return Rejected(
            Diagnostic(
                "unknown-parameter",
                f"the program has no free parameter `{name}`",
                help=f'it is data: `data={{"{name}": ...}}`',
            )
        )
    if declared.table:
        what, help = "a function that is read from a file", None
    elif declared.lifetime == "const":
        what, help = "a const, which is folded when the program is compiled", f"declare it as `param {name} = ...`"
    else:
        sources = sorted(reads(model, (declared.default,)) & set(free))
        what, help = (
            "made of other parameters",
            f"give {' and '.join(f'`{s}`' for s in sources)}" if sources else f"declare it as `param {name} = ...`",
        )
    if is_traced(value):
        return refuse(f"`{name}` is {what}, but is traced", help)
    return Rejected(Diagnostic("unknown-parameter", f"`{name}` is {what}", help=help))

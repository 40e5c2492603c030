"""Which kernels sums over pairs have on a CPU: vector code of mdsl's own, or XLA's."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec

from mdsl.lowering.field.field import Field, Measure, PerAtom, Term
from mdsl.lowering.field.names import AdjointOf
from mdsl.model.domains import Others, Pairs
from mdsl.model.functions import Network
from mdsl.model.nodes import Call, inside, names_in, walk

CHOICE = "MDSL_KERNELS"  # of the environment
KERNELS = ("xla", "native")


def asked() -> bool:
    """Whether native kernels are to be taken where there are any: unless the environment asks for XLA's."""
    return os.environ.get(CHOICE) != "xla"


def hindrance() -> str:
    """Why there are none, as far as that is known without JAX; nothing where they may be."""
    if not asked():
        return f"{CHOICE} says so"
    return "" if find_spec("llvmlite") is not None else "llvmlite is not installed"


@dataclass(frozen=True)
class Left:
    """The sums over pairs of an energy or observable that XLA computes in any case, and why; ``certain``: whether that
    is known without tracing what a function of Python does."""

    equation: str
    why: str
    certain: bool = True


def left(field: Field) -> Iterator[Left]:
    """The sums for parts of which there is no vector code. Sums that leave out the same pairs are one traversal, with
    one kernel."""
    ranges = {name: v.name for v in field.values if v.axis is not None for name in (v.name, AdjointOf(v.name))}
    adjoints = (v.adjoint for v in field.values if v.adjoint is not None)
    every = (*field.terms, *adjoints, *field.values, *field.measures)
    found = (why for s in every if isinstance(s.domain, Pairs | Others) for why in _reasons(s, ranges))
    return iter(dict.fromkeys(found))


def _reasons(s: Term | PerAtom | Measure, ranges: Mapping[str, str]) -> Iterator[Left]:
    if read := {ranges[name] for name in names_in(s) & ranges.keys()}:
        yield Left(s.equation, f"{', '.join(sorted(read))} has several numbers for each atom")
    elif isinstance(s, PerAtom | Measure) and s.axis is not None and getattr(s, "bin", None) is None:
        yield Left(s.equation, "it has several numbers for each atom")
    for call in (n for e in inside(s) for n in walk(e) if isinstance(n, Call)):
        if isinstance(call.body, Network):
            yield Left(s.equation, f"{call.function} is a network")
        else:
            yield Left(s.equation, f"{call.function} is a function of Python", certain=False)

"""Which kernels sums over pairs have on a CPU: vector code of mdsl's own, or XLA's."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
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


def left(field: Field) -> Iterator[tuple[str, str]]:
    """The sums over pairs that XLA computes in any case, by the energy or observable that they belong to, and why: for
    what they are made of there is no vector code. Sums that leave out the same pairs are one traversal, with one
    kernel."""
    ranges = {name: v.name for v in field.values if v.axis is not None for name in (v.name, AdjointOf(v.name))}
    adjoints = (v.adjoint for v in field.values if v.adjoint is not None)
    sums = [
        s for s in (*field.terms, *adjoints, *field.values, *field.measures) if isinstance(s.domain, Pairs | Others)
    ]
    told = set()
    for s in sums:
        for reason in _reasons(s, ranges):
            if (s.equation, reason) not in told:
                told.add((s.equation, reason))
                yield s.equation, reason


def _reasons(s: Term | PerAtom | Measure, ranges: Mapping[str, str]) -> Iterator[str]:
    if read := {ranges[name] for name in names_in(s) & ranges.keys()}:
        yield f"{', '.join(sorted(read))} has several numbers for each atom"
    elif isinstance(s, PerAtom | Measure) and s.axis is not None and getattr(s, "bin", None) is None:
        yield "there are several numbers for each atom"
    for call in (n for e in inside(s) for n in walk(e) if isinstance(n, Call)):
        yield f"{call.function} is a network" if isinstance(call.body, Network) else f"{call.function} is foreign"

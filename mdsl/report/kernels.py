"""What `mdsl explain` says of how sums are computed: in which order pairs are visited, and by which kernel."""

from __future__ import annotations

from collections.abc import Iterator

from mdsl.compiler import Compiled
from mdsl.grammar.diagnostics import Rejected
from mdsl.lowering.field.field import PerAtom, Term
from mdsl.lowering.planning.kernels import Vectors
from mdsl.lowering.planning.loops import (
    ENERGY,
    FORCE,
    NATIVE,
    PARTIALS,
    VALUES,
    XLA,
    PairLoop,
    computed_by,
    pair_loops,
)
from mdsl.lowering.planning.policy import Policy
from mdsl.lowering.planning.traversal import plan
from mdsl.model.domains import Each, Members, Partners

from .finding_pairs import facts_of_run

Fact = tuple[str, str]
SINGLE, DOUBLE = 4, 8  # bytes of a number


def kernels(compiled: Compiled, policy: Policy, vectors: Vectors) -> Iterator[Fact]:
    """What holds for all sums, then a line for each loop of a force, under the names of what it adds up."""
    field, loops = compiled.field, pair_loops(compiled.field)
    if loops:
        yield from _processors(vectors)
    found = [
        (_names(loop.of), f"{_gives(loop)}, {_visits(compiled, policy)}: {_by(compiled, loop, vectors)}")
        for loop in loops
    ]
    over_pairs = {id(p) for loop in loops for p in loop.of}
    others = [*field.values, *(t for t in field.terms if t.gradients or t.partials)]
    for part in others:
        if id(part) not in over_pairs and part.domain is not None:
            found.append((_names((part,)), f"{_elsewhere(part)}: {XLA}"))
    yield from dict.fromkeys(found)


def _processors(vectors: Vectors) -> Iterator[Fact]:
    if vectors.why:
        yield "CPU", f"all sums are XLA's: {vectors.why}"
    else:
        at_once = (
            f", here for {vectors.bytes // SINGLE} rows at once in single and mixed precision, "
            f"{vectors.bytes // DOUBLE} in double"
        )
        yield "CPU", "native kernels are vector code of mdsl's own" + at_once * bool(vectors.bytes)
    yield "GPU", "all slots of a list are gathered at once, by XLA; `--kernels pallas`: rows go through theirs, untimed"


def _names(parts: tuple[Term | PerAtom, ...]) -> str:
    return ", ".join(dict.fromkeys(p.equation for p in parts))


def _gives(loop: PairLoop) -> str:
    if loop.gives == VALUES:
        return f"values of atoms, in round {loop.of[0].depth}"
    return {ENERGY: "energies", PARTIALS: "derivatives by values of atoms", FORCE: "forces"}[loop.gives]


def _visits(compiled: Compiled, policy: Policy) -> str:
    """In which order the pairs of a force are visited."""
    slot, everyone = "each row goes through its slots of the list", "each row goes through everyone"
    facts, reaches = facts_of_run(compiled)
    if any(r is None for r in reaches):
        return everyone
    try:
        listed = None if facts is None else plan(compiled.field, facts, policy).listed
    except Rejected:  # `finding pairs` tells of it
        listed = None
    return slot if listed else everyone if listed is False else f"{slot}, or through everyone"


def _by(compiled: Compiled, loop: PairLoop, vectors: Vectors) -> str:
    kernel, why = computed_by(compiled.field, loop)
    if vectors.why:
        return XLA
    return kernel if kernel == NATIVE else f"{kernel}, for {why}"


def _elsewhere(part: Term | PerAtom) -> str:
    """How sums are computed that are not over pairs."""
    if isinstance(part.domain, Members | Partners):
        return f"the members of `{part.domain.topology}`"
    if isinstance(part.domain, Each):
        return "atoms by themselves"
    return "legs are picked from the list, and visited in pairs around each atom"

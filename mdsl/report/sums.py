"""What `mdsl explain` says of the sums over pairs: what computes them, and what that is expected to cost."""

from __future__ import annotations

from collections.abc import Iterator

from mdsl.lowering.field.costs import DOUBLE, GEOMETRY, LONGEST, OPERATION, VISIT
from mdsl.lowering.field.field import Field
from mdsl.lowering.planning.kernels import hindrance, left
from mdsl.lowering.planning.policy import Policy
from mdsl.model.nodes import Op, walk

Fact = tuple[str, str]  # a word, and what is said under it; an empty word goes on with the one before


def kernels(field: Field) -> Iterator[Fact]:
    """What computes the sums over pairs on a CPU, and which XLA computes in any case."""
    if why := hindrance():
        yield "kernels", f"sums over pairs are computed by XLA: {why}"
        return
    yield "kernels", "on a CPU sums over pairs are computed by vector code of mdsl's own, on other devices by XLA"
    for sums in left(field):
        doubt = "" if sums.certain else ", unless that is arithmetic alone"
        yield "", f"those of {sums.equation} by XLA everywhere, with what shares their pairs: {sums.why}{doubt}"


def cost(field: Field, atoms: int, near: float, policy: Policy) -> Iterator[Fact]:
    """What one evaluation of the pair energies by a list is expected to cost."""
    exprs = [e for t in field.pair_terms for g in t.gradients for e in (g.radial, *(g.direct or ())) if e is not None]
    operations = GEOMETRY + len({id(n) for e in exprs for n in walk(e) if isinstance(n, Op)})
    seconds = atoms * near * LONGEST * (VISIT + operations * OPERATION)
    yield (
        "cost",
        f"each atom visits its neighbours one by one: about {near * LONGEST:.0f} visits with those of the longest row, "
        f"each of about {operations} operations",
    )
    yield (
        "",
        f"expected on one core: {1e3 * seconds:.2g} ms for each force in single or mixed precision, "
        f"{1e3 * DOUBLE * seconds:.2g} ms in double (rates of one machine, in `lowering/field/costs.py`)",
    )
    yield "", f"the list takes about {4 * policy.slots * near:.0f} bytes for each atom"

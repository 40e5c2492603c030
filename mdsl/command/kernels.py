"""`mdsl dump --after kernel`: the kernels of sums over pairs as they are handed to LLVM, under the formulas that they
compute. They are printed without LLVM; where that is missing, for vectors of a width that is said."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mdsl.compiler import Compiled
from mdsl.grammar.diagnostics import Diagnostic, Rejected
from mdsl.lowering.field.field import Measure, PerAtom, Term
from mdsl.lowering.jax_version import check
from mdsl.lowering.planning.kernels import Vectors
from mdsl.passes.given import missing_externs
from mdsl.report.dump import described
from mdsl.start.builders import start

ELSEWHERE = 64  # bytes of a vector, where this processor is not known
RULE = "; " + "-" * 100


def printed(compiled: Compiled, precision: str, vectors: Vectors) -> str:
    """All kernels of a force, then those of energies and of sums for records. Raises Rejected: ``empty-program``,
    ``missing-extern``, and what is wrong with the atoms."""
    check()
    import jax

    jax.config.update("jax_enable_x64", precision != "single")
    from mdsl.lowering.kernels.globals import initial_params, weights
    from mdsl.lowering.run.loops import loops

    model = compiled.model
    if missing := missing_externs(model):
        raise Rejected(*missing)
    if not model.run:
        help = "add `run { x = ... }`: how pairs are visited depends on how many there are"
        raise Rejected(Diagnostic("empty-program", "the program has no run block, and so no atoms", help=help))
    params = initial_params(model, weights(model, 0))
    initial = start(model, compiled.folder, 0, {k: np.asarray(v) for k, v in params.items()})
    found = loops(compiled.field, initial, {**params, **initial.data}, precision, vectors.bytes or ELSEWHERE)
    if not found:
        return "; the program has no sums over pairs\n"
    head = [f"; {compiled.source.name}, {initial.atoms:,} atoms, {precision} precision"]
    if not vectors.bytes:
        head.append(f"; for vectors of {ELSEWHERE} bytes: {vectors.why}")
    return "\n".join([*head, *(line for loop in found for line in ("", *_kernel(compiled, loop)))]) + "\n"


def _kernel(compiled: Compiled, loop) -> Iterator[str]:
    kernel = loop.kernel
    what = ", ".join(sorted(kernel.outputs)) or "sums"
    yield RULE
    yield f"; {what}, over {'the slots of a list' if loop.listed else 'everyone'}"
    for part in (*kernel.terms, *kernel.values, *kernel.measures):
        yield from (f"; {line}" for line in _formula(compiled, part))
    if loop.why:
        yield f"; left to XLA: there is no text for {loop.why}"
    else:
        yield f"; {loop.width} rows at once"
    yield RULE
    if loop.text:
        yield loop.text.strip().replace("%NAME%", "pairs")


def _formula(compiled: Compiled, part: Term | PerAtom | Measure) -> Iterator[str]:
    """What a sum adds up, with where the program says it."""
    span = compiled.model.equation(part.equation).span
    yield f"line {span.line}: {' '.join(span.text.split())}" if "#" not in span.text else f"line {span.line}"
    yield from (f"  {line}" for line in described(compiled.field, part))

"""Checkpoints of runs: what is written of a run that goes on, how it is read, and under which conditions the run goes
on with the very bits that it would have had in one piece."""

from __future__ import annotations

import os
from collections.abc import Mapping

import numpy as np

from mdsl.grammar.diagnostics import Diagnostic

from .machine import kernels, processor, versions

STATE, STANDING = "state ", "standing "  # before names: of states of a flow, and of what else decides the next bits
BEFORE = "another version of mdsl"


def conditions(precision: str, threads: int) -> dict[str, object]:
    """All on which the bits of a run depend beside its program, its options and its seed. JAX is set up."""
    import jax

    return {
        **versions(),
        "processor": processor(),
        "platform": jax.default_backend(),
        "threads": threads,
        "precision": precision,
        "kernels": kernels(),
        "XLA_FLAGS": os.environ.get("XLA_FLAGS", ""),
    }


def differences(had: Mapping[str, object] | None, now: Mapping[str, object]) -> list[str]:
    """In which conditions a run is resumed that it did not have, in words."""
    if had is None:
        return [BEFORE]
    changed = [name for name in now if had.get(name) != now[name]]
    words = {
        "threads": lambda a, b: f"{b} thread{'s' * (b != 1)} instead of {a}",
        "precision": lambda a, b: f"{b} precision instead of {a}",
        "kernels": lambda a, b: f"kernels of {b} instead of {a}",
        "XLA_FLAGS": lambda a, b: "other XLA_FLAGS",
        "processor": lambda a, b: f"the processor {b} instead of {a}",
        "platform": lambda a, b: f"the platform {b} instead of {a}",
    }
    return [words.get(n, lambda a, b, n=n: f"{n} {b} instead of {a}")(had.get(n), now[n]) for n in changed]


def warning(changed: list[str]) -> Diagnostic:
    listed = " and ".join(filter(None, (", ".join(changed[:-1]), changed[-1])))
    words = f"the run goes on with {listed}: from here on its last digits are not those of a run in one piece"
    return Diagnostic("other-conditions", words)


def written(snapshot, conditions: Mapping[str, object]) -> tuple[dict[str, object], dict[str, np.ndarray]]:
    """Of a snapshot with its standing: what goes into the header of a checkpoint, and its arrays."""
    arrays = {name: getattr(snapshot, name) for name in ("x", "v", "images", "cell")}
    if snapshot.began is not None:
        arrays["began"] = snapshot.began
    arrays |= {STATE + name: value for name, value in snapshot.memory.items()}
    arrays |= {STANDING + name: value for name, value in snapshot.standing.arrays.items()}
    return {"conditions": conditions, "capacities": snapshot.standing.capacities.told()}, arrays


def read(header: Mapping, arrays: Mapping[str, np.ndarray], cell: np.ndarray, exact: bool):
    """The snapshot of a checkpoint, and the place of its run; ``cell``: the box where it has none; ``exact``: with its
    standing, so that the run goes on with the bits that it would have had. One system alone has no axis of systems
    there."""
    from mdsl.lowering.run.snapshot import Place, Snapshot
    from mdsl.lowering.run.standing import read as standing_of

    alone = np.ndim(arrays["x"]) == 2

    def of_all(array) -> np.ndarray:
        return np.asarray(array)[None] if alone else np.asarray(array)

    def named(prefix: str) -> dict[str, np.ndarray]:
        return {name.removeprefix(prefix): a for name, a in arrays.items() if name.startswith(prefix)}

    standing = standing_of(header["capacities"], named(STANDING)) if exact else None
    x, v, images, cell = (of_all(a) for a in (*(arrays[n] for n in ("x", "v", "images")), arrays.get("cell", cell)))
    step, time, done, t, met = (of_all(header.get(n, False)) for n in ("step", "time", "done", "t", "met"))
    began = of_all(arrays["began"]) if "began" in arrays else None
    memory = {name: of_all(a) for name, a in named(STATE).items()}
    place = Place(int(header["statement"]), done, t, met)
    return Snapshot(x, v, images, step, time, cell, began, memory, standing), place

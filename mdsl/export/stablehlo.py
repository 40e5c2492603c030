"""StableHLO: energy, forces and virial as `jax.export` writes them, for CPU, CUDA and TPU in one file each, and a
manifest that says what they take and give. They run where JAX is, without mdsl.

Native kernels are not in them: these are code of one processor, and the files are for all.
"""

from __future__ import annotations

import importlib.util
import io
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

from mdsl.interpret.constants import factor
from mdsl.lowering.planning.kernels import CHOICE
from mdsl.model.dimensions import ENERGY, FORCE, LENGTH, VELOCITY, Dimension
from mdsl.model.nodes import names_in

from .certificate import State
from .deck import Deck
from .subject import Subject

PLATFORMS = ("cpu", "cuda", "tpu")
FUNCTIONS = {"energy": ENERGY, "forces": FORCE, "virial": ENERGY}
MANIFEST, SUFFIX, EXAMPLE = "manifest.json", ".stablehlo", "start.npz"


@contextmanager
def without_native_kernels() -> Iterator[None]:
    """What is lowered meanwhile has XLA's kernels."""
    was = os.environ.get(CHOICE)
    os.environ[CHOICE] = "xla"
    try:
        yield
    finally:
        if was is None:
            del os.environ[CHOICE]
        else:
            os.environ[CHOICE] = was


def export(subject: Subject, name: str, precision: str = "double") -> Deck:
    """Raises Rejected: ``precision``, and what planning raises."""
    import jax
    from jax import export as jax_export

    from mdsl.lowering.geometry.cell import of_matrix
    from mdsl.lowering.jax_version import described
    from mdsl.lowering.run.growing_energies import energies

    model, initial = subject.model, subject.initial
    if importlib.util.find_spec("flatbuffers") is None:
        raise subject.refuse(
            "JAX writes and reads exported functions by `flatbuffers`, which is not installed",
            help="pip install 'mdsl[export]'",
            id="missing-package",
        )
    if precision != "single" and not jax.config.jax_enable_x64:
        raise subject.refuse(
            "double precision needs 64-bit numbers, which JAX has switched off",
            help='jax.config.update("jax_enable_x64", True) before the first array is made',
            id="precision",
        )
    dtype = np.float32 if precision == "single" else np.float64
    free = {n: np.asarray(v, dtype) * parameter_scale(subject, n) for n, v in subject.params.items()}
    length = factor(model, LENGTH)
    found = energies(subject.field, initial, precision, {**subject.params, **initial.data}).energies
    data = {n: np.asarray(v) for n, v in initial.data.items()}

    def function(which: str):
        def of(x, box, params):
            leaves = {n: v / parameter_scale(subject, n) for n, v in params.items()} | data
            cell = of_matrix(box / length, initial.tilted)
            value = getattr(found, which)(found.complete(leaves), x / length, cell)
            return value * factor(model, model.units.dimension(FUNCTIONS[which]))

        return of

    arguments = (np.asarray(initial.x * length, dtype), np.asarray(initial.cell * length, dtype), free)
    files: dict[str, str | bytes] = {}
    with without_native_kernels():
        for which in FUNCTIONS:
            shaped = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), arguments)
            written = jax_export.export(jax.jit(function(which)), platforms=PLATFORMS)(*shaped)
            files[which + SUFFIX] = bytes(written.serialize())
        steps, notes = _steps(subject, arguments, precision)
    files |= steps
    start = io.BytesIO()
    speed = factor(model, model.units.dimension(VELOCITY))
    v = np.asarray(initial.v * speed, dtype)
    np.savez(start, x=arguments[0], box=arguments[1], v=v, **{f"param:{n}": v for n, v in free.items()})
    files[EXAMPLE] = start.getvalue()
    manifest = _manifest(subject, name, arguments, precision, described(), tuple(steps))
    files[MANIFEST] = json.dumps(manifest, indent=2) + "\n"
    if found.traversal.listed:
        notes.append("a neighbour list with room for states like the start is built in each call; NaN where it is full")
    return Deck(files, tuple(notes), {n + SUFFIX: "jax.export" for n in FUNCTIONS}, {"platforms": list(PLATFORMS)})


def _steps(subject: Subject, arguments, precision: str) -> tuple[dict[str, str | bytes], list[str]]:
    """A file for each statement of dynamics: one step of it, of positions, velocities and the data of a random key; and
    which statements have none."""
    import jax
    import jax.numpy as jnp
    from jax import export as jax_export

    from mdsl.lowering.planning.policy import DEFAULT
    from mdsl.lowering.run.members import single
    from mdsl.lowering.run.traced import trajectory

    model, initial = subject.model, subject.initial
    length, speed = factor(model, LENGTH), factor(model, model.units.dimension(VELOCITY))
    files: dict[str, str | bytes] = {}
    notes = []
    for k, advance in enumerate(subject.field.dynamics):
        short = advance.scheme.rpartition(".")[2]
        why = (
            "it has a memory from step to step" if advance.states
            else "it ends by a condition" if advance.until is not None
            else "it changes the box" if any(s.target == "cell" for s in advance.statements)
            else "it depends on the time" if names_in(advance.body) & {"t", "t_start", "x_start", "v_start"}
            else ""
        )  # fmt: skip
        if why:
            notes.append(f"no step of `{short}` is exported: {why}")
            continue
        alone = replace(subject.field, dynamics=(replace(advance, outputs=()),))
        members = single(alone, initial, {**subject.params, **initial.data}, None, precision)

        def step(x, v, params, key, members=members):
            leaves = {n: p / parameter_scale(subject, n) for n, p in params.items()}
            leaves |= {n: jnp.asarray(d) for n, d in initial.data.items()}
            found = trajectory(members, DEFAULT, jax.random.wrap_key_data(key), leaves, 1, x / length, v / speed)
            return found.x * length, found.v * speed

        x, _, params = arguments
        key = np.asarray(jax.random.key_data(jax.random.key(0)))
        shaped = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), (x, x, params, key))
        written = jax_export.export(jax.jit(step), platforms=PLATFORMS)(*shaped)
        files[f"step-{k + 1}{SUFFIX}"] = bytes(written.serialize())
    return files, notes


def parameter_scale(subject: Subject, name: str) -> float:
    param = subject.model.declaration(name)
    return 1.0 if param.learned is not None else factor(subject.model, param.type.dimension)


def _manifest(
    subject: Subject, name: str, arguments, precision: str, jax_version: str, steps: Sequence[str]
) -> dict[str, object]:
    model, initial = subject.model, subject.initial
    x, box, free = arguments

    def unit(dimension: Dimension) -> str:
        return model.units.display(dimension).text or "1"

    results = {"energy": [], "forces": list(x.shape), "virial": [model.dim, model.dim]}
    return {
        "program": name,
        "written with": jax_version,
        "calling convention": "jax.export.deserialize(bytes).call(x, box, params)",
        "platforms": list(PLATFORMS),
        "kernels": "XLA's on each platform",
        "precision": precision,
        "jax_enable_x64": precision != "single",
        "atoms": initial.atoms,
        "dimensions": model.dim,
        "periodic": [bool(p) for p in initial.periodic],
        "unit system": model.units.name,
        "arguments": {
            "x": {"shape": list(x.shape), "dtype": str(x.dtype), "unit": unit(LENGTH)},
            "box": {
                "shape": list(box.shape),
                "dtype": str(box.dtype),
                "unit": unit(LENGTH),
                "meaning": "box vectors in rows, lower triangular; 1 along an axis without end",
            },
            "params": {
                n: {
                    "shape": list(v.shape),
                    "dtype": str(v.dtype),
                    "unit": "1" if model.declaration(n).learned else unit(model.declaration(n).type.dimension),
                }
                for n, v in free.items()
            },
        },
        "results": {
            which: {
                "file": which + SUFFIX,
                "shape": results[which],
                "unit": unit(FUNCTIONS[which]),
            }
            for which in FUNCTIONS
        },
        "steps": {
            file: {
                "calling convention": "x, v = jax.export.deserialize(bytes).call(x, v, params, key)",
                "key": "uint32 numbers, as of jax.random.key_data; only random numbers of the step depend on it",
                "box": "that of the start",
                "x": "brought back into the box",
                "v": {"unit": unit(VELOCITY)},
            }
            for file in steps
        },
        "not a number": "says that the neighbour list of the export has too little room for the positions",
        "start": EXAMPLE,
        "species": [int(k) for k in initial.species] if model.species else [],
        "species names": list(model.species),
    }


class Evaluation:
    """The files of an export, read back and called."""

    def __init__(self, subject: Subject, folder: Path):
        import jax
        from jax import export as jax_export

        self.subject = subject
        self.version = f"jax {jax.__version__}"
        self.functions = {w: jax_export.deserialize((folder / (w + SUFFIX)).read_bytes()) for w in FUNCTIONS}
        with np.load(folder / EXAMPLE) as start:
            self.params = {n.removeprefix("param:"): start[n] for n in start.files if n.startswith("param:")}

    def __call__(self, x: np.ndarray, cell: np.ndarray) -> State:
        model = self.subject.model
        length = factor(model, LENGTH)

        def value(which: str) -> np.ndarray:
            scale = factor(model, model.units.dimension(FUNCTIONS[which]))
            return np.asarray(self.functions[which].call(x * length, cell * length, self.params)) / scale

        return State(float(value("energy")), value("forces"), value("virial"))

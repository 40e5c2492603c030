"""`System.run`: one run, a batch of them, or a pure function inside transformations of JAX."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from mdsl.grammar.diagnostics import Diagnostic, Rejected
from mdsl.interpret.constants import factor
from mdsl.lowering.field.reduced import exchange_of
from mdsl.lowering.run.outcome import Outcome
from mdsl.lowering.tracing import is_traced
from mdsl.model.dimensions import LENGTH, TIME, VELOCITY
from mdsl.model.nodes import Advance
from mdsl.model.observable_types import observable_type

from .arguments import bound_by, data_given, scale, start_given
from .fixed_by_bind import check_counts, check_fixed
from .results import Kept, Memory, Result

if TYPE_CHECKING:
    from .system import System


def run(system: System, key, x, v, box, params, data, steps: int | None, trajectory: bool = False) -> Result:
    """A run, or, of an array of keys, a batch; arguments as of `System.run`. Raises Rejected: ``empty-program`` where
    there is nothing to run, ``wrong-type``, ``wrong-shape``, ..."""
    import jax

    if not any(isinstance(step, Advance) for step in system.model.run):
        raise Rejected(
            Diagnostic(
                "empty-program",
                "there is nothing to run: the program has no statement of dynamics",
                help="a run needs one, as in `run { x = ...  velocity_verlet(dt = 0.005) for 100 }`",
            )
        )
    if not hasattr(key, "dtype"):
        raise Rejected(
            Diagnostic(
                "wrong-type",
                f"`key` is a random key of JAX, not {key!r}",
                help=f"for example jax.random.key({key if isinstance(key, int) else 0})",
            )
        )
    several = getattr(key, "ndim", 0) != (0 if jax.dtypes.issubdtype(key.dtype, jax.dtypes.prng_key) else 1)
    if system.model.replicas is not None:
        return _replicas(system, key, several, x, v, box, params, data, steps, trajectory)
    if several:
        return _batch(system, key, x, v, box, params, data, steps, trajectory)
    return _single(system, key, x, v, box, params, data, steps, trajectory)


def _single(system: System, key, x, v, box, params, data, steps: int | None, trajectory: bool) -> Result:
    """The run of one system."""
    from mdsl.lowering.run.members import single

    check_fixed(system, params, x is None, v is None)
    check_counts(system, params, steps)
    leaves = {**system.program.internal(params), **data_given(system, data)}
    start = start_given(system, x, v, box, leaves)
    if is_traced((key, leaves, start)):
        return _traced(system, key, leaves, steps, *start)
    members = single(system.program.compiled.field, bound_by(system, leaves, *start), leaves, key, system.precision)
    return _result(system, _runner(system, "last", members), steps, trajectory).of(0)


def _runner(system: System, name: str, members):
    """What runs these members: what an earlier run of this kind has compiled, where it serves."""
    from mdsl.lowering.run.driver import Runner

    runner = system._runners.get(name)
    if runner is None or not runner.fits(members):
        runner = system._runners[name] = Runner(members, system.devices, system.policy)
    runner.prepare(members)
    return runner


def _result(system: System, runner, steps: int | None, trajectory: bool) -> Result:
    """Of all systems of a run."""
    memory = Memory(system.model, runner.members, trajectory)
    memory.begin(runner.exchanges)
    final = runner.run(memory, steps)
    tilted = runner.members.first.initial.tilted
    return Result(
        memory.arrays(),
        final.x * scale(system, LENGTH),
        final.v * scale(system, VELOCITY),
        final.step,
        final.time * scale(system, TIME),
        (final.cell if tilted else np.diagonal(final.cell, axis1=-2, axis2=-1)) * scale(system, LENGTH),
        runner.counts,
        tuple(runner.outcomes),
        {k: loss.diagnostic for k, loss in runner.members.lost.items()},
        {name: row for name, (_, row) in memory.began.items()},
        memory.history(),
        Kept(system, [m.params for m in runner.members.asked], memory.frames),
    )


# -- inside transformations --------------------------------------------------------------------------------


def _traced(system: System, key, leaves, steps: int | None, x=None, v=None, box=None) -> Result:
    import jax
    import jax.numpy as jnp

    from mdsl.lowering.run.members import single
    from mdsl.lowering.run.traced import trajectory

    # A key may be traced, and so may parameters: what must be a number is taken from the defaults.
    with jax.ensure_compile_time_eval():
        defaults = {**system.program.internal(None), **system.initial.data}
    members = single(system.program.compiled.field, system.initial, defaults, None, system.precision)
    found = trajectory(members, system.policy, key, leaves, steps, x, v, box)
    arrays = {}
    for name, parts in found.records.items():
        size = factor(system.model, observable_type(system.model, name).dimension)
        values = [jax.tree.map(lambda a: a * size, value) for value in parts]
        arrays[name] = jnp.concatenate(
            [jnp.stack(jax.tree.leaves(v), -1).reshape(*_shape(v)) if isinstance(v, tuple) else v for v in values]
        )
    cell, dim = found.cell, system.model.dim
    box = (
        jnp.array([[*cell.row(k), *[0.0] * (dim - k - 1)] for k in range(dim)]) if cell.tilts else jnp.stack(cell.edges)
    )
    return Result(
        arrays,
        found.x * scale(system, LENGTH),
        found.v * scale(system, VELOCITY),
        found.step,
        found.time * scale(system, TIME),
        box * scale(system, LENGTH),
        statements=tuple(Outcome(*o) for o in found.outcomes),
    )


def _shape(value: tuple) -> tuple[int, ...]:
    """The shape of the records of a vector or matrix, given as nested tuples of arrays [rows]."""
    first, shape = value, []
    while isinstance(first, tuple):
        shape.append(len(first))
        first = first[0]
    return (first.shape[0], *shape)


# -- batches -----------------------------------------------------------------------------------------------


def _replicas(
    system: System, key, several: bool, x, v, box, params, data, steps: int | None, trajectory: bool
) -> Result:
    """The run of the replicas that the program declares, each from its own start where none is given. Raises Rejected:
    ``no-derivative`` where they exchange inside transformations of JAX, ``wrong-shape``, ..."""
    import jax
    import jax.numpy as jnp

    number = system.model.replicas
    count, name, given = number.numbers.count, number.name, dict(params or {})
    if several and len(key) != count:
        raise Rejected(Diagnostic("wrong-shape", f"the program has {count} replicas, and is given {len(key)} keys"))
    first = given.pop(name, float(number.numbers.first))
    if not is_traced(first) and np.any(np.asarray(first) != number.numbers.first):
        message = f"`{name}` numbers the replicas, and has no value of its own"
        raise Rejected(Diagnostic("unknown-parameter", message, number.span, help="give what is made of it"))
    traced = is_traced((key, given, first, x, v, box, data))
    if traced and (found := next((a for a in system.program.compiled.field.dynamics if exchange_of(a)), None)):
        raise Rejected(
            Diagnostic(
                "no-derivative",
                "a run in a transformation of JAX exchanges replicas, and whether these exchange changes in jumps",
                exchange_of(found).span,
                help="run it outside of transformations; without `exchange` runs of replicas have derivatives, and "
                "energies have them in any case",
            )
        )
    numbers = first + jnp.arange(count) if is_traced(first) else np.arange(count, dtype=float) + number.numbers.first
    keys = key if several else jax.random.split(key, count)
    if x is None and traced:  # where each begins is known, and passed as what is given
        x = np.stack([s.x for s in system.starts]) * scale(system, LENGTH)
        cells = np.stack([s.cell for s in system.starts])
        box = box if box is not None or (cells == cells[0]).all() else cells * scale(system, LENGTH)
    if v is None and traced:
        v = np.stack([s.v for s in system.starts]) * scale(system, VELOCITY)
    return _batch(system, keys, x, v, box, {**given, name: numbers}, data, steps, trajectory)


def _batch(system: System, keys, x, v, box, params, data, steps: int | None, trajectory: bool) -> Result:
    """The run of a batch, whose start, box, parameters and data may be one for each replica; inside JAX transformations
    `jax.vmap` of the run."""
    import jax

    from mdsl.lowering.dynamics.chain import REPLICAS
    from mdsl.lowering.run.losses import told
    from mdsl.lowering.run.members import Member, batch

    if len(keys.shape) - (not jax.dtypes.issubdtype(keys.dtype, jax.dtypes.prng_key)) != 1 or len(keys) == 0:
        raise Rejected(
            Diagnostic("wrong-shape", f"the keys have the shape {keys.shape}; they are one key, or an array of keys")
        )
    count, initial = len(keys), system.initial
    own, params = _divided(params, {n: [np.shape(p)] for n, p in system.program.params.items()}, count)
    numbers, data = _divided(data, {n: [a.shape] for n, a in initial.data.items()}, count)
    given = {name: a for name, a in (("x", x), ("v", v), ("box", box)) if a is not None}
    dim = system.model.dim  # where there are as many replicas, [d, d] are the vectors of one box
    places, shared = _divided(
        given, {"x": [initial.x.shape], "v": [initial.x.shape], "box": [(), (1,), (dim,), (dim, dim)]}, count
    )
    if is_traced((keys, own, params, x, v, box, numbers, data)):

        def one(key, own, numbers, places) -> tuple:
            given = {"x": None, "v": None, "box": None, **shared, **places}
            found = _single(
                system, key, **given, params={**params, **own}, data={**data, **numbers}, steps=steps, trajectory=False
            )
            return (
                found.records,
                found.x,
                found.v,
                found.step,
                found.time,
                found.box,
                [(o.steps, o.converged) for o in found.statements],
            )

        *found, outcomes = jax.vmap(one, axis_name=REPLICAS)(keys, own, numbers, places)
        return Result(*found, statements=tuple(Outcome(*o) for o in outcomes))
    of = lambda values, k: {n: np.asarray(a)[k] for n, a in values.items()}  # noqa: E731
    common = {n: np.asarray(a) for n, a in {**system.program.internal(params), **data_given(system, data)}.items()}
    members, number = [], system.model.replicas and system.model.replicas.name
    for k in range(count):
        mine = of(own, k)
        # The start of a replica that the program declares is made with its number.
        check_fixed(system, {n: p for n, p in {**params, **mine}.items() if n != number}, x is None, v is None)
        leaves = common | (
            {n: np.asarray(a) for n, a in system.program.internal(mine).items() if n in mine} if mine else {}
        )
        leaves |= {n: np.asarray(a) for n, a in data_given(system, of(numbers, k)).items() if n in numbers}
        start = {"x": None, "v": None, "box": None, **shared, **of(places, k)}
        begins = replace(system, initial=system.starts[k]) if system.starts else system
        initial = bound_by(begins, leaves, *start_given(system, **start, leaves=leaves))
        members.append(Member(initial, leaves, keys[k]))
    together = batch(system.program.compiled.field, members, system.precision, system.devices)
    runner = _runner(system, "batch", together)
    found = _result(system, runner, steps, trajectory)
    if found.lost:
        words = (d.message for d in told(runner.members.lost, count))
        warnings.warn(
            f"{len(found.lost)} of {count} replicas were lost, and are NaN from there on: {'; '.join(words)}",
            stacklevel=4,
        )
    return found


def _divided(given: Mapping | None, shapes: Mapping[str, list[tuple[int, ...]]], count: int) -> tuple[dict, dict]:
    """Of values by name: those that have one for each replica, along a first axis, and those that all have alike.
    ``shapes``: that a single one may have. Raises Rejected: ``wrong-shape``."""
    own, shared = {}, {}
    for name, value in (given or {}).items():
        shape, single = np.shape(value), shapes.get(name, [np.shape(value)])
        if shape not in single and (len(shape) == 0 or (count, *shape[1:]) != shape or shape[1:] not in single):
            one, each = (" or ".join(map(str, dict.fromkeys(s))) for s in (single, [(count, *s) for s in single]))
            raise Rejected(
                Diagnostic(
                    "wrong-shape",
                    f"`{name}` has the shape {shape}, not {one}, nor, one for each of {count} replicas, {each}",
                )
            )
        (shared if shape in single else own)[name] = value
    return own, shared

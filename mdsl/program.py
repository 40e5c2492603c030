"""The Python face: compile a program, bind arrays to it, and get pure functions of JAX.

All arrays are in the units of the program's unit system (`units.metal`: angstrom, eV, ...), and so are the
results. `program.params` holds the free parameters; energies and forces take other values as ``params=``.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from . import batch
from .atom_data import check_data_names
from .before_run import factor
from .box import decided_by
from .compiler import Compiled, compile_source
from .dimensions import ENERGY, FORCE, LENGTH, TIME, VELOCITY, Dimension
from .grammar.diagnostics import Diagnostic, Rejected
from .grammar.source import Source
from .initial import Initial, bind, following, given_velocities, start, still
from .model import Advance, Model, Setup
from .no_derivative import check_bound, is_traced, refuse, unknown
from .observables import observable_type
from .outcome import Outcome, not_converged
from .reads import reads
from .sources import read_program
from .topologies import check_names, check_whole
from .weights import joined, missing_externs, with_seed


def compile(text: str, folder: str | Path | None = None, *, externs: Mapping[str, Callable] | None = None) -> Program:
    """The program in a text. ``folder`` is where the files and modules that it names lie.

    ``externs``: the functions of Python that it calls, by name. Raises Rejected with every error found.
    """
    return Program(compile_source(Source("<string>", text), Path(folder) if folder is not None else Path.cwd(), externs))


def load(path: str | Path, *, externs: Mapping[str, Callable] | None = None) -> Program:
    """The program in a file. ``externs``: the functions of Python that it calls, by name. Raises Rejected."""
    source, folder = read_program(path)
    return Program(compile_source(source, folder, externs))


@dataclass(frozen=True, eq=False)
class Program:
    """A compiled program: text without arrays."""

    compiled: Compiled

    def __repr__(self) -> str:
        return f"Program({self.compiled.source.name!r})"

    @property
    def text(self) -> str:
        """The program as it was written."""
        return self.compiled.source.text

    @property
    def model(self):
        return self.compiled.model

    @property
    def warnings(self) -> tuple[Diagnostic, ...]:
        return self.compiled.warnings

    @cached_property
    def params(self) -> dict[str, object]:
        """The free parameters by name: scalars, arrays with an axis for each of their axes, and of a learned function a
        dict of its weights."""
        import jax

        from .lowering.values import defaults

        # Asked for first inside a transformation, they are numbers all the same.
        with jax.ensure_compile_time_eval():
            return {name: shown_param(self.model, name, value) for name, value in defaults(self.model).items()}

    def initial_params(self, seed: int) -> dict[str, object]:
        """`params` with the weights of learned functions drawn by another seed."""
        return replace(self, compiled=with_seed(self.compiled, seed)).params

    def _scale(self, name: str) -> float:
        return factor(self.model, self.model.param(name).type.dimension)

    def internal(self, params: Mapping[str, object] | None) -> dict[str, object]:
        """Parameters in internal units; those not given have their defaults. Raises Rejected: ``unknown-parameter``,
        ``no-derivative``."""
        import jax.numpy as jnp

        given = dict(params or {})
        for name, value in given.items():
            if name not in self.params:
                raise unknown(self.model, self.params, name, value)
            if (network := self.model.param(name).learned) is not None:
                given[name] = joined(network, value)
            elif jnp.shape(value) != jnp.shape(self.params[name]):
                raise Rejected(Diagnostic("wrong-shape", f"`{name}` has the shape {jnp.shape(value)}, not {jnp.shape(self.params[name])}"))
        default = {name: joined(n, value) if (n := self.model.param(name).learned) else value for name, value in self.params.items() if name not in given}
        return {name: jnp.asarray(given[name] if name in given else default[name]) / self._scale(name) for name in self.params}

    def explain(self) -> str:
        """What the compiler decided, with line numbers."""
        from .explain import explain

        return explain(self.compiled)

    def bind(
        self,
        x=None,
        *,
        box=None,
        species: Sequence | None = None,
        velocities=None,
        masses=None,
        topologies: Mapping[str, object] | None = None,
        data: Mapping[str, object] | None = None,
        seed: int = 0,
        precision: str | None = None,
        devices: Sequence | None = None,
        skin: float | None = None,
    ) -> System:
        """The program with atoms.

        x: positions [N, d]; box: one edge, one for each axis, or the box vectors in the rows of [d, d], triangular
        (a along x, b in the plane of x and y), inf for what does not repeat; species: [N] labels or places in `species`;
        velocities: [N, d]; masses: [N]; topologies: name to the atoms of its tuples, [M, k], counted from 0; data:
        name to an array with the axes of its declaration, in the unit declared. Without ``x``, atoms are placed as
        the run block says, random ones by ``seed``, and there are no ``box``, ``species`` and ``masses`` to give. Without
        ``velocities`` these are drawn as the run block says (`v ~ ...`), by ``seed``, and are 0 where it does not. ``precision`` is single, mixed or double (None: as JAX is set up); ``devices`` share the work
        of `run`; ``skin`` is what a neighbour list holds beyond the cutoff.

        Raises Rejected: ``wrong-shape``, ``wrong-arguments``, ``unknown-species``, ``missing-data``, ``box-too-small``, ``no-support``, ...
        """
        missing = missing_externs(self.model)
        if missing:
            raise Rejected(*missing)
        check_bound({"x": x, "box": box, "species": species, "velocities": velocities, "masses": masses, "topologies": topologies, "data": data, "seed": seed, "skin": skin})
        params = {name: np.asarray(value) for name, value in self.internal(None).items()}
        if x is None:
            without = next((name for name, given in (("box", box), ("species", species), ("masses", masses)) if given is not None), None)
            if without is not None:
                raise Rejected(Diagnostic("wrong-arguments", f"`{without}` of `bind` is given without `x`", help=f"the run block places the atoms, and decides their {without}; give their positions too, or change the program"))
            initial = start(self.model, self.compiled.folder, seed, params, check_names(self.model, topologies), check_data_names(self.model, data))
            if velocities is not None:
                initial = replace(initial, v=given_velocities(self.model, velocities, initial.species))
        else:
            initial = bind(self.model, x, box, species, velocities, masses, params, topologies, data, seed)
        self._check_whole(initial)
        for note in initial.notes:
            warnings.warn(note, stacklevel=2)
        length = factor(self.model, LENGTH)
        return System(self, initial, _precision(precision), tuple(devices) if devices else None, None if skin is None else skin / length, x is None, velocities is None)

    def _check_whole(self, initial: Initial) -> None:
        from .lowering.images import nearest, widths

        half = min((w / 2 for w, repeats in zip(widths(initial.cell), initial.periodic) if repeats), default=np.inf)
        check_whole(self.model, initial.topologies, initial.x, lambda d: nearest(d, initial.cell, initial.periodic), half, factor(self.model, LENGTH))


def shown_param(model: Model, name: str, value):
    """A parameter as the user sees it, from its value in internal units: of a learned function a dict of its weights."""
    param = model.param(name)
    return value * factor(model, param.type.dimension) if param.learned is None else param.learned.split(value)


def _precision(asked: str | None) -> str:
    import jax

    double = jax.config.jax_enable_x64
    if asked is None:
        return "double" if double else "single"
    if asked not in ("single", "mixed", "double"):
        raise Rejected(Diagnostic("precision", f"there is no precision `{asked}`", help="single, mixed or double"))
    if asked != "single" and not double:
        raise Rejected(Diagnostic("precision", f"{asked} precision needs 64-bit numbers, which JAX has switched off", help='jax.config.update("jax_enable_x64", True) before the first array is made'))
    return asked


@dataclass(frozen=True, eq=False)
class Result:
    """What a run gives: ``records`` name to array [rows, ...], with ``step`` and ``time``; the final state: x and v
    [N, d], and the box, edges [d] or vectors [d, d], with 1 for an axis that does not repeat; for each statement of
    dynamics its steps and whether it converged (None where it does not run `until` a condition holds). Of a batch all
    arrays have the replicas along their first axis; where a replica has fewer rows than others, what is missing at the
    end is NaN, and -1 of ``step``. ``lost``: the replicas that went wrong on the way, and what is said of each; their
    records end before, their final state is NaN, and ``step`` and ``time`` are the last at which they were sound."""

    records: dict[str, np.ndarray]
    x: np.ndarray
    v: np.ndarray
    step: int
    time: float
    box: np.ndarray
    counts: object = field(repr=False, default=None)
    statements: tuple[Outcome, ...] = ()
    lost: Mapping[int, Diagnostic] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class System:
    """A program with atoms. ``energy``, ``forces`` and ``stress`` are pure: jit, grad and vmap them over anything.
    ``data=`` takes other values than those bound, in the units of their declarations."""

    program: Program
    initial: Initial
    precision: str
    devices: tuple | None
    skin: float | None
    placed: bool = False  # by the run block, not by arrays
    drawn: bool = False  # velocities, by the run block

    def __repr__(self) -> str:
        return f"System({self.program!r}, {self.initial.atoms} atoms, {self.precision} precision)"

    @property
    def model(self):
        return self.program.model

    @property
    def x(self) -> np.ndarray:
        """[N, d]: the positions that were bound."""
        return self.initial.x * factor(self.model, LENGTH)

    @property
    def v(self) -> np.ndarray:
        return self.initial.v * factor(self.model, self.model.units.dimension(VELOCITY))

    @property
    def box(self) -> np.ndarray:
        """[d]: the edges of the box, or [d, d]: its vectors in rows, where it is not rectangular; inf on an axis
        without end."""
        edges = np.where(self.initial.periodic, self.initial.lengths, np.inf)
        cell = np.tril(self.initial.cell, -1) + np.diag(edges) if self.initial.tilted else edges
        return cell * factor(self.model, LENGTH)

    def _free(self, exprs) -> frozenset[str]:
        return reads(self.model, tuple(exprs)) & self.program.params.keys()

    @cached_property
    def _fixed(self) -> dict[str, frozenset[str]]:
        """Free parameters by which `bind` placed the atoms, or made the box with them (x), and gave them velocities (v)."""
        setups = [step for step in self.model.run if isinstance(step, Setup)]
        by_program = {"x": self.placed, "v": self.drawn}
        return {target: self._free(value for step in setups if step.target == target and whose for _, value in step.options) for target, whose in by_program.items()}

    @cached_property
    def _counting(self) -> frozenset[str]:
        """Free parameters that say how many steps there are, or how many records."""
        runs = [step for step in self.model.run if isinstance(step, Advance)]
        return self._free([*(a.steps for a in runs), *(o.every for a in runs for o in a.outputs)])

    def _check_fixed(self, params: Mapping[str, object] | None, placed: bool = True, moving: bool = False) -> None:
        """Refuse values that would have changed what `bind` did: the positions and the box (``placed``), or the
        velocities (``moving``). Of traced values it is not known whether they would. Raises Rejected: ``nonconstant``,
        ``no-derivative``."""
        names = (self._fixed["x"] if placed else frozenset()) | (self._fixed["v"] if moving else frozenset())
        for name in names & (params or {}).keys():
            value, what = params[name], "where the atoms start" if name in self._fixed["x"] else "the velocities at the start"
            if is_traced(value):
                raise refuse(f"`{name}` decides {what}, which `bind` has fixed, but is traced", f'give a start of your own, `run(key, {"x=..." if name in self._fixed["x"] else "v=..."})`, or a number: params={{**params, "{name}": ...}}')
            if not np.array_equal(value, self.program.params[name]):
                raise Rejected(Diagnostic("nonconstant", f"`{name}` decides {what}, which `bind` has fixed", help=f"compile the program with another `{name}`, or bind arrays and a box of your own"))

    def _check_counts(self, params: Mapping[str, object] | None, steps) -> None:
        """Refuse traced numbers of steps. Raises Rejected: ``no-derivative``."""
        if is_traced(steps):
            raise refuse("`steps` is traced", "how long a run is must be known when it is compiled")
        if isinstance(steps, bool) or steps is not None and (not isinstance(steps, (int, np.integer)) or steps < 0):
            raise Rejected(Diagnostic("bad-number", f"`steps` is a whole number, at least 0, not {steps!r}"))
        for name in self._counting & (params or {}).keys():
            if is_traced(params[name]):
                raise refuse(f"`{name}` decides how many steps there are, but is traced", f'give a number: params={{**params, "{name}": ...}}, or declare it as `const {name} = ...`')

    @cached_property
    def _runners(self) -> dict[str, object]:
        return {}

    @cached_property
    def _energies(self):
        import jax

        from .lowering.bound import energies

        # The first call may come from inside `jit`, but what is planned here are numbers.
        with jax.ensure_compile_time_eval():
            return energies(self.program.compiled.field, self.initial, self.precision, {**self.program.internal(None), **self.initial.data})

    def _data(self, data: Mapping[str, object] | None) -> dict[str, object]:
        """The data that were bound, with those given in their place; internal units."""
        import jax.numpy as jnp

        found: dict[str, object] = dict(self.initial.data)
        for name, values in check_data_names(self.model, data).items():
            if jnp.shape(values) != found[name].shape:
                raise Rejected(Diagnostic("wrong-shape", f"the data `{name}` have the shape {jnp.shape(values)}, not {found[name].shape}"))
            found[name] = jnp.asarray(values) * self.model.param(name).data.size
        return found

    def _arguments(self, x, params, box, data):
        import jax.numpy as jnp

        self._check_fixed(params, box is None)
        length = factor(self.model, LENGTH)
        energies = self._energies
        dtype = energies.positions_dtype
        x = jnp.asarray(self.x if x is None else x, dtype) / length
        if x.shape != self.initial.x.shape:
            raise Rejected(Diagnostic("wrong-shape", f"x has the shape {x.shape}, the system {self.initial.x.shape}"))
        leaves = {name: jnp.asarray(v, dtype) for name, v in {**self.program.internal(params), **self._data(data)}.items()}
        return leaves, x, self._cell(box, leaves, dtype)

    def _cell(self, box, leaves, dtype):
        """The box as it was bound, or as the program declares it for these parameters, or another: one edge, [d]
        or [d, d]."""
        import jax
        import jax.numpy as jnp

        from .lowering.box import declared
        from .lowering.cell import Cell, cast, of_matrix

        if box is None and self.initial.declared and decided_by(self.model) & leaves.keys():
            return declared(self.model, self._energies.energies.complete(leaves), 0.0, self.initial.atoms, dtype)
        if box is None:
            return cast(of_matrix(self.initial.cell, self.initial.tilted), dtype)
        dim, periodic = self.model.dim, self.initial.periodic
        box = jnp.asarray(box, dtype) / factor(self.model, LENGTH)
        if box.shape != (dim, dim):
            if box.size not in (1, dim):
                raise Rejected(Diagnostic("wrong-shape", f"box has the shape {box.shape}; it is one edge, {dim} edges, or {dim} vectors"))
            edges = jnp.broadcast_to(box, (dim,))
            return Cell(tuple(e if p else jnp.ones_like(e) for e, p in zip(edges, periodic)))
        skew = (jnp.triu(box, 1) != 0).any()
        if not isinstance(box, jax.core.Tracer) and skew:
            raise Rejected(Diagnostic("bad-box", "the box vectors are not those of a triangular matrix", help="the entries above the diagonal are 0: a lies along x, b in the plane of x and y"))
        # A traced box can only be seen to be wrong when it is too late to say so.
        box = box + jnp.where(skew, jnp.nan, 0.0)
        return of_matrix([row if p else jnp.eye(dim, dtype=dtype)[k] for k, (row, p) in enumerate(zip(box, periodic))], tilted=True)

    def _scale(self, dimension: Dimension) -> float:
        return factor(self.model, self.model.units.dimension(dimension))

    def energy(self, x=None, *, params: Mapping[str, object] | None = None, box=None, data: Mapping[str, object] | None = None):
        """The potential energy of positions [N, d]. Inside JAX transformations NaN says that a neighbour list
        overflowed; outside, the list is made larger and the energy is computed again."""
        leaves, x, cell = self._arguments(x, params, box, data)
        return self._energies.call("energy", leaves, x, cell) * self._scale(ENERGY)

    def forces(self, x=None, *, params: Mapping[str, object] | None = None, box=None, data: Mapping[str, object] | None = None):
        """[N, d]: minus the gradient of the energy."""
        leaves, x, cell = self._arguments(x, params, box, data)
        return self._energies.call("forces", leaves, x, cell) * self._scale(FORCE)

    def virial(self, x=None, *, params: Mapping[str, object] | None = None, box=None, data: Mapping[str, object] | None = None):
        """[d, d]: the sum of r f over interactions, an energy; positive where they push outwards."""
        leaves, x, cell = self._arguments(x, params, box, data)
        return self._energies.call("virial", leaves, x, cell) * self._scale(ENERGY)

    def stress(self, x=None, *, params: Mapping[str, object] | None = None, box=None, data: Mapping[str, object] | None = None):
        """[d, d]: the derivative of the energy by strain, over the volume; positive in tension. No kinetic part."""
        leaves, x, cell = self._arguments(x, params, box, data)
        from .lowering.cell import volume

        virial = self._energies.call("virial", leaves, x, cell)
        return -virial / volume(cell) * self._scale(ENERGY / LENGTH**self.model.dim)

    def relaxed(self, x, *, params: Mapping[str, object] | None = None, box=None, data: Mapping[str, object] | None = None):
        """Positions [N, d] of a minimum, such as a minimizer has found, with the derivatives of the minimum.

        The value is ``x``. Its derivatives by ``params``, ``box`` and ``data`` are how the minimum moves with them, by
        the condition that forces stay 0: not those of the way to it, at the cost of one system of linear equations. If
        ``x`` is itself a function of them (positions that are strained with the box) the minimum is that near it, and of
        displacements that cost no energy it keeps those of ``x``. Atoms of species that are frozen stay where they
        are. Forces at ``x`` are not looked at; derivatives that cannot be found are NaN.
        """
        import jax.numpy as jnp

        from .lowering.minimum import moved_along

        free = 1.0 - still(self.model, self.initial.species)[:, None] if self.model.frozen else 1.0
        x = jnp.asarray(x, self._energies.positions_dtype)
        return moved_along(lambda x: self.forces(x, params=params, box=box, data=data), x, free)

    def run(
        self,
        key,
        *,
        x=None,
        v=None,
        box=None,
        params: Mapping[str, object] | None = None,
        data: Mapping[str, object] | None = None,
        steps: int | None = None,
    ) -> Result:
        """Carry out the statements of dynamics of the run block; each has at most ``steps`` steps.

        ``key`` is a JAX random key, or an array of B keys: the run of a batch, which gives what B runs would, in less
        time. Then ``params``, ``data``, ``x``, ``v`` and ``box`` may have a value for each replica, along a first axis of
        that length (a box as edges [B, d] or vectors [B, d, d]; where B is d, [d, d] are the vectors of one box).
        ``x`` and ``v`` [N, d] start the run in place of what was bound: positions in the
        box that was bound, which a box that the program declares by its parameters carries along with it. ``box`` is
        another box, as for `energy`, in which positions are where they are said to be. Inside JAX transformations
        (jit, grad, vmap over all of these) the run is one pure function, its records are traced arrays, each with its own
        rows only (outside, NaN fills those where something else was recorded), and NaN says
        that a neighbour list overflowed or that the run blew up. Outside, of a batch some replicas may blow up: the others go
        on, and ``lost`` of the result tells which, as a warning does. Raises Rejected: ``blow-up``, ``overlap``,
        ``neighbour-overflow``, ``wrong-shape``, ``batch-shape``, ``no-derivative``.
        """
        import jax

        if not hasattr(key, "dtype"):
            raise Rejected(Diagnostic("wrong-type", f"`key` is a random key of JAX, not {key!r}", help=f"for example jax.random.key({key if isinstance(key, int) else 0})"))
        if not getattr(key, "ndim", 0) == (0 if jax.dtypes.issubdtype(key.dtype, jax.dtypes.prng_key) else 1):
            return batch.run(self, key, x, v, box, params, data, steps)

        from .lowering.driver import Runner

        self._check_fixed(params, x is None, v is None)
        self._check_counts(params, steps)
        leaves = {**self.program.internal(params), **self._data(data)}
        start = self._start(x, v, box, leaves)
        if any(isinstance(a, jax.core.Tracer) for a in jax.tree.leaves((key, leaves, start))):
            return self._traced(key, leaves, steps, *start)
        # What one run has compiled serves the next.
        runner, initial = self._runners.get("last"), self._bound(leaves, *start)
        if runner is None or not runner.fits(leaves, initial):
            runner = Runner(self.program.compiled.field, initial, leaves, key, self.precision, self.devices, self.skin)
            self._runners["last"] = runner
        runner.prepare(leaves, key)
        listener = _Memory(self.model)
        final = runner.run(listener, steps, runner.first(initial))
        return Result(
            listener.arrays(),
            final.x * self._scale(LENGTH),
            final.v * self._scale(VELOCITY),
            final.step,
            final.time * self._scale(TIME),
            final.cell * self._scale(LENGTH) if self.initial.tilted else np.diag(final.cell) * self._scale(LENGTH),
            runner.counts,
            tuple(runner.outcomes),
        )

    def _start(self, x, v, box, leaves):
        """Positions, velocities and box that are given, in internal units; None where they are not."""
        import jax.numpy as jnp

        dtype = jnp.float32 if self.precision == "single" else jnp.float64
        scales = {"x": self._scale(LENGTH), "v": self._scale(VELOCITY)}
        given = {name: None if a is None else jnp.asarray(a, dtype) / scales[name] for name, a in (("x", x), ("v", v))}
        for name, array in given.items():
            if array is not None and array.shape != self.initial.x.shape:
                raise Rejected(Diagnostic("wrong-shape", f"{name} has the shape {array.shape}, the system {self.initial.x.shape}"))
        if given["v"] is not None and self.model.frozen:
            given["v"] = jnp.where(still(self.model, self.initial.species)[:, None], 0.0, given["v"])
        return given["x"], given["v"], None if box is None else self._cell(box, leaves, dtype)

    def _bound(self, leaves, x, v, cell) -> Initial:
        """The state of a run outside of transformations that starts from these."""
        from .lowering.cell import matrix_of

        given = {name: np.asarray(a, float) for name, a in (("x", x), ("v", v)) if a is not None}
        initial = replace(self.initial, **given)
        if cell is not None:
            return replace(initial, cell=matrix_of(cell), tilted=initial.tilted or bool(cell.tilts), declared=False)
        return following(self.model, initial, leaves)

    def _traced(self, key, leaves, steps: int | None, x=None, v=None, box=None) -> Result:
        import jax
        import jax.numpy as jnp

        from .lowering.driver import Runner
        from .lowering.potential import marked
        from .lowering.state import FINE

        # A key may be traced, and so may parameters: what must be a number is taken from the defaults.
        with jax.ensure_compile_time_eval():
            defaults = {**self.program.internal(None), **self.initial.data}
            runner = Runner(self.program.compiled.field, self.initial, defaults, None, self.precision, None, self.skin)
        records, state, time, outcomes = runner.trace(key, leaves, steps, x, v, box)
        arrays = {}
        for name, parts in records.items():
            scale = factor(self.model, observable_type(self.model, name).dimension)
            values = [jax.tree.map(lambda a: a * scale, value) for value in parts]
            arrays[name] = jnp.concatenate([jnp.stack(jax.tree.leaves(v), -1).reshape(*_shape(v)) if isinstance(v, tuple) else v for v in values])
        back = jnp.zeros_like(state.ids).at[state.ids].set(jnp.arange(len(state.ids), dtype=state.ids.dtype))
        cell = state.cell or box or runner.inputs(0.0, 0).cell
        wrapped, _ = runner.potential.geometry.wrap(state.x, cell)
        x, v = (marked(jnp.stack(rows, axis=1)[back], state.flag == FINE) for rows in (wrapped, state.v))
        box = jnp.stack(cell.edges)
        if cell.tilts:
            box = jnp.array([[*cell.row(k), *[0.0] * (self.model.dim - k - 1)] for k in range(self.model.dim)])
        return Result(arrays, x * self._scale(LENGTH), v * self._scale(VELOCITY), state.step, time * self._scale(TIME), box * self._scale(LENGTH), statements=tuple(Outcome(*o) for o in outcomes))


def _shape(value: tuple) -> tuple[int, ...]:
    """The shape of the records of a vector or matrix, given as nested tuples of arrays [rows]."""
    first, shape = value, []
    while isinstance(first, tuple):
        shape.append(len(first))
        first = first[0]
    return (first.shape[0], *shape)


class _Memory:
    """Keeps records in memory, in the units of the program."""

    def __init__(self, model):
        self.model = model
        self.rows: dict[int, dict[str, np.ndarray]] = {}

    def statement(self, index, advance, steps, done, dt) -> None:
        pass

    def frame(self, output, snapshot) -> None:
        pass

    def ended(self, advance, outcome) -> None:
        if outcome.converged is False:
            warnings.warn(not_converged(advance, outcome), stacklevel=5)

    def progress(self, done, runner) -> None:
        pass

    def record(self, step, t, values) -> None:
        row = self.rows.setdefault(step, {"step": np.asarray(step), "time": np.asarray(t * factor(self.model, self.model.units.dimension(TIME)))})
        for name, value in values.items():
            row[name] = np.asarray(value) * factor(self.model, observable_type(self.model, name).dimension)

    def arrays(self) -> dict[str, np.ndarray]:
        names = dict.fromkeys(name for row in self.rows.values() for name in row)
        shapes = {name: next(row[name].shape for row in self.rows.values() if name in row) for name in names}
        return {name: np.array([row.get(name, np.full(shapes[name], np.nan)) for row in self.rows.values()]) for name in names}

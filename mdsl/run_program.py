"""`mdsl run`: a program carried out into a folder of its own, with a table on the terminal."""

from __future__ import annotations

import importlib
import os
import platform
import secrets
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field as dataclass_field, replace
from pathlib import Path

import numpy as np

import mdsl
from mdsl.grammar.diagnostics import Diagnostic, Rejected

from .atom_data import columns
from .before_run import factor, whole
from .compiler import Compiled, compile_source
from .dimensions import LENGTH, TIME, VELOCITY
from .initial import start
from .model import Advance, Model, Output
from .observables import observable_type
from .outcome import Outcome, not_converged
from .options import RunOptions, Setting, sweep
from .parameter_files import load_params, save_params
from .program import Program, shown_param
from .runtime.display import Display, Summary
from .runtime.folder import RunFolder
from .runtime.records import Column, Records
from .runtime.trajectories import open_trajectory
from .settings import with_settings
from .sources import read_program
from .terminal import show
from .weights import missing_externs, with_networks

SECONDS_BETWEEN_CHECKPOINTS = 60.0
AUTOMATIC = "double"
STATE = "state "  # before the names of states in a checkpoint


def run_file(path: Path, options: RunOptions) -> int:
    """Run a program file; 0 where it went well. Raises Rejected for what is wrong with program, input or run, and, when
    all else is done, for replicas that were lost."""
    begun = time.perf_counter()
    folder, header, arrays = None, None, None
    if options.resume is not None:
        folder = RunFolder.open(options.resume)
        header, arrays = folder.read_checkpoint()
    source, base = read_program(path)
    if folder is not None and base.resolve() == folder.path.resolve():  # its own copy: its files lie where they lay
        base = Path(folder.read_run().get("folder", base))
    compiled = compile_source(source, base, imported(options.externs, base))
    missing = missing_externs(compiled.model)
    if missing:
        raise Rejected(*(replace(d, help=f"`--allow-extern {e.name}=MODULE:FUNCTION` runs it") for d, e in zip(missing, (e for e in compiled.model.externs if e.function is None))))
    if not options.quiet:
        show(compiled.warnings)
    chosen = header.get("options", {}) if header else {}
    settings = options.settings or tuple(Setting(n, t) for n, t in chosen.get("settings", {}).items())
    if folder is not None and folder.program != source.text:
        raise Rejected(Diagnostic("other-program", f"the run in {folder.path} was made by another program than {path}", help=f"`mdsl run {folder.path / 'program.mdsl'} --resume {folder.path}` goes on with its own"))
    model = with_settings(compiled.model, settings)
    if not model.run:
        raise Rejected(Diagnostic("empty-program", "the program has no run block", help="`mdsl check` only checks; a run needs `run { x = ... }`"))
    precision = options.precision or chosen.get("precision") or AUTOMATIC
    seed = options.seed if options.seed is not None else chosen.get("seed", secrets.randbits(31))
    steps = options.steps if options.steps is not None else chosen.get("steps")
    model = with_networks(model, lambda network: replace(network, seed=seed))
    devices = _set_up_jax(precision, options)
    replicas = options.replicas or chosen.get("replicas")
    sweeps = options.sweeps or tuple(sweep(f"{n}={t}") for n, t in chosen.get("sweeps", {}).items())

    import jax

    from_file = _from_file(compiled, model, options, settings, folder)
    order = Order(compiled, model, base, seed, precision, devices, header, arrays, from_file)
    if replicas or sweeps:
        from .run_batch import batch

        planned = batch(order, replicas or 1, sweeps)
    else:
        planned = single(order)
    runner = planned.runner
    if folder is None:
        folder = RunFolder.create(source.text, path.stem, options.out, overwrite=options.overwrite)
    given = {"replicas": replicas, "sweeps": {s.name: s.text for s in sweeps}} if replicas or sweeps else {}
    if options.params is not None or any(p.learned for p in model.params):
        save_params(folder.parameters, {name: shown_param(model, name, np.asarray(value)) for name, value in order.params.items()})
    description = {
        "program": str(path),
        "folder": str(base.resolve()),
        "options": {"steps": steps, "seed": seed, "precision": precision, "settings": {s.name: s.text for s in settings}, **given},
        "versions": versions(),
        "machine": {"processor": platform.processor() or platform.machine(), "devices": [str(d) for d in devices or jax.devices()[:1]]},
        "atoms": runner.initial.atoms,
        "traversal": runner.traversal.why,
        **planned.told,
    }
    folder.write_run({**description, "status": "running"})
    with planned.listener(planned.model, runner.initial, folder, options.quiet, description, header) as listener:
        listener.greet(source.name, seed, runner, precision)
        try:
            final = runner.run(listener, steps, planned.snapshot, planned.place)
        except Rejected as rejected:
            folder.write_run({**description, "status": "failed", "error": rejected.diagnostics[0].message})
            raise
        except KeyboardInterrupt:
            folder.write_run({**description, "status": "interrupted"})
            raise
        listener.final(final)
        lost = listener.what_was_lost()
        wall = time.perf_counter() - begun
        listener.finish(runner, wall)
        seconds = runner.counts.stepping
        speed = planned.atoms * (runner.counts.steps - listener.first_steps) / seconds if seconds else None
        folder.write_run(
            {
                **description,
                "status": "partly failed" if lost else "finished",
                **({"lost": lost} if lost else {}),
                "steps": runner.counts.steps,
                "wall_seconds": wall,
                "seconds": runner.counts.seconds,
                "atom_steps_per_second": speed,
                "force_evaluations": runner.counts.force_evaluations,
                "list_builds": runner.counts.list_builds,
            }
        )
    if lost:
        from mdsl.lowering.losses import told

        raise Rejected(*told(runner.lost, len(listener.values)))
    return 0


@dataclass(frozen=True, eq=False)
class Order:
    """What is to be run, and with what; ``header`` and ``arrays``: of the checkpoint that it goes on from; ``given``:
    parameters that came from a file."""

    compiled: Compiled
    model: Model
    base: Path
    seed: int
    precision: str
    devices: tuple | None
    header: Mapping | None
    arrays: Mapping[str, np.ndarray] | None
    given: Mapping[str, object]

    @property
    def params(self) -> dict[str, object]:
        """The free parameters, in internal units."""
        from mdsl.lowering.driver import initial_params

        return initial_params(self.model, self.given)

    def field(self, model: Model):
        return replace(self.compiled.field, model=replace(self.compiled.field.model, params=model.params))

    @property
    def memory(self) -> dict[str, np.ndarray]:
        """The states of the statement of dynamics under way."""
        return {n.removeprefix(STATE): a for n, a in self.arrays.items() if n.startswith(STATE)}


@dataclass(frozen=True, eq=False)
class Planned:
    """A run that is ready: where it goes on from, who is told of it, and what `run.json` says of it. ``atoms``: of all
    replicas."""

    runner: object
    model: Model
    atoms: int
    listener: Callable
    snapshot: object | None
    place: object
    told: Mapping[str, object] = dataclass_field(default_factory=dict)


def single(order: Order) -> Planned:
    """One run."""
    import jax

    from mdsl.lowering.driver import Runner
    from mdsl.lowering.snapshot import Place, Snapshot

    params = order.params
    initial = start(order.model, order.base, order.seed, {k: np.asarray(v) for k, v in params.items()})
    runner = Runner(order.field(order.model), initial, {**params, **initial.data}, jax.random.key(order.seed), order.precision, order.devices)
    snapshot, place, header, arrays = None, Place(), order.header, order.arrays
    if header is not None:
        snapshot = Snapshot(arrays["x"], arrays["v"], arrays["images"], int(header["step"]), float(header["time"]), arrays.get("cell", initial.cell), arrays.get("began"), order.memory)
        place = Place(int(header["statement"]), int(header["done"]), float(header["t"]), bool(header.get("met", False)))
    return Planned(runner, order.model, initial.atoms, Listener, snapshot, place)


def _from_file(compiled: Compiled, model: Model, options: RunOptions, settings: tuple[Setting, ...], folder: RunFolder | None) -> dict[str, object]:
    """The parameters of ``--params``, or of the run that is resumed, in internal units; without those that are set."""
    path = options.params or (folder.parameters if folder is not None and folder.parameters.exists() else None)
    if path is None:
        return {}
    given = load_params(path)
    program = Program(replace(compiled, stages=((*compiled.stages[:-1], (compiled.stages[-1][0], model)))))
    set_here = {s.name for s in settings} if options.params is not None else set()
    values = program.internal({name: value for name, value in given.items() if name not in set_here})
    return {name: values[name] for name in given if name in values and name not in set_here}


def imported(externs: tuple[tuple[str, str], ...], folder: Path) -> dict[str, Callable]:
    """The functions of Python that may be run, by the program's names for them. Raises Rejected: ``missing-extern``."""
    found = {}
    for name, place in externs:
        module, _, function = place.partition(":")
        sys.path.insert(0, str(folder.resolve()))
        try:
            found[name] = getattr(importlib.import_module(module), function)
        except (ImportError, AttributeError) as error:
            raise Rejected(Diagnostic("missing-extern", f"`{place}` is not to be had: {error}", help=f"a module beside the program, in {folder}, or one that is installed")) from None
        finally:
            sys.path.pop(0)
    return found


def _set_up_jax(precision: str, options: RunOptions) -> tuple | None:
    """Configure JAX for this process, before it starts: precision, platform, one host device for each thread."""
    threads = options.threads or os.cpu_count() or 1
    # XLA's own log would tell of every cached program that it was compiled with preferences the processor does not list.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("NPROC", str(threads))  # as many as XLA starts itself
    if options.platform is not None:
        os.environ["JAX_PLATFORMS"] = {"gpu": "cuda"}.get(options.platform, options.platform)

    import jax

    jax.config.update("jax_enable_x64", precision != "single")
    try:
        jax.config.update("jax_num_cpu_devices", threads)
    except RuntimeError:
        pass  # JAX is running already, as when a test calls this: its devices stay as they are
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "mdsl" / "jax"
    jax.config.update("jax_compilation_cache_dir", str(cache))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.05)
    try:
        devices = jax.devices()
    except (RuntimeError, AssertionError) as error:  # the latter where no plugin for it is installed at all
        why = str(error).splitlines()[:1]
        raise Rejected(Diagnostic("bad-option", ": ".join([f"the platform {options.platform} is not to be had here", *why]))) from None
    return tuple(devices[:threads]) if devices[0].platform == "cpu" and len(devices) > 1 else None


def versions() -> dict[str, str]:
    import jax

    return {"mdsl": mdsl.__version__, "python": platform.python_version(), "jax": jax.__version__, "numpy": np.__version__}


# -- what the run tells ----------------------------------------------------------------------------------


class Listener:
    """Writes records, trajectories and checkpoints, and shows the run on the terminal."""

    def __init__(self, model: Model, initial, folder: RunFolder, quiet: bool, description: Mapping, resumed: Mapping | None):
        self.model, self.initial, self.folder, self.description = model, initial, folder, description
        self.time_unit = model.units.display(model.units.dimension(TIME)).text
        self.time_scale = model.units.shown_per_internal(model.units.dimension(TIME))
        advances = [s for s in model.run if isinstance(s, Advance)]
        names = dict.fromkeys(n for a in advances for o in a.outputs if o.kind == "record" for n in o.names)
        columns = [self.column(n) for n in names]
        self.records = self.opened_records(columns, resumed)
        self.display = Display(initial.atoms, quiet=quiet, time_unit=self.time_unit)
        self.frames_kept = dict(resumed["frames"]) if resumed else {}
        self.trajectories: dict[str, object] = {}
        self.paths = self.trajectory_paths([o.names[0] for a in advances for o in a.outputs if o.kind == "write"])
        self.saved = time.perf_counter()
        self.first_steps, self.nanoseconds = 0, 0.0
        self.dt = 0.0

    def opened_records(self, columns: list[Column], resumed: Mapping | None) -> Records:
        if resumed:
            return Records.resume(columns, self.folder.records, int(resumed["step"]), self.time_unit)
        return Records(columns, self.folder.records, self.time_unit)

    def trajectory_paths(self, names: list[str]) -> dict[str, Path]:
        return {name: self.folder.trajectory(name) for name in names}

    def column(self, name: str) -> Column:
        kind = observable_type(self.model, name)
        dim = self.model.dim
        shape = {"vector": (dim,), "matrix": (dim, dim)}.get(kind.kind, ())
        equation = self.model.equation(name)
        series = None if equation is None else equation.series
        entries = None if series is None else (series.first, series.last)
        shape = shape if entries is None else (entries[1] + 1 - entries[0], *shape)
        return Column(name, self.model.units.display(kind.dimension).text, shape, entries)

    def shown(self, name: str, value) -> np.ndarray:
        kind = observable_type(self.model, name)
        return np.asarray(value) * self.model.units.shown_per_internal(kind.dimension)

    @property
    def system(self) -> str:
        """What runs, in words."""
        return f"{self.initial.atoms:,} atoms"

    def greet(self, name: str, seed: int, runner, precision: str) -> None:
        threads = len(getattr(runner.layout, "devices", "1"))
        pairs = "all pairs" if runner.traversal.plan is None else f"neighbour list, skin {runner.traversal.skin * factor(self.model, LENGTH):.3g}"
        self.display.note(f"{name}: {self.system}, {precision} precision, {pairs}, {threads} thread{'s' * (threads > 1)}")
        self.display.note(f"seed {seed}, output in {self.folder.path}")
        for note in self.initial.notes:
            self.display.note(note)

    def statement(self, index: int, advance: Advance, steps: int, done: int, dt: float) -> None:
        names = dict.fromkeys(n for o in advance.outputs if o.kind == "record" for n in o.names)
        self.begin_statement(advance, steps, done, dt, [self.column(n) for n in names])

    def begin_statement(self, advance: Advance, steps: int, done: int, dt: float, columns: list[Column]) -> None:
        nanoseconds = None
        if not self.model.units.reduced and dt:
            nanoseconds = self.model.units._internal_si(TIME) * dt * 1e9
            self.nanoseconds += nanoseconds * (steps - done)
        self.dt = dt
        title = f"{advance.scheme.rpartition('.')[2]} for {'at most ' if advance.until is not None else ''}{steps:,} steps"
        self.display.phase(title, columns, steps, done=done, ns_per_step=nanoseconds)
        self.first_done, self.compiling = done, True

    def record(self, step: int, t: float, values: Mapping[str, object]) -> None:
        shown = {name: self.shown(name, v) for name, v in values.items()}
        self.records.append(step, t * self.time_scale, shown)
        self.display.row(step, t * self.time_scale, shown)

    def frame(self, output: Output, snapshot) -> None:
        name = output.names[0]
        if name not in self.trajectories:
            self.trajectories[name] = self.open(name, output, snapshot.step)
        self.put(self.trajectories[name], snapshot)

    def put(self, trajectory, snapshot) -> None:
        """Write one frame in the units of the program."""
        cell = np.tril(snapshot.cell, -1) + np.diag(np.where(self.initial.periodic, np.diag(snapshot.cell), np.inf))
        trajectory.write(
            snapshot.x * factor(self.model, LENGTH),
            cell * factor(self.model, LENGTH),
            snapshot.step,
            snapshot.time * self.time_scale,
            velocities=snapshot.v * factor(self.model, self.model.units.dimension(VELOCITY)),
        )

    def open(self, name: str, output: Output, step: int, digits: int = 9, path: Path | None = None, initial=None):
        units = self.model.units
        angstrom = None if units.reduced else units.display(LENGTH).unit.si / 1e-10
        femtosecond = None if units.reduced else units.display(TIME).unit.si / 1e-15
        every = 1 if output is None or output.every is None else max(1, whole(self.model, output.every, {}, "`every`"))
        return open_trajectory(
            path or self.paths[name],
            (initial or self.initial).labels,
            periodic=self.initial.periodic,
            angstrom_per_length=angstrom,
            femtoseconds_per_time=femtosecond,
            interval=every,
            timestep=self.dt * self.time_scale or 1.0,
            first_step=step,
            keep=self.frames_kept.get(name),
            digits=digits,
            columns=columns(self.model, self.initial.data),
        )

    def progress(self, done: int, runner) -> None:
        if self.compiling:
            # The first chunk of a statement compiles and tells nothing of the speed.
            self.compiling = False
            self.first_steps += done - self.first_done
            self.display.restart(done)
        else:
            self.display.advance(done)
        if time.perf_counter() - self.saved > SECONDS_BETWEEN_CHECKPOINTS:
            self.checkpoint(runner)

    def ended(self, advance: Advance, outcome: Outcome) -> None:
        if outcome.converged is not None:
            self.display.note(f"converged after {outcome.steps:,} steps" if outcome.converged else f"warning: {not_converged(advance, outcome)}")

    def checkpoint(self, runner) -> None:
        snapshot, place = runner.checkpoint()
        header = {
            **self.place_in_header(snapshot, place),
            "frames": {**self.frames_kept, **{name: t.frames for name, t in self.trajectories.items()}},
            "options": self.description["options"],
        }
        began = {} if snapshot.began is None else {"began": snapshot.began}
        memory = {STATE + name: value for name, value in snapshot.memory.items()}
        self.folder.write_checkpoint(header, {"x": snapshot.x, "v": snapshot.v, "images": snapshot.images, "cell": snapshot.cell, **began, **memory})
        self.saved = time.perf_counter()

    def place_in_header(self, snapshot, place) -> dict[str, object]:
        return {"step": snapshot.step, "time": snapshot.time, "statement": place.statement, "done": place.done, "t": place.t, "met": place.met}

    def final(self, snapshot) -> None:
        with self.open("final", None, snapshot.step, digits=17, path=self.folder.final) as trajectory:
            self.put(trajectory, snapshot)

    def finish(self, runner, wall: float) -> None:
        self.display.finish(
            Summary(
                wall,
                runner.counts.steps,
                self.initial.atoms,
                nanoseconds=self.nanoseconds or None,
                parts=None if self.display.quiet else runner.breakdown(),
                folder=str(self.folder.path),
                stepping=runner.counts.stepping,
            )
        )

    def what_was_lost(self) -> list[dict[str, object]]:
        """The replicas that went wrong; a single run has none."""
        return []

    def __enter__(self) -> Listener:
        self.display.__enter__()
        return self

    def __exit__(self, *error) -> None:
        for trajectory in self.trajectories.values():
            trajectory.close()
        self.records.close()
        self.display.__exit__(*error)

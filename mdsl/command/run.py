"""`mdsl run`: a program carried out into a folder of its own, with a table on the terminal."""

from __future__ import annotations

import importlib
import secrets
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from dataclasses import field as dataclass_field
from pathlib import Path

import numpy as np

from mdsl.api.parameter_files import load_params, save_params
from mdsl.api.program import Program, compiled_with, shown_param
from mdsl.compiler import Compiled
from mdsl.files.folder import RunFolder
from mdsl.grammar.diagnostics import Diagnostic, Rejected
from mdsl.grammar.source import Source
from mdsl.lowering.planning.policy import DEFAULT, Policy
from mdsl.model.nodes import Model
from mdsl.passes.given import missing_externs
from mdsl.resolve.sources import read_program
from mdsl.start.builders import start

from . import checkpoints, machine
from .listener import Listener
from .machine import set_up_jax, threads
from .options import RunOptions, Setting, sweep
from .sweeps import swept
from .terminal import show

AUTOMATIC = "double"
SECONDS_BETWEEN_CHECKPOINTS = 60.0
KEPT = (
    "threads",
    "platform",
    "kernels",
    "checkpoint",
)  # options with which a run that is resumed goes on, unless it is given others


def run_file(path: Path, options: RunOptions, policy: Policy = DEFAULT) -> int:
    """Run a program file; 0 where it went well. ``policy``: by which lists are planned. Raises Rejected for what is
    wrong with program, input or run, and, when all else is done, for replicas that were lost."""
    begun = time.perf_counter()
    order = read(path, options)
    planned = plan(order, *compile_order(order), policy)
    output = begin(planned)
    with output.listener:
        final = run(planned, output)
        write(planned, output, final, begun)
    if planned.runner.members.lost:
        from mdsl.lowering.run.losses import told

        raise Rejected(*told(planned.runner.members.lost, planned.runner.members.count))
    return 0


# -- read ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Resumed:
    """A run that is gone on with, and its last checkpoint."""

    folder: RunFolder
    header: Mapping
    arrays: Mapping[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class Order:
    """What is to be run: a program, the folder ``base`` in which its files lie, and options that leave open only what
    may stay so."""

    path: Path
    source: Source
    base: Path
    options: RunOptions
    resumed: Resumed | None


def read(path: Path, options: RunOptions) -> Order:
    """What is asked for, with the options of the run that is resumed. Raises Rejected: ``no-run``, ``other-program``,
    ``missing-file``, ..."""
    resumed, chosen = None, {}
    source, base = read_program(path)
    if options.resume is not None:
        folder = RunFolder.open(options.resume)
        resumed = Resumed(folder, *folder.read_checkpoint())
        chosen = resumed.header.get("options", {})
        if base.resolve() == folder.path.resolve():  # its own copy: its files lie where they lay
            base = Path(folder.read_run().get("folder", base))
        if folder.program != source.text:
            message = f"the run in {folder.path} was made by another program than {path}"
            help = f"`mdsl run {folder.path / 'program.mdsl'} --resume {folder.path}` goes on with its own"
            raise Rejected(Diagnostic("other-program", message, help=help))
    options = replace(
        options,
        settings=options.settings or tuple(Setting(n, t) for n, t in chosen.get("settings", {}).items()),
        sweeps=options.sweeps or tuple(sweep(f"{n}={t}") for n, t in chosen.get("sweeps", {}).items()),
        precision=options.precision or chosen.get("precision") or AUTOMATIC,
        seed=options.seed if options.seed is not None else chosen.get("seed", secrets.randbits(31)),
        **{n: chosen.get(n) for n in ("steps", "replicas", *KEPT) if getattr(options, n) is None},
    )
    return Order(path, source, base, options, resumed)


# -- compile ---------------------------------------------------------------------------------------------


def compile_order(order: Order) -> tuple[Compiled, list[dict[str, object]]]:
    """The program with what is set, and the points of a sweep. Raises Rejected."""
    options, externs = order.options, imported(order.options.externs, order.base)

    def compiled_as(*more: Setting) -> Compiled:
        given = tuple(s.declaration for s in (*options.settings, *more))
        return compiled_with(order.source, order.base, externs, given)

    compiled = compiled_as()
    missing = missing_externs(compiled.model)
    if missing:
        names = (e.name for e in compiled.model.python if e.function is None)
        raise Rejected(
            *(replace(d, help=f"`--allow-extern {n}=MODULE:FUNCTION` runs it") for d, n in zip(missing, names))
        )
    if not options.quiet:
        show(compiled.warnings)
    if not compiled.model.run:
        help = "`mdsl check` only checks; a run needs `run { x = ... }`"
        raise Rejected(Diagnostic("empty-program", "the program has no run block", help=help))
    return compiled, swept(compiled, options.sweeps, compiled_as)


def imported(externs: tuple[tuple[str, str], ...], folder: Path) -> dict[str, Callable]:
    """The functions of Python that may be run, by the program's names for them. Raises Rejected: ``missing-extern``."""
    found = {}
    for name, place in externs:
        module, _, function = place.partition(":")
        sys.path.insert(0, str(folder.resolve()))
        try:
            found[name] = getattr(importlib.import_module(module), function)
        except (ImportError, AttributeError) as error:
            raise Rejected(
                Diagnostic(
                    "missing-extern",
                    f"`{place}` is not to be had: {error}",
                    help=f"a module beside the program, in {folder}, or one that is installed",
                )
            ) from None
        finally:
            sys.path.pop(0)
    return found


# -- plan ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Job:
    """A compiled program, and what its run begins from. ``params``: the free parameters, in internal units;
    ``points``: other values of some of them, of a sweep; ``conditions``: all on which its bits depend beside the
    order; ``exact``: whether these are those of the run that is resumed."""

    order: Order
    compiled: Compiled
    params: Mapping[str, object]
    points: Sequence[Mapping[str, object]]
    devices: tuple | None
    conditions: Mapping[str, object]
    exact: bool
    policy: Policy

    @property
    def model(self) -> Model:
        return self.compiled.model


@dataclass(frozen=True, eq=False)
class Planned:
    """A run that is ready: where it goes on from, who is told of it, and what `run.json` says of it. ``atoms``: of all
    replicas."""

    job: Job
    runner: object
    atoms: int
    listener: Callable
    snapshot: object | None
    place: object
    told: Mapping[str, object] = dataclass_field(default_factory=dict)


def plan(order: Order, compiled: Compiled, points: Sequence[Mapping[str, object]], policy: Policy) -> Planned:
    """The run, with its atoms. JAX is set up here. Raises Rejected."""
    options, resumed = order.options, order.resumed
    devices = set_up_jax(options.precision, options)
    now = checkpoints.conditions(options.precision, threads(options))
    changed = [] if resumed is None else checkpoints.differences(resumed.header.get("conditions"), now)
    if changed:
        show([checkpoints.warning(changed)])
    job = Job(order, compiled, inputs(order, compiled), points, devices, now, not changed, policy)
    if not (options.replicas or options.sweeps or job.model.replicas):
        return single(job)
    from .ensemble import batch

    return batch(job)


def inputs(order: Order, compiled: Compiled) -> dict[str, object]:
    """The free parameters of a run, in internal units: their defaults, weights drawn by its seed, and what a file
    holds: that of ``--params``, without what is set, or of the run that is resumed. Raises Rejected."""
    from mdsl.lowering.kernels.globals import initial_params, weights

    options, resumed = order.options, order.resumed
    path = options.params or (resumed.folder.parameters if resumed and resumed.folder.parameters.exists() else None)
    found = load_params(path) if path is not None else {}
    for name in (s.name for s in options.settings if options.params is not None):
        found.pop(name, None)
    values = Program(compiled).internal(found) if found else {}
    return initial_params(compiled.model, weights(compiled.model, options.seed) | {n: values[n] for n in found})


def single(job: Job) -> Planned:
    """One run."""
    import jax

    from mdsl.lowering.run import members
    from mdsl.lowering.run.driver import Runner
    from mdsl.lowering.run.snapshot import Place

    options, resumed = job.order.options, job.order.resumed
    initial = start(job.model, job.order.base, options.seed, {k: np.asarray(v) for k, v in job.params.items()})
    params, key = {**job.params, **initial.data}, jax.random.key(options.seed)
    alone = members.single(job.compiled.field, initial, params, key, options.precision)
    runner = Runner(alone, job.devices, job.policy)
    snapshot, place = None, Place()
    if resumed is not None:
        snapshot, place = checkpoints.read(resumed.header, resumed.arrays, initial.cell, job.exact)
    return Planned(job, runner, initial.atoms, Listener, snapshot, place)


# -- run and write ---------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Output:
    """Where a run writes to, what `run.json` says of it in any case, and who hears of it."""

    folder: RunFolder
    description: Mapping[str, object]
    listener: Listener

    def say(self, status: str, **more) -> None:
        self.folder.write_run({**self.description, "status": status, **more})


def begin(planned: Planned) -> Output:
    """The folder of a run, with all that is known before it. Raises Rejected: ``output-exists``, ``cannot-write``."""
    job, order, options, resumed = planned.job, planned.job.order, planned.job.order.options, planned.job.order.resumed
    folder = (
        RunFolder.create(order.source.text, order.path.stem, options.out, overwrite=options.overwrite)
        if resumed is None
        else resumed.folder
    )
    if options.params is not None or any(p.learned for p in job.model.params):
        shown = {name: shown_param(job.model, name, np.asarray(value)) for name, value in job.params.items()}
        save_params(folder.parameters, shown)
    description = described(planned)
    folder.write_run({**description, "status": "running"})
    between = SECONDS_BETWEEN_CHECKPOINTS if options.checkpoint is None else options.checkpoint
    initial, header = planned.runner.members.first.initial, None if resumed is None else resumed.header
    listener = planned.listener(job.model, initial, folder, options.quiet, description, job.conditions, header, between)
    return Output(folder, description, listener)


def described(planned: Planned) -> dict[str, object]:
    """What `run.json` says of a run in any case."""
    order, options, runner = planned.job.order, planned.job.order.options, planned.runner
    several = {"replicas": options.replicas, "sweeps": {s.name: s.text for s in options.sweeps}}
    return {
        "program": str(order.path),
        "folder": str(order.base.resolve()),
        "options": {
            "steps": options.steps,
            "seed": options.seed,
            "precision": options.precision,
            "settings": {s.name: s.text for s in options.settings},
            **{n: getattr(options, n) for n in KEPT},
            **(several if any(several.values()) else {}),
        },
        "versions": machine.versions(),
        "machine": machine.described(planned.job.devices),
        "atoms": runner.members.first.initial.atoms,
        "traversal": runner.arrangement.traversal.why,
        **planned.told,
    }


def run(planned: Planned, output: Output):
    """The state at the end. Raises Rejected for what goes wrong on the way."""
    order, runner = planned.job.order, planned.runner
    output.listener.greet(order.source.name, order.options.seed, runner, order.options.precision)
    try:
        return runner.run(output.listener, order.options.steps, planned.snapshot, planned.place)
    except Rejected as rejected:
        output.say("failed", error=rejected.diagnostics[0].message)
        raise
    except KeyboardInterrupt:
        output.say("interrupted")
        raise


def write(planned: Planned, output: Output, final, begun: float) -> None:
    """What is left of a run when it is over; ``begun``: when it was, by the clock of the process."""
    listener, counts = output.listener, planned.runner.counts
    listener.final(final)
    lost = listener.what_was_lost()
    wall = time.perf_counter() - begun
    worths = listener.worths()
    listener.finish(planned.runner, wall, worths)
    moved = planned.atoms * (counts.steps - listener.first_steps)
    output.say(
        "partly failed" if lost else "finished",
        **({"lost": lost} if lost else {}),
        steps=counts.steps,
        wall_seconds=wall,
        seconds=counts.seconds,
        atom_steps_per_second=moved / counts.stepping if counts.stepping else None,
        force_evaluations=counts.force_evaluations,
        list_builds=counts.list_builds,
        statistics=[w.described for w in worths],
        **({"left_to_xla": left} if (left := machine.left_to_xla()) else {}),
        **listener.description_at_end(),
    )

"""`mdsl run`: a program carried out into a folder of its own, with a table on the terminal."""

from __future__ import annotations

import importlib
import secrets
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from dataclasses import field as dataclass_field
from pathlib import Path

import numpy as np

from mdsl.api.parameter_files import load_params, save_params
from mdsl.api.program import Program, compiled_with, shown_param
from mdsl.compiler import Compiled
from mdsl.files.folder import RunFolder
from mdsl.grammar.diagnostics import Diagnostic, Rejected
from mdsl.lowering.planning.policy import DEFAULT, Policy
from mdsl.model.nodes import Model
from mdsl.passes.externs import missing_externs, with_networks
from mdsl.resolve.sources import read_program
from mdsl.start.builders import start

from .checkpoints import conditions, differences, read, warning
from .listener import Listener
from .machine import described, set_up_jax, threads, versions
from .options import RunOptions, Setting, sweep
from .settings import with_settings
from .terminal import show

AUTOMATIC = "double"
SECONDS_BETWEEN_CHECKPOINTS = 60.0
KEPT = (
    "threads",
    "platform",
    "checkpoint",
)  # options with which a run that is resumed goes on, unless it is given others


def run_file(path: Path, options: RunOptions, policy: Policy = DEFAULT) -> int:
    """Run a program file; 0 where it went well. ``policy``: by which lists are planned. Raises Rejected for what
    is wrong with program, input or run, and, when all else is done, for replicas that were lost."""
    begun = time.perf_counter()
    folder, header, arrays = None, None, None
    if options.resume is not None:
        folder = RunFolder.open(options.resume)
        header, arrays = folder.read_checkpoint()
    source, base = read_program(path)
    if folder is not None and base.resolve() == folder.path.resolve():  # its own copy: its files lie where they lay
        base = Path(folder.read_run().get("folder", base))
    compiled = compiled_with(source, base, imported(options.externs, base))
    missing = missing_externs(compiled.model)
    if missing:
        raise Rejected(
            *(
                replace(d, help=f"`--allow-extern {e.name}=MODULE:FUNCTION` runs it")
                for d, e in zip(missing, (e for e in compiled.model.externs if e.function is None))
            )
        )
    if not options.quiet:
        show(compiled.warnings)
    chosen = header.get("options", {}) if header else {}
    settings = options.settings or tuple(Setting(n, t) for n, t in chosen.get("settings", {}).items())
    if folder is not None and folder.program != source.text:
        raise Rejected(
            Diagnostic(
                "other-program",
                f"the run in {folder.path} was made by another program than {path}",
                help=f"`mdsl run {folder.path / 'program.mdsl'} --resume {folder.path}` goes on with its own",
            )
        )
    model = with_settings(compiled.model, settings)
    if not model.run:
        raise Rejected(
            Diagnostic(
                "empty-program",
                "the program has no run block",
                help="`mdsl check` only checks; a run needs `run { x = ... }`",
            )
        )
    precision = options.precision or chosen.get("precision") or AUTOMATIC
    seed = options.seed if options.seed is not None else chosen.get("seed", secrets.randbits(31))
    steps = options.steps if options.steps is not None else chosen.get("steps")
    model = with_networks(model, lambda network: replace(network, seed=seed))
    options = replace(
        options,
        replicas=options.replicas or chosen.get("replicas"),
        sweeps=options.sweeps or tuple(sweep(f"{n}={t}") for n, t in chosen.get("sweeps", {}).items()),
        **{n: chosen.get(n) for n in KEPT if getattr(options, n) is None},
    )
    devices = set_up_jax(precision, options)
    replicas, sweeps, now = options.replicas, options.sweeps, conditions(precision, threads(options))
    changed = differences(header.get("conditions"), now) if header is not None else []
    if changed:
        show([warning(changed)])

    from_file = _from_file(compiled, model, options, settings, folder)
    order = Order(compiled, model, base, seed, precision, devices, header, arrays, from_file, not changed, policy)
    if replicas or sweeps:
        from .ensemble import batch

        planned = batch(order, replicas or 1, sweeps)
    else:
        planned = single(order)
    runner = planned.runner
    if folder is None:
        folder = RunFolder.create(source.text, path.stem, options.out, overwrite=options.overwrite)
    given = {"replicas": replicas, "sweeps": {s.name: s.text for s in sweeps}} if replicas or sweeps else {}
    if options.params is not None or any(p.learned for p in model.params):
        save_params(
            folder.parameters,
            {name: shown_param(model, name, np.asarray(value)) for name, value in order.params.items()},
        )
    description = {
        "program": str(path),
        "folder": str(base.resolve()),
        "options": {
            "steps": steps,
            "seed": seed,
            "precision": precision,
            "settings": {s.name: s.text for s in settings},
            **{n: getattr(options, n) for n in KEPT},
            **given,
        },
        "versions": versions(),
        "machine": described(devices),
        "atoms": runner.members.first.initial.atoms,
        "traversal": runner.arrangement.traversal.why,
        **planned.told,
    }
    folder.write_run({**description, "status": "running"})
    with planned.listener(
        planned.model,
        runner.members.first.initial,
        folder,
        options.quiet,
        description,
        now,
        header,
        SECONDS_BETWEEN_CHECKPOINTS if options.checkpoint is None else options.checkpoint,
    ) as listener:
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
        from mdsl.lowering.run.losses import told

        raise Rejected(*told(runner.members.lost, runner.members.count))
    return 0


@dataclass(frozen=True, eq=False)
class Order:
    """What is to be run, and with what; ``header`` and ``arrays``: of the checkpoint that it goes on from, with the
    bits of a run in one piece if ``exact``; ``given``: parameters that came from a file."""

    compiled: Compiled
    model: Model
    base: Path
    seed: int
    precision: str
    devices: tuple | None
    header: Mapping | None
    arrays: Mapping[str, np.ndarray] | None
    given: Mapping[str, object]
    exact: bool
    policy: Policy

    @property
    def params(self) -> dict[str, object]:
        """The free parameters, in internal units."""
        from mdsl.lowering.kernels.globals import initial_params

        return initial_params(self.model, self.given)

    def field(self, model: Model):
        return replace(self.compiled.field, model=replace(self.compiled.field.model, params=model.params))


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

    from mdsl.lowering.run import members
    from mdsl.lowering.run.driver import Runner
    from mdsl.lowering.run.snapshot import Place

    params = order.params
    initial = start(order.model, order.base, order.seed, {k: np.asarray(v) for k, v in params.items()})
    one = members.single(
        order.field(order.model), initial, {**params, **initial.data}, jax.random.key(order.seed), order.precision
    )
    runner = Runner(one, order.devices, order.policy)
    snapshot, place, header, arrays = None, Place(), order.header, order.arrays
    if header is not None:
        snapshot, place = read(header, arrays, initial.cell, order.exact)
    return Planned(runner, order.model, initial.atoms, Listener, snapshot, place)


def _from_file(
    compiled: Compiled, model: Model, options: RunOptions, settings: tuple[Setting, ...], folder: RunFolder | None
) -> dict[str, object]:
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

"""What a run on the command line does as it goes: records, trajectories and checkpoints in its folder, a table on the
terminal."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from mdsl.files.folder import FINAL, RunFolder
from mdsl.files.records import Column, Records
from mdsl.files.trajectories import open_trajectory
from mdsl.interpret.constants import factor, whole
from mdsl.lowering.run.outcome import Outcome, not_converged
from mdsl.lowering.run.snapshot import as_written
from mdsl.model.dimensions import LENGTH, TIME, VELOCITY
from mdsl.model.nodes import Advance, Model, Output
from mdsl.model.observable_types import observable_type
from mdsl.passes.atom_data import columns
from mdsl.statistics.runs import worth
from mdsl.statistics.tables import Worths, table

from .checkpoints import written
from .display import Display, Summary


class Listener:
    """Writes records, trajectories and checkpoints of a system alone, and shows the run on the terminal; of replicas
    `ensemble.BatchListener`. ``description``: what `run.json` says of the run; ``conditions``: those of its bits;
    ``resumed``: the header of the checkpoint that it goes on from; ``between``: seconds from one checkpoint to the
    next, at least."""

    count = 1
    series = 0  # which of the columns in front tells what the rows are that are taken together

    def __init__(
        self,
        model: Model,
        initial,
        folder: RunFolder,
        quiet: bool,
        description: Mapping,
        conditions: Mapping,
        resumed: Mapping | None,
        between: float,
    ):
        self.model, self.initial, self.folder, self.description = model, initial, folder, description
        self.conditions, self.resumed, self.between = conditions, resumed, between
        self.time_unit = model.units.display(model.units.dimension(TIME)).text
        self.time_scale = model.units.shown_per_internal(model.units.dimension(TIME))
        self.advances = [s for s in model.run if isinstance(s, Advance)]
        given = [self.column(n) for n in _recorded(self.advances)], folder.records
        more = self.time_unit, self.key_columns(), self.series
        self.records = Records.resume(*given, resumed["step"], *more) if resumed else Records(*given, *more)
        self.display = Display(initial.atoms, self.count, quiet=quiet, time_unit=self.time_unit)
        self.frames_kept = dict(resumed["frames"]) if resumed else {}
        # How many rows there were when a statement began.
        self.began = {int(k): rows for k, rows in resumed.get("began", {}).items()} if resumed else {}
        self.trajectories: dict[str, object] = {}
        names = [o.names[0] for a in self.advances for o in a.outputs if o.kind == "write"]
        paths = (prefix + name for prefix in self.all_prefixes() for name in names)
        self.paths = {path: folder.trajectory(path) for path in paths}
        self.saved = time.perf_counter()
        self.first_steps, self.nanoseconds = 0, 0.0
        self.dt = 0.0

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
        self.runner = runner
        threads = len(getattr(runner.arrangement.layout, "devices", "1"))
        pairs = (
            "all pairs"
            if runner.arrangement.traversal.plan is None
            else f"neighbour list, skin {runner.arrangement.traversal.skin * factor(self.model, LENGTH):.3g}"
        )
        self.display.note(
            f"{name}: {self.system}, {precision} precision, {pairs}, {threads} thread{'s' * (threads > 1)}"
        )
        self.display.note(f"seed {seed}, output in {self.folder.path}")
        for note in self.initial.notes:
            self.display.note(note)

    # -- what replicas do otherwise ----------------------------------------------------------------------------

    def prefixes(self, k: int) -> tuple[str, ...]:
        """What the names of its files begin with, by now; more than one where a frame goes into several."""
        return ("",)

    def all_prefixes(self) -> list[str]:
        """All with which names of files may begin."""
        return [""]

    def key_columns(self) -> list[Column]:
        return []

    def keys(self, k: int) -> list[float]:
        """What stands in front of its records."""
        return []

    def shown_columns(self, columns: list[Column]) -> list[Column]:
        """What the terminal shows of these, and what of values [n, ...] by name."""
        return columns

    def shown_values(self, values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {name: v[0] for name, v in values.items()}

    def filed(self, snapshot, place) -> tuple:
        """The snapshot and the place as a checkpoint has them."""
        return snapshot.of(0), place.of(0)

    def ended(self, advance: Advance, outcome: Outcome) -> None:
        if outcome.converged is not None:
            one = outcome.of(0)
            failed = f"warning: {not_converged(advance, one)}"
            self.display.note(f"converged after {one.steps:,} steps" if one.converged else failed)

    def breakdown(self, runner) -> dict[str, float]:
        """Seconds by part."""
        return runner.breakdown()

    def description_at_end(self) -> dict[str, object]:
        """What `run.json` says of it beside what all runs say."""
        return {}

    def exchanged(self, attempt, t: np.ndarray) -> None:
        """One alone exchanges nothing."""

    def lost(self, replica: int, loss) -> None:
        """One alone ends the run, which is told where that ends."""

    # -- as a run goes -----------------------------------------------------------------------------------------

    def statement(self, index: int, advance: Advance, steps: int, done: int, dt: np.ndarray) -> None:
        nanoseconds, self.dt = None, float(dt[0])
        if not self.model.units.reduced and self.dt:
            nanoseconds = self.model.units._internal_si(TIME) * self.dt * 1e9
            self.nanoseconds += nanoseconds * (steps - done)
        most = "at most " if advance.until is not None else ""
        title = f"{advance.scheme.rpartition('.')[2]} for {most}{steps:,} steps"
        columns = self.shown_columns([self.column(n) for n in _recorded([advance])])
        self.display.phase(title, columns, steps, done=done, ns_per_step=nanoseconds)
        self.first_done, self.compiling = done, True
        self.began.setdefault(index, len(self.records))

    def record(self, replicas: np.ndarray, step: np.ndarray, t: np.ndarray, values: Mapping[str, np.ndarray]) -> None:
        found, t = {name: self.shown(name, v) for name, v in values.items()}, t * self.time_scale
        for n, k in enumerate(replicas):
            self.records.append(step[n], t[n], {name: v[n] for name, v in found.items()}, self.keys(k))
        left = len(self.runner.members.asked) - len(self.runner.members.lost)
        if 2 * len(replicas) > left:  # the few that end a statement before the others are not shown
            self.display.row(int(step.max()), float(t.max()), self.shown_values(found))

    def frame(self, output: Output, replicas: np.ndarray, snapshot) -> None:
        for n, k in enumerate(replicas):
            own = snapshot.of(n)
            for name in (prefix + output.names[0] for prefix in self.prefixes(k)):
                if name not in self.trajectories:
                    self.trajectories[name] = self.open(name, output, own.step, k)
                self.put(self.trajectories[name], as_written(output, own))

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

    def open(self, name: str, output: Output | None, step: int, k: int, digits: int = 9, path: Path | None = None):
        units = self.model.units
        angstrom = None if units.reduced else units.display(LENGTH).unit.si / 1e-10
        femtosecond = None if units.reduced else units.display(TIME).unit.si / 1e-15
        every = 1 if output is None or output.every is None else max(1, whole(self.model, output.every, {}, "`every`"))
        return open_trajectory(
            path or self.paths[name],
            self.runner.members.all[k].initial.labels,
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
        if time.perf_counter() - self.saved >= self.between:
            self.checkpoint(runner)

    def checkpoint(self, runner) -> None:
        snapshot, place = self.filed(*runner.checkpoint())
        more, arrays = written(snapshot, self.conditions)
        header = {
            **self.place_in_header(snapshot, place),
            **more,
            "began": self.began,
            "frames": {**self.frames_kept, **{name: t.frames for name, t in self.trajectories.items()}},
            "options": self.description["options"],
        }
        self.folder.write_checkpoint(header, arrays)
        self.saved = time.perf_counter()

    def place_in_header(self, snapshot, place) -> dict[str, object]:
        where = {"step": snapshot.step, "time": snapshot.time, **vars(place)}
        return {name: np.asarray(number).tolist() for name, number in where.items()}

    def final(self, snapshot) -> None:
        members = self.runner.members
        for k in (k for k in range(members.count) if k not in members.lost):
            own = snapshot.of(k)
            for path in (self.folder.path / prefix / FINAL for prefix in self.prefixes(k)):
                path.parent.mkdir(exist_ok=True)
                with self.open("final", None, own.step, k, digits=17, path=path) as trajectory:
                    self.put(trajectory, own)

    def worths(self) -> list[Worths]:
        """What is known from the records, statement by statement; of replicas, for those of the same kind."""
        found, ends = [], [*list(self.began.values())[1:], len(self.records)]
        for (index, first), end in zip(self.began.items(), ends):
            advance = self.advances[index]
            for values, replicas in self.groups():
                columns = worth(self.records, slice(first, end), _recorded([advance]), replicas)
                if columns:
                    found.append(Worths(index, advance.scheme.rpartition(".")[2], advance.span.line, values, columns))
        return found

    def groups(self) -> list[tuple[Mapping[str, object], list[int]]]:
        """Which replicas are of the same kind, with the values that make it one; those that came to the end."""
        return [({}, [0])]

    def finish(self, runner, wall: float, worths: Sequence[Worths]) -> None:
        for text in (table(w, self.time_unit) for w in worths if w.index == worths[-1].index):
            self.display.note(text and f"\n{text}")
        parts = None if self.display.quiet else self.breakdown(runner)
        counts, folder = runner.counts, str(self.folder.path)
        simulated = self.nanoseconds or None
        self.display.finish(
            Summary(wall, counts.steps, self.initial.atoms, self.count, simulated, parts, folder, counts.stepping)
        )

    def what_was_lost(self) -> list[dict[str, object]]:
        """The replicas that went wrong, for `run.json`."""
        return [
            {"replica": k, "step": loss.step, "error": loss.diagnostic.message}
            for k, loss in self.runner.members.lost.items()
        ]

    def __enter__(self) -> Listener:
        self.display.__enter__()
        return self

    def __exit__(self, *error) -> None:
        for trajectory in self.trajectories.values():
            trajectory.close()
        self.records.close()
        self.display.__exit__(*error)


def _recorded(advances: Iterable[Advance]) -> list[str]:
    """The names that statements record, each once."""
    return list(dict.fromkeys(n for a in advances for o in a.outputs if o.kind == "record" for n in o.names))

"""`mdsl run --replicas B --sweep NAME=VALUES`, or `replicas r in 1..B` in the program: one program for all replicas,
with what each of them puts out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from mdsl.files.folder import RunFolder
from mdsl.files.records import Column
from mdsl.grammar.diagnostics import Diagnostic, Rejected
from mdsl.interpret.constants import factor
from mdsl.lowering.field.reduced import exchange_of
from mdsl.lowering.run.outcome import Outcome, not_converged
from mdsl.model.nodes import Advance, Model
from mdsl.start.builders import seeds, start
from mdsl.statistics.tables import Worths

from .checkpoints import read
from .display import Table
from .exchanged import Exchanged
from .listener import Listener
from .run import Job, Planned

MOST_FILES = 500  # that are open at once


def batch(job: Job) -> Planned:
    """The run of so many replicas for each combination of swept values. Those of the same number have the same random
    numbers in all combinations."""
    import jax

    from mdsl.lowering.run import members as lowered
    from mdsl.lowering.run.driver import Runner
    from mdsl.lowering.run.exchanges import Exchanges
    from mdsl.lowering.run.losses import Loss
    from mdsl.lowering.run.snapshot import Place

    model, options, resumed = job.model, job.order.options, job.order.resumed
    params = {n: np.asarray(a) for n, a in job.params.items()}
    replicas, points = options.replicas or 1, job.points
    number = model.replicas
    if number is not None:
        if options.replicas or options.sweeps:
            help = f"change the range of `replicas {number.name} in ...`, or what is made of `{number.name}`"
            message = "the program declares its replicas itself, and takes no --replicas and no --sweep"
            raise Rejected(Diagnostic("bad-option", message, number.span, help=help))
        points = [{number.name: np.array(float(k))} for k in range(number.numbers.first, number.numbers.last + 1)]
    count = replicas * len(points)
    paths = {o.names[0] for a in model.run if isinstance(a, Advance) for o in a.outputs if o.kind == "write"}
    written = count * len(paths) * (1 + exchanges(model))
    if written > MOST_FILES:
        help = "run fewer replicas at once, or take `write` out of the program"
        raise Rejected(
            Diagnostic(
                "bad-option",
                f"{count} replicas would write {written} trajectories, more than the {MOST_FILES} files that a run may "
                f"have open",
                help=help,
            )
        )
    # Points of a sweep have the same random numbers, the replicas of a program each its own.
    chosen = seeds(options.seed, replicas if number is None else count)
    each = [chosen] * count if number is None else [[s] for s in chosen]
    members, values = [], []
    for point, own_seeds in zip(points, each):
        own = {**params, **point}
        for s in own_seeds:
            key = jax.random.key(s)
            initial = start(model, job.order.base, s, own)
            members.append(lowered.Member(initial, {**own, **initial.data}, key))
            values.append({"replica": len(values), "seed": s, **{n: shown(model, n, v) for n, v in point.items()}})
    together = lowered.batch(job.compiled.field, members, options.precision, job.devices)
    runner = Runner(together, job.devices, job.policy)
    snapshot, place = None, Place()
    if resumed is not None:
        header, arrays = resumed.header, resumed.arrays
        snapshot, place = read(header, arrays, arrays["cell"], job.exact)
        runner.go_on_without(
            {
                int(k): Loss(diagnostic=Diagnostic(id, message), **where)
                for k, (id, message, where) in header.get("lost", {}).items()
            }
        )
        if "exchanges" in header:
            runner.go_on_with(Exchanges.read(header["exchanges"]))
    atoms = len(members) * members[0].initial.atoms
    return Planned(job, runner, atoms, BatchListener, snapshot, place, {"replicas": values})


def exchanges(model: Model) -> bool:
    """Whether replicas exchange."""
    return any(exchange_of(a) is not None for a in model.run if isinstance(a, Advance))


def shown(model, name: str, value):
    """The value of a parameter in the units of the program."""
    return np.asarray(np.asarray(value) * factor(model, model.param(name).type.dimension)).tolist()


class BatchListener(Listener):
    """As `Listener`: one file of records for all replicas, and a folder for the trajectories of each."""

    def __init__(self, model: Model, initial, folder: RunFolder, quiet: bool, description: Mapping, *more):
        self.values = description["replicas"]
        self.count = len(self.values)
        self.swept = [n for n in self.values[0] if n not in ("replica", "seed")]
        self.latest: list[dict[str, np.ndarray]] = [{} for _ in self.values]  # of those of each number of values
        self.exchanging = exchanges(model)
        self.series = int(self.exchanging)
        super().__init__(model, initial, folder, quiet, description, *more)
        self.ways = None
        if self.exchanging:
            from mdsl.lowering.run.exchanges import Exchanges

            before = self.resumed
            found = Exchanges.read(before["exchanges"]) if before else Exchanges.none(self.count)
            last = max(before["step"]) if before else None
            self.ways = Exchanged(found, folder.exchanges, self.time_unit, last)

    def prefixes(self, k: int) -> tuple[str, ...]:
        return f"{replica_folder(k)}/", *((f"{state_folder(self.state(k))}/",) if self.exchanging else ())

    def all_prefixes(self) -> list[str]:
        folders = [replica_folder] + [state_folder] * self.exchanging
        return [f"{folder(k)}/" for folder in folders for k in range(self.count)]

    def state(self, k: int) -> int:
        """The number of the values that a replica has by now."""
        found = self.runner.exchanges
        return k if found is None else int(found.states[k])

    def key_columns(self) -> list[Column]:
        return [Column("replica"), *(self.swept_column(n) for n in self.swept)]

    def keys(self, k: int) -> list[float]:
        return [int(k), *(number for n in self.swept for number in np.ravel(self.values[self.state(k)][n]))]

    def swept_column(self, name: str) -> Column:
        param = self.model.param(name)
        return Column(name, self.model.units.display(param.type.dimension).text, np.shape(self.values[0][name]))

    @property
    def system(self) -> str:
        return f"{self.count:,} replicas of {super().system}"

    def shown_columns(self, columns: list[Column]) -> list[Column]:
        return [c for column in columns for c in (column, replace(column, name=f"± {column.name}"))]

    def shown_values(self, values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return mean_and_spread(values)

    def filed(self, snapshot, place) -> tuple:
        return snapshot, place

    def record(self, replicas: np.ndarray, step: np.ndarray, t: np.ndarray, values: Mapping[str, np.ndarray]) -> None:
        super().record(replicas, step, t, values)
        for n, k in enumerate(replicas):
            self.latest[self.state(k)] |= {name: self.shown(name, v[n]) for name, v in values.items()}

    def ended(self, advance: Advance, outcome: Outcome) -> None:
        if outcome.converged is None:
            return
        there = [k for k in range(self.count) if k not in self.runner.members.lost]
        steps, met = outcome.steps[there], outcome.converged[there]
        if met.any():
            self.display.note(
                f"{met.sum():,} of {len(met):,} replicas converged, after {steps[met].min():,} to "
                f"{steps[met].max():,} steps"
            )
        if not met.all():
            self.display.note(
                f"warning: {(~met).sum():,} of {len(met):,} replicas: "
                f"{not_converged(advance, Outcome(int(steps.max()), False))}"
            )

    def lost(self, replica: int, loss) -> None:
        self.display.note(f"warning: {loss.diagnostic.message}; it ends here, the other replicas go on")

    def place_in_header(self, snapshot, place) -> dict[str, object]:
        lost = {
            k: (
                loss.diagnostic.id,
                loss.diagnostic.message,
                {n: getattr(loss, n) for n in ("step", "time", "statement", "done")},
            )
            for k, loss in self.runner.members.lost.items()
        }
        found = self.runner.exchanges
        more = {} if found is None else {"exchanges": found.told()}
        return {**super().place_in_header(snapshot, place), "lost": lost, **more}

    def exchanged(self, attempt, t: np.ndarray) -> None:
        self.ways.append(attempt, float(t[0]) * self.time_scale)

    def description_at_end(self) -> dict[str, object]:
        return {} if self.ways is None else {"exchanges": self.ways.told()}

    def __exit__(self, *error) -> None:
        if self.ways is not None:
            self.ways.file.close()
        super().__exit__(*error)

    def groups(self) -> list[tuple[Mapping[str, object], list[int]]]:
        there = [k for k in range(self.count) if k not in self.runner.members.lost]
        found: dict[str, tuple[Mapping[str, object], list[int]]] = {}
        for k in there:
            values = {n: self.values[k][n] for n in self.swept}
            group = found.setdefault(repr(values), (values, []))[1]
            group.append(int(values[self.swept[0]]) if self.exchanging else k)
        return list(found.values())

    def finish(self, runner, wall: float, worths: Sequence[Worths]) -> None:
        if self.swept:
            self.display.note(self.by_value())
        if self.ways is not None:
            number = self.model.replicas
            self.display.note(self.ways.table(number.name, number.numbers.first))
        super().finish(runner, wall, worths)

    def breakdown(self, runner) -> dict[str, float]:
        return dict(runner.counts.seconds)

    def by_value(self) -> str:
        """What was recorded last, by the values that were swept: mean and spread of the replicas of each; of those that
        came to the end."""
        groups: dict[tuple, list[int]] = {}
        for k, values in enumerate(self.values):
            groups.setdefault(tuple(np.ravel([np.ravel(values[n]) for n in self.swept]).tolist()), []).append(k)
        there = [k for k in range(self.count) if k not in self.runner.members.lost]
        names = [n for n in self.latest[there[0]] if self.column(n).entries is None]
        columns = self.shown_columns([self.column(n) for n in names])
        table = Table([*(self.swept_column(n) for n in self.swept), *columns], narrow=0)
        lines = ["", table.header()]
        for group in groups.values():
            left = [k for k in group if k in there]
            found = (
                mean_and_spread({n: np.stack([self.latest[k][n] for k in left]) for n in names})
                if left
                else {c.name: np.full(c.shape, np.nan) for c in columns}
            )
            lines.append(table.values({**{n: self.values[group[0]][n] for n in self.swept}, **found}))
        return "\n".join(lines)


def mean_and_spread(values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Of each, over the replicas along its first axis: the mean, and the standard deviation (NaN of a single one)."""
    found = {}
    for name, v in values.items():
        found[name] = v.mean(axis=0)
        found[f"± {name}"] = v.std(axis=0, ddof=1) if len(v) > 1 else np.full(v.shape[1:], np.nan)
    return found


def replica_folder(k: int) -> str:
    return f"replica-{k:03d}"


def state_folder(k: int) -> str:
    return f"state-{k:03d}"

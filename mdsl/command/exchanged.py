"""What a run on the command line tells of replicas that exchange: who was where, in `exchanges.csv`, and how often
states exchanged, in a table and in `run.json`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mdsl.files.records import Column, Records

if TYPE_CHECKING:
    from mdsl.lowering.run.exchanges import Attempt, Exchanges


class Exchanged:
    """The way of replicas through the states. ``exchanges``: so far; ``path``: of the file, which has the state of each
    replica after every attempt; ``last_step``: of a run that goes on, up to which that is kept."""

    def __init__(self, exchanges: Exchanges, path: Path, time_unit: str, last_step: int | None):
        self.exchanges = exchanges
        count = len(exchanges.states)
        columns = [Column("state", "", (count,), (0, count - 1))]
        self.file = (
            Records.resume(columns, path, last_step, time_unit)
            if last_step is not None and path.exists()
            else Records(columns, path, time_unit)
        )

    def append(self, attempt: Attempt, time: float) -> None:
        self.exchanges = attempt.exchanges
        self.file.append(attempt.step, time, {"state": attempt.exchanges.states})

    def told(self) -> dict[str, object]:
        """For `run.json`."""
        names = ("attempts", "tried", "accepted", "states", "trips", "visits")
        return {name: value for name, value in self.exchanges.told().items() if name in names}

    def table(self, name: str, first: int) -> str:
        """How often each state and the next exchanged, and how often replicas went to the last and back. ``name``: of
        what numbers the replicas, which is ``first`` in the first state."""
        found = self.exchanges
        lines = ["", f"{name:>11}  {'tried':>10}  {'accepted':>10}  ratio"]
        for k, (tried, accepted, ratio) in enumerate(zip(found.tried, found.accepted, found.ratio), first):
            lines.append(f"{f'{k} and {k + 1}':>11}  {tried:>10,}  {accepted:>10,}  {ratio:.3f}")
        trips = f"{found.trips.sum():,} ways from the first state to the last and back"
        return "\n".join([*lines, f"{trips}, {found.trips.min():,} to {found.trips.max():,} of each replica"])

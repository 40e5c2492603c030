"""`mdsl compare`: two runs, number by number."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from mdsl.files.folder import RUN, RunFolder
from mdsl.grammar.diagnostics import Diagnostic, Rejected
from mdsl.statistics.runs import differences
from mdsl.statistics.tables import comparison

SAME, DIFFERENT = 0, 1


def compare(one: Path, other: Path, level: float) -> int:
    """Tells what the last statement that recorded anything says in both, for each of their swept values; 1 where two
    means differ by what chance has a probability of less than ``level`` for, divided by how many numbers are compared.
    Raises Rejected: ``no-run``, ``nothing-to-compare``."""
    runs = [last(path) for path in (one, other)]
    pairs = [(a, b) for a in runs[0] for b in runs[1] if a.get("values") == b.get("values")]
    found = [(a, list(differences(a["columns"], b["columns"]))) for a, b in pairs]
    known = [d for _, group in found for d in group if not math.isnan(d.chance)]
    if not known:
        raise Rejected(
            Diagnostic(
                "nothing-to-compare",
                f"{one} and {other} have no number whose error is known in both",
                help="a column that both programs record under one name, at least 8 times in the last statement",
            )
        )
    for group, numbers in found:
        values = ", ".join(f"{n} = {v}" for n, v in group.get("values", {}).items())
        print("\n".join([*([values] if values else []), *comparison(numbers, (one.name, other.name)), ""]))
    apart = [d.which for d in known if d.chance < level / len(known)]
    count = f"{len(known)} number{'s' * (len(known) > 1)}"
    print(f"they differ in {', '.join(apart)}, of {count}" if apart else f"the same within errors: {count}")
    return DIFFERENT if apart else SAME


def last(path: Path) -> Sequence[Mapping]:
    """What `run.json` says of the last statement that recorded anything, one entry for each of the swept values."""
    described = RunFolder(path).read_run() if path.is_dir() else {}
    found = described.get("statistics")
    if not found:
        why = "it is not finished" if described and "statistics" not in described else "it recorded nothing"
        why = why if described else f"there is no {RUN} in it"
        raise Rejected(Diagnostic("no-run", f"{path} holds no run that could be compared: {why}"))
    return [entry for entry in found if entry["index"] == found[-1]["index"]]

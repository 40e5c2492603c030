"""Measurements in tables: medians over rounds with their range, and by how much mdsl is faster, round by round."""

from __future__ import annotations

from statistics import median

from .protocol import PRECISIONS, Job, family
from .rounds import Group


def cost(measured: dict) -> float:
    """Seconds for one atom-step, or one of what else is counted."""
    return measured["seconds"] / measured["work"]


def spread(values, digits: int = 3) -> str:
    """Median, and the range of all rounds where there are several."""
    values = list(values)
    if len(values) == 1:
        return f"{values[0]:.{digits}g}"
    return f"{median(values):.{digits}g} ({min(values):.{digits}g}-{max(values):.{digits}g})"


def plural(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count != 1)}"


def shown(group: Group) -> str:
    """The table of one size of a workload."""
    size = group.workload.sizes[group.size]
    count = max((len(r) for r in group.rounds.values()), default=0)
    head = (
        f"{group.workload.name} {group.size}: {size.atoms:,} atoms, {group.workload.title}; "
        f"{plural(group.threads, 'thread')}, {plural(count, 'round')}"
    )
    lines = ["", head]
    if group.energy:
        lines.append(f"  energy per atom at the start {group.energy:.6f}, the same for all below")
    lines += [f"  {w}" for w in group.wrong]
    own = {p: next((j for j in group.rounds if j.engine == "mdsl" and j.precision == p), None) for p in PRECISIONS}
    own = {p: job for p, job in own.items() if job is not None}
    peers = any(family(j.engine) != "mdsl" for j in group.rounds)
    rows = [["", group.workload.unit, "prepare, s", "peak, MB", *(f"mdsl {p} ×" for p in own if peers), ""]]
    for job, rounds in group.rounds.items():
        if rounds:
            rows.append(_row(group, job, rounds, own if peers else {}))
    if peers and own:
        lines.append("  ×: by how much mdsl is faster than the engine of the row, round by round")
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    for row in rows:
        lines.append(
            "  "
            + "  ".join(
                cell.ljust(w) if k in (0, len(widths) - 1) else cell.rjust(w)
                for k, (cell, w) in enumerate(zip(row, widths))
            ).rstrip()
        )
    return "\n".join(lines)


def _row(group: Group, job: Job, rounds: list[dict], own: dict[str, Job]) -> list[str]:
    row = [job.name, spread(group.workload.shown(r["seconds"], r["work"]) for r in rounds)]
    row += [f"{median(r['prepare'] for r in rounds):.2f}", f"{median(r['peak_megabytes'] for r in rounds):.0f}"]
    for mine in own.values():
        compared = family(job.engine) != "mdsl" and len(group.rounds[mine]) == len(rounds)
        row.append(spread(cost(a) / cost(b) for a, b in zip(rounds, group.rounds[mine])) if compared else "")
    counts = rounds[-1]["counts"]
    return [*row, ", ".join(f"{value:g} {name}" for name, value in counts.items())]


def growth(small: Group, large: Group) -> list[str]:
    """What one atom-step costs in a larger system, over the same in a smaller one; for engines that ran both."""
    lines = []
    for job, rounds in large.rounds.items():
        before = next(
            (
                r
                for j, r in small.rounds.items()
                if (j.engine, j.precision, j.threads) == (job.engine, job.precision, job.threads)
            ),
            None,
        )
        if before and rounds:
            ratio = median(map(cost, rounds)) / median(map(cost, before))
            lines.append(
                f"  {job.name}, {plural(job.threads, 'thread')}: an atom-step of {large.size} costs {ratio:.2f} of one "
                f"of {small.size}"
            )
    return lines

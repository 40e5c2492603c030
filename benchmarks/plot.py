"""The same as bars: for each table a panel, for each engine the median, with the range of its rounds."""

from __future__ import annotations

from pathlib import Path
from statistics import median

from .protocol import family
from .rounds import Group
from .table import plural


def draw(groups: list[Group], path: Path) -> str | None:
    """Write the plot; None, or why there is none."""
    try:
        import matplotlib
    except ImportError:
        return "no plot: matplotlib is not installed (pip install -e '.[bench]')"
    matplotlib.use("Agg")
    from matplotlib import pyplot

    groups = [g for g in groups if any(g.rounds.values())]
    if not groups:
        return "no plot: nothing was measured"
    heights = [0.9 + 0.28 * len(g.rounds) for g in groups]
    figure, panels = pyplot.subplots(
        len(groups), 1, figsize=(7, sum(heights)), height_ratios=heights, squeeze=False, layout="constrained"
    )
    for group, panel in zip(groups, panels[:, 0]):
        rounds = {
            job.name: [group.workload.shown(r["seconds"], r["work"]) for r in rounds]
            for job, rounds in group.rounds.items()
            if rounds
        }
        middle = [median(values) for values in rounds.values()]
        ends = [
            [m - min(v) for m, v in zip(middle, rounds.values())],
            [max(v) - m for m, v in zip(middle, rounds.values())],
        ]
        colours = ["tab:blue" if family(name) == "mdsl" else "tab:gray" for name in rounds]
        panel.barh(list(rounds), middle, xerr=ends, color=colours, ecolor="black", capsize=2)
        panel.invert_yaxis()
        panel.set_title(
            f"{group.workload.name} {group.size}, {plural(group.threads, 'thread')}", loc="left", fontsize="medium"
        )
        panel.set_xlabel(group.workload.unit)
        panel.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)
    return None

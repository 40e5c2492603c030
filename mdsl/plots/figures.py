"""Figures by matplotlib, which is imported here alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mdsl.files.errors import writing
from mdsl.grammar.diagnostics import Diagnostic, Rejected

from .pair_curves import PairCurve
from .record_panels import Panel

ABOVE, BELOW = 3.0, 1.4  # how far beyond 0 and its minimum a function is shown, in depths
TEMPERATURES = np.geomspace(0.8, 30, 150)  # kT over the depth
SHOWN = 0.35  # of the way that a function without an end is followed
WIDTH, HEIGHT = 4.6, 2.5  # inches of a panel


def _pyplot():
    try:
        import matplotlib
    except ImportError:
        help = "`pip install 'mdsl[plot]'` brings it"
        raise Rejected(Diagnostic("missing-package", "plots need the package matplotlib", help=help)) from None
    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot


def _save(figure, path: Path) -> None:
    """Raises Rejected: ``bad-option`` for a format that matplotlib does not have, ``cannot-write``."""
    known = figure.canvas.get_supported_filetypes()
    if path.suffix[1:].lower() not in known:
        message = f"{path} has no ending that says which kind of picture it is"
        raise Rejected(Diagnostic("bad-option", message, help="one of " + ", ".join(f".{k}" for k in sorted(known))))
    with writing(path):
        figure.savefig(path, dpi=160)


def draw_pairs(curves: Sequence[PairCurve], length: str, energy: str, path: Path) -> None:
    """Energy and force over distance, side by side; where any function has a minimum, below them the second virial
    coefficient over temperature. ``length``, ``energy``: the names of units, "" for pure numbers."""
    pyplot = _pyplot()
    attractive = [c for c in curves if c.minimum]
    rows = 2 if attractive else 1
    figure, panels = pyplot.subplots(
        rows, 2, figsize=(2 * WIDTH, rows * 1.25 * HEIGHT), squeeze=False, layout="constrained"
    )
    (left, right), depth = panels[0], _scale(curves)
    for c in curves:
        (line,) = left.plot(c.r, c.u, label=c.label, linewidth=1.4)
        right.plot(c.r, c.force, color=line.get_color(), linewidth=1.4)
        for panel in (left, right):
            if c.cutoff is not None:
                panel.axvline(c.cutoff, color=line.get_color(), linewidth=0.8, linestyle=":")
        if c.minimum:
            left.plot(*c.minimum, marker="o", markersize=4, color=line.get_color())
    ends = [c.r[-1] if c.cutoff is not None else SHOWN * c.r[-1] for c in curves]
    start = min(c.r[np.argmax(c.u < ABOVE * depth)] for c in curves)
    for panel in (left, right):
        panel.set_xlim(0.97 * start if attractive else 0, max(ends))
        panel.axhline(0, color="0.6", linewidth=0.6, zorder=0)
        panel.set_xlabel(_named("r", length))
    left.set_ylim(-BELOW * depth if attractive else -0.05 * depth, ABOVE * depth)
    forces = np.concatenate([c.force[c.u < ABOVE * depth] for c in curves])
    low, high = forces.min(), 1.5 * abs(forces.min()) if attractive else forces.max()
    right.set_ylim(1.2 * low if low < 0 else -0.05 * high, 1.05 * high)
    left.set_ylabel(_named("u(r)", energy))
    right.set_ylabel(_named("−u′(r)", f"{energy}/{length}" if length else energy))
    left.legend(fontsize="small", frameon=False)
    if attractive:
        _draw_virial(attractive, panels[1], length, energy)
    for panel in panels.flat:
        panel.spines[["top", "right"]].set_visible(False)
    _save(figure, path)
    pyplot.close(figure)


def _draw_virial(curves: Sequence[PairCurve], panels, length: str, energy: str) -> None:
    """B₂ of those with a minimum, and a table of what the curves show."""
    for c in curves:
        kT = TEMPERATURES * -c.minimum[1]
        panels[0].plot(kT, c.virial_coefficients(kT), linewidth=1.4)
    panels[0].set_xscale("log")
    panels[0].axhline(0, color="0.6", linewidth=0.6, zorder=0)
    panels[0].set_xlabel(_named("kT", energy))
    panels[0].set_ylabel(_named("B₂", f"{length}^{curves[0].dim}" if length else ""))
    panels[1].axis("off")
    rows = [
        (c.label, f"{c.minimum[0]:.5g}", f"{c.minimum[1]:.5g}", f"{c.cutoff:.5g}" if c.cutoff else "none")
        for c in curves
    ]
    titles = ("", _named("minimum at", length), _named("u there", energy), _named("cutoff", length))
    table = panels[1].table([titles, *rows], loc="center", edges="horizontal", cellLoc="right")
    table.auto_set_font_size(False)
    table.set_fontsize(8)
    table.scale(1, 1.4)


def _scale(curves: Sequence[PairCurve]) -> float:
    """The energy by which the picture is made: the deepest minimum, or what a repulsion has halfway."""
    depths = [-c.minimum[1] for c in curves if c.minimum]
    if depths:
        return max(depths)
    # What starts at a height is shown from there, what has none from where it is as high as at a third of its reach.
    starts = [c.u[0] / ABOVE if c.u[0] < 100 * c.u[len(c.u) // 3] else c.u[len(c.u) // 3] for c in curves]
    return 1.05 * max(starts) or 1.0


def draw_records(panels: Sequence[Panel], time: str, path: Path) -> None:
    """A panel for each recorded number: of replicas the mean, with their standard deviation as a band; where the mean
    over time is known, a line over the steps from which it was taken, with a band of two standard errors,
    dashed where these are doubtful."""
    pyplot = _pyplot()
    columns = 1 if len(panels) < 4 else 2
    rows = -(-len(panels) // columns)
    figure, axes = pyplot.subplots(
        rows,
        columns,
        figsize=(columns * WIDTH * (1.4 if columns == 1 else 1), rows * HEIGHT),
        squeeze=False,
        layout="constrained",
    )
    for panel, at in zip(panels, axes.T.flat):
        for line in panel.lines:
            (drawn,) = at.plot(line.x, line.mean, linewidth=1.0, label=line.label)
            if line.spread is not None:
                band = line.mean - line.spread, line.mean + line.spread
                at.fill_between(line.x, *band, color=drawn.get_color(), alpha=0.18, linewidth=0)
            for since, until, mean, error, doubtful in line.means:
                at.fill_between(
                    [since, until], mean - 2 * error, mean + 2 * error, color="black", alpha=0.25, linewidth=0
                )
                at.plot([since, until], [mean, mean], color="black", linewidth=0.8, linestyle="--" if doubtful else "-")
        for bound in panel.bounds:
            at.axvline(bound, color="0.6", linewidth=0.8, linestyle=":")
        at.set_ylabel(panel.title)
        at.set_xlabel(panel.axis or _named("time", time))
        at.ticklabel_format(axis="y", useOffset=False)
        if len(panel.lines) > 1:
            at.legend(fontsize="x-small", frameon=False)
        at.spines[["top", "right"]].set_visible(False)
        at.margins(x=0)
    for at in list(axes.T.flat)[len(panels) :]:
        at.axis("off")
    _save(figure, path)
    pyplot.close(figure)


def _named(what: str, unit: str) -> str:
    return f"{what} [{unit}]" if unit else what

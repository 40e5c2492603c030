"""Figures of the example scripts: matplotlib, which is not among the requirements of mdsl, and one look for all."""

import argparse
import sys
from pathlib import Path


def pyplot():
    """matplotlib.pyplot, set up to write files. Ends the script with a message where it is not installed."""
    try:
        import matplotlib
    except ImportError:
        sys.exit("this script draws a figure with matplotlib: pip install -e '.[plot]', or run it with --no-figure")
    matplotlib.use("Agg")
    from matplotlib import pyplot

    pyplot.rcParams.update(
        {
            "font.size": 9,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "figure.constrained_layout.use": True,
            "savefig.dpi": 110,
        }
    )
    return pyplot


def arguments(doc, file, quick):
    """A parser with the options that all scripts have. ``doc``: of the script; ``file``: of its figure; ``quick``: what
    a short form is."""
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help=f"a short form: {quick}")
    parser.add_argument("--figure", type=Path, default=Path(file), help="where the figure goes")
    parser.add_argument("--no-figure", action="store_true")
    return parser


def discs(axes, x, diameters, box, colours):
    """Discs in a periodic box, with the images of those that reach over its edges. x [N, 2], box [2]."""
    from matplotlib.collections import EllipseCollection

    x = x % box
    for i in (-1, 0, 1):
        for j in (-1, 0, 1):
            axes.add_collection(
                EllipseCollection(
                    diameters,
                    diameters,
                    0 * diameters,
                    units="xy",
                    offsets=x + box * [i, j],
                    transOffset=axes.transData,
                    facecolors=colours,
                    edgecolors="black",
                    linewidths=0.3,
                    alpha=0.85,
                )
            )
    axes.set(xlim=(0, box[0]), ylim=(0, box[1]), aspect="equal", xticks=[], yticks=[])
    axes.spines[["top", "right"]].set_visible(True)

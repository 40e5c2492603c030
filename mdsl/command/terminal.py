"""Diagnostics on a terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TextIO

from mdsl.grammar.diagnostics import Diagnostic, render


def show(diagnostics: Sequence[Diagnostic]) -> None:
    """Diagnostics on stderr, an empty line after each."""
    colour = coloured(sys.stderr)
    for diagnostic in diagnostics:
        print(render(diagnostic, colour), end="\n\n", file=sys.stderr)


def coloured(stream: TextIO) -> bool:
    """Colour is for terminals, and for those who have not asked to be spared (https://no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"

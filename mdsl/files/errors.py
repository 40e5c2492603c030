"""Short ways to the one form of error that a user sees."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mdsl.grammar.diagnostics import Diagnostic, Rejected


def rejected(id: str, message: str, help: str | None = None, notes: tuple[str, ...] = ()) -> Rejected:
    """The exception for one diagnostic without a span."""
    return Rejected(Diagnostic(id, message, help=help, notes=notes))


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turns a refusal of the operating system (no rights, disk full) into ``cannot-write``."""
    try:
        yield
    except OSError as error:
        raise rejected(
            "cannot-write",
            f"cannot write {path}: {error.strerror or error}",
            help="check the rights of the folder and the free space of the disk, or choose another with --out",
        ) from error

"""What an export is before it is written: files by name, and what there is to say of it."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Deck:
    """``files``: name to text or bytes; ``notes``: sentences for the user; ``styles``: what each energy became;
    ``facts``: what `certificate.json` says beside."""

    files: dict[str, str | bytes]
    notes: tuple[str, ...] = ()
    styles: dict[str, str] = field(default_factory=dict)
    facts: dict[str, object] = field(default_factory=dict)

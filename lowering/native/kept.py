"""Machine code on the disk, so that a program which was compiled once starts at once.

A file holds a digest of the code and the code itself: what was cut off or changed is made anew. Other processes may
write the same file; it is whole at any time.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

SIZE = sha256().digest_size


def kept(folder: Path | None, name: str, make: Callable[[], bytes]) -> bytes:
    """The code that a folder has under a name, or what ``make`` gives, which it has then; None keeps nothing. A folder
    that cannot be read or written is none."""
    if folder is None:
        return make()
    with contextlib.suppress(OSError):
        found = (folder / name).read_bytes()
        if len(found) > SIZE and sha256(found[SIZE:]).digest() == found[:SIZE]:
            return found[SIZE:]
    made = make()
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, prefix=name, delete=False) as new:
            new.write(sha256(made).digest() + made)
        os.replace(new.name, folder / name)
    return made

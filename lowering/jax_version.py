"""The releases of JAX: those that were tested, and those that compute wrong results, crash, or copy whole buffers in
loops.

`pyproject.toml` excludes the same releases; an installer can be overruled, this cannot. Nothing is imported but
the metadata of the installed packages, so commands that need no JAX run where there is none.
"""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, version

from mdsl.grammar.diagnostics import Diagnostic, Rejected

TESTED = ("0.10.1", "0.12.0.1")  # what the tests were run with, the newest last
REFUSED = {
    "0.10.2": "it gives silently wrong results on the CPU",
    "0.11.0": "it crashes or hangs on the CPU",
    "0.11.1": "it copies whole buffers inside loops",
}
INSTALL = "pip install 'jax!=0.10.2,!=0.11.0,!=0.11.1' 'jaxlib!=0.10.2,!=0.11.0,!=0.11.1'"


def check() -> None:
    """Raises Rejected (``unsupported-jax``) where jax or jaxlib is a release that mdsl does not run on, or is missing.

    Called where JAX is about to be needed: by `jax_internals`, by `bind`, and by `mdsl run`.
    """
    for package in ("jax", "jaxlib"):
        try:
            release = version(package)
        except PackageNotFoundError:
            raise Rejected(Diagnostic("unsupported-jax", f"{package} is not installed", help=INSTALL)) from None
        if release in REFUSED:
            message = f"mdsl does not run on {package} {release}: {REFUSED[release]}"
            raise Rejected(Diagnostic("unsupported-jax", message, help=INSTALL))


def described() -> str:
    """The installed JAX in words, for `mdsl --version`; one newer than what was tested is told of."""
    try:
        release = version("jax")
    except PackageNotFoundError:
        return "no JAX"
    newer = f", newer than {TESTED[-1]}, the newest that was tested" if _numbers(release) > _numbers(TESTED[-1]) else ""
    return f"JAX {release}{newer}"


def _numbers(release: str) -> tuple[int, ...]:
    """The numbers of a release, by which it is compared; what follows them (`rc1`, `.dev2026`) does not count."""
    return tuple(map(int, re.match(r"[\d.]*\d|", release)[0].split("."))) if release[:1].isdigit() else ()

"""Refusing the releases of JAX that compute wrong results, crash, or copy whole buffers in loops.

`pyproject.toml` excludes the same releases; an installer can be overruled, this cannot. Nothing is imported but
the metadata of the installed packages.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from mdsl.grammar.diagnostics import Diagnostic, Rejected

REFUSED = {
    "0.10.2": "it gives silently wrong results on the CPU",
    "0.11.0": "it crashes or hangs on the CPU",
    "0.11.1": "it copies whole buffers inside loops",
}
INSTALL = "pip install 'jax!=0.10.2,!=0.11.0,!=0.11.1' 'jaxlib!=0.10.2,!=0.11.0,!=0.11.1'"


def check() -> None:
    """Raises Rejected (``unsupported-jax``) where jax or jaxlib is a release that mdsl does not run on, or is missing."""
    for package in ("jax", "jaxlib"):
        try:
            release = version(package)
        except PackageNotFoundError:
            raise Rejected(Diagnostic("unsupported-jax", f"{package} is not installed", help=INSTALL)) from None
        if release in REFUSED:
            message = f"mdsl does not run on {package} {release}: {REFUSED[release]}"
            raise Rejected(Diagnostic("unsupported-jax", message, help=INSTALL))

"""Which kernels sums over pairs have: on a CPU vector code of mdsl's own, or XLA's; on a GPU XLA's, or Pallas'."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib.util import find_spec

CHOICE = "MDSL_KERNELS"  # of the environment
KERNELS = ("xla", "native", "pallas")


def asked() -> bool:
    """Whether native kernels are to be taken where there are any: unless the environment asks for XLA's."""
    return os.environ.get(CHOICE) != "xla"


def by_pallas() -> bool:
    """Whether programs for GPUs are to have kernels of Pallas."""
    return os.environ.get(CHOICE) == "pallas"


def hindrance() -> str:
    """Why there are none, as far as that is known without JAX; nothing where they may be."""
    if not asked():
        return f"{CHOICE} says so"
    return "" if find_spec("llvmlite") is not None else "llvmlite is not installed"


@dataclass(frozen=True)
class Vectors:
    """Of native kernels: the ``bytes`` of a vector on this processor, 0 where that is not known; ``why`` there are
    none."""

    bytes: int = 0
    why: str = ""


UNKNOWN = Vectors()

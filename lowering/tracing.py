"""Whether JAX is at work on a value, asked without importing JAX."""

from __future__ import annotations

import sys


def is_traced(value) -> bool:
    """Whether a value, or an array in a mapping or list, stands for others in a transformation of JAX."""
    jax = sys.modules.get("jax")  # without it nothing is traced, and it is not imported for that
    return jax is not None and any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(value))

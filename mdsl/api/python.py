"""What is given for the `extern` statements of a program."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mdsl.grammar.diagnostics import Diagnostic, Rejected
from mdsl.model.functions import Weighted, Weights


def functions(given: Mapping[str, object]) -> dict[str, object]:
    """Functions of Python as the compiler takes them: a calculator of ASE as the function that calls it, (function,
    weights) with the weights in a row. Raises Rejected: ``bad-extern``."""
    return {name: _function(name, value) for name, value in given.items()}


def _function(name: str, value: object) -> object:
    if isinstance(value, tuple) and len(value) == 2 and callable(value[0]):
        return Weighted(value[0], in_a_row(name, value[1]))
    if callable(getattr(value, "get_property", None)) and hasattr(value, "implemented_properties"):
        from mdsl.lowering.kernels.ase_energy import AseEnergy

        return AseEnergy(name, value)
    return value


def in_a_row(name: str, tree: object) -> Weights:
    """The numbers of a tree of arrays, one after the other. Raises Rejected: ``bad-extern``."""
    import jax
    import jax.numpy as jnp

    leaves, structure = jax.tree.flatten(tree)
    try:
        arrays = [np.asarray(leaf, float) for leaf in leaves]
    except (TypeError, ValueError):
        raise Rejected(Diagnostic("bad-extern", f"the weights of `{name}` are no tree of arrays of numbers")) from None
    if not arrays:
        raise Rejected(Diagnostic("bad-extern", f"the weights of `{name}` hold no numbers"))
    ends = np.cumsum([a.size for a in arrays])[:-1]

    def split(row):
        parts = jnp.split(jnp.asarray(row), ends, axis=-1)
        return structure.unflatten([p.reshape(*p.shape[:-1], *a.shape) for p, a in zip(parts, arrays)])

    def joined(other):
        found, kind = jax.tree.flatten(other)
        if kind != structure or any(jnp.shape(b) != a.shape for a, b in zip(arrays, found)):
            raise ValueError("another tree")
        return jnp.concatenate([jnp.ravel(jnp.asarray(b)) for b in found])

    return Weights(np.concatenate([a.ravel() for a in arrays]), split, joined)

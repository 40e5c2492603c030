"""What is given in Python for parameters, data and weights, as arrays of JAX."""

from __future__ import annotations

from collections.abc import Mapping

from mdsl.grammar.diagnostics import Diagnostic, Rejected
from mdsl.lowering.tracing import is_traced
from mdsl.model.functions import Network, Weights
from mdsl.model.nodes import Param
from mdsl.passes import atom_data


def numbers(name: str, value):
    """What a user gives for a parameter or for data, as an array of JAX. Raises Rejected: ``wrong-type``."""
    import jax.numpy as jnp

    try:
        return jnp.asarray(value, None if hasattr(value, "dtype") else float)
    except (TypeError, ValueError):
        raise Rejected(
            Diagnostic("wrong-type", f"`{name}` is given {value!r}, which is no number and no array of numbers")
        ) from None


def symmetric(param: Param, values):
    """As `atom_data.symmetric`; of an array over pairs of species whose numbers are not known yet, in transformations
    of JAX, the part that is symmetric: then derivatives of all orders are those of an array that is, half of that of a
    pair for each of its two entries. Raises Rejected: ``bad-table``."""
    if atom_data.over_pairs(param) and is_traced(values):
        import jax.numpy as jnp

        return (jnp.asarray(values) + jnp.asarray(values).T) / 2
    return atom_data.symmetric(param, values)


def joined(network: Network | Weights, weights: object):
    """The weights of a network, a dict of arrays, or of a function of Python, a tree, in a row. Raises Rejected:
    ``wrong-shape``."""
    import jax.numpy as jnp

    if isinstance(network, Weights):
        try:
            return network.joined(weights)
        except ValueError:
            words = "the weights are another tree of arrays than those that the function of Python was given with"
            raise Rejected(Diagnostic("wrong-shape", words)) from None
    if not isinstance(weights, Mapping) or set(weights) != set(network.shapes):
        names = ", ".join(network.shapes)
        raise Rejected(
            Diagnostic(
                "wrong-shape",
                f"the weights of `{network.name}` are a dict of {names}",
                help=f'like `program.params["{network.name}"]`',
            )
        )
    for name, shape in network.shapes.items():
        if jnp.shape(weights[name]) != shape:
            raise Rejected(
                Diagnostic(
                    "wrong-shape", f"`{name}` of `{network.name}` has the shape {jnp.shape(weights[name])}, not {shape}"
                )
            )
    return jnp.concatenate([jnp.ravel(jnp.asarray(weights[name])) for name in network.shapes])

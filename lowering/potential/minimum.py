"""Derivatives of a minimum by all that the energy depends on, without those of the way to it.

Where the forces F(x, p) vanish they stay 0 along the minimum x(p): with the Hessian H = -dF/dx,

    H dx/dp = dF/dp

which needs products of the Hessian and a vector alone, each a sum over pairs. H has directions without a cost: all
atoms moved alike, atoms that touch no other. Conjugate residuals (Stiefel 1955) leave these out in both modes, where
conjugate gradients would not converge.
"""

from __future__ import annotations

from collections.abc import Callable

import jax.numpy as jnp
from jax import lax


def moved_along(forces: Callable, x, free=1.0):
    """``x`` [N, d], where `forces(x)` vanish: its derivatives are those of the minimum by what ``forces`` depends on.

    Where ``x`` itself changes, the minimum is that near the changed positions: of displacements that cost no energy it
    keeps what x has. ``free``: 0 for atoms [N, 1] that stay where x has them. NaN where the equations are not solved.
    """

    def solve(product: Callable, b):
        return lax.custom_linear_solve(lambda u: -product(u), -b, _conjugate_residuals, symmetric=True)

    shift = lax.custom_root(
        lambda u: free * forces(x + free * u), jnp.zeros_like(lax.stop_gradient(x)), lambda _, u: u, solve
    )
    return x + free * shift


def _conjugate_residuals(product: Callable, b):
    """u with `product(u)` as near to ``b`` as can be, for a symmetric linear function."""
    eps = jnp.finfo(b.dtype).eps
    image = product(b)
    size = jnp.linalg.norm(image)

    def going(state):
        k, _, _, image, *_ = state
        return (k < 4 * b.size) & (jnp.linalg.norm(image) > eps**0.75 * size)

    def turn(state):
        k, u, rest, image, p, q = state  # image and q are the products of rest and p
        old = jnp.vdot(rest, image)
        step = old / jnp.vdot(q, q)
        u, rest = u + step * p, rest - step * q
        image = product(rest)
        more = jnp.vdot(rest, image) / old
        return k + 1, u, rest, image, rest + more * p, image + more * q

    _, u, _, image, *_ = lax.while_loop(going, turn, (0, jnp.zeros_like(b), b, image, b, image))
    return jnp.where(jnp.linalg.norm(image) <= eps**0.5 * size, u, jnp.nan)

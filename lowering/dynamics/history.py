"""Where atoms have come from: how a statement of dynamics began, for `travelled`, `v_start` and `t_start`, and
positions that no box has wrapped."""

from __future__ import annotations

from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp

from mdsl.lowering.field.field import Field
from mdsl.lowering.geometry.cell import Cell, combination
from mdsl.lowering.traversals.topologies import inverse
from mdsl.model.nodes import names_in

from .state import Began, Inputs, State

if TYPE_CHECKING:
    from mdsl.lowering.arrays import Value

BACK = ("travelled", "v_start", "t_start")


def looks_back(field: Field) -> bool:
    """Whether anything reads how the statement of dynamics began."""
    return reads(field, BACK)


def reads(field: Field, names: tuple[str, ...]) -> bool:
    """Whether observables or dynamics read one of these."""
    measures = tuple((m.summand, m.bin) for m in field.measures)
    dynamics = tuple((a.body, a.until, a.states, a.observes) for a in field.dynamics)
    return not names_in((field.combinations, measures, dynamics)).isdisjoint(names)


def began(state: State, t) -> Began:
    """How a statement begins that begins now, from the state of one device. In a box that changes, whose vectors may
    become others, positions are those that are not wrapped into it."""
    x, images = state.x, state.images
    if state.cell:
        x = tuple(a + b for a, b in zip(x, combination(state.cell, images)))
        images = tuple(jnp.zeros_like(c) for c in images)
    back = inverse(state.ids)
    return Began(*(tuple(c[back] for c in rows) for rows in (x, images, state.v)), t)


def looking_back(state: State, inputs: Inputs, cell: Cell) -> dict[str, Value]:
    """Rows: how far atoms have come since the statement began, exactly 0 at its beginning; and how they began."""
    first = jax.tree.map(lambda a: a[state.ids], inputs.began._replace(t=state.ids))
    way = combination(cell, tuple(a - b for a, b in zip(state.images, first.images)))
    return {"travelled": tuple(a - b + c for a, b, c in zip(state.x, first.x, way)), "v_start": first.v}


def unwrapped(state: State, cell: Cell) -> tuple:
    """Rows: positions from the origin, outside of the box where atoms have left it."""
    return tuple(a + b for a, b in zip(state.x, combination(cell, state.images)))

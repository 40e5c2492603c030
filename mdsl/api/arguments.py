"""What is given to the functions of a bound system in place of what was bound, in internal units."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from mdsl.grammar.diagnostics import Diagnostic, Rejected
from mdsl.interpret.constants import factor
from mdsl.lowering.tracing import is_traced
from mdsl.model.box_dependencies import decided_by
from mdsl.model.dimensions import LENGTH, VELOCITY, Dimension
from mdsl.passes.atom_data import check_data_names
from mdsl.start.initial import Initial, following, still

from .fixed_by_bind import check_fixed, check_freezing
from .given import numbers, symmetric

if TYPE_CHECKING:
    from .system import System


def scale(system: System, dimension: Dimension) -> float:
    """Shown number per internal number of a dimension of mechanics, such as FORCE."""
    return factor(system.model, system.model.units.dimension(dimension))


def data_given(system: System, data: Mapping[str, object] | None) -> dict[str, object]:
    """The data that were bound, with those given in their place; internal units."""
    found: dict[str, object] = dict(system.initial.data)
    for name, given in check_data_names(system.model, data).items():
        values, param = numbers(name, given), system.model.param(name)
        check_freezing(system, name, values)
        if values.shape != found[name].shape:
            raise Rejected(
                Diagnostic("wrong-shape", f"the data `{name}` have the shape {values.shape}, not {found[name].shape}")
            )
        found[name] = symmetric(param, values) * param.data.size
    return found


def arguments(system: System, x, params, box, data):
    """Free parameters and data, positions [N, d] and the box, as the energies take them: those given in place of what
    was bound, in internal units. Raises Rejected: ``wrong-shape``, and what `check_fixed` raises."""
    import jax.numpy as jnp

    check_fixed(system, params, box is None)
    length = factor(system.model, LENGTH)
    energies = system._energies
    dtype = energies.lowered.dtype
    x = jnp.asarray(system.x if x is None else x, dtype) / length
    if x.shape != system.initial.x.shape:
        raise Rejected(Diagnostic("wrong-shape", f"x has the shape {x.shape}, the system {system.initial.x.shape}"))
    leaves = {
        name: jnp.asarray(v, dtype)
        for name, v in {**system.program.internal(params), **data_given(system, data)}.items()
    }
    return leaves, x, cell_given(system, box, leaves, dtype)


def cell_given(system: System, box, leaves, dtype):
    """The box as it was bound, or as the program declares it for these parameters, or another: one edge, [d]
    or [d, d]."""
    import jax.numpy as jnp

    from mdsl.lowering.geometry.cell import Cell, cast, of_matrix
    from mdsl.lowering.kernels.changing_box import declared

    if box is None and system.initial.declared and decided_by(system.model) & leaves.keys():
        return declared(system.model, system._energies.energies.complete(leaves), 0.0, system.initial.atoms, dtype)
    if box is None:
        return cast(of_matrix(system.initial.cell, system.initial.tilted), dtype)
    dim, periodic = system.model.dim, system.initial.periodic
    box = jnp.asarray(box, dtype) / factor(system.model, LENGTH)
    if box.shape != (dim, dim):
        if box.size not in (1, dim):
            raise Rejected(
                Diagnostic(
                    "wrong-shape", f"box has the shape {box.shape}; it is one edge, {dim} edges, or {dim} vectors"
                )
            )
        edges = tuple(e if p else jnp.ones_like(e) for e, p in zip(jnp.broadcast_to(box, (dim,)), periodic))
        tilts = dim * (dim - 1) // 2 if system.initial.tilted else 0  # of a box that is skew, or may become so
        return Cell(edges, (jnp.zeros_like(edges[0]),) * tilts)
    skew = (jnp.triu(box, 1) != 0).any()
    if not is_traced(box) and skew:
        raise Rejected(
            Diagnostic(
                "bad-box",
                "the box vectors are not those of a triangular matrix",
                help="the entries above the diagonal are 0: a lies along x, b in the plane of x and y",
            )
        )
    # A traced box can only be seen to be wrong when it is too late to say so.
    box = box + jnp.where(skew, jnp.nan, 0.0)
    return of_matrix(
        [row if p else jnp.eye(dim, dtype=dtype)[k] for k, (row, p) in enumerate(zip(box, periodic))], tilted=True
    )


def start_given(system: System, x, v, box, leaves):
    """Positions, velocities and box that are given, in internal units; None where they are not."""
    import jax.numpy as jnp

    dtype = jnp.float32 if system.precision == "single" else jnp.float64
    scales = {"x": scale(system, LENGTH), "v": scale(system, VELOCITY)}
    given = {name: None if a is None else jnp.asarray(a, dtype) / scales[name] for name, a in (("x", x), ("v", v))}
    for name, array in given.items():
        if array is not None and array.shape != system.initial.x.shape:
            raise Rejected(
                Diagnostic("wrong-shape", f"{name} has the shape {array.shape}, the system {system.initial.x.shape}")
            )
    if given["v"] is not None and system.model.frozen:
        resting = still(system.model, system.initial.species, system.initial.data)
        given["v"] = jnp.where(resting[:, None], 0.0, given["v"])
    return given["x"], given["v"], None if box is None else cell_given(system, box, leaves, dtype)


def bound_by(system: System, leaves, x, v, cell) -> Initial:
    """The state of a run outside of transformations that starts from these."""
    from mdsl.lowering.geometry.cell import matrix_of

    given = {name: np.asarray(a, float) for name, a in (("x", x), ("v", v)) if a is not None}
    images = {"images": None} if "x" in given else {}  # of other positions
    initial = replace(system.initial, **given, **images)
    if cell is not None:
        return replace(initial, cell=matrix_of(cell), tilted=initial.tilted or bool(cell.tilts), declared=False)
    return following(system.model, initial, leaves)

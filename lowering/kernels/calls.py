"""Learned and extern functions in JAX, for all rows at once; their derivatives are JAX's own of the function of a
row."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

from mdsl.grammar.diagnostics import Diagnostic
from mdsl.model.faults import fault
from mdsl.model.functions import Extern, Network
from mdsl.model.nodes import Call, Expr, Model, walk

from .ranges import column


def call(expr: Call, args: Sequence):
    """The value of a call: ``args`` are numbers in rows of any shape and, where their type is an array, [C, rows]. A
    derivative by an array is an array [C, rows]."""
    learned = isinstance(expr.body, Network)
    arrays = [a.type.kind == "array" for a in expr.args[learned:]]
    inputs = [jnp.asarray(a) for a in args[learned:]]
    dtype = (
        jnp.result_type(float, *(a.dtype for a in inputs))
        if not any(jnp.issubdtype(a.dtype, jnp.floating) for a in inputs)
        else jnp.result_type(*inputs)
    )
    rows = jnp.broadcast_shapes(*(a.shape[1:] if array else a.shape for a, array in zip(inputs, arrays)))
    inputs = [
        jnp.broadcast_to(a, (a.shape[0], *rows) if array else rows).astype(dtype) for a, array in zip(inputs, arrays)
    ]
    function = _network(expr.body, jnp.asarray(args[0], dtype), arrays) if learned else _extern(expr.body, arrays, rows)
    for k in expr.by:
        function = _derivative(function, k - learned, arrays[k - learned])
    return function(*inputs)


def bad_externs(model: Model) -> list[Diagnostic]:
    """A diagnostic for each call of a function of Python that fails, or does not give one number."""
    calls = (
        n
        for e in model.equations
        for n in walk(e.body)
        if isinstance(n, Call) and isinstance(n.body, Extern) and n.body.function is not None
    )  # extern energies are traced when there are atoms
    found = (_bad_extern(model, call) for call in calls)
    return [d for d in found if d is not None]


def _bad_extern(model: Model, call: Call) -> Diagnostic | None:
    shapes = [
        jax.ShapeDtypeStruct((a.type.size,) if a.type.kind == "array" else (), jnp.result_type(float))
        for a in call.args
    ]
    try:
        found = jax.eval_shape(call.body.function, *shapes)
    except Exception as error:  # whatever the user's function may raise
        return failing(model, call.function, call, error)
    return None if getattr(found, "shape", None) == () else no_number(model, call.function, call, found)


def failing(model: Model, name: str, at: Expr, error: Exception) -> Diagnostic:
    """What is said of a function of Python that raises an error when it is traced."""
    first = (str(error).strip().splitlines() or [""])[0]
    help = "it is traced by JAX, with numbers and arrays of JAX"
    words = f"the function `{name}` fails: {type(error).__name__}: {first}"
    return fault(model.source, "bad-extern", words, at, help=help)


def no_number(model: Model, name: str, at: Expr, found: object) -> Diagnostic:
    """What is said of a function of Python that gives something else than a number."""
    gives = f"an array of shape {found.shape}" if hasattr(found, "shape") else f"a {type(found).__name__}"
    return fault(model.source, "bad-extern", f"the function `{name}` gives {gives}, not one number", at)


def _derivative(function: Callable, k: int, array: bool) -> Callable:
    """Of what is computed row by row, by an argument in each row."""

    def slope(*inputs):
        def along(a):
            return function(*inputs[:k], a, *inputs[k + 1 :])

        if array:
            value, back = jax.vjp(along, inputs[k])
            return back(jnp.ones_like(value))[0]
        return jax.jvp(along, (inputs[k],), (jnp.ones_like(inputs[k]),))[1]

    return slope


def _network(body: Network, weights, arrays: list[bool]) -> Callable:
    layers = body.split(weights)

    def affine(h, w, b):
        return jnp.tensordot(w, h, ((0,), (0,)), precision="highest") + column(b, h.ndim - 1)

    def network(*inputs):
        h = inputs[0] if arrays[0] else jnp.stack(inputs)
        return body.apply(layers, h, jnp.tanh, affine)[0]

    return network


def _extern(body: Extern, arrays: list[bool], rows: tuple[int, ...]) -> Callable:
    def extern(*inputs):
        flat = [a.reshape(a.shape[0], -1) if array else a.reshape(-1) for a, array in zip(inputs, arrays)]
        found = jax.vmap(body.function, in_axes=tuple(1 if array else 0 for array in arrays))(*flat)
        return found.reshape(rows).astype(inputs[0].dtype)

    return extern

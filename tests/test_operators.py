"""Every operator has an entry in every table, or a reason why it has none, and means the same in all of them.

A new operator fails here until each stage knows it: the interpreter (`interpret.values`), SymPy (`symbolic.bridge`),
JAX (`kernels.emit`), interval bounds (`cutoff_bounds`), and what a choice guards (`singularities`).
"""

import jax
import numpy as np
import pytest

from mdsl.interpret import dual, values
from mdsl.lowering.field import cutoff_bounds
from mdsl.lowering.kernels import emit
from mdsl.model.nodes import SCALAR, Number, Op, Read, Type
from mdsl.model.operators import CALLABLE, NEIGHBOURS, OPERATORS
from mdsl.model.typing_rules import RULES
from mdsl.symbolic.bridge import Leaves, from_sympy, to_sympy

BOOL, VECTOR, MATRIX = Type("bool"), Type("vector"), Type("matrix")
LOGIC = ("and", "or", "not")
COMPARISONS = ("lt", "le", "gt", "ge", "eq", "ne")
POINTS = {"displacement", "angle", "dihedral"}  # take points, which only a box makes vectors of
TENSORS = {"vector", "dot", "cross", "outer", "trace", "transpose", "inverse", "diagonal"}
TENSORS |= {op for op in OPERATORS if op.startswith(("component_", "entry_"))}
NUMBERS = [op for op in OPERATORS if op not in TENSORS | POINTS | set(LOGIC)]
# Where a function of one number is compared: within its domain, and away from jumps.
DOMAIN = {"log": (0.2, 3.0), "sqrt": (0.2, 3.0), "asin": (-0.9, 0.9), "acos": (-0.9, 0.9), "tan": (-1.2, 1.2)}
DOMAIN |= {"log1p": (-0.8, 3.0), "pow": (0.3, 2.5), "floor": (0.1, 0.9), "round": (0.6, 1.4)}


def kinds(op):
    """The types of the arguments in which an operator is tried."""
    if op in LOGIC:
        return (BOOL,) * OPERATORS[op].arity
    if op == "choose":
        return (BOOL, SCALAR, SCALAR)
    return (SCALAR,) * OPERATORS[op].arity


def arguments(op, seed=0, rows=7):
    rng = np.random.default_rng([seed, list(OPERATORS).index(op)])
    drawn = (rng.uniform(*DOMAIN.get(op, (-1.5, 1.5)), rows) for _ in range(OPERATORS[op].arity))
    return [a > 0 if kind == BOOL else a for a, kind in zip(drawn, kinds(op), strict=True)]


def applied(op):
    """The operator applied to names `a`, `b`, `c`, typed."""
    args = tuple(Read(name, type=kind) for name, kind in zip("abc", kinds(op)))
    return Op(op, args, type=BOOL if op in LOGIC + COMPARISONS else SCALAR)


def meaning(op, args):
    if op == "choose":
        return np.where(*args)
    if op in values.GEOMETRY:
        return values.GEOMETRY[op](None, *args)
    return np.asarray(dual.primal(values.OPERATIONS[op](*args)))


def with_jax(expr, args):
    known = dict(zip("abc", args))
    return np.asarray(emit.evaluate(expr, lambda read: jax.numpy.asarray(known[read.symbol]), None))


def test_every_operator_has_a_typing_rule():
    assert {o.typing for o in OPERATORS.values()} == set(RULES)
    assert set(CALLABLE) <= set(OPERATORS)


@pytest.mark.parametrize("op", [*NUMBERS, *LOGIC])
def test_jax_and_sympy_mean_what_the_interpreter_means(op):
    args, expr = arguments(op), applied(op)
    expected = meaning(op, args)
    found = with_jax(expr, args)
    assert found.dtype == expected.dtype and np.allclose(found, expected, rtol=1e-14, atol=1e-15)
    leaves = Leaves()
    there = to_sympy(expr, leaves)
    assert all(isinstance(leaf, Read) for leaf in leaves.symbols), f"SymPy does not look into {op}"
    assert np.allclose(with_jax(from_sympy(there, leaves), args), expected, rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("op", [op for op in NUMBERS if op not in (*COMPARISONS, "choose")])
def test_derivatives_of_sympy_are_those_of_the_interpreter(op):
    args, expr = arguments(op, 1), applied(op)
    for k, name in enumerate("abc"[: len(args)]):
        leaves = Leaves()
        there = to_sympy(expr, leaves)
        slope = with_jax(from_sympy(there.diff(leaves.symbol(Read(name, type=SCALAR))), leaves), args)
        moved = lambda a, k=k: values.OPERATIONS[op](*args[:k], a, *args[k + 1 :])
        function = (
            moved if op in values.OPERATIONS else lambda a, k=k: values.GEOMETRY[op](None, *args[:k], a, *args[k + 1 :])
        )
        right = np.asarray(dual.primal(dual.derivative(function, args[k], np.ones_like(args[k]))))
        assert np.allclose(np.broadcast_to(slope, right.shape), right, rtol=1e-12, atol=1e-13), name


@pytest.mark.parametrize("op", sorted(TENSORS))
def test_vectors_and_matrices_are_the_same_in_jax(op):
    """JAX has them by components, rows last; the interpreter as arrays, rows first."""
    rng = np.random.default_rng(3)
    shapes = {"vector": ((), (), ()), "dot": ((3,), (3,)), "cross": ((3,), (3,)), "outer": ((3,), (3,))}
    shapes = shapes.get(op, ((3,),) if op.startswith("component_") else ((3, 3),))
    args = [rng.normal(size=(5, *shape)) for shape in shapes]
    expected = np.asarray(values.OPERATIONS[op](*args))

    def parts(a):
        return tuple(parts(a[:, k]) for k in range(a.shape[1])) if a.ndim > 1 else a

    found = emit.operate(op, [parts(a) for a in args])
    leaves, axes = jax.tree.leaves(found), expected.ndim - 1
    assert np.allclose(np.stack(leaves, -1).reshape(5, *(3,) * axes), expected, rtol=1e-13)


# Cutoffs are made of numbers; these have no bounds, and a cutoff that needs them is refused (`bounded`).
WITHOUT_BOUNDS = {"sin", "cos", "tan", "asin", "acos", "cosh", "erf", "erfc", "atan2", "floor", "round", "eq", "ne"}
WITHOUT_BOUNDS |= {"norm", "log1p", *NEIGHBOURS} | TENSORS | POINTS


def test_bounds_are_known_or_refused():
    known = {*cutoff_bounds._RULES, *cutoff_bounds._RISING}
    assert known | WITHOUT_BOUNDS == set(OPERATORS) and not known & WITHOUT_BOUNDS


@pytest.mark.parametrize("op", sorted(set(cutoff_bounds._RULES) | set(cutoff_bounds._RISING)))
def test_bounds_enclose_all_values(op):
    for seed in range(4):
        args = arguments(op, seed)
        ends = {n: (not a.all(), a.any()) if a.dtype == bool else (a.min(), a.max()) for n, a in zip("abc", args)}
        low, high = cutoff_bounds.interval(applied(op), lambda read: ends[read.symbol], np)
        combinations = meaning(op, [g.ravel() for g in np.meshgrid(*args)])
        if combinations.dtype == bool:  # whether it can be false, and can be true
            assert low or combinations.all()
            assert high or not combinations.any()
        else:
            assert low <= combinations.min() + 1e-12 and combinations.max() - 1e-12 <= high


# Derivatives are finite wherever the value is, so nothing is guarded in the branch that is not taken.
SMOOTH = {"add", "sub", "neg", "mul", "exp", "sin", "cos", "atan", "sinh", "cosh", "tanh", "erf", "erfc"}
# Constant, or as smooth as their arguments, but for jumps and kinks, where any finite number will do.
STEPS = {"floor", "round", "abs", "min", "max", "norm", "choose", *COMPARISONS, *LOGIC, *NEIGHBOURS}
UNGUARDED = {"tan": "its poles are not numbers of floating point", "atan2": "0/0 only where both arguments are 0"}


def test_singular_operators_are_guarded():
    found = {op: o.singular for op, o in OPERATORS.items() if o.singular is not None}
    assert {*found, *SMOOTH, *STEPS, *UNGUARDED} | TENSORS | POINTS == set(OPERATORS)
    for op, (place, harmless) in found.items():
        args = [Number(0.5) for _ in range(OPERATORS[op].arity)]
        args[place] = Read("a", type=SCALAR)
        slope = jax.grad(lambda a, e=Op(op, tuple(args), type=SCALAR): emit.evaluate(e, lambda _: a, None))
        assert np.isfinite(slope(harmless)), op


@pytest.mark.parametrize("op", [op for op, o in OPERATORS.items() if o.typing == "elementary" and o.cost > 1])
def test_what_ends_is_0_where_its_argument_is(op):
    with np.errstate(divide="ignore"):
        assert OPERATORS[op].ends == (meaning(op, [np.zeros(1)]) == 0)[0]


def test_costly_operators_have_a_cost():
    """Which kernels are computed in two stages follows from it: functions that take many operations each."""
    elementary = {op for op, o in OPERATORS.items() if o.typing == "elementary"} - {"floor", "round"}
    assert elementary | {"atan2"} == {op for op, o in OPERATORS.items() if o.cost > 1}

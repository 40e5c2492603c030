"""What is guarded in branches that are not taken, and limits where atoms lie at one place."""

import itertools

import numpy as np
import pytest
import sympy

from mdsl.interpret import dual
from mdsl.interpret.values import OPERATIONS
from mdsl.lowering.field.contact import regular
from mdsl.lowering.field.pair_form import squared_conditions
from mdsl.lowering.field.singularities import at_risk, holds_at_contact
from mdsl.model.nodes import SCALAR, Number, Op, Read
from mdsl.symbolic.magnitude import magnitude


def op(name, *args):
    return Op(name, args, type=SCALAR)


P, N = Read("p", type=SCALAR), Read("n", ("i",), type=SCALAR)
D = op("displacement", Read("x", ("i",)), Read("x", ("j",)))
S = op("dot", D, D)
R = op("sqrt", S)
ONE, TWO = Number(1.0), Number(2.0)

# -- guards ----------------------------------------------------------------------------------------------

# Whether there is anything to guard where the branch is taken at contact, and where it is not.
RISKS = {
    "n + p": (op("add", N, P), False, False),
    "1/n": (op("div", ONE, N), True, True),
    "n/p": (op("div", N, P), False, False),
    "1/r": (op("div", ONE, R), False, True),
    "n/(p*r)": (op("div", N, op("mul", P, R)), False, True),
    "1/(n*p)": (op("div", ONE, op("mul", N, P)), True, True),
    "1/(p/n)": (op("div", ONE, op("div", P, N)), True, True),
    "1/(r - p)": (op("div", ONE, op("sub", R, P)), True, True),
    "1/(r + n)": (op("div", ONE, op("add", R, N)), True, True),
    "log(n)": (op("log", N), True, True),
    "log(p)": (op("log", P), False, False),
    "sqrt(n)": (op("sqrt", N), True, True),
    "r": (R, False, True),
    "r^2": (op("pow", R, TWO), False, True),
    "n^2": (op("pow", N, TWO), False, False),
    "n^1.5": (op("pow", N, Number(1.5)), True, True),
    "n^0.5": (op("pow", N, Number(0.5)), True, True),
    "n^-2": (op("pow", N, Number(-2.0)), True, True),
    "n^p": (op("pow", N, P), True, True),
    "(r^2)^-3": (op("pow", S, Number(-3.0)), False, True),
    "asin(n)": (op("asin", N), True, True),
    "acos(p)": (op("acos", P), True, True),
    "sin(2 + 1/n)": (op("sin", op("add", TWO, op("div", ONE, N))), True, True),
    "n*exp(r^2)": (op("mul", N, op("exp", S)), False, False),
}


@pytest.mark.parametrize("text", RISKS)
def test_what_has_to_be_guarded(text):
    expr, touching, apart = RISKS[text]
    memo = {}  # of one kernel, in which a part may stand in both kinds of branch
    for _ in range(2):
        assert at_risk(expr, True, memo) == touching and at_risk(expr, False, memo) == apart


def value(expr, known):
    """With dual numbers; ``known``: of what is read, and of the squared distance."""
    if expr == S:
        return known["s"]
    if isinstance(expr, Number):
        return np.array([expr.value])
    if isinstance(expr, Read):
        return known[expr.symbol]
    return OPERATIONS[expr.op](*(value(a, known) for a in expr.args))


@pytest.mark.parametrize("text", RISKS)
@np.errstate(all="ignore")
def test_what_is_not_guarded_has_derivatives(text):
    """Of all that may be 0, or negative, in the other branch."""
    expr = RISKS[text][0]
    for touching in (True, False):
        if at_risk(expr, touching, {}):
            continue
        for s, n, p in itertools.product([1.3, 2.0, *([] if touching else [0.0])], [-1.0, 0.0, 1.0, 2.0], [0.7, 2.0]):
            known = {"s": np.array([s]), "n": np.array([n]), "p": np.array([p])}
            for name in known:
                slope = dual.derivative(lambda a, k=known, m=name: value(expr, k | {m: a}), known[name], np.ones(1))
                assert np.isfinite(dual.primal(slope)).all(), (name, known)


# -- conditions at contact ---------------------------------------------------------------------------------


LESS, MORE = op("lt", R, P), op("gt", R, P)
AT_CONTACT = {  # whether it is known to hold where atoms lie at one place, and whether it is known not to
    "r < p": (LESS, True, False),
    "r <= p": (op("le", R, P), True, False),
    "p > r": (op("gt", P, R), True, False),
    "2*r < p": (op("lt", op("mul", TWO, R), P), True, False),
    "r/p < 1": (op("lt", op("div", R, P), ONE), True, False),
    "r^2 < p": (op("lt", S, P), True, False),
    "r > p": (MORE, False, True),
    "p <= r": (op("le", P, R), False, True),
    "r < n": (op("lt", R, N), False, False),
    "n < r": (op("lt", N, R), False, False),
    "r > n": (op("gt", R, N), False, False),
    "n > r": (op("gt", N, R), False, False),
    "r*n < p": (op("lt", op("mul", R, N), P), False, False),
    "not r < p": (op("not", LESS), False, True),
    "not r > p": (op("not", MORE), True, False),
    "r < p and p > r": (op("and", LESS, op("gt", P, R)), True, False),
    "r < p and r > p": (op("and", LESS, MORE), False, True),
    "r < p and r < n": (op("and", LESS, op("lt", R, N)), False, False),
    "r > p and r < n": (op("and", MORE, op("lt", R, N)), False, True),
    "r < p or r < n": (op("or", LESS, op("lt", R, N)), True, False),
    "r > p or r < n": (op("or", MORE, op("lt", R, N)), False, False),
    "r > p or p < r": (op("or", MORE, op("lt", P, R)), False, True),
    "n < p": (op("lt", N, P), False, False),
}


@pytest.mark.parametrize("text", AT_CONTACT)
def test_which_conditions_hold_at_contact(text):
    condition, holds, fails = AT_CONTACT[text]
    assert (holds_at_contact(condition, True), holds_at_contact(condition, False)) == (holds, fails)
    found = {
        bool(dual.primal(value(condition, {"s": np.zeros(1), "n": np.array([n]), "p": np.array([p])}))[0])
        for n, p in itertools.product([-1.0, 0.0, 1.0], [0.7, 2.0])
    }
    assert not holds or found == {True}
    assert not fails or found == {False}


# -- limits ------------------------------------------------------------------------------------------------

s, r = sympy.Symbol("s", positive=True), sympy.Symbol("r", positive=True)


def of_square(e):
    return e.xreplace({r: sympy.sqrt(s)})


def force(u):
    """du/d(r²)"""
    return sympy.diff(u, r) / (2 * r)


def choice(then, otherwise):
    return sympy.Piecewise((then, r < 1), (otherwise, True), evaluate=False)


LIMITS = {
    "a cosine": force(1 + sympy.cos(2 * r)),
    "a sine": sympy.sin(r) / r,
    "an error function": sympy.erf(r) / r,
    "a polynomial": sympy.expand(force((1 - r) ** 3 * (1 + 3 * r))),
    "one that is not multiplied out": -12 * r * (1 - r) ** 2 / (2 * r) + (r**2 - r**4) / r**2,
    "a Gaussian": (1 - sympy.exp(-(r**2))) / r**2,
    "with a choice": sympy.sin(r) / r + choice(r**2, 1),
    "times a choice": sympy.sin(r) / r * choice(r**2 + 2, 1),
    "in a choice": choice(sympy.sin(r) / r, r),
    "in the other branch": choice(r**2, sympy.sin(r) / r),
    "in both branches": choice(sympy.sin(3 * r) / r, sympy.tanh(r) / r),
    "in a sum of choices": choice(sympy.sin(r) / r, 0) + choice(sympy.erf(r) / r, 1),
}
NO_LIMITS = {
    "a pole": sympy.cos(r) / r**2,
    "an odd function": (1 - sympy.exp(-r)) / r,  # the limit is 1, but not smooth
    "an odd pole": sympy.exp(-r) / r,
    "a logarithm": sympy.log(1 + r**2) / r**2,  # not looked for
}


def at_zero(e):
    """The value at s = 0, where conditions are decided."""
    while found := e.atoms(sympy.Piecewise):
        inner = min(found, key=sympy.count_ops)
        e = e.xreplace({inner: next(v for v, c in inner.args if c == sympy.true or c.subs(s, 0) == sympy.true)})
    return e


@pytest.mark.parametrize("name", LIMITS)
def test_a_limit_at_contact_and_its_slope(name):
    e = of_square(LIMITS[name])
    found = regular(e, [s])
    # The second branch of `choice` is not at contact: it only has to stay what it was.
    here, tiny = at_zero(found), sympy.Rational(1, 10**16)
    near = [sympy.N(at_zero(e).subs(s, k * tiny), 60) for k in (1, 2)]
    assert not here.has(sympy.nan, sympy.zoo)
    assert abs(sympy.N(here.subs(s, 0), 20) - near[0]) < 1e-6
    slope = here.diff(s).subs(s, 0)
    if "polynomial" not in name and "multiplied" not in name:
        assert abs(sympy.N(slope, 20) - (near[1] - near[0]) / tiny) < 1e-4
    for at in (0.3, 0.9, 1.7):
        assert abs(sympy.N(found.subs(s, at)) - sympy.N(e.subs(s, at))) < 1e-12


@pytest.mark.parametrize("name", NO_LIMITS)
def test_where_there_is_no_limit(name):
    e = of_square(NO_LIMITS[name])
    assert regular(e, [s]) == e


# -- conditions by squares -----------------------------------------------------------------------------------


@pytest.mark.parametrize("bound", [-1.5, 0.0, 1.1, 2.0])
def test_comparisons_of_squares_are_those_of_distances(bound):
    b, root = sympy.Float(bound), sympy.sqrt(s)
    for relation in (sympy.Lt, sympy.Le, sympy.Gt, sympy.Ge):
        for condition in (relation(root, b, evaluate=False), relation(b, root, evaluate=False)):
            e = sympy.Piecewise((s, condition), (1, True), evaluate=False)
            found = squared_conditions(e, [s])
            assert not any(c.has(root) for c in found.atoms(sympy.core.relational.Relational))
            for at in (0.01, 0.9, 1.21, 3.9, 4.0, 9.0):
                assert found.subs(s, at) == e.subs(s, at) or bound > 0 and np.isclose(at, bound**2)


def test_a_function_that_is_singular_at_its_end_keeps_its_condition():
    """The root of the number just below rc² is rc: r² < rc² holds there, r < rc does not."""
    for rc in (1.9, 2.3, 3.1):
        below = np.nextafter(rc**2, 0)
        if np.sqrt(below) == rc:
            break
    else:
        raise AssertionError
    root, end = sympy.sqrt(s), sympy.Symbol("rc", real=True)
    u = sympy.Piecewise((sympy.exp(1 / (root - end)), root < end), (0, True), evaluate=False)
    assert squared_conditions(u, [s]) == u
    found = sympy.lambdify((s, end), squared_conditions(u, [s]), "numpy")
    with np.errstate(all="ignore"):
        assert found(below, rc) == 0
    smooth = sympy.Piecewise((magnitude(root - end) ** 3, root < end), (0, True), evaluate=False)
    assert squared_conditions(smooth, [s]) != smooth

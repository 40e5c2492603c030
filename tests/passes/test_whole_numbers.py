"""Numbers that are whole within rounding: steps as a time over a time, cells, loops."""

import pytest

import mdsl
from mdsl.grammar.diagnostics import Rejected
from mdsl.interpret.constants import whole
from mdsl.model.literals import whole_value
from mdsl.model.nodes import Advance

PROGRAM = """use units.metal
use integrators (velocity_verlet)
param m = 40 [g/mol]
param step = 4 [fs]
energy U = 1 [eV]*sum(i < j) exp(-|x[i] - x[j]|/(1 [angstrom]))
integrator several(dt) { for k in 1..0.3/0.1 { velocity_verlet(dt/3) } }
run {
  x = sc(a = 2 [angstrom], cells = 0.6/0.2)
  several(dt = step) for STEPS
}
"""


def steps(text):
    model = mdsl.compile(PROGRAM.replace("STEPS", text)).model
    (advance,) = (a for a in model.run if isinstance(a, Advance))
    return whole(model, advance.steps, {}, "the number of steps"), len(advance.body)


@pytest.mark.parametrize(
    "text, number",
    [
        ("10 [ps]/(4 [fs])", 2500),
        ("1 [ns]/(2 [fs])", 500_000),
        ("0.3/0.1", 3),
        ("100*1.1", 110),
        ("1 [ps]/step", 250),  # known with the parameters
        ("0.7 [ps]/step", 175),
    ],
)
def test_times_over_times(text, number):
    found, statements = steps(text)
    assert found == number
    assert statements % 3 == 0  # the loop has three turns


@pytest.mark.parametrize("text", ["10 [ps]/(3 [fs])", "2500.000001", "1 [ps]/(1.5*step)"])
def test_what_is_not_whole_is_refused(text):
    with pytest.raises(Rejected, match="is a whole number, not [0-9.]*\\."):
        steps(text)


def test_whole_within_rounding():
    assert [whole_value(v) for v in (3 * 1.1 / 1.1, 2499.9999999999995, -0.0)] == [3, 2500, 0]
    assert [whole_value(v) for v in (2500.0001, 0.5, float("inf"), float("nan"))] == [None] * 4

"""How far pair functions are proved to reach, by the ways in which people write them."""

import numpy as np
import pytest
from compiled import program

import mdsl
from mdsl.interpret import meaning as interpret
from mdsl.interpret.species_pairs import pair_constant
from mdsl.lowering.field.smoothness import cutoffs

ENDS = {
    "if r < 2 then u(r) else 0": 2,
    "if 2 > r then u(r) else 0": 2,
    "if r >= rc then 0 else u(r)": 2.5,
    "if rc <= r then 0 else u(r)": 2.5,
    "if not (r < rc) then 0 else u(r)": 2.5,
    "if r < 1 then u(r) else if r > 3 then 0 else 2*u(r)": 3,
    "if r > 3 then 0 else if r < 2 then u(r) else 0": 2,
    "if r > 3 then end(r, 4) else u(r)": 4,
    "if r < 1.5 or r < rc then u(r) else 0": 2.5,
    "if r > 1 and r < rc then u(r) else 0": 2.5,
    "if r > rc or r < 0.5 then 0 else u(r)": 2.5,
    "max(0, 2 - r)^3": 2,
    "max(2 - r, 0)^3": 2,
    "if r - 0.5 >= rc then 0 else u(r)": 3,
    "end(r, 2) + end(r, 3)": 3,
    "end(r, 2) - 2*end(r, rc)": 2.5,
    "u(r)*end(r, 3)": 3,
    "end(r, rc) + end(r, 2)": 2.5,
    "sin(end(r, 2))": 2,
    "log1p(2*end(r, 2))": 2,
    "log(2*end(r, 2))": None,
    "cos(end(r, 2))": None,
    "if r < 3 then end(r, 2) else 0": 2,
    "if r*r < 4 then u(r) else 0": 2,
    "if r + 0.5 < rc then u(r) else 0": 2,
    "if floor(r/0.5) <= 3 then u(r) else 0": 2,
    "if c < 0 then end(r, 3) else end(r, 2)": 3,
    "if c < 0 then u(r) else end(r, 2)": None,  # the condition says nothing of the distance
    "u(r) + end(r, 2)": None,  # where one part ends the other goes on
    "end(r, 2) + 0.1": None,
    "u(r) + (if r < 2 then u(r) else 0)": None,
    "(end(r, 2) + end(r, 3))^2": 3,
    "(end(r, 2) + end(r, 3))^-1": None,
    "end(r, 2)^-1": None,  # infinite where its base ends
    "max(0, 2 - r)^(-0.5)": None,
    "u(r)/(1 + end(r, 2)^-2)": None,
    "if r > rc then u(r) else 0": None,
    "if r < rc or r > 3 then u(r) else 0": None,
    "if r < rc then 0 else u(r)": None,
    "if r > rc and r < 3 then 0 else u(r)": None,
    "if r >= -c*rc then 0 else u(r)": 2.5,  # a bound that is negative for other values of c
    "if c*r >= rc then 0 else u(r)": None,  # says the opposite for c < 0
}


DECLARED = (
    "param rc = 2.5\nparam c = -1.0\ndef u(r) = exp(-r)\ndef end(r, a) = if r < a then (a - r)^2 else 0\n"
    "def ramp(r, a) = if r < a then a - r else 0\n"
)


@pytest.mark.parametrize("body", ENDS)
def test_where_it_ends(body):
    compiled = program(f"{DECLARED}energy U = sum(i < j) ({body}) where r = |x[i] - x[j]|").compiled
    (term,) = compiled.field.terms
    if ENDS[body] is None:
        assert (
            term.support.cutoff is None
            or not np.isfinite(pair_constant(compiled.model, term.support.cutoff, ("i", "j"))).all()
        )
        return
    end = float(np.max(pair_constant(compiled.model, term.support.cutoff, ("i", "j"))))
    assert end == pytest.approx(ENDS[body], rel=1e-12)
    x = np.zeros((2, 3))
    values = []
    for r in np.linspace(0.99 * end, 5 * end, 60):
        x[1, 0] = r
        values.append(interpret.energy(compiled.model, interpret.System(x, [1.0] * 3, periodic=[False] * 3)))
    assert values[0] != 0 and not any(values[2:])


# -- how it ends -------------------------------------------------------------------------------------------

JUMPS = ["if r < 2 then u(r) else 0", "3*r*(if r < 2 then u(r) else 0)", "(if r < rc then u(r) else 0)^2"]
KINKS = ["ramp(r, 2)", "ramp(r, 2)*u(r)", "end(r, 2) + ramp(r, 3)", "tanh(ramp(r, 2))", "ramp(r, rc) + ramp(r, 2)"]
SMOOTH = [
    "end(r, 2)",
    "end(r, 2) + end(r, 3)",
    "ramp(r, 2)^3",
    "u(r)*end(r, 2)",
    "ramp(r, 1) + end(r, 2)",
    "(ramp(r, 2) + ramp(r, 3))^2",
]


@pytest.mark.parametrize("body", [*JUMPS, *KINKS, *SMOOTH])
def test_how_it_ends(body):
    """The value and the slope just below the end, against those of the interpreter there."""
    compiled = program(f"{DECLARED}energy U = sum(i < j) ({body}) where r = |x[i] - x[j]|").compiled
    (end,) = cutoffs(compiled.field)

    def energy(r):
        x = np.array([[0.0, 0, 0], [r, 0, 0]])
        return interpret.energy(compiled.model, interpret.System(x, [1.0] * 3, periodic=[False] * 3))

    h = 1e-6
    near, nearer = energy(end.cutoff - 2 * h), energy(end.cutoff - h)
    assert (abs(end.jump) > 1e-3, abs(end.jump) > 1e-3 or abs(end.kink) > 1e-3) == (body in JUMPS, body not in SMOOTH)
    assert end.jump == pytest.approx(nearer, abs=1e-5)
    assert end.kink == pytest.approx((nearer - near) / h, abs=1e-4)


def test_the_largest_jump_of_all_pairs_of_species():
    text = "species A, B\nparam e[species, species] = { A-A: 1.0, A-B: 0.5, B-B: 0.1 }\n"
    (end,) = cutoffs(
        program(text + "energy U = sum(i < j) if r < 2 then -e[i, j]/r else 0 where r = |x[i] - x[j]|").compiled.field
    )
    assert end.jump == pytest.approx(-0.5)


def test_how_a_table_ends(tmp_path):
    """It has a value just before its end."""
    (tmp_path / "steps.txt").write_text("".join(f"{r} {3 - r}\n" for r in (1.0, 1.25, 1.5, 1.75, 2.0)))
    text = 'table u = tabulated("steps.txt", beyond = 0)\nenergy U = sum(i < j) u(|x[i] - x[j]|)\n'
    (end,) = cutoffs(mdsl.compile("use units.lj\n" + text, tmp_path).compiled.field)
    assert (end.cutoff, end.jump, end.kink) == pytest.approx((2.0, 1.0, -1.0), rel=1e-6)


# -- sums of observables, ranges, values of atoms ------------------------------------------------------------


def test_which_sums_the_list_of_the_energies_holds():
    """Those that are proved to end where energies do, or before."""
    text = DECLARED + "energy U = sum(i < j) end(|x[i] - x[j]|, 2.5)\nenergy V = sum(i < j) end(|x[i] - x[j]|, rc)\n"
    near = {"end(r, 2)": True, "end(r, 2.5)": True, "end(r, rc)": True, "end(r, 3)": False, "u(r)": False}
    near |= {"end(r, 2*rc)": False, "end(r, 0.5*rc)": False}  # which may be given another value
    text += "".join(f"observe O{k} = sum(i < j) {e} where r = |x[i] - x[j]|\n" for k, e in enumerate(near))
    field = program(text).compiled.field
    found = {m.equation: m.near for m in field.measures}
    assert [found[f"O{k}"] for k in range(len(near))] == list(near.values())


def test_which_values_of_atoms_the_list_of_the_energies_holds():
    text = DECLARED + "energy U = sum(i < j) end(|x[i] - x[j]|, 2.5)\n"
    near = {"end(|x[i] - x[j]|, 2)": True, "end(|x[i] - x[j]|, 3)": False, "u(|x[i] - x[j]|)": False}
    near |= {"|x[i] - x[j]|*(x[i] - x[j]).x": False}
    for k, e in enumerate(near):
        text += f"quantity n{k}[i] = sum(j != i) {e}\nobserve O{k} = sum(i) n{k}[i]\n"
    assert [v.near for v in program(text).compiled.field.values] == list(near.values())


def test_a_sum_over_a_range_ends_with_the_farthest():
    text = (
        DECLARED + "quantity G[i, k in 1..3] = sum(j != i) end(|x[i] - x[j]|, 0.5*k)\nenergy U = sum(i) G[i, 2]*G[i, 1]"
    )
    field = program(text).compiled.field
    for part in (field.values[0], field.values[0].adjoint):
        assert pair_constant(field.model, part.support.cutoff, ("i", "j")).max() == 1.5


def test_a_bound_that_is_another_for_each_atom():
    text = DECLARED + "data d[atoms]\nquantity n[i] = sum(j != i) end(|x[i] - x[j]|, 2)\n"
    ends = {"n[i] + n[j]": False, "d[i] + d[j]": True, "sin(d[i]) + sin(d[j])": False, "v[i].x + v[j].x": False}
    for end, known in ends.items():
        field = program(
            f"{text}observe U = sum(i < j) end(|x[i] - x[j]|, {end})\nenergy V = sum(i) n[i]"
        ).compiled.field
        (measure,) = (m for m in field.measures if m.equation == "U")
        assert (measure.support.cutoff is not None) == known, end

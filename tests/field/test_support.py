"""How far pair functions are proved to reach, by the ways in which people write them."""

import numpy as np
import pytest
from compiled import program

from mdsl.interpret import meaning as interpret
from mdsl.interpret.species_pairs import pair_constant

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
    "u(r) + end(r, 2)": None,  # where one part ends the other goes on
    "end(r, 2) + 0.1": None,
    "u(r) + (if r < 2 then u(r) else 0)": None,
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


@pytest.mark.parametrize("body", ENDS)
def test_where_it_ends(body):
    text = (
        f"param rc = 2.5\nparam c = -1.0\ndef u(r) = exp(-r)\ndef end(r, a) = if r < a then (a - r)^2 else "
        f"0\nenergy U = sum(i < j) ({body}) where r = |x[i] - x[j]|"
    )
    compiled = program(text).compiled
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

"""Facts that `explain` tells, and the analysis of force evaluations behind one of them."""

from pathlib import Path

import pytest

import mdsl
from mdsl.compiler import compile_source
from mdsl.grammar.diagnostics import Rejected
from mdsl.grammar.source import Source
from mdsl.lowering.field.schedule import force_evaluations
from mdsl.lowering.planning.policy import Policy
from mdsl.lowering.planning.traversal import Facts, plan
from mdsl.model.box_dependencies import explicit_time
from mdsl.model.nodes import Advance
from mdsl.report.explain import explain
from mdsl.report.finding_pairs import atoms_of_run
from mdsl.start.builders import start

HEAD = (
    "use units.lj\nuse pair (lennard_jones, truncated, force_shifted, shifted)\nuse integrators (velocity_verlet, "
    "baoab)\n"
)
LJ = "param sigma = 1.0\nenergy U = sum(i < j) truncated(lennard_jones(sigma, 1.0), 2.5*sigma)(|x[i] - x[j]|)\n"
PLACED = "x = fcc(density = 0.8442, cells = 20)  v ~ maxwell(1.0)"


def compiled(text, head=HEAD):
    return compile_source(Source("test.mdsl", head + text), Path("/nowhere"))


def told(text, head=HEAD):
    return explain(compiled(text, head))


def fact(text, word):
    """What stands under a word of the explanation."""
    line = next(line for line in text.splitlines() if line.strip().startswith(word + " "))
    return line.strip().removeprefix(word).strip()


def evaluations(scheme, call="mine(dt = 0.01)", **more):
    model = compiled(LJ + scheme + f"\nrun {{ {PLACED} {call} for 10 }}").model
    return force_evaluations(next(s for s in model.run if isinstance(s, Advance)).body, **more)


# -- force evaluations -----------------------------------------------------------------------------------

KICK, DRIFT = "flow K(h) { v += h*f/m }", "flow R(h) { x += h*v }"


@pytest.mark.parametrize("call", ["velocity_verlet(dt = 0.01)", "baoab(dt = 0.01, T = 1.0, gamma = 0.5)"])
def test_one_evaluation_carried_over(call):
    found = evaluations("", call)
    assert sum(found.before) == 1 and found.carried
    assert found.before[-1] and not found.before[0]


@pytest.mark.parametrize(
    ("sequence", "before", "carried"),
    [
        ("K(dt) R(dt)", (True, False), False),  # symplectic Euler: the force is old when the step ends
        ("R(dt) K(dt)", (False, True), False),  # the force of the step before is not read
        ("K(dt/2) R(dt) K(dt/2)", (False, False, True), True),
        ("K(dt/2) K(dt/2) R(dt)", (True, False, False), False),
        ("K(dt/2) R(dt/2) K(dt/2) R(dt/2)", (True, False, True, False), False),
        ("K(dt) K(dt)", (False, False), True),  # atoms at rest: evaluated once, before the first step
        ("R(dt)", (False,), False),
        ("R(dt/2) K(dt) R(dt/2)", (False, True, False), False),
    ],
)
def test_sequences(sequence, before, carried):
    found = evaluations(f"{KICK} {DRIFT} integrator mine(dt) {{ {sequence} }}")
    assert (found.before, found.carried) == (before, carried)


def test_an_update_of_x_by_the_force_uses_the_force_before():
    found = evaluations("flow E(h) { x += h*f } integrator mine(dt) { E(dt/2) E(dt/2) }")
    assert found.before == (True, True) and not found.carried


def test_nothing_is_carried_when_the_time_goes_on_between_steps():
    found = evaluations("", "velocity_verlet(dt = 0.01)", moved_on=True)
    assert found.before == (True, False, True) and not found.carried
    assert explicit_time(compiled(LJ + "energy V = sum(i) sin(t)*(x[i] - origin).x").model)
    assert not explicit_time(compiled(LJ + "observe w = t").model)


# -- energies --------------------------------------------------------------------------------------------


def test_a_pair_energy():
    text = told(LJ)
    assert "energy U, line 5" in text
    assert fact(text, "domain").startswith("i < j") and "pair map" in fact(text, "domain")
    assert fact(text, "support").startswith("0 for r >= 2.5 (2.5*sigma)")
    assert (
        "`r < rc`" in fact(text, "proof")
        and "stdlib/pair.mdsl" in fact(text, "proof")
        and "line 5" in fact(text, "proof")
    )
    assert fact(text, "smoothness") == "the energy jumps at the cutoff, by -0.0163169"
    assert fact(text, "-du/dr") == "-24*sigma^6/r^7 + 48*sigma^12/r^13  where r < 2.5*sigma"


def test_the_users_own_condition_is_the_proof():
    text = told("param D = 1.0\nenergy U = sum(i < j) if r < D then (1 - r/D)^2 else 0 where r = |x[i] - x[j]|")
    assert fact(text, "proof") == "the formula is 0 where `r < D` does not hold (line 5)"
    assert "continuous" in fact(text, "smoothness")


def test_smoothness():
    shifted = LJ.replace("truncated", "shifted")
    assert "force jumps" in fact(told(shifted), "smoothness")
    assert "continuous" in fact(told(LJ.replace("truncated", "force_shifted")), "smoothness")


def test_species_pairs_differ():
    text = told(
        "species A, B\nparam s[species, species] = { A-A: 1.0, A-B: 0.8, B-B: 0.88 }\nenergy U = sum(i < j) "
        "force_shifted(lennard_jones(s[i, j], 1.0), 2.5*s[i, j])(|x[i] - x[j]|)"
    )
    assert "2.5 for A-A, 2 for A-B, 2.2 for B-B" in fact(text, "support")


def test_an_external_field():
    text = told("param k = 2.0\nenergy U = sum(i) k/2*|x[i] - origin|^2")
    assert "external field" in fact(text, "domain")
    assert fact(text, "-du/dr") == "-k*r"
    assert "finding pairs" not in text


def test_no_cutoff():
    text = told(
        "energy U = sum(i < j) lennard_jones(1.0, 1.0)(|x[i] - x[j]|)\nrun { x = fcc(density = 0.8, cells = 4) }"
    )
    assert fact(text, "support").startswith("all distances")
    assert "all pairs are visited" in fact(text, "rule")
    assert fact(text, "here") == "256 atoms: all 32,640 pairs"


# -- traversal -------------------------------------------------------------------------------------------


def test_neighbour_lists_and_how_many_neighbours():
    text = told(LJ + f"run {{ {PLACED} }}")
    assert "radius cutoff + skin = 2.8" in fact(text, "rule")
    assert fact(text, "here") == "32,000 atoms: neighbour lists"
    assert "about 78 neighbours" in text


def test_few_atoms_visit_all_pairs():
    assert fact(told(LJ + "run { x = fcc(density = 0.8, cells = 4) }"), "here") == "256 atoms: all 32,640 pairs"


def test_a_box_that_is_too_small():
    assert "will be refused" in fact(told(LJ + "run { x = fcc(density = 0.8, cells = 2) }"), "here")


@pytest.mark.parametrize(
    ("setup", "atoms"),
    [("fcc(a = 1.6, cells = (2, 3, 4))", 96), ("diamond(a = 2.0, cells = 3)", 216), ('read("nothing.extxyz")', None)],
)
def test_atoms_of_run(setup, atoms):
    found, lengths = atoms_of_run(compiled(LJ + f"run {{ x = {setup} }}"))
    assert found == atoms
    if atoms == 96:
        assert lengths == pytest.approx((3.2, 4.8, 6.4))


def test_atoms_in_a_declared_box():
    found, lengths = atoms_of_run(compiled(LJ + "box periodic(sqrt(N))\nrun { x ~ uniform(atoms = 100) }"))
    assert found == 100 and lengths == pytest.approx((10.0,) * 3)


@pytest.mark.parametrize("atoms", (4, 6, 8))
def test_explain_says_what_a_run_does(atoms):
    """Both ask one planner, here by another policy."""
    policy = Policy(all_pairs=250, of_cutoff=0.1, of_spacing=0.0)
    program = compiled(LJ + f"run {{ x = sc(a = 1.1, cells = {atoms}) velocity_verlet(dt = 0.005) for 1 }}")
    text = explain(program, policy)
    initial = start(program.model, program.folder, 0, {})
    facts = Facts(initial.atoms, initial.cell, initial.periodic, 2.5, x=initial.x)
    assert "up to 250 atoms" in text and "radius cutoff + skin = 2.75" in text
    if atoms == 4:  # 4.4 is shorter than 5
        assert "the run will be refused" in text
        with pytest.raises(Rejected):
            plan(program.field, facts, policy)
        return
    found = plan(program.field, facts, policy)
    assert found.listed == ("neighbour lists" in fact(text, "here")) == (atoms == 8)
    assert found.radius == pytest.approx(2.75 if found.listed else 2.5)


# -- dynamics, units, derivatives --------------------------------------------------------------------------


def test_dynamics():
    text = told(
        LJ + f"observe T = temperature\nrun {{ {PLACED} baoab(dt = 0.005, T = 1.5, gamma = 1.0) for 1_000 record T, U "
        f'every 10 write "a.xyz" }}'
    )
    assert "baoab, line 7" in text
    assert fact(text, "steps") == "1_000, with dt = 0.005, T = 1.5, gamma = 1.0"
    assert fact(text, "forces").startswith("1 evaluation per step, carried over")
    assert fact(text, "random").startswith("1 normal vector for each atom and step")
    assert fact(text, "record") == "T, U every 10 steps"
    assert fact(text, "write") == "a.xyz at the end"
    assert text.count("(the force at the new x)") == 1


def test_two_evaluations_of_a_silly_integrator():
    text = told(
        LJ
        + f"{KICK} {DRIFT} integrator silly(dt) {{ K(dt/2) R(dt/2) K(dt/2) R(dt/2) }} run {{ {PLACED} silly(dt = 0.01) "
        f"for 10 }}"
    )
    assert fact(text, "forces") == "2 evaluations per step"
    assert fact(text, "random") == "none"


def test_units():
    head = "use units.metal\nuse pair (lennard_jones, truncated)\n"
    text = told(
        "param sigma = 3.4 [angstrom]\nenergy U = sum(i < j) truncated(lennard_jones(sigma, 0.01 [eV]), 0.9 "
        "[nm])(|x[i] - x[j]|)",
        head,
    )
    assert "0.0101805 ps" in text
    assert fact(text, "support").startswith("0 for r >= 9 angstrom")
    assert "internal units" in text
    assert "reduced" in told(LJ)


def test_what_is_differentiable():
    text = told(
        "const rc = 2.5\nparam s = 1.0\nparam w = 2*s\nenergy U = sum(i < j) truncated(lennard_jones(w, 1.0), "
        "rc)(|x[i] - x[j]|)"
    )
    derivatives = text[text.index("\nderivatives") :]
    by, made = derivatives.split("made of")
    assert "s = 1.0 (line 5)" in by and "w = " not in by
    made, folded = made.split("folded")
    assert "w = 2*s (line 6)" in made
    assert "rc = 2.5 (line 4)" in folded and "kB" not in folded


def test_how_runs_and_minima_are_differentiated():
    head = "use units.lj\nuse pair\nuse minimizers (fire)\n"
    text = told(LJ + f"run {{ {PLACED} fire(dt = 0.01) until largest(i) |f[i]| < 1e-3, at most 10 }}", head)
    assert "every √n-th" in fact(text, "runs")
    assert "`relaxed`" in fact(text, "minima")
    assert "√n-th" not in told(LJ, head)


def test_a_function_in_three_pieces_ends_with_the_last():
    """Also where the sign of its length is not known: 2.2*sigma is nearer than 2.5*sigma."""
    program = mdsl.compile(
        "use units.lj\nuse pair\nparam sigma = 1.0\nenergy U = sum(i < j) switched(lennard_jones(sigma, 1), 2.2*sigma, "
        "2.5*sigma)(|x[i] - x[j]|)"
    )
    assert not program.warnings
    assert "0 for r >= 2.5 (2.5*sigma)" in program.explain() and "continuous at the cutoff" in program.explain()


# -- observables -----------------------------------------------------------------------------------------


def test_what_observables_cost():
    """Each says what it sums over, and which list holds its pairs."""
    text = (
        "param dr = 0.05\nenergy U = sum(i < j) truncated(lennard_jones(1, 1), 2.5)(|x[i] - x[j]|)\ntopology "
        "bonds(i, j)\n"
        "observe near[k in 1..50] = sum(i < j) if floor(|x[i] - x[j]|/dr) + 1 == k then 1 else 0\nobserve far[k in "
        "1..100] = sum(i < j) if floor(|x[i] - x[j]|/dr) + 1 == k then 1 else 0\n"
        "observe waves[n in 1..9] = sum(i) cos(n*x[i].x)\nobserve whole = sum(i < j) exp(-|x[i] - x[j]|)\nobserve most "
        "= largest(i) |f[i]|\nobserve P = trace(virial)\n"
        "observe bonded = sum((i, j) in bonds) |x[i] - x[j]|\nobserve legs = sum(i; j < k) if |x[i] - x[j]| < 1.5 and "
        "|x[i] - x[k]| < 1.5 then 1 else 0\nobserve kinks = sum(i) (sum(j != i) if |x[i] - x[j]| < 3 then 1 else 0)^2\n"
    )
    lines = [line.strip() for line in told(text).splitlines()]

    def costs(name):
        first = next(k for k, line in enumerate(lines) if line.startswith(name) and " = " in line)
        return " ".join(lines[first + 1 : first + 3])

    assert "histogram over pairs, each visited once; 0 for r >= 2.5: the list of the energies has them" in costs(
        "near[k in 1..50]"
    )
    assert "0 for r >= 5, beyond the energies' 2.5" in costs("far[k in 1..100]") and "a list of their own" in costs(
        "far[k in 1..100]"
    )
    assert "sum over all atoms, for each of the 9 entries in turn" in costs("waves")
    assert "all pairs are visited: no condition bounds the distance" in costs("whole")
    assert (
        "the largest over all atoms" in costs("most")
        and "the virial is summed up" in costs("P ")
        and "the members of `bonds`" in costs("bonded")
    )
    assert "sum over triples; 0 for r >= 1.5: the list of the energies has them" in costs("legs")
    assert "sum around each atom; 0 for r >= 3, beyond the energies' 2.5" in costs("kinks")


def test_an_energy_without_a_sum_shows_its_formula():
    """The tail of a Lennard-Jones fluid, an integral in closed form: 8 pi/9 (s^12/rc^9 - 3 s^6/rc^3) N^2/volume."""
    text = mdsl.compile(
        "use units.lj\nuse pair\nparam s = 1.0\ndef u(r) = lennard_jones(s, 1)(r)\nenergy pairs = sum(i < j) "
        "shifted(u, 2)(|x[i] - x[j]|)\nenergy tail = energy_tail(u, 2)"
    ).explain()
    line = next(line for line in text.splitlines() if line.strip().startswith("U "))
    assert "N^2*s^12/volume" in line and "N^2*s^6/volume" in line and f"{8 / 9 / 2**9:g}"[:7] in line


def test_schemes_tell_their_states_and_defaults():
    text = explain(
        mdsl.compile(
            "use units.lj\nuse minimizers\nenergy U = sum(i < j) exp(-|x[i] - x[j]|^2)\nrun { x = fcc(density = 1, "
            "cells = 2)\n fire(dt = 0.1) until U < 1, at most 9 }"
        ).compiled
    )
    assert "at most 9, with dt = 0.1, dt_max = 4*dt" in text and "U < 1, checked after every step" in text
    assert "mixing = 0.1 to begin with" in text and "1 evaluation of force and sums per step, carried over" in text

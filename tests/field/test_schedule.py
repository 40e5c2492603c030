"""Where within a step the energies are evaluated: a step that is cut there does what its statements say, in order.

Values are not computed here but named by what they are made of. To the one who follows the statements the force is that
of the moment; the compiled step has only what was evaluated last, and what outlives its parts.
"""

from pathlib import Path

import pytest

from mdsl.compiler import compile_source
from mdsl.grammar.diagnostics import Rejected
from mdsl.grammar.source import Source
from mdsl.lowering.field.schedule import TIME, Check, advances_wholly, cut, per_atom
from mdsl.model.nodes import Draw, Read, Update, walk

HEAD = """use units.lj
use pair
use integrators
use barostats
use minimizers
use shear
use observables
energy U = sum(i < j) soft_sphere(1.5, 1.0, 2.5)(|x[i] - x[j]|)
"""
PAIRS = "observe Q = sum(i < j) if |x[i] - x[j]| < 1.5 then (v[i] - v[j])·(v[i] - v[j]) else 0\n"
AROUND = "observe Q = sum(i) sqrt(sum(j != i) (if |x[i] - x[j]| < 1.5 then v[j]·v[j] else 0))\n"
INNER = "observe M = sum(i) v[i]·v[i]\nobserve Q = sum(i < j) if |x[i] - x[j]| < 1.5 then M else 0\n"
STILL = "observe Q = sum(i < j) if |x[i] - x[j]| < 1.5 then 1 else 0\n"
OWN = "quantity n[i] = sum(j != i) if |x[i] - x[j]| < 1.5 then 1 else 0\nobserve Q = sum(i) n[i]^2\n"
DAMP = "flow damp(h) { v = exp(-h*Q)*v }\n"
TWICE = DAMP + "integrator mine(dt) { damp(dt) damp(dt) A(dt) B(dt) damp(dt) }\n"
SCHEMES = {
    "velocity Verlet": ("", "velocity_verlet(dt = 0.1) for 9"),
    "Langevin": ("", "baoab(dt = 0.1, T = 1, gamma = 1) for 9"),
    "Brownian": ("", "brownian(dt = 0.1, T = 1, gamma = 1) for 9"),
    "Nosé and Hoover": ("", "nose_hoover(dt = 0.1, T = 1, tau = 1) for 9"),
    "rescaling": ("", "csvr(dt = 0.1, T = 1, tau = 1) for 9"),
    "a barostat": ("", "mtk(dt = 0.1, T = 1, P = 1, tau = 1, tau_P = 1) for 9"),
    "a barostat for each edge": ("", "mtk_anisotropic(dt = 0.1, T = 1, P = 1, tau = 1, tau_P = 1) for 9"),
    "a stochastic barostat": (
        "",
        "stochastic_cell_rescaling(dt = 0.1, T = 1, P = 1, tau = 1, tau_P = 1, compressibility = 1) for 9",
    ),
    "a minimizer": ("", "fire(dt = 0.1) until largest(i) |f[i]| < 1e-3, at most 9"),
    "a minimizer of the box": ("", "fire_box(dt = 0.1) until largest(i) |f[i]| < 1e-3, at most 9"),
    "descent": ("", "gradient_descent(h = 0.1) for 9"),
    "the box after the force": ("integrator mine(dt) { B(dt) A(dt) cell = 1.01*cell B(dt) }\n", "mine(dt = 0.1) for 9"),
    "the box alone": ("integrator mine(dt) { A(dt) B(dt) cell = 1.01*cell B(dt) }\n", "mine(dt = 0.1) for 9"),
    "the force in between": (
        "integrator mine(dt) { e ~ normal  g ~ uniform_number  a = e + v  s = g + 1  A(dt)  v += dt*f + a*s + e  "
        "A(dt)  B(dt) }\n",
        "mine(dt = 0.1) for 9",
    ),
    "moved by the force": ("integrator mine(dt) { x += dt*f  x += dt*f  B(dt) }\n", "mine(dt = 0.1) for 9"),
    "ends moving by the force": ("integrator mine(dt) { B(dt) x += dt*f }\n", "mine(dt = 0.1) for 9"),
    "a state": (
        "integrator mine(dt) { state w = 0.1  state u = 0.2  u += w  A(dt)  w += dt*(sum(i) |f[i]|)  v = w*v }\n",
        "mine(dt = 0.1) for 9",
    ),
    "drawn by a sum": (
        STILL + "integrator mine(dt) { A(dt)  S ~ chi_squared(1 + Q)  v = S*v }\n",
        "mine(dt = 0.1) for 9",
    ),
    "forces at rest": ("integrator mine(dt) { B(dt) B(dt) }\n", "mine(dt = 0.1) for 9"),
    "no forces": ("integrator mine(dt) { A(dt) A(dt) }\n", "mine(dt = 0.1) for 9"),
    "the virial": ("integrator mine(dt) { A(dt) v = v*(1 + trace(virial)) A(dt) B(dt) }\n", "mine(dt = 0.1) for 9"),
    "the largest force": ("integrator mine(dt) { A(dt)  v = v*(largest(i) |f[i]|) }\n", "mine(dt = 0.1) for 9"),
    "sums of positions": (STILL + TWICE, "mine(dt = 0.1) for 9"),
    "sums of velocities": (PAIRS + TWICE, "mine(dt = 0.1) for 9"),
    "sums around atoms": (AROUND + TWICE, "mine(dt = 0.1) for 9"),
    "sums within sums": (INNER + TWICE, "mine(dt = 0.1) for 9"),
    "quantities": (OWN + TWICE, "mine(dt = 0.1) for 9"),
}


def dynamics(text, call, energy=""):
    run = f"run {{ x = fcc(density = 0.8, cells = 3)\n {call} }}"
    field = compile_source(Source("test", HEAD + energy + text + run), Path("/nowhere")).field
    return field, field.dynamics[0]


def names(statement):
    """What a statement reads."""
    exprs = statement.args if isinstance(statement, Draw) else (statement.value,)
    found = {n.symbol for e in exprs for n in walk(e) if isinstance(n, Read)}
    return sorted(found | ({statement.target} if isinstance(statement, Update) and statement.op == "+=" else set()))


def behind(field, name):
    """All that a sum depends on, also through others and through values of atoms."""
    found, pending = set(), [field.sum(name).summand]
    while pending:
        new = {n.symbol for n in walk(pending.pop()) if isinstance(n, Read)} - found
        found |= new
        pending += [v.summand for v in field.values if v.name in new]
        pending += [field.sum(n).summand for n in new if n in field.far or n in field.on_the_spot]
    return found


class Atoms:
    """Positions, velocities and the box, by what they are made of."""

    def __init__(self, field):
        self.field = field
        self.x, self.v, self.cell = "x", "v", "cell"

    def evaluated(self, name, force=None):
        """The force, the virial, or a sum at this moment."""
        if name in ("f", "virial"):
            return hash((name, self.x, self.cell))
        made = behind(self.field, name)
        force = self.evaluated("f") if force is None else force
        return hash((name, self.x, self.cell, self.v if "v" in made else None, force if "f" in made else None))

    def update(self, target, value):
        setattr(self, target, value)


def is_sum(field, name):
    return name in field.far or name in field.on_the_spot


def followed(field, advance, steps):
    """What the statements do one after the other; how often an evaluation is due in the last step, and whether that
    begins with what is known from the one before."""
    body = (*advance.body, *([] if advance.until is None else [Check(advance.until)]))
    now, states = Atoms(field), {s.name: s.name for s in advance.states}
    moving = {"x", "cell"}
    read = {n for s in body for n in names(s)}
    neighbourly = {n for n in read if is_sum(field, n) and _evaluation(field, n)}
    if any("v" in behind(field, n) for n in neighbourly):
        moving |= {"v"}
    due = {"f", "virial"} | neighbourly | {n for n in read if is_sum(field, n) and "f" in behind(field, n)}
    known, ends = False, []
    for step in range(steps):
        values, count, met, carried = {}, 0, None, None
        for k, statement in enumerate(body):

            def value(name, values=values):
                if name in ("x", "v", "cell"):
                    return getattr(now, name)
                if name in ("f", "virial") or is_sum(field, name):
                    return now.evaluated(name)
                return values.get(name, states.get(name, name))

            if due & {*names(statement)}:
                carried = known if carried is None else carried
                count, known = count + (not known), True
            made = hash((k, step if isinstance(statement, Draw) else None, *map(value, names(statement))))
            if isinstance(statement, Check):
                met = made
            elif statement.target in ("x", "v", "cell"):
                now.update(statement.target, made)
                known = known and statement.target not in moving
            elif statement.target in states:
                states[statement.target] = made
            else:
                values[statement.target] = made
        ends.append((now.x, now.v, now.cell, dict(states), met))
    return ends, count, bool(carried)


def _evaluation(field, name):
    """Whether a sum is known after an evaluation only: it is one over pairs, or reads what is."""
    measure = field.sum(name)
    read = {n.symbol for n in walk(measure.summand) if isinstance(n, Read)}
    energies = {t.name for t in field.terms}
    around = {v.name for v in field.values} | {*field.inner}
    return name in energies or len(measure.binders) > 1 or bool(read & around)


def cut_in_parts(field, advance, steps):
    """What the step as it is compiled does: head, evaluation, tail (`dynamics.chunks`)."""
    parts, now = cut(field, advance), Atoms(field)
    each, states = per_atom(parts.body), {s.name for s in advance.states}
    held, kept = {}, {name: name for name in states}
    last, ends = {"f": "none yet"}, []

    def evaluate():
        last.update({name: now.evaluated(name) for name in parts.sums})
        if parts.force:
            last["f"] = now.evaluated("f")

    def carry_out(statements, again, first, step):
        nonlocal held, kept
        values, memory, met = dict(held), dict(kept), None
        for k, (statement, evaluates) in enumerate(zip(statements, again), first):
            if evaluates:
                evaluate()

            def value(name, values=values, memory=memory):
                if name in ("x", "v", "cell"):
                    return getattr(now, name)
                if name in field.on_the_spot:
                    assert not _evaluation(field, name), f"{name} is not known on the spot"
                    return now.evaluated(name, last["f"])
                if name in ("f", "virial") or is_sum(field, name):
                    return last[name]
                made = {s.target for s in parts.body if not isinstance(s, Check)} | states
                return values[name] if name in values else memory[name] if name in made else name

            made = hash((k, step if isinstance(statement, Draw) else None, *map(value, names(statement))))
            if isinstance(statement, Check):
                met = made
            elif statement.target in ("x", "v", "cell"):
                now.update(statement.target, made)
            elif isinstance(statement, Draw) and statement.per_atom or statement.target in each:
                values[statement.target] = made
            else:
                memory[statement.target] = made
        held = {name: values[name] for name in parts.held}
        kept = {name: memory[name] for name in parts.kept if name != TIME}
        return met

    held = {name: "zero" for name in parts.held}
    kept |= {name: "zero" for name in parts.kept if name not in states and name != TIME}
    if parts.carried:
        evaluate()
    for step in range(steps):
        carry_out(parts.head, (False,) * len(parts.head), 0, step)
        if parts.evaluates:
            evaluate()
        met = carry_out(parts.tail, parts.again, len(parts.head), step)
        ends.append((now.x, now.v, now.cell, {name: kept[name] for name in states}, met))
    return ends


@pytest.mark.parametrize("name", SCHEMES)
def test_a_step_in_parts_is_the_step(name):
    field, advance = dynamics(*SCHEMES[name])
    expected, count, carried = followed(field, advance, 4)
    parts = cut(field, advance)
    assert len({*map(str, expected)}) == 4
    assert cut_in_parts(field, advance, 4) == expected
    assert (sum(parts.before), parts.carried) == (count, carried), "evaluated otherwise than is due"


TIMED = "energy W = sum(i) sin(t)*(x[i] - origin).x\n"
DRIFTS = {  # and whether they are for all of dt
    "x += dt*v": True,
    "x += 0.3*dt*v  x += v*dt*0.7": True,
    "x += -(-v*dt/1)": True,
    "x += v*(dt - dt/4)  x += v*dt/4": True,
    "x += v*(2*dt - dt)": True,
    "x += (dt/2 + dt/2)*v": True,
    "x += -dt*v  x += 2*v*dt": True,
    "x += v*(dt - -dt)  x += -dt*v": True,
    "x += dt/2*v": False,
    "x += -dt*v": False,
    "x += 2*dt*v": False,
    "x += v*(dt - dt/2)": False,
    "x += v*dt/2  x += v*dt/4": False,
    "x += dt*v + 0*f": False,
}


@pytest.mark.parametrize("drifts", DRIFTS)
def test_what_drifts_leave_of_a_step(drifts):
    """Where that is nothing the force at its end is that of the time there, and carried over."""
    scheme = f"param step = 0.1\nintegrator mine(dt) {{ v += dt/2*f/m  {drifts}  v += dt/2*f/m }}\n"
    field, advance = dynamics("box free\n" + scheme, "mine(dt = step) for 9", TIMED)
    assert advances_wholly(advance) == DRIFTS[drifts]
    parts = cut(field, advance)
    assert parts.carried == DRIFTS[drifts] and parts.timed == (drifts != "x += dt*v + 0*f")
    assert sum(parts.before) == 2 - DRIFTS[drifts]


SUM = "(sum(i < j) if |x[i] - x[j]| < 1.5 then {} else 0)"
CHANGED = {  # what is declared, and a scheme that changes what a sum reads
    "a state": ("state w = 1\nobserve Q = " + SUM.format("w"), "{ w += dt  v = Q*v  A(dt) }"),
    "an entry": ("state w[k in 0..1] = k\nobserve Q = " + SUM.format("w[1]"), "{ w[1] += dt  v = Q*v  A(dt) }"),
    "around atoms": (
        "state w = 1\nobserve Q = sum(i) (sum(j != i) w*|x[i] - x[j]|)^2",
        "{ w += dt  v = Q*v  A(dt) }",
    ),
    "of the scheme": ("", "{ state w = 1  w += dt  v = " + SUM.format("w") + "*v  A(dt) }"),
    "computed": ("", "{ w = dt  v = " + SUM.format("w") + "*v  A(dt) }"),
}


@pytest.mark.parametrize("name", CHANGED)
def test_flows_do_not_change_what_a_sum_over_pairs_reads(name):
    declared, scheme = CHANGED[name]
    with pytest.raises(Rejected, match="cannot read `w`, which flows change"):
        dynamics(f"{declared}\nintegrator mine(dt) {scheme}\n", "mine(dt = 0.1) for 9")

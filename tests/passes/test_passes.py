"""Every pass, and the whole compiler, keeps the meaning of a program: `interpret` is the judge.

The second half plants bugs in the compiler and asserts that the comparisons of the first half find them.
"""

import functools
from dataclasses import replace

import jax
import numpy as np
import pytest
import quick
import sympy
from compiled import HEAD, PAIRS_BY, apart
from interpreted import moved
from varied import cases, names

import mdsl
from mdsl.api.given import joined
from mdsl.grammar.source import Source
from mdsl.interpret import meaning as interpret
from mdsl.lowering.dynamics import noise
from mdsl.model.nodes import Advance, Draw, Expr, Number, Op
from mdsl.passes.pipeline import PASSES, verify
from mdsl.resolve.program import resolve

CASES = cases()


def difference(a, b):
    """The largest, relative to the largest entry; not finite where they are not finite in the same places."""
    a, b = (np.concatenate([np.ravel(v) for v in values]).astype(float) for values in (a, b))
    if (np.isfinite(a) != np.isfinite(b)).any():
        return np.inf
    keep = np.isfinite(a)
    return np.abs(a - b)[keep].max() / max(np.abs(a[keep]).max(), 1e-3)


# -- passes --------------------------------------------------------------------------------------------


def stages(case):
    """The Model after `resolve` and after each pass."""
    model, report = resolve(Source("test", case.head + case.text), None)
    assert not report, [d.message for d in report]
    yield "resolve", model
    for step in PASSES:
        model, report = step.run(model)
        assert not [d for d in report if d.severity == "error"], [d.message for d in report]
        verify(model, step)
        yield step.name, model


def meaning(model, system):
    """All numbers that the interpreter gives: energies, observables, forces, virial, derivatives by params."""
    values = [interpret.observe(model, name, system) for name in names(model)]
    values += [interpret.forces(model, system), interpret.virial(model, system)]
    return values + [interpret.param_gradient(model, system, p.name) for p in model.params if p.lifetime == "param"]


def passes_differ(case):
    """The largest difference that a pass makes."""
    found = [meaning(model, case.system) for _, model in stages(case)]
    assert all(np.abs(v).max() > 1e-6 for v in found[0][:1])
    return max(difference(before, after) for before, after in zip(found, found[1:]))


@pytest.mark.parametrize("name", CASES)
def test_passes_keep_the_meaning(name):
    assert passes_differ(CASES[name]) < 1e-11


# -- the whole compiler --------------------------------------------------------------------------------


def bind(program, case, traversal="all pairs", **more):
    model, s = program.model, case.system
    box = None if model.box is not None else shaped(s, np.inf)
    species = None if not model.species else s.species
    masses = None if model.param("m") else s.masses
    system = program.bind(
        s.x,
        box=box if box is None or np.isfinite(box).any() else np.inf,
        species=species,
        velocities=s.v,
        masses=masses,
        policy=PAIRS_BY[traversal],
        **more,
    )
    assert system.traversal.listed == (traversal == "list")
    return system


def shaped(system, free):
    """The box as Python takes it: edges, or vectors where it is not rectangular; ``free`` in place of what does not
    repeat."""
    cell = system.cell.copy()
    np.fill_diagonal(cell, np.where(system.periodic, system.cell.diagonal(), free))
    return cell if np.tril(cell, -1).any() else cell.diagonal()


def symmetric(slope):
    """What entries A-B and B-A of a table add up to: the interpreter reads (i, j) where i < j, but no pair has a
    first atom, and the compiler takes half of each."""
    return np.asarray(slope) + np.transpose(slope) if np.ndim(slope) == 2 else np.asarray(slope)


def from_jax(program, case, traversal="all pairs"):
    """Energy, forces, virial, derivatives by free params and by the box, from one compilation."""
    system = bind(program, case, traversal)

    def everything(params, x, box):
        energy, slopes = jax.value_and_grad(lambda p, x, b: system.energy(x, params=p, box=b), (0, 1, 2))(
            params, x, box
        )
        return energy, slopes, system.forces(x, params=params, box=box), system.virial(x, params=params, box=box)

    box = shaped(case.system, 1.0)
    compiled = jax.jit(everything, compiler_options=quick.OPTIONS)  # half the time
    energy, (params, x, by_box), forces, virial = compiled(program.params, case.system.x, box)
    names = sorted(program.params)
    by_box = by_box if by_box.ndim == 2 else np.diag(by_box)
    params = {n: joined(network, p) if (network := program.model.param(n).learned) else p for n, p in params.items()}
    return [
        energy,
        -x,
        forces,
        virial,
        np.where(case.system.periodic[:, None], by_box, 0),
        *[symmetric(params[n]) for n in names],
    ], names


def from_interpreter(model, case, names):
    system = case.system
    forces = interpret.forces(model, system)
    params = [symmetric(interpret.param_gradient(model, system, name)) for name in names]

    def energy(entry, h):
        cell = system.cell.copy()
        cell[entry] += h
        return interpret.energy(model, moved(system, cell=cell))

    by_box, h = np.zeros((model.dim, model.dim)), 1e-4
    entries = zip(*np.tril_indices(model.dim)) if np.tril(system.cell, -1).any() else [(k, k) for k in range(model.dim)]
    for k, j in entries:
        if system.periodic[k]:
            one, two = (energy((k, j), n * h) - energy((k, j), -n * h) for n in (1, 2))
            by_box[k, j] = (8 * one - two) / (12 * h)
    return [interpret.energy(model, system), forces, forces, interpret.virial(model, system), by_box, *params]


@functools.cache
def oracle(name):
    """What `interpret` says of the program as it was written."""
    case = CASES[name]
    _, model = next(stages(case))
    program = mdsl.compile(case.head + case.text)
    return from_interpreter(model, case, sorted(program.params))


def compiler_differs(name, traversal="all pairs", expected=None):
    """The largest difference of each kind between JAX and the interpreter."""
    case = CASES[name]
    expected = expected or oracle(name)
    found, _ = from_jax(mdsl.compile(case.head + case.text), case, traversal)
    return max(difference([a], [b]) for a, b in zip(expected, found))


@pytest.mark.parametrize("name", CASES)
def test_the_compiler_keeps_the_meaning(name):
    assert compiler_differs(name) < 1e-7  # the edges are differences; all else is better than 1e-11


@pytest.mark.parametrize(
    "name", ["flat", *[pytest.param(n, marks=pytest.mark.slow) for n, c in CASES.items() if c.cut and n != "flat"]]
)
def test_the_compiler_keeps_the_meaning_with_a_list(name):
    assert compiler_differs(name, "list") < 1e-7


# -- dynamics ------------------------------------------------------------------------------------------

OWN = """
flow spread(h) { kick = h*f/m
  v += kick
  x += h*v + h*kick }
flow shake(h) { kick ~ normal
  v += h*kick }
integrator mine(dt) { shake(dt) spread(dt/2) shake(dt) spread(dt/2) }
state top = 0.5
state tops[k in 0..2] = k
flow push(h, p, k, moved) {
  p[k] += h*(if k > 1 then p[k - 1] else sum(i) m[i]*|moved[i]|)
}
integrator numbers(dt, chain = 2, last = chain) {
  state p[k in 1..chain] = 0.1*k
  state drift = sum(i) m[i]*v[i]
  state turns = 0
  observe memory = top + sum(k in 1..chain) p[k]
  R ~ normal_number   u ~ uniform_number   S ~ chi_squared(3*N - 1)
  for k in chain..1 down { push(50*dt, p, k, v) }
  drift = 0.9*drift + 0.1*(sum(i) m[i]*v[i])
  slow = if R + u < sqrt(S/N) and not drift.x > 100 then 1 - 0.1*u*p[last] else 1 + 0.01*p[last]
  top += 0.01*slow + trace(virial)/1e4
  tops[chain - 2] += tops[chain - 1]*top
  v = slow*v - 0.01*(drift + R*v)/N - 0.1*tanh(potential/1e4)*v
  x += dt*v
  off = x - origin
  v += 1e-3*(largest(i) |off[i]|)*off*tops[1]
  turns += 1
}
def bath(t) = if t < 0.1 then 1.5 - 10*t else 0.5
def ramp(t) = 1 + 3*t^2
"""
SCHEMES = {
    "velocity_verlet(dt = 0.001)": ("one pair function", 3),
    "baoab(dt = 0.001, T = 0.7, gamma = 2)": ("species table", 3),
    "brownian(dt = 0.001, T = 0.3, gamma = 2)": ("flat", 3),
    "baoab(dt = 0.05, T = bath, gamma = ramp)": ("external field", 4),
    "mine(dt = 0.001)": ("entries and masses", 3),
    "numbers(dt = 0.001, chain = 3)": ("species table", 3),
    "nose_hoover(dt = 0.001, T = 0.7, tau = 0.05)": ("one pair function", 4),
    "nose_hoover(dt = 0.001, T = bath, tau = 0.05, chain = 1, order = 5)": ("flat", 3),
    "csvr(dt = 0.001, T = 0.7, tau = 0.01)": ("species table", 4),
    "berendsen(dt = 0.001, T = 0.7, tau = 0.01)": ("flat", 3),
    "fire(dt = 0.001)": ("one pair function", 12),
}


def steps_differ(scheme):
    """The largest difference in positions and velocities after a few steps with the same noise."""
    name, steps = SCHEMES[scheme]
    case = CASES[name]
    text = f'{case.head}use minimizers\n{case.text}{OWN}run {{\n  x = read("nothing.xyz")\n  {scheme} for {steps}\n}}'
    model, report = resolve(Source("test", text), None)
    assert not report, [d.message for d in report]
    advance = next(s for s in model.run if isinstance(s, Advance))
    program, drawn = mdsl.compile(text), []
    with pytest.MonkeyPatch.context() as patch:
        for_each, for_all = noise.drawn_for_each, noise.drawn_for_all

        def remembered_for_each(*args):
            numbers = for_each(*args)
            jax.debug.callback(lambda *n: drawn.append(np.stack(n, axis=1)), *numbers, ordered=True)
            return numbers

        def remembered_for_all(*args):
            number = for_all(*args)
            jax.debug.callback(lambda n: drawn.append(np.asarray(n)), number, ordered=True)
            return number

        patch.setattr(noise, "drawn_for_each", remembered_for_each)
        patch.setattr(noise, "drawn_for_all", remembered_for_all)
        found = bind(program, case).run(jax.random.key(11))
        jax.effects_barrier()
    # The driver may carry out a part of a step again, or of the step after the last.
    drawn = [numbers for k, numbers in enumerate(drawn) if not any(np.array_equal(numbers, d) for d in drawn[:k])]
    per_step = sum(isinstance(s, Draw) for a in program.model.run if isinstance(a, Advance) for s in a.body)
    if len(drawn) < steps * per_step:
        return np.inf
    _, end = interpret.run(model, advance, case.system, steps, lambda step, draw: drawn[step * per_step + draw])
    box = np.where(case.system.periodic, case.system.lengths, np.inf)
    assert np.abs(end.x - case.system.x).max() > 1e-4
    return max(apart(end.x, found.x, box), np.abs(end.v - found.v).max()) / max(1, np.abs(end.v).max())


@pytest.mark.parametrize("scheme", SCHEMES)
def test_steps(scheme):
    assert steps_differ(scheme) < 1e-11


# -- planted bugs --------------------------------------------------------------------------------------
# Each gives a wrong compiler, and the comparison above that has to find it.


def planted(module, name, wrong):
    """A bug: `module.name`, or `module.Class.method`, becomes ``wrong(the right one)``."""

    def plant(monkeypatch):
        owner = __import__(f"mdsl.{module}", fromlist=["_"])
        *path, last = name.split(".")
        for part in path:
            owner = getattr(owner, part)
        monkeypatch.setattr(owner, last, wrong(getattr(owner, last)))

    return plant


def negated(expr):
    return replace(expr, op="neg", args=(expr,)) if isinstance(expr, Op) else expr


IN_PASSES = {
    "D(u) has the wrong sign": (
        planted(
            "passes.differentiate", "_slope", lambda right: lambda e: negated(right(e)) if right(e) is not e else e
        ),
        "derivatives of functions",
    ),
    "D(u) is taken at the wrong place": (
        planted(
            "passes.differentiate",
            "from_sympy",
            lambda right: lambda e, leaves, **k: right(e.xreplace({s: 2 * s for s in e.free_symbols}), leaves, **k),
        ),
        "derivatives of functions",
    ),
    "arguments are swapped": (
        planted(
            "passes.inline.expressions",
            "Inliner.call",
            lambda right: (
                lambda self, f, args, at: right(
                    self, f, args[::-1] if all(isinstance(a, Expr) for a in args) else args, at
                )
            ),
        ),
        "one pair function",
    ),
    "calls share what they remember": (
        planted(
            "passes.inline.expressions",
            "Env.inside",
            lambda right: lambda self, *a, **k: replace(right(self, *a, **k), memo=self.memo),
        ),
        "functions of functions",
    ),
    "a difference is a sum": (
        planted("symbolic.bridge", "_operation", lambda right: lambda op, *a: right("add" if op == "sub" else op, *a)),
        "derivatives of functions",
    ),
}


@pytest.mark.parametrize("bug", IN_PASSES)
def test_a_bug_in_a_pass_is_found(bug, monkeypatch):
    plant, name = IN_PASSES[bug]
    assert passes_differ(CASES[name]) < 1e-11
    plant(monkeypatch)
    assert not passes_differ(CASES[name]) < 1e-3


def shorter(right):
    def reach(e, s):
        found = right(e, s)
        return found and replace(found, cutoff=found.cutoff * sympy.Rational(7, 10))

    return reach


def without_factor(right):
    def product(self, e):
        numbers, rest = e.as_coeff_Mul()
        return right(self, rest) if abs(numbers) not in (0, 1) and isinstance(rest, sympy.Mul) else right(self, e)

    return product


def unordered(right):
    """Mistakes what depends on the pair of species for a number of the program."""
    return lambda self, expr, indices: right(self, expr, indices[::-1])


IN_LOWERING = {
    "a factor is lost": (planted("symbolic.bridge", "_Writer.product", without_factor), "even powers", "all pairs"),
    "powers are one too high": (
        planted(
            "symbolic.bridge",
            "_Writer.whole",
            lambda right: lambda self, value, power: right(self, value, power + (power > 2)),
        ),
        "even powers",
        "all pairs",
    ),
    "pieces in the wrong order": (
        planted(
            "symbolic.bridge",
            "_Writer.expr",
            lambda right: (
                lambda self, e: right(
                    self,
                    e.func(*[(v, ~c if c not in (True, sympy.true) else c) for v, c in e.args], evaluate=False)
                    if isinstance(e, sympy.Piecewise)
                    else e,
                )
            ),
        ),
        "piecewise",
        "all pairs",
    ),
    "flipped displacements keep their sign": (
        planted(
            "lowering.field.tuple_form",
            "oriented",
            lambda right: (
                lambda *a: lambda e: right(*a)(e) if not (isinstance(e, Op) and e.op == "sub") else replace(e, op="add")
            ),
        ),
        "elementary functions",
        "all pairs",
    ),
    "the support is too short": (planted("lowering.field.terms", "reach", shorter), "flat", "list"),
    "the virial has the wrong sign": (
        planted(
            "lowering.kernels.pair_kernel",
            "virial_components",
            lambda right: lambda dim: tuple((b, a) if a == b else (a, a) for a, b in right(dim)),
        ),
        "flat",
        "all pairs",
    ),
    "slopes of a table are those of the own species": (
        planted(
            "lowering.traversals.pairs",
            "by_parameter",
            lambda right: lambda *a: right(*a) * (1 if np.ndim(right(*a)) < 2 else np.eye(3)),
        ),
        "species table",
        "all pairs",
    ),
    "a species table is transposed into one row": (
        planted(
            "lowering.kernels.globals",
            "Globals.table",
            lambda right: lambda self, e, i: right(self, e, i)[:1] + 0 * right(self, e, i),
        ),
        "species table",
        "all pairs",
    ),
    "hoisted parts are halved": (
        planted(
            "lowering.kernels.globals",
            "Globals.value",
            lambda right: (
                lambda self, e: (
                    0.5 * right(self, e) if not isinstance(e, Number) and e.type.kind == "scalar" else right(self, e)
                )
            ),
        ),
        "one pair function",
        "all pairs",
    ),
    "images are truncated": (
        planted("lowering.traversals.potential", "jnp.round", lambda right: jax.numpy.floor),
        "one pair function",
        "all pairs",
    ),
    "pairs are counted twice": (
        planted(
            "lowering.traversals.layout", "OneDevice.add", lambda right: lambda self, values: 2 * right(self, values)
        ),
        "combinations of sums",
        "all pairs",
    ),
}


@pytest.mark.parametrize("bug", IN_LOWERING)
def test_a_bug_in_lowering_is_found(bug, monkeypatch):
    plant, name, traversal = IN_LOWERING[bug]
    expected = oracle(name)
    plant(monkeypatch)
    assert not compiler_differs(name, traversal, expected) < 1e-4


def never_again(right):
    def force_evaluations(body, *a):
        found = right(body, *a)
        return replace(found, before=(False,) * len(found.before))

    return force_evaluations


IN_DYNAMICS = {
    "the force is not evaluated again": (
        planted("lowering.field.schedule", "moves", lambda right: lambda *_: False),
        "velocity_verlet(dt = 0.001)",
    ),
    "draws are the same": (
        planted("lowering.dynamics.noise", "jax.random.fold_in", lambda right: lambda key, data: right(key, 0)),
        "mine(dt = 0.001)",
    ),
    "a flow shares its local names": (
        planted("passes.inline.flows", "_Statement.unique", lambda right: lambda self, name: name),
        "mine(dt = 0.001)",
    ),
    "a state begins anew at every step": (
        planted(
            "lowering.dynamics.step",
            "with_memory",
            lambda right: (
                lambda known, memory, states: right(
                    known, memory | {s.name: 0.1 for s in states if s.type.kind == "scalar"}, states
                )
            ),
        ),
        "numbers(dt = 0.001, chain = 3)",
    ),
    "a loop runs the other way": (
        planted(
            "passes.inline.flows",
            "_Statement.numbers",
            lambda right: lambda self, loop, env: list(right(self, loop, env))[::-1],
        ),
        "numbers(dt = 0.001, chain = 3)",
    ),
}


@pytest.mark.parametrize("bug", IN_DYNAMICS)
def test_a_bug_in_dynamics_is_found(bug, monkeypatch):
    plant, scheme = IN_DYNAMICS[bug]
    plant(monkeypatch)
    assert not steps_differ(scheme) < 1e-6


def test_the_cases_cover_the_language():
    text = HEAD + "".join(c.text for c in CASES.values())
    for word in (
        "species",
        "const",
        "param",
        "where",
        "if ",
        "D(",
        "dim 2",
        "box free",
        "origin",
        "volume",
        "sum(i)",
        "sum(i < j)",
        "m[i]",
        "k in 1..4",
    ):
        assert word in text
    assert len(CASES) >= 20

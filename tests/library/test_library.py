"""Every entry of the standard library: its documentation, its dimensions, and its derivatives.

The signatures in the comments of `stdlib/` are held against what the compiler infers, and say what numbers to try: all
energies are compared with finite differences, by positions, strain and parameters.
"""

import functools
import re
from fractions import Fraction
from pathlib import Path

import jax
import numpy as np
import pytest
import quick

import mdsl
from mdsl.model.dimensions import NAMED
from mdsl.model.signatures import Signature, dimension, signature
from mdsl.report.library import all_pages
from mdsl.report.library_page import markdown
from mdsl.resolve.modules import library_modules

MODULES = [m for m in library_modules() if not m.startswith("units.") and m != "prelude"]
PAGES = {p.name: p for p in all_pages()}
ENTRIES = [(p, e) for p in MODULES for e in PAGES[p].entries]
FUNCTIONS = [
    (p, e)
    for p, e in ENTRIES
    if not e.usage.startswith(("param ", "const ", "flow ", "integrator ", "minimizer ", "state "))
    and e.signature is not None
]


OTHERS = ("species", "vector")  # kinds of parameters that are no numbers


def test_the_page_is_current():
    current = (Path(__file__).parents[2] / "docs" / "stdlib.md").read_text(encoding="utf-8") == markdown()
    assert current, "renew it by `mdsl list --markdown > docs/stdlib.md`"


@pytest.mark.parametrize("module, entry", ENTRIES, ids=lambda a: getattr(a, "name", a))
def test_documentation(module, entry):
    """A sentence with its source, and each parameter with its dimension, under its name."""
    assert re.search(r"\b1[6-9]\d\d\b|\b20\d\d\b|LAMMPS", entry.comment), "the comment names no source"
    assert entry.signature is not None, "the comment does not end in a signature"
    if not entry.usage.startswith(("param ", "const ")):
        assert "".join(f"({', '.join(n for n, _ in group)})" for group in entry.signature.groups) == re.sub(
            r"^(\w+ )?\w+(?=\()| = [^,)]*(\(.*?\))?", "", entry.usage
        )
    for kind in [k for group in entry.signature.groups for _, k in group if k] + (
        [entry.signature.result] if entry.signature.result else []
    ):
        for part in kind.split(" of "):
            assert part in OTHERS or dimension(part)


def test_signatures():
    assert signature("(σ: length, k: energy/length^2)(r: length): energy") == Signature(
        ((("sigma", "length"), ("k", "energy/length^2")), (("r", "length"),)), "energy"
    )
    assert signature("(dt: time)") == Signature(((("dt", "time"),),), "")
    assert (
        str(signature("(u: energy of length, rc: length)(r: length): energy"))
        == "u: energy of length, rc: length; r: length -> energy"
    )
    assert signature("of a chain (Kremer and Grest 1990)") is None and signature("a comment") is None
    assert dimension("energy/length^2") == NAMED["energy"] / NAMED["area"] and dimension("1/length") * NAMED[
        "length"
    ] == dimension("number")


# -- dimensions ----------------------------------------------------------------------------------------

UNITS = ("angstrom", "g", "ps", "K", "e")


def literal(kind):
    """A number of a dimension."""
    powers = dimension(kind).powers
    unit = "*".join(
        f"{u}^{int(p)}" if p > 0 else f"{u}^-{int(-p)}" for u, p in zip(UNITS, powers) if p == Fraction(int(p)) and p
    )
    return f"1.5 [{unit}]" if unit else "1.5"


def test_dimensions():
    """The compiler gives each function the dimension that its comment states."""
    lines = [
        "use units.metal",
        *(f"use {m} ({', '.join(e.name for n, e in FUNCTIONS if n == m)})" for m in dict(FUNCTIONS)),
        "energy dummy = sum(i < j) 0*exp(-|x[i] - x[j]|/(1 [angstrom]))*1 [eV]",
    ]
    numbers = [(m, e) for m, e in FUNCTIONS if not any(word in str(e.signature) for word in OTHERS)]
    for k, (_, entry) in enumerate(numbers):
        call = entry.name
        for group in entry.signature.groups:
            arguments = []
            for name, kind in group:
                result, _, argument = kind.partition(" of ")
                arguments.append(f"helper_{k}_{name}" if argument else literal(kind))
                if argument:
                    lines.append(f"def helper_{k}_{name}(s) = {literal(result)}*exp(-s/({literal(argument)}))")
            call += f"({', '.join(arguments)})"
        lines.append(f"observe value_{k} = {call}")
    model = mdsl.compile("\n".join(lines)).model
    for k, (_, entry) in enumerate(numbers):
        assert model.equation(f"value_{k}").body.type.dimension == dimension(entry.signature.result), entry.name


# -- derivatives ---------------------------------------------------------------------------------------

ATOMS, EDGE = 6, 8.0
SUMS = {
    "r": "sum(i < j) {}(|x[i] - x[j]|)",
    "theta": "sum((i, j, k) in angles) {}(angle(x[i], x[j], x[k]))",
    "phi": "sum((i, j, k, l) in dihedrals) {}(dihedral(x[i], x[j], x[k], x[l]))",
    "z": "sum(i) {}(x[i].z)",
}
VALUES = {
    "rc": 2.45,
    "r_on": 1.5,
    "n": 9.0,
    "m": 6.0,
    "r_max": 5.0,
    "core": 0.3,
    "permittivity": 12.0,
    "phi0": 0.7,
    "theta0": 1.9,
    "chi0": 0.4,
    "sigma": 1.3,
}


def energies_of(module):
    if module == "silica":  # has units; its reference is in test_reference.py
        return []
    return [
        e
        for m, e in FUNCTIONS
        if m == module
        and e.signature.result == "energy"
        and e.signature.groups[-1][0][0] in SUMS
        and len(e.signature.groups) > 1
    ]


@functools.cache
def compiled(module):
    """All energies of a module in one program, each with a weight, its parameters free; energy, and all derivatives."""
    lines = [
        "use units.lj",
        "use pair",
        f"use {module}" if module != "pair" else "",
        "topology bonds(i, j), angles(i, j, k) = path(bonds), dihedrals(i, j, k, l) = path(bonds)",
    ]
    lines.append("def sample(r) = morse(1.0, 1.3, 1.2)(r) + exp(-r)/r")
    for entry in energies_of(module):
        first = []
        for k, (name, kind) in enumerate(p for group in entry.signature.groups[:-1] for p in group):
            first.append("sample" if " of " in kind else f"{entry.name}_{name}")
            if " of " not in kind:
                lines.append(f"param {first[-1]} = {VALUES.get(name, 1.1 + 0.13 * k)}")
        u = f"{entry.name}({', '.join(first)})"
        lines.append(
            f"param w_{entry.name} = 0.0\nenergy U_{entry.name} = "
            f"w_{entry.name}*{SUMS[entry.signature.groups[-1][0][0]].format(u)}"
        )
    program = mdsl.compile("\n".join(lines))
    x = 1.0 + np.cumsum(
        [[0.7, 0.6, 0.3], [0.9, -0.4, 0.5], [0.2, 0.8, 0.6], [-0.5, 0.7, 0.6], [0.8, 0.4, -0.5], [0.3, -0.8, 0.7]],
        axis=0,
    )
    system = program.bind(x, box=EDGE, topologies={"bonds": [[k, k + 1] for k in range(ATOMS - 1)]})
    options = {"compiler_options": quick.OPTIONS}
    energy = jax.jit(lambda p, x, b: system.energy(x, params=p, box=b), **options)
    rest = jax.jit(
        lambda p, x, b: (
            system.forces(x, params=p, box=b),
            system.virial(x, params=p, box=b),
            jax.grad(lambda q: system.energy(x, params=q, box=b))(p),
        ),
        **options,
    )
    return program, x, energy, rest


CASES = [(m, e.name) for m in MODULES for e in energies_of(m)]


@pytest.mark.parametrize("module, name", CASES)
def test_derivatives(module, name):
    """Forces, virial and slopes by parameters are the differences of the energy, to 1e-7."""
    program, x, energy, rest = compiled(module)
    params = {n: float(v) for n, v in program.params.items()} | {f"w_{name}": 1.0}
    box, h = np.full(3, EDGE), 1e-5
    forces, virial, slopes = (jax.tree.map(np.asarray, a) for a in rest(params, x, box))
    scale = np.abs(forces).max()
    assert scale > 1e-3

    def slope(along):
        """The derivative of the energy by a step, to fourth order."""
        one, two = (float(along(k * h)) - float(along(-k * h)) for k in (1, 2))
        return (8 * one - two) / (12 * h)

    for atom in range(ATOMS):
        for axis in range(3):
            step = np.zeros_like(x)
            step[atom, axis] = 1
            assert abs(slope(lambda e: energy(params, x + e * step, box)) + forces[atom, axis]) < 1e-7 * max(scale, 1)
    for axis in range(3):
        stretch = np.eye(3)[axis]
        change = slope(lambda e: energy(params, x * (1 + e * stretch), box * (1 + e * stretch)))
        assert abs(change + virial[axis, axis]) < 1e-7 * max(np.abs(virial).max(), 1)
    for parameter in program.params:
        if parameter.startswith(f"{name}_") or parameter == f"w_{name}":
            change = slope(lambda e: energy(params | {parameter: params[parameter] + e}, x, box))
            assert abs(change - slopes[parameter]) < 1e-7 * max(abs(change), scale, 1), parameter


def test_every_energy_is_tried():
    assert len(CASES) >= 39

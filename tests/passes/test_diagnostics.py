"""What `mdsl check` says of wrong programs: the diagnostic, the place that is marked, and words that help.

Each row is one mistake that a user makes. Syntax has its own table in test_grammar_mistakes.py, what only shows in
a run or a call in test_diagnostics_run.py. The page docs/errors.md has an example of each diagnostic, run below.
"""

import re
import time
from pathlib import Path

import make_errors
import pytest
from mdsl.grammar.catalogue import CATALOGUE
from mdsl.grammar.diagnostics import EXIT_STATUS, Rejected
from test_diagnostics_run import BINDINGS, COMMANDS, RUNS, SPECIAL
from test_grammar_mistakes import EXAMPLES

import mdsl

LJ = """use units.lj
use pair (lennard_jones, truncated, shifted, force_shifted)
use integrators (velocity_verlet, baoab, A, B)
species Cu, Ag
param sigma = 1.0
param epsilon = 1.0
param one[species] = { Cu: 1.0, Ag: 0.8 }
param two[species, species] = { Cu-Cu: 1.0, Ag-Ag: 0.8, Cu-Ag: 0.9 }
"""
FLAT = LJ + "dim 2\n"
REAL = """use units.real
use pair (lennard_jones, truncated, force_shifted)
use integrators (velocity_verlet, baoab)
param sigma = 3.4 [angstrom]
param epsilon = 0.2 [kcal/mol]
param m = 39.9 [g/mol]
"""
U = {
    LJ: "\nenergy U = sum(i < j) force_shifted(lennard_jones(sigma, epsilon), 2.5)(|x[i] - x[j]|)\n",
    REAL: "\nenergy U = sum(i < j) force_shifted(lennard_jones(sigma, epsilon), 8.5 [angstrom])(|x[i] - x[j]|)\n",
}
U[FLAT] = U[LJ]


def run(body, x="x = fcc(density = 0.8, cells = 6, species = Cu)"):
    return f"run {{\n  {x}\n  {body}\n}}"


def pair(body):
    return f"energy W = sum(i < j) {body}"


NET = """learned net = mlp(3, 4, 1)
quantity G[i, k in 1..3] = sum(j != i) exp(-k*|x[i] - x[j]|)
quantity H[i, k in 1..2] = G[i, k]
"""


D = "|x[i] - x[j]|"

# The head of the program; what is wrong; the diagnostic; what is marked; words of the message, labels, notes and help.
WRONG = [
    # -- names
    (LJ, pair("shifted(lennard_jones(1, 1), 2.5)(x[i] - x[j])"), "wrong-type", "shifted(lennard_jones(1, 1), 2.5)(x[i] - x[j])", "the length of a vector is `|d|`"),
    (LJ, pair("lennard_jones(1, 1)(abs(x[i] - x[j]))"), "wrong-type", "abs(x[i] - x[j])", "the length of a vector is `|d|`"),
    (LJ, pair(f"one*exp(-{D})"), "wrong-index", "one", "such as `one[i]` in a sum"),
    (LJ, pair(f"one[i, j]*exp(-{D})"), "wrong-index", "one[i, j]", "mixing is arithmetic, such as `(one[i] + one[j])/2`"),
    (LJ, pair(f"sgima*{D}"), "unknown-name", "sgima", "did you mean `sigma`?"),
    (LJ, pair(f"harmonic_trap(1)({D})"), "unknown-name", "harmonic_trap", "the library has it: `use external (harmonic_trap)`"),
    (LJ, pair(f"yukwa(1, 1)({D})"), "unknown-name", "yukwa", "did you mean `yukawa` of the library? `use pair (yukawa)`"),
    (LJ, pair(f"lenard_jones(sigma, epsilon)({D})"), "unknown-name", "lenard_jones", "no function `lenard_jones`"),
    (LJ, pair(f"morse(1, 1, 1)({D})"), "unknown-name", "morse", "no function"),
    (LJ, pair("lennard_jones(1, 1)(r)"), "unknown-name", "r", "`where r = |x[i] - x[j]|`"),
    (LJ, pair("ln(" + D + ")"), "unknown-name", "ln", "`log`"),
    (LJ, pair("|x_i - x[j]|"), "unknown-name", "x_i", "`x[i]`"),
    (LJ, run("velocity_verlet(dt = 1) for 1 record T"), "unknown-name", "T", "`temperature`"),
    (LJ, run("velocity_verlet(dt = 1) for 1 record step"), "unknown-name", "step", "always recorded"),
    (LJ, "use pair (lenard_jones)", "unknown-name", "lenard_jones", "did you mean `lennard_jones`?"),
    (LJ, "observe T = temprature", "unknown-name", "temprature", "`temperature`"),
    (LJ, pair("(x[i] - x[j]).w"), "unknown-name", "(x[i] - x[j]).w", "x, y and z"),
    (LJ, "energy W = sum((i, j) in bonds) 1", "unknown-name", "(i, j) in bonds", "`topology bonds(i, j)`"),
    (LJ, run("velocity_verlett(dt = 1) for 1"), "unknown-name", "velocity_verlett", "`velocity_verlet`"),
    (LJ, run("nose_hoover(dt = 1) for 1"), "unknown-name", "nose_hoover", "no integrator"),
    (LJ, run("velocity_verlet(dt = 1) for 1", "x = fc(cells = 3)"), "unknown-name", "fc", "`fcc`"),
    (LJ, run("velocity_verlet(dt = 1) for 1 record temprature"), "unknown-name", "temprature", "`temperature`"),
    (LJ, "integrator mine(dt) { C(dt) }", "unknown-name", "C(dt)", "no flow `C`"),
    (REAL, "unit q : lenght", "unknown-name", "unit q : lenght", "length, mass, time"),
    (LJ, "use pairs", "unknown-module", "use pairs", "`pair`"),
    ("use units.metall\n", pair(D), "unknown-module", "use units.metall", "`units.metal`"),
    ("use lj\n", pair(D), "unknown-module", "use lj", "`units.lj`"),
    (REAL, "param k = 3 [kcal/mole]", "unknown-unit", "mole", "`mol`"),
    (REAL, "param k = 3 [Angstrom]", "unknown-unit", "Angstrom", "`angstrom`"),
    (LJ, "unit furlong = 201 [m]", "unknown-unit", "m", "units.metal"),
    (LJ, "param a[species] = { Cu: 1, Au: 2 }", "unknown-species", "Au: 2", "`species Cu, Ag, Au`"),
    ("use units.lj\n", f"param a[species] = {{ A: 1 }}\n{pair(D)}", "unknown-species", "A: 1", "`species A`"),
    (LJ, run("", "x = fcc(density = 1, cells = 3, species = Au)"), "unknown-species", "Au", "Cu, Ag"),
    (LJ, run("", "x = fcc(density = 1, cells = 3, species = { Cu: 0.5, Pb: 0.5 })"), "unknown-species", "Pb: 0.5", "Cu, Ag"),
    (LJ, "param sigma = 2", "duplicate-name", "sigma", "first declared here"),
    (LJ, "param σ = 2", "duplicate-name", "σ", "`sigma` is declared twice"),
    (LJ, "energy U = 0", "duplicate-name", "U", "declared twice"),
    (LJ, "param x = 1", "duplicate-name", "x", "built into the language"),
    (LJ, "param v = 1", "duplicate-name", "v", "built into the language"),
    (LJ, "param t = 300", "duplicate-name", "t", "built into the language"),
    (LJ, "const N = 1000", "duplicate-name", "N", "built into the language"),
    (LJ, "energy exp = 0", "duplicate-name", "exp", "built into the language"),
    (LJ, f"energy potential = sum(i < j) {D}", "duplicate-name", "potential", "built into the language"),
    (LJ, f"def f(r) = r^2\n{pair(f'f({D})')}", "duplicate-name", "f", "`f_`"),
    (LJ, "observe kinetic = 1", "duplicate-name", "kinetic", "`temperature` is made"),
    (LJ, "const kB = 2", "duplicate-name", "const kB = 2", "two modules declare `kB`"),
    (LJ, "param A = 3", "duplicate-name", "A", "taken from a module"),
    (LJ, "species Cu", "duplicate-name", "Cu", "declared twice"),
    (LJ, "def g(a, a)(r) = a*r", "duplicate-name", "a", "declared twice"),
    (LJ, "flow C(h, h) { x += h*v }", "duplicate-name", "h", "declared twice"),
    (LJ, "flow C(h) { x ~ normal }", "duplicate-name", "x", "built into the language"),
    (LJ, "topology bonds(i, i)", "duplicate-name", "bonds(i, i)", "different names"),
    (LJ, "energy W = sum(i < i) 1", "duplicate-name", "i < i", "bound twice"),
    (LJ, f"energy W = sum(i < j) r where r = {D}, r = 3", "duplicate-name", "r", "declared twice"),
    (REAL, "unit fs = 3 [s]", "duplicate-name", "fs", "already"),
    (LJ, "param a = b\nparam b = a", "cyclic-definition", "param a = b", "`a` needs `b` needs `a`"),
    (LJ, "observe a = 2*a", "cyclic-definition", "observe a = 2*a", "defined by itself"),
    (LJ, "energy W = V\nenergy V = W", "cyclic-definition", "energy W = V", "`W` needs `V` needs `W`"),
    (LJ, f"energy W = sum(i < j) r where r = s, s = r + {D}", "cyclic-definition", "r", "defined by itself"),
    (LJ, f"def g(r) = h(r)\ndef h(r) = g(r)\n{pair(f'g({D})')}", "cyclic-definition", "h(r)", "calls itself"),
    (LJ, "integrator a(dt) { b(dt) }\nintegrator b(dt) { a(dt) }\n" + run("a(dt = 1) for 1"), "cyclic-definition", "integrator a(dt) { b(dt) }", "`a` calls itself"),
    ("", f"param sigma = 1.0 [angstrom]\n{pair(D)}", "missing-units", "param sigma = 1.0 [angstrom]", "`use units.lj`"),
    ("", "# nothing", "missing-units", "# nothing\n", "units.metal"),
    (LJ, f"energy W = sum(i < j) r where r = {D}, q = 3", "unused-binding", "q", "never used"),
    (LJ, "def g(r) = r where q = 3", "unused-binding", "q", "never used"),
    (LJ, "const a = " + "-" * 130 + "1", "nesting", "--1", "128 levels"),
    (LJ, "const a = " + "+".join(["1"] * 200), "nesting", "+".join(["1"] * 72), "in `where` or with `def`"),
    # -- declarations
    (REAL, "unit furlong = 3*67", "bad-unit", "unit furlong = 3*67", "`unit kcal = 4184 [J]`"),
    (LJ, "dim 4", "bad-dimension", "dim 4", "2 or 3 dimensions"),
    (FLAT, "energy W = sum(i) x[i].z", "bad-dimension", "x[i].z", "no `.z` in 2"),
    (FLAT, "observe L = sum(i) cross(x[i] - origin, v[i])", "bad-dimension", "cross(x[i] - origin, v[i])", "no vector product"),
    (FLAT, run(""), "bad-dimension", "fcc(density = 0.8, cells = 6, species = Cu)", "the program 2"),
    (LJ, "param a[specis] = 1", "bad-axis", "specis", "`species`"),
    (LJ, "const a[k in 3..1] = k", "bad-axis", "3..1", "whole number"),
    (LJ, "param a[species, species, species] = 1", "bad-axis", "species", "at most two"),
    (LJ, "param m[species, species] = 1", "bad-axis", "param m[species, species] = 1", "mass of the atoms"),
    (LJ, "param a = { Cu: 1, Ag: 2 }", "bad-table", "{ Cu: 1, Ag: 2 }", "`param sigma[species]"),
    (LJ, "param a[species] = { Cu-Cu: 1, Cu-Ag: 2 }", "bad-table", "Cu-Cu: 1", "`[species, species]`"),
    (LJ, "param a[species, species] = { Cu: 1, Ag: 2 }", "bad-table", "Cu: 1", "two labels, not 1"),
    (LJ, "param a[species, species] = { Cu-Cu: 1, Cu-Ag: 2, Ag-Cu: 3, Ag-Ag: 4 }", "bad-table", "Ag-Cu: 3", "given twice"),
    (LJ, "param a[species] = { Cu: 1 }", "missing-entry", "{ Cu: 1 }", "no entry for Ag"),
    (LJ, "param a[species, species] = { Cu-Cu: 1, Ag-Ag: 2 }", "missing-entry", "{ Cu-Cu: 1, Ag-Ag: 2 }", "no entry for Ag-Cu"),
    (LJ, "box 10", "bad-box", "10", "`box periodic(L)`"),
    (LJ, "box perodic(10)", "bad-box", "perodic(10)", "`box free`"),
    (LJ, "box periodic(10, 10)", "bad-box", "box periodic(10, 10)", "2 edges, space 3"),
    (LJ, "box triclinic((10, 0), (1, 10))", "bad-box", "box triclinic((10, 0), (1, 10))", "2 vectors, space 3"),
    (LJ, "box triclinic((10, 1, 0), (0, 10, 0), free)", "bad-box", "1", "along x"),
    (LJ, "box triclinic(10, 10, 10)", "bad-box", "10", "given by its vectors"),
    (LJ, "box triclinic((10, 0, 0), (kinetic, 10, 0), free)", "nonconstant", "kinetic", "an edge of the box"),
    (LJ, "box free\nbox periodic(10)", "repeated-statement", "box periodic(10)", "first here"),
    (LJ, "dim 3\ndim 3", "repeated-statement", "dim 3", "stands twice"),
    (LJ, "use units.metal", "repeated-statement", "use units.metal", "already uses units.lj"),
    (LJ, run("") + "\n" + run(""), "repeated-statement", run(""), "`run` stands twice"),
    (LJ, run("x = fcc(density = 1, cells = 3)"), "repeated-statement", "x = fcc(density = 1, cells = 3)", "set up twice"),
    (LJ, run('velocity_verlet(dt = 1) for 1 write "a.xyz" write "a.xyz"'), "repeated-statement", '"a.xyz"', "two statements write"),
    ("use units.lj\n", "param a = 1", "empty-program", "use units.lj", "no energy"),
    (LJ, "run { velocity_verlet(dt = 1) for 1 }", "empty-program", "run { velocity_verlet(dt = 1) for 1 }", "places no atoms"),
    (LJ, "quantity q[i, l] = 1", "not-yet", "l", "two atoms"),
    # -- learned functions
    (LJ, "learned net = mlp(3, 2)", "bad-network", "2", "several networks"),
    (LJ, "learned net = mlp(3)", "bad-network", "mlp(3)", "a number of inputs"),
    (LJ, "learned net = mlp(3, 0, 1)", "bad-network", "0", "at least 1"),
    (LJ, "learned net = mlp(3, sigma, 1)", "bad-network", "sigma", "a `const` that is a number"),
    (LJ, "learned net = mlp(10_000, 10_000, 1)", "bad-network", "mlp(10_000, 10_000, 1)", "weights"),
    (LJ, "learned net = 3", "bad-network", "3", "is a network"),
    (LJ, "learned net = mpl(3, 1)", "unknown-name", "mpl", "`mlp`"),
    (LJ, "learned net = mlp(3, 1, activation = tanh)", "unknown-option", "activation = tanh", "no option"),
    (LJ, NET + "energy W = sum(i) net(H[i])", "wrong-arguments", "net(H[i])", "takes 3 numbers, but is given 2"),
    (LJ, NET + "energy W = sum(i) net(G[i], 1.0)", "wrong-arguments", "net(G[i], 1.0)", "one by one"),
    (LJ, NET + "energy W = sum(i) net(1.0, 2.0)", "wrong-arguments", "net(1.0, 2.0)", "is given 2"),
    (LJ, NET + "energy W = sum(i) net(x[i])", "wrong-type", "x[i]", "not a point"),
    (LJ, NET + "energy W = sum(i) net", "function-as-value", "net", "3 arguments"),
    (LJ, NET + "energy W = sum(i) net[i]", "wrong-index", "net[i]", "parentheses"),
    (LJ, NET + "energy W = sum(i) G[i]", "wrong-type", "G[i]", "an array of 3 numbers"),
    (LJ, NET + "energy W = sum(i) 2*G[i]", "wrong-type", "2*G[i]", "an array of 3 numbers"),
    (LJ, NET + "energy W = sum(i) net(if sigma > 1 then G[i] else G[i])", "wrong-type", "if sigma > 1 then G[i] else G[i]", "arrays"),
    (LJ, NET + "energy W = sum(i) G[i, 4]", "wrong-index", "G[i, 4]", "1 to 3"),
    (LJ, NET + "energy W = sum(i) D(net)(1.0)", "wrong-arguments", "net", "a function of one argument"),
    (LJ, NET + "quantity F[i, k in 1..3] = k*net(G[i])\nenergy W = sum(i) F[i, 1]", "not-yet", "net(G[i])", "read that"),
    (LJ, "quantity G[i, k in 1..3] = x[i] - x[i]\nenergy W = sum(i) G[i, 1]", "wrong-type", "x[i] - x[i]", "a number for each atom and entry"),
    (LJ, "quantity G[k in 1..3] = k", "misplaced", "G", "one value for each atom"),
    (REAL, "learned net = mlp(1, 1)\nenergy W = sum(i) 1 [kcal/mol]*net(sigma)", "wrong-unit", "sigma", "pure numbers"),
    (REAL, "learned net = mlp(1, 1)\nenergy W = sum(i) net(1.0)", "wrong-unit", "sum(i) net(1.0)", "should be an energy"),
    (LJ, "extern g()\nenergy W = g()", "wrong-arguments", "extern g()", "a `param`"),
    (LJ, "extern g(a)\nenergy W = g(1.0, 2.0)", "wrong-arguments", "g(1.0, 2.0)", "takes one number, but is given 2"),
    (LJ, "observe d = |x[0] - x[1]|", "not-yet", "x[0]", "one atom by its number"),
    (LJ, "param q[atoms] = 1.0", "not-yet", "param q[atoms] = 1.0", "each atom"),
    # -- calls
    (LJ, pair(f"lennard_jones(sigma, epsilon, {D})"), "wrong-arguments", f"lennard_jones(sigma, epsilon, {D})", "`lennard_jones(sigma, epsilon)(r)`"),
    (LJ, pair(f"truncated(lennard_jones(sigma, epsilon))({D})"), "wrong-arguments", "truncated(lennard_jones(sigma, epsilon))", "`truncated(u, rc)(r)`"),
    (LJ, pair(f"lennard_jones(sigma = 1, epsilon = 1)({D})"), "wrong-arguments", "sigma = 1", "by position"),
    (LJ, pair("exp(1, 2)"), "wrong-arguments", "exp(1, 2)", "takes one argument"),
    (LJ, pair(f"D(lennard_jones)({D})"), "wrong-arguments", "lennard_jones", "a function of one argument"),
    (LJ, "integrator mine(dt) { A(dt, dt) }\n" + run("mine(dt = 1) for 1"), "wrong-arguments", "A(dt, dt)", "takes 1 argument"),
    (LJ, "integrator mine(dt) { A(h = dt) }", "wrong-arguments", "h = dt", "by position"),
    (LJ, run("v ~ maxwell(1, 2)"), "wrong-arguments", "maxwell(1, 2)", "at most 1 option"),
    (LJ, run("v ~ maxwell(T = 1, T = 2)"), "wrong-arguments", "T = 2", "given twice"),
    (LJ, "flow C(h) { xi ~ gauss }", "wrong-arguments", "gauss", "`xi ~ normal`"),
    (LJ, pair(f"sigma({D})"), "not-a-function", "sigma", "`*`"),
    (LJ, pair("|x(i) - x[j]|"), "not-a-function", "x", "`x[i]`"),
    (LJ, pair(f"Cu({D})"), "not-a-function", "Cu", "is a species"),
    (LJ, pair(f"D(3)({D})"), "not-a-function", "3", "`D(u)(r)`"),
    (LJ, pair(f"lennard_jones(sigma, epsilon)({D})(2)"), "not-a-function", f"lennard_jones(sigma, epsilon)({D})(2)", "is a value"),
    (LJ, pair("u(r)") + f" where r = {D}, u = truncated(lennard_jones(sigma, epsilon)(r), 2.5)", "not-a-function", "u(r)", "in this formula"),
    (LJ, pair("lennard_jones(sigma, epsilon)"), "function-as-value", "lennard_jones(sigma, epsilon)", "`u(|x[i] - x[j]|)`"),
    (LJ, pair("truncated(lennard_jones(sigma, epsilon), 2.5)"), "function-as-value", "truncated(lennard_jones(sigma, epsilon), 2.5)", "one argument"),
    (LJ, pair(f"truncated(2.5, lennard_jones(1, 1))({D})"), "function-as-value", f"truncated(2.5, lennard_jones(1, 1))({D})", "in this formula"),
    (LJ, "param a = exp", "function-as-value", "exp", "still needs"),
    (LJ, pair("D"), "function-as-value", "D", "`D(u)(r)`"),
    (LJ, U[LJ] + "observe J = integral(tanh, 0, 1)", "no-integral", "integral(tanh, 0, 1)", "`tanh(s)` has no closed form"),
    (LJ, pair("integral(exp, 0)"), "wrong-arguments", "integral(exp, 0)", "two bounds"),
    (LJ, pair("infinity"), "misplaced", "infinity", "a bound of an integral"),
    # -- indices
    (LJ, pair("|x - x[j]|"), "wrong-index", "x", "`x[i]`"),
    (LJ, pair("|x[i] - x[k]|"), "wrong-index", "k", "no sum here binds it"),
    (LJ, pair(f"1 + {D}"), "wrong-index", "i", "ends before `+` and `-`"),
    (LJ, pair(f"two*{D}"), "wrong-index", "two", "needs two indices"),
    (LJ, pair(f"two[i]*{D}"), "wrong-index", "two[i]", "two indices, but is given 1"),
    (LJ, pair(f"sigma[i, j]*{D}"), "wrong-index", "sigma[i, j]", "no indices"),
    (REAL, "param a = sigma [angstrom]", "wrong-index", "sigma [angstrom]", "a unit stands after a number"),
    (LJ, pair("|x[Cu] - x[j]|"), "wrong-index", "Cu", "is a species"),
    (LJ, pair("|x[i] - x[i + 1]|"), "wrong-index", "i + 1", "an index is"),
    (LJ, "energy W = sum(i) one[7]", "wrong-index", "one[7]", "no entry 7"),
    (LJ, "const c[k in 1..3] = k\nenergy W = sum(i) c[4]", "wrong-index", "c[4]", "no entry 4"),
    (LJ, "const c[k in 1..3] = k\nenergy W = sum(i) c[i]", "wrong-index", "c[i]", "whole numbers from 1 to 3"),
    (LJ, f"energy W = sum(j != i) {D}", "wrong-index", "j != i", "`sum(i < j)`"),
    (LJ, f"topology bonds(i, j)\nenergy W = sum((i, j, k) in bonds) {D}", "wrong-index", "(i, j, k) in bonds", "two indices, not 3"),
    (LJ, pair("r[i]") + f" where r = {D}", "wrong-index", "r[i]", "named here"),
    (LJ, f"energy W = sum(i < j) r where r = {D}, x = 3", "wrong-index", "x[i]", "named here"),
    (LJ, pair("exp(1)[i]"), "wrong-index", "exp(1)", "named array"),
    (LJ, "flow C(h) { x += h*v[i] }", "wrong-index", "i", "no sum here binds it"),
    # -- places
    (LJ, "energy W[i] = 1", "misplaced", "W", "`quantity`"),
    (LJ, "energy W = sum(i) v[i]·v[i]", "misplaced", "v[i]", "this reads velocities"),
    (LJ, "energy W = sum(i) f[i].x", "misplaced", "f[i]", "this reads forces"),
    (LJ, "energy W = 2*temperature", "misplaced", "temperature", "this reads velocities"),
    (LJ, "energy W = potential", "misplaced", "potential", "reads the potential"),
    (LJ, pair("(1, 2, 3, 4)"), "misplaced", "(1, 2, 3, 4)", "list of values"),
    (LJ, pair("{ Cu: 1 }"), "misplaced", "{ Cu: 1 }", "a table stands"),
    (LJ, "topology b(i, j)\nenergy W = sum(i < j, (i, j) in b) 1", "misplaced", "(i, j) in b", "`not in`"),
    (LJ, run("velocity_verlet(dt = 1) for 1 record sigma"), "misplaced", "sigma", "`observe my_sigma = sigma`"),
    (LJ, run("velocity_verlet(dt = 1) for 1 record x"), "misplaced", "x", "records hold"),
    (LJ, run("v = maxwell(1)"), "misplaced", "v = maxwell(1)", "`v ~ maxwell(...)`"),
    (LJ, run("", "x ~ fcc(density = 1, cells = 3)"), "misplaced", "x ~ fcc(density = 1, cells = 3)", "`x = fcc(...)`"),
    (LJ, run("", "x = 3"), "misplaced", "3", "set up by one of"),
    (LJ, run("m = 3"), "misplaced", "m", "a run sets up x and v"),
    (LJ, run("A(h = 1) for 1"), "misplaced", "A", "is a flow"),
    (LJ, run("x = fcc(density = 1, cells = 3)", "v ~ maxwell(1)"), "misplaced", "v ~ maxwell(1)", "set up `x` first"),
    (LJ, run("velocity_verlet(dt = 1) for 1\n  v ~ maxwell(1)"), "misplaced", "v ~ maxwell(1)", "after the dynamics began"),
    (LJ, "flow C(h) { f += h*v }", "misplaced", "f", "a flow cannot change `f`"),
    (LJ, "flow C(h) { sigma = h }", "misplaced", "sigma", "a flow cannot change `sigma`"),
    ("", "units { }\nenergy W = 1", "misplaced", "units { }", "units/NAME.mdsl"),
    # -- options of a run
    (LJ, run("velocity_verlet(dtt = 1) for 1"), "unknown-option", "dtt = 1", "`dt`"),
    (LJ, run("", "x = fcc(densty = 1, cells = 3)"), "unknown-option", "densty = 1", "`density`"),
    (LJ, run("v ~ maxwell(temperature = 1)"), "unknown-option", "temperature = 1", "options are T"),
    (LJ, run("velocity_verlet() for 1"), "missing-option", "velocity_verlet()", "velocity_verlet(dt)"),
    (LJ, run("baoab(dt = 1) for 1"), "missing-option", "baoab(dt = 1)", "`T` and `gamma`"),
    (LJ, run("", "x = fcc(density = 1)"), "missing-option", "fcc(density = 1)", "`cells`"),
    (LJ, run("velocity_verlet(dt = 1) for 1 record U every 0"), "bad-number", "0", "at least 1"),
    (LJ, run("velocity_verlet(dt = 1) for 1 record U every 2.5"), "bad-number", "2.5", "whole number"),
    (LJ, run("velocity_verlet(dt = 1) for -10"), "bad-number", "-10", "whole number"),
    (LJ, run("velocity_verlet(dt = 1) for 1e10"), "bad-number", "1e10", "at most 2_147_483_647"),
    (LJ, run("velocity_verlet(dt = 1) for 1.5"), "bad-number", "1.5", "whole number"),
    (LJ, run("", "x = fcc(density = 1, cells = 2.5)"), "bad-number", "2.5", "whole number"),
    (LJ, "param a = 1/0", "bad-number", "param a = 1/0", "infinite"),
    (LJ, "param a[species] = { Cu: log(-1), Ag: 1 }", "bad-number", "param a[species] = { Cu: log(-1), Ag: 1 }", "not a number"),
    (LJ, run('velocity_verlet(dt = 1) for 1 write "a.pdb"'), "unknown-format", '"a.pdb"', ".extxyz"),
    (LJ, run('velocity_verlet(dt = 1) for 1 write "../melt.xyz"'), "output-name", '"../melt.xyz"', "--out"),
    (LJ, run('velocity_verlet(dt = 1) for 1 write "final.extxyz"'), "output-name", '"final.extxyz"', "by itself"),
    (LJ, run('velocity_verlet(dt = 1) for 1 write "melt"'), "unknown-format", '"melt"', ".dcd"),
    (LJ, "param a = temperature", "nonconstant", "temperature", "before the run"),
    (LJ, "param a = U", "nonconstant", "U", "before the run"),
    (LJ, "param a = 1 - 0.1*t", "nonconstant", "t", "`def T_bath(t)"),
    (LJ, "state s = 3\nbox periodic(s)", "nonconstant", "box periodic(s)", "a state"),
    (LJ, "box periodic(kinetic)", "nonconstant", "kinetic", "an edge of the box"),
    (LJ, run("v ~ maxwell(temperature)"), "nonconstant", "temperature", "`T` of maxwell"),
    (LJ, "def h(t) = 0.1*t\n" + run("velocity_verlet(dt = h) for 1"), "nonconstant", "h", "`dt` must be known"),
    (LJ, run("baoab(dt = 1, T = -1, gamma = 1) for 1"), "bad-temperature", "-1", "zero or positive"),
    # -- types
    (LJ, pair("(x[i] - x[j])"), "wrong-type", "sum(i < j) (x[i] - x[j])", "`|d|`"),
    (LJ, "energy W = sum(i) |x[i]|^2", "wrong-type", "|x[i]|", "`|x[i] - origin|`"),
    (LJ, pair("|2*x[i] - x[j]|"), "wrong-type", "2*x[i]", "positions are points"),
    (LJ, "observe a = sum(i) v[i]*v[i]", "wrong-type", "v[i]*v[i]", "`a·b`"),
    (LJ, "observe a = sum(i) v[i]^2", "wrong-type", "v[i]^2", "`d·d`"),
    (LJ, "observe a = sum(i) m[i]·m[i]", "wrong-type", "m[i]·m[i]", "`*`"),
    (LJ, "observe a = sum(i) x[i]", "wrong-type", "x[i]", "a sum adds"),
    (LJ, "observe a = U < 3", "wrong-type", "U < 3", "not a condition"),
    (LJ, pair("i"), "wrong-type", "i", "`x[i]` is its position"),
    (LJ, pair(f"if {D} then 1 else 0"), "wrong-type", f"if {D} then 1 else 0", "wants a condition"),
    (LJ, pair("if x[i] < x[j] then 1 else 0"), "wrong-type", "x[i] < x[j]", "cannot compare a point"),
    (LJ, pair("max(x[i], x[j])"), "wrong-type", "max(x[i], x[j])", "cannot compare"),
    (LJ, pair("lennard_jones(sigma, epsilon)(x[i] - x[j])"), "wrong-type", "lennard_jones(sigma, epsilon)(x[i] - x[j])", "this is a vector"),
    (LJ, "param a = 1 < 2", "wrong-type", "1 < 2", "a param is a number"),
    (LJ, 'param a = "300"', "wrong-type", '"300"', "not a text"),
    (LJ, "observe a = bonds\ntopology bonds(i, j)", "wrong-type", "bonds", "is a topology"),
    (LJ, run('baoab(dt = 1, T = "300", gamma = 1) for 1'), "wrong-type", '"300"', "`T` is a number"),
    (LJ, run("", "x = read(3)"), "wrong-type", "3", "a text in quotes"),
    (LJ, run("", "x = fcc(density = 1, cells = 3, species = 3)"), "wrong-type", "3", "`species = Cu`"),
    (LJ, "flow C(h) { x = h*v }\nintegrator mine(dt) { C(dt) }\n" + run("mine(dt = 1) for 1"), "wrong-type", "h*v", "wants a point"),
    (LJ, pair("|x[i] + x[j]|"), "point-plus-point", "x[i] + x[j]", "`x[i] - x[j]`"),
    (LJ, pair("|(x[i] + x[j])/2 - origin|"), "point-plus-point", "(x[i] + x[j])", "displacement"),
    # -- units
    (REAL, pair(f"if {D} < 3 then epsilon else 0"), "wrong-unit", f"{D} < 3", "`1.0 [angstrom]`"),
    (REAL, pair(f"epsilon*exp({D})"), "wrong-unit", f"exp({D})", "wants a pure number"),
    (REAL, pair(D), "wrong-unit", f"sum(i < j) {D}", "should be an energy, but is length"),
    (REAL, pair(f"epsilon*({D}/sigma)^sigma"), "wrong-unit", f"({D}/sigma)^sigma", "an exponent is a pure number"),
    (REAL, pair(f"lennard_jones(epsilon, sigma)({D})"), "wrong-unit", f"lennard_jones(epsilon, sigma)({D})", "here `epsilon` is energy"),
    (REAL, pair(f"truncated(lennard_jones(sigma, epsilon), 8.5)({D})"), "wrong-unit", f"truncated(lennard_jones(sigma, epsilon), 8.5)({D})", "this is a number"),
    (REAL, run("v ~ maxwell(94)", "x = fcc(a = 5 [angstrom], cells = 5)"), "wrong-unit", "94", "`94 [K]`"),
    (REAL, run("velocity_verlet(dt = 1.0) for 1", "x = fcc(a = 5 [angstrom], cells = 5)"), "wrong-unit", "1.0", "`1.0 [fs]`"),
    (REAL, run("velocity_verlet(dt = 1 [fs]) for 10 [ps]", "x = fcc(a = 5 [angstrom], cells = 5)"), "wrong-unit", "10 [ps]", "number of steps"),
    (REAL, run("", "x = fcc(density = 1.4 [g/cm^3], cells = 5)"), "wrong-unit", "1.4 [g/cm^3]", "a number density"),
    (REAL, run("", "x = fcc(a = 5, cells = 5)"), "wrong-unit", "5", "`5 [angstrom]`"),
    (REAL, run("baoab(dt = 1 [fs], T = 94 [K], gamma = 1 [ps]) for 1", "x = fcc(a = 5 [angstrom], cells = 5)"), "wrong-unit", "baoab(dt = 1 [fs], T = 94 [K], gamma = 1 [ps]) for 1", "in this formula"),
    (REAL, "box periodic(10)", "wrong-unit", "10", "`10 [angstrom]`"),
    ("use units.real\n", "param m = 39.9\nenergy W = 0", "wrong-unit", "39.9", "mass of the atoms"),
    (REAL, "param a[species] = { Ar: 1 [fs], Kr: 2 }\nspecies Ar, Kr", "wrong-unit", "2", "others are time"),
    (LJ, run("v ~ maxwell(300 [K])"), "unit-in-reduced", "[K]", "pure number"),
    # -- pairs
    (LJ, pair("(x[i] - x[j]).x"), "asymmetric-pair", "(x[i] - x[j]).x", "exchanged"),
    (LJ, pair(f"one[i]*{D}"), "asymmetric-pair", f"one[i]*{D}", "make it symmetric"),
    (LJ, pair(f"truncated(lennard_jones(sigma, epsilon), 2)({D})"), "energy-jump", f"sum(i < j) truncated(lennard_jones(sigma, epsilon), 2)({D})", "jumps by -0.06152"),
    (LJ, pair(f"shifted(lennard_jones(sigma, epsilon), 2)({D})"), "force-jump", f"sum(i < j) shifted(lennard_jones(sigma, epsilon), 2)({D})", "`force_shifted`"),
]  # fmt: skip


def check(text, folder=None):
    """All diagnostics of a program, and the exit status of `mdsl check`."""
    try:
        return mdsl.compile(text, folder).warnings, 0
    except Rejected as rejected:
        return rejected.diagnostics, rejected.exit_status


def words(diagnostic):
    labels = [diagnostic.label, *(s.text for s in diagnostic.secondary)]
    return " | ".join(filter(None, [diagnostic.message, *labels, *diagnostic.notes, diagnostic.help]))


def complete(head, text):
    """The program of a row: an energy is added where the mistake is elsewhere."""
    energy = "" if head not in U or "energy U" in text and "energy U = 0" not in text else U[head]
    return head + energy + text + "\n"


@pytest.mark.parametrize("head, text, id, marked, phrase", WRONG)
def test_wrong_program(head, text, id, marked, phrase):
    program = complete(head, text)
    found, status = check(program)
    shown = "\n".join(map(str, found))
    errors = [d for d in found if d.severity == CATALOGUE[id].severity]
    first = errors[0]
    assert first.id == id, shown
    assert first.span.source.name == "<string>", shown  # not in the library
    assert first.span.text == marked, shown
    assert phrase in words(first), shown
    assert status == EXIT_STATUS[CATALOGUE[id].severity]
    # The mistake is told once: whatever else is said has another index of the same kind at fault.
    assert {d.id for d in errors} == {id}, shown
    assert len(errors) <= 2, shown


# -- several mistakes ------------------------------------------------------------------------------------


def test_all_errors_are_told_in_the_order_of_the_text_and_none_follows_from_another():
    text = """use units.lj
use pair (lenard_jones, truncated)
use integrators (velocity_verlt)
param sigma = 1.0
param sigma = 2.0
species A, B
param eps[species] = { A: 1.0, C: 2 }
energy U = sum(i < j) truncated(lenard_jones(sigma, eps[i]), 2.5)(|x[i] + x[j]|)
energy W = sum(i) exq(x[i].x)
observe T = temprature
observe twice = 2*T + W
run {
  x = fcc(densty = 0.8, cells = 5)
  v ~ maxwell(1.0)
  velocity_verlt(dt = 0.005) for 100 record T, Q
}
"""
    found, status = check(text)
    assert status == 2
    assert [(d.id, d.span.line, d.span.text) for d in found] == [
        ("unknown-name", 2, "lenard_jones"),
        ("unknown-name", 3, "velocity_verlt"),
        ("duplicate-name", 5, "sigma"),
        ("unknown-species", 7, "C: 2"),
        ("point-plus-point", 8, "x[i] + x[j]"),
        ("unknown-name", 9, "exq"),
        ("unknown-name", 10, "temprature"),
        ("unknown-option", 13, "densty = 0.8"),
        ("unknown-name", 15, "Q"),
    ]


@pytest.mark.parametrize(
    "wrong, use",
    [
        ("def g(r) = r*typo", pair(f"g({D})")),
        ("param g = typo", pair(f"g*{D}")),
        ("param g[species] = { Cu: 1, Pb: 2 }", pair(f"(g[i] + g[j])*{D}")),
        ("observe g = typo", "observe h = g^2\n" + run("velocity_verlet(dt = 1) for 1 record g, h")),
        ("flow g(h) { v += h*typo*v }", "integrator mine(dt) { g(dt) }\n" + run("mine(dt = 1) for 1")),
        ("integrator g(dt) { A(typo) }", run("g(dt = 1) for 1")),
        ("use pair (typo)", pair(f"typo(1)({D})")),
        ("use typo (g)", pair(f"g(1)({D})")),
        ("use typo", pair(f"h(1)({D})")),
        ("use typo (g)", run("g(dt = 1) for 1")),
    ],
)
def test_a_wrong_declaration_is_told_once(wrong, use):
    found, _ = check(complete(LJ, f"{wrong}\n{use}"))
    assert len(found) == 1 and found[0].span.text in (wrong, "typo", "Pb: 2"), "\n".join(map(str, found))


def test_a_mistake_inside_a_library_formula_points_at_the_call_and_shows_the_formula():
    found, _ = check(complete(REAL, pair(f"lennard_jones(epsilon, sigma)({D})")))
    (first,) = found
    assert first.span.text == f"lennard_jones(epsilon, sigma)({D})"
    formula = first.secondary[0]
    assert formula.text == "in this formula" and formula.span.source.name == "stdlib/pair.mdsl"
    assert "::: stdlib/pair.mdsl" in str(first)
    assert "it takes `lennard_jones(sigma: length, epsilon: energy)(r: length)`" in first.notes


@pytest.mark.parametrize("unit, word", [("A", "angstrom"), ("u", "amu"), ("Ha", "hartree")])
def test_units_by_other_names(unit, word):
    (first, *_), _ = check(complete(REAL, pair(f"(1 [{unit}])*exp(-1)")))
    assert first.id == "unknown-unit" and first.help == f"it is written `{word}`"


DOUBLED = "def g0(r) = r\n" + "".join(f"def g{k + 1}(r) = g{k}(r) + g{k}(2*r)\n" for k in range(30))


@pytest.mark.parametrize(
    "text, id",
    [
        (f"def h(r) = h(h(r) + 1)*h(2)\n{pair(f'h({D})')}", "cyclic-definition"),
        (
            "integrator a(dt) { b(dt) b(dt) }\nintegrator b(dt) { a(dt) a(dt) }\n" + run("a(dt = 1) for 1"),
            "cyclic-definition",
        ),
        (DOUBLED + pair(f"g30({D})"), "nesting"),
        (pair(f"9^9^9^9*{D}"), None),
    ],
)
def test_definitions_that_grow_without_bound_are_refused_quickly(text, id):
    began = time.perf_counter()
    found, _ = check(complete(LJ, text))
    assert [d.id for d in found] == ([id] if id else [])
    assert time.perf_counter() - began < 20


# -- modules beside the program --------------------------------------------------------------------------


def test_modules_beside_the_program(tmp_path):
    (tmp_path / "pair.mdsl").write_text("def g(r) = r\n")
    (tmp_path / "mine.mdsl").write_text("param depth = 1.0\ndef well(r) = -depth/(1 + r^2)\n")
    (tmp_path / "broken.mdsl").write_text("def g(r) = r +\n")
    (tmp_path / "a.mdsl").write_text("use b\n")
    (tmp_path / "b.mdsl").write_text("use a\n")
    (tmp_path / "units").mkdir()
    (tmp_path / "units" / "empty.mdsl").write_text("units { }\n")
    (tmp_path / "units" / "half.mdsl").write_text("use units.names\nunits { length = [m] }\n")
    (tmp_path / "binary.mdsl").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "folder.mdsl").mkdir()
    energy = f"\nenergy U = sum(i < j) {D}\n"

    def told(text):
        found, _ = check(text, tmp_path)
        return [(d.id, d.span and d.span.text) for d in found if d.severity == "error"]

    assert told(f"use units.lj\nuse mine (well)\nenergy U = sum(i < j) well({D})\n") == []
    assert told("use units.lj\nuse pair (g)" + energy) == [("ambiguous-module", "use pair (g)")]
    assert told("use units.lj\nuse broken" + energy) == [("missing-expression", "\n")]
    assert told("use units.lj\nuse a" + energy)[0][0] == "cyclic-definition"
    assert told("use units.lj\nuse mine (well)\nparam depth = 3.0" + energy) == [
        ("duplicate-name", "param depth = 3.0")
    ]
    assert told("use units.lj\nuse mine (wel)" + energy) == [("unknown-name", "wel")]
    assert told("use units.empty" + energy) == [("bad-unit", "use units.empty")]
    assert told("use units.half" + energy)[0][0] == "bad-unit"
    assert told("use units.lj\nuse binary" + energy) == [("malformed-file", "use binary")]
    assert told("use units.lj\nuse folder" + energy) == [("unknown-module", "use folder")]


# -- the catalogue and its page --------------------------------------------------------------------------


SECTIONS = make_errors.sections(make_errors.PAGE.read_text(encoding="utf-8"))[1]
WITHOUT_EXAMPLE = {"unsupported-jax", "neighbour-overflow"}  # tested in test_diagnostics_run.py


ELSEWHERE = {  # diagnostics that have tests of their own
    "missing-topology": "test_topologies.py",
    "bad-topology": "test_topologies.py",
    "missing-data": "test_data.py",
    "batch-shape": "test_batches.py",
    "no-derivative": "test_no_derivative.py",
    "no-period": "test_table_ends.py",
    "outside-table": "test_table_ends.py",
    "not-nearest": "test_coordinates.py",
    "other-conditions": "test_resume.py",
}


def test_every_diagnostic_has_a_test():
    tables = (
        (row[2] for row in WRONG),
        (row[1] for row in EXAMPLES),
        (row[-3] for row in (*RUNS, *BINDINGS, *COMMANDS)),
        SPECIAL,
    )
    tested = {id for table in tables for id in table} | ELSEWHERE.keys()
    for id, name in ELSEWHERE.items():
        (path,) = Path(__file__).parents[1].rglob(name)
        assert id in path.read_text(), id
    assert set(CATALOGUE) - tested == set()
    assert tested - set(CATALOGUE) == set()


def test_every_diagnostic_has_a_section_on_the_page():
    assert sorted(id for id, _ in SECTIONS) == sorted(CATALOGUE)


@pytest.mark.parametrize("id, text", SECTIONS)
def test_the_page_says_what_mdsl_says(id, text):
    said = [content for kind, name, content in make_errors.BLOCK.findall(text) if kind == "text" and not name]
    assert id in WITHOUT_EXAMPLE or any(re.search(rf"^(error|warning)\[{id}\]", s, re.M) for s in said)
    now = make_errors.renewed(f"## {id}\n{text}")
    if id == "blow-up":  # chaos: which atoms come too close depends on the machine
        now, text = (re.sub(r"\d[\d.e+]*|[\^-]{4,}", "#", t) for t in (now, text))
    assert now == f"## {id}\n{text}", "run tests/support/make_errors.py"

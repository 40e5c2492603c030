"""Programs in which every operator and every node of the Model takes every kind of number, in every domain of sums."""

import numpy as np

import mdsl

V, W = "({a}, {b}, 1)", "({b}, 0.4, {a})"
M = f"outer({V}, {W})"
ENTRIES = {f"entry_{p}{q}": f"{M}.{p}{q}^2" for p in "xyz" for q in "xyz"}

# For each operator of the Model numbers that are made with it of numbers a and b between 0.2 and 0.9.
OPERATORS = {
    "add": f"({{a}} + {{b}})^2 + |{V} + {W}|",
    "sub": f"({{a}} - 3*{{b}})^2 + |{V} - 2*{W}|",
    "neg": f"exp(-{{a}}) + |{V} + (-{W})|",
    "mul": f"{{a}}*{{b}} + |{V}*{{b}}| + trace({M}*{{a}})",
    "div": f"{{a}}/(1 + {{b}}) + |{W}/{{b}}|",
    "pow": "{a}^2.5 + {a}^3 + {a}^{b} + 1/{b}^1.5",
    "choose": f"(if {{a}} < {{b}} then {{a}}^2 else {{b}}^3) + |(if {{a}} < 2*{{b}} then {V} else {W})|",
    "lt": "(if {a} < 0.5 then {a}*{b} else {b}^2)",
    "le": "(if {a} <= {b} then {b}^2 else {a}*{b})",
    "gt": "(if {a} > 0.5 then {a}*{b} else {b}^2)",
    "ge": "(if {a} >= {b} then {b}^3 else {a}*{b})",
    "eq": "(if species[{i}] == A then {a}^2 else {b})",
    "ne": "(if {a} != {b} then {a}^2 else {b})",
    "and": "(if {a} > 0.3 and {b} > 0.3 then {a}^2 else {b})",
    "or": "(if {a} > 0.7 or {b} > 0.7 then {a}^2 else {b})",
    "not": "(if not {a} > 0.5 then {a}^2 else {b})",
    **{f: f"{f}({{a}})" for f in "exp log log1p sin cos tan asin acos atan sinh cosh tanh erf erfc".split()},
    "sqrt": "sqrt({a})",
    "abs": "abs({a} - 0.55)",
    "atan2": "atan2({a}, {b})",
    "floor": "floor(3*{a})*{b}",
    "round": "round(3*{a})*{b}",
    "min": "min({a}, 1.1*{b})^2",
    "max": "max({a}, 1.1*{b})^2",
    "norm": f"|{V}| + |{{a}} - 0.55|*{{b}}",
    "vector": f"|{V}|^3",
    "dot": f"{V}·{W} + ({M}·{V})·{W} + |{V}·{M}| + trace({M}·{M})",
    "cross": f"|cross({V}, (1, 0.3, {{a}}))|^2",
    "outer": f"trace({M})^2",
    "trace": f"trace({M} + identity)",
    "transpose": f"(transpose({M})·{V}).x",
    "inverse": f"trace(inverse(2*identity + {M}))",
    "diagonal": f"|diagonal({M})·{V}|",
    "component_x": f"{V}.x^2",
    "component_y": f"{V}.y^3",
    "component_z": f"{W}.z^2",
    **ENTRIES,
    "displacement": "({a} + {b})*|{d}|",
    "angle": "{a}*angle({points3}) + cos({b}*angle({points3}))",
    "dihedral": "{a}*cos(dihedral({points4})) + sin({b} + 2*dihedral({points4}))",
}
NODES = {
    "Number": "2.5*{a}",
    "Read": "{a}",
    "Label": "(if species[{i}] == B then {a} else {b}^2)",
    "TableOf": "both[A, B]*own[B]*{a}",
    "Lambda": "bell(0.3, {a})({b})",
    "Derivative": "D(bell(0.3, {a}))({b})",
    "Integral": "integral(lobe({a}), 0, {b})",
    "Tabulated": "curve({a})*D(curve)({b})",
    "Call": "network({a}, {b})*python({a})",
}

# What a and b may be, in each domain. ``{i}``: the atom that a sum is over, the others are `OTHERS`.
ATOM = {
    "quantity": ("density[i]", "shape[i]"),
    "parameter": ("p", "q"),
    "table": ("own[i]", "both[i, A]"),
    "data": ("charge[i]", "charge[i]^2"),
}
DOMAINS = {
    "sum(i)": ATOM | {"position": ("exp(-r/9)", "(0.5 + d.x*d.y/300)")},
    "sum(i < j)": {
        "quantity": ("(density[i] + density[j])/2", "(shape[i]*shape[j])"),
        "parameter": ("p", "q"),
        "table": ("both[i, j]", "(own[i] + own[j])/2"),
        "data": ("(charge[i]*charge[j])", "(charge[i] + charge[j])/2"),
        "position": ("exp(-r/4)", "(0.5 + d.x*d.y/40)"),
    },
    "sum(j != i)": {
        "quantity": ("density[i]", "shape[j]"),
        "parameter": ("p", "q"),
        "table": ("both[i, j]", "both[B, j]"),
        "data": ("charge[i]", "charge[j]"),
        "position": ("exp(-r/4)", "(0.5 + d.x/20)"),
    },
    "sum(i; j < k)": {
        "quantity": ("density[i]", "(shape[j] + shape[k])/2"),
        "parameter": ("p", "q"),
        "table": ("own[i]", "(both[i, j]*both[i, k])"),
        "data": ("charge[i]", "(charge[j]*charge[k])"),
        "position": ("exp(-(r + s)/8)", "(0.5 + d·e/60)"),
    },
    "sum((i, j, k, l) in chains)": {
        "quantity": ("density[i]", "(shape[j] + density[l])/2"),
        "parameter": ("p", "q"),
        "table": ("own[k]", "both[i, l]"),
        "data": ("charge[j]", "(charge[i]*charge[l])"),
        "position": ("exp(-r/8)", "(0.5 + d.x*e.y/60)"),
    },
    "sums": {  # outside of all sums
        "sum": ("cohesion", "order"),
        "parameter": ("p", "q"),
        "volume": ("exp(-volume/900)", "(volume/1500)"),
    },
}
WHERE = {
    "sum(i)": "d = x[i] - origin, r = |d|",
    "sum(i < j)": "d = x[i] - x[j], r = |d|",
    "sum(j != i)": "d = x[i] - x[j], r = |d|",
    "sum(i; j < k)": "d = x[j] - x[i], e = x[k] - x[i], r = |d|, s = |e|",
    "sum((i, j, k, l) in chains)": "d = x[i] - x[j], e = x[l] - x[k], r = |d|",
}
POINTS = {  # of angles and dihedral angles, where a domain has enough atoms
    "sum(i; j < k)": ("x[j], x[i], x[k]", None),
    "sum((i, j, k, l) in chains)": ("x[i], x[j], x[k]", "x[i], x[j], x[k], x[l]"),
}

HEAD = """use units.lj
species A, B
topology chains(i, j, k, l)
data charge[atoms]
param p = 0.43
param q = 0.71
param own[species] = { A: 0.62, B: 0.37 }
param both[species, species] = { A-A: 0.52, A-B: 0.81, B-B: 0.33 }
table curve = tabulated("curve.txt")
learned network = mlp(2, 3, 1)
extern python(a)
def bell(s, c)(r) = exp(-(r - c)^2/s)*r
def lobe(c)(r) = c*r^2 + exp(-c*r)
quantity density[i] = sum(j != i) (0.12 + 0.2*exp(-|x[i] - x[j]|^2/2))/4
quantity shape[i] = 1/(1 + (sum(j != i) exp(-|x[i] - x[j]|)))
observe cohesion = exp(-0.1*(sum(i < j) exp(-|x[i] - x[j]|)))
observe order = (sum(i) density[i])/9
"""


def cases(domain):
    """The numbers of a domain: all operators and nodes that can stand there, by name."""
    three, four = POINTS.get(domain, (None, None))
    found = OPERATORS | NODES
    left_out = {
        "displacement": domain == "sums",
        "angle": three is None,
        "dihedral": four is None,
        "eq": domain in ("sum(i < j)", "sums"),
        "Label": domain in ("sum(i < j)", "sums"),
    }
    return {name: text for name, text in found.items() if not left_out.get(name)}


def mixtures(domain, source, case):
    """Pairs a, b of numbers: both of one kind, and each of it beside one of another. ``source`` None: one pair, whose
    kinds follow from the number of the case."""
    kinds = list(DOMAINS[domain].values())
    if source is None:
        return [(kinds[case % len(kinds)][0], kinds[case // 2 % len(kinds)][1])]
    place = list(DOMAINS[domain]).index(source)
    (a, b), other = kinds[place], kinds[(place + 1) % len(kinds)]
    return [(a, b), (a, other[1]), (other[0], b)]


def summand(domain, source=None, names=None):
    """The sum of all cases, or of some, each with a factor of its own."""
    three, four = POINTS.get(domain, (None, None))
    terms = [
        text.format(a=a, b=b, i="i", d="(d + e)" if "k" in domain else "d", points3=three, points4=four)
        for case, (name, text) in enumerate(cases(domain).items())
        if names is None or name in names
        for a, b in mixtures(domain, source, case)
    ]
    return _added([f"{1 + 0.37 * np.sin(k):.3f}*({t})" for k, t in enumerate(terms)])


def _added(terms):
    """Their sum, put together in halves, for expressions are not nested without end."""
    if len(terms) == 1:
        return terms[0]
    middle = len(terms) // 2
    return f"({_added(terms[:middle])} + {_added(terms[middle:])})"


def text_of(domain, source=None, names=None):
    body = summand(domain, source, names)
    if domain == "sums":
        return f"{HEAD}energy U = {body}"
    if domain == "sum(j != i)":
        around = f"quantity around[i] = sum(j != i) exp(-r)*({body}) where {WHERE[domain]}"
        return f"{HEAD}{around}\nenergy U = sum(i) around[i]^2/100"
    return f"{HEAD}energy U = {domain} ({body}) where {WHERE[domain]}"


def program(folder, domain, source=None, names=None):
    import jax.numpy as jnp

    r = np.linspace(0, 2, 41)
    (folder / "curve.txt").write_text("\n".join(f"{a} {np.cos(a) * np.exp(-a / 3)}" for a in r))
    path = folder / "program.mdsl"
    path.write_text(text_of(domain, source, names))
    return mdsl.load(path, externs={"python": lambda a: jnp.cos(2 * a) + a})

"""Programs to export, with atoms: some that LAMMPS has styles for, some that exist nowhere as a style."""

from dataclasses import dataclass, field

import numpy as np

import mdsl

HEAD = "use units.lj\nuse pair\nuse bonded\nuse coulomb\nuse external\n"
EDGE = 7.6
SIDE = 4


def lattice(dim=3, seed=0, side=SIDE, edge=EDGE, wild=0.12):
    """Atoms near a square lattice, in no order."""
    rng = np.random.default_rng(seed)
    cells = np.stack(np.meshgrid(*[np.arange(side)] * dim), -1).reshape(-1, dim)
    return rng.permutation((cells + 0.5 + rng.uniform(-wild, wild, cells.shape)) * edge / side)


def chains(length=8, count=8, seed=1):
    """Straight chains with kinks, in one box: positions, bonds, angles, dihedrals."""
    rng = np.random.default_rng(seed)
    x, bonds, angles, dihedrals = [], [], [], []
    for n in range(count):
        start = np.array([0.6, 1.9 * (n % 4) + 0.9, 3.8 * (n // 4) + 1.9])
        steps = np.cumsum(np.array([0.92, 0, 0]) + rng.uniform(-0.25, 0.25, (length, 3)) * [0.1, 1, 1], axis=0)
        first = n * length
        x.append(start + steps - steps[0])
        bonds += [(first + k, first + k + 1) for k in range(length - 1)]
        angles += [(first + k, first + k + 1, first + k + 2) for k in range(length - 2)]
        dihedrals += [(first + k, first + k + 1, first + k + 2, first + k + 3) for k in range(length - 3)]
    return np.concatenate(x), {"bonds": bonds, "angles": angles, "dihedrals": dihedrals}


@dataclass(frozen=True)
class Case:
    """``lammps``: what each energy must become there; None where LAMMPS must refuse. ``novel``: no style anywhere."""

    text: str
    lammps: dict | None
    bind: dict = field(default_factory=dict)
    dim: int = 3
    novel: bool = False
    head: str = HEAD

    def system(self):
        arguments = {"box": EDGE, "x": lattice(self.dim, side=SIDE if self.dim == 3 else 8), **self.bind}
        return mdsl.compile(self.head + self.text).bind(**arguments)


FEW = {"x": lattice(side=3, edge=5.7), "box": 5.7}  # the interpreter goes through all triples
AB = {"species": np.arange(64) % 2}
CHAIN_X, CHAIN = chains()


def of(*names):
    return {"x": CHAIN_X, "topologies": {n: CHAIN[n] for n in names}}


def pair(u, style, **more):
    return Case(f"energy U = sum(i < j) {u}(|x[i] - x[j]|)", {"U": f"pair_style {style}"}, **more)


TWO_SPECIES = """species A, B
param s[species, species] = { A-A: 1.0, B-B: 0.88, A-B: 0.80 }
param e[species, species] = { A-A: 1.0, B-B: 0.50, A-B: 1.50 }
"""
CASES = {
    "cut": pair("truncated(lennard_jones(1.1, 0.7), 2.5)", "lj/cut"),
    "shifted": pair("shifted(lennard_jones(1.1, 0.7), 2.5)", "lj/cut"),
    "two species": Case(
        TWO_SPECIES + "energy U = sum(i < j) force_shifted(lennard_jones(s[i,j], e[i,j]), 2.5*s[i,j])(|x[i] - x[j]|)",
        {"U": "pair_style lj/smooth/linear"},
        AB,
    ),
    "by hand": Case(
        # Morse's formula, multiplied out and put in another order
        "energy U = sum(i < j) if |x[i] - x[j]| < 3 then 0.4*(exp(a*(1.3 - |x[i] - x[j]|)) - 1)^2 - 0.4 else 0\n"
        "param a = 1.9",
        {"U": "pair_style morse"},
    ),
    "buckingham": pair("truncated(buckingham(50, 0.3, 1.5), 2.5)", "buck"),
    "yukawa": pair("truncated(yukawa(3.0, 0.7), 3.0)", "yukawa"),
    "discs": pair("soft_cosine(10, 1.5)", "soft", dim=2, head=HEAD + "dim 2\n"),
    "overlap": pair("soft_sphere(1.9, 3.0, 2)", "harmonic/cut"),
    "chains": Case(
        "topology bonds(i, j), angles(i, j, k)\n"
        "energy beads = sum(i < j, (i, j) not in bonds) wca(1.0, 1.0)(|x[i] - x[j]|)\n"
        "energy bond = sum((i, j) in bonds) fene(30.0, 1.5)(|x[i] - x[j]|)\n"
        "energy bend = sum((i, j, k) in angles) cosine_angle(1.5)(angle(x[i], x[j], x[k]))",
        {"beads": "pair_style lj/cut", "bond": "bond_style fene", "bend": "angle_style cosine"},
        of("bonds", "angles"),
    ),
    "molecules": Case(
        "topology bonds(i, j), angles(i, j, k), dihedrals(i, j, k, l)\n"
        "energy U = sum(i < j, (i, j) not in bonds, (i, j) not in angles) truncated(lennard_jones(1.0, 0.5), 2.4)(|x[i] - "
        "x[j]|)\n"
        "energy bond = sum((i, j) in bonds) harmonic_bond(60.0, 0.96)(|x[i] - x[j]|)\n"
        "energy bend = sum((i, j, k) in angles) harmonic_angle(4.0, 2.0)(angle(x[i], x[j], x[k]))\n"
        "energy turn = sum((i, j, k, l) in dihedrals) periodic_dihedral(0.7, 3, 0)(dihedral(x[i], x[j], x[k], x[l]))",
        {
            "U": "pair_style lj/cut",
            "bond": "bond_style harmonic",
            "bend": "angle_style harmonic",
            "turn": "dihedral_style harmonic",
        },
        of("bonds", "angles", "dihedrals"),
    ),
    "silicon": Case(
        "use manybody\nparam σ = 1.25\nconst a = 1.80\n"
        "energy two = sum(i < j) stillinger_weber_pair(σ, 0.9, a)(|x[i] - x[j]|)\n"
        "energy three = sum(i; j < k) stillinger_weber_triple(σ, 0.9, a)(|x[j] - x[i]|, |x[k] - x[i]|, "
        "(x[j] - x[i])·(x[k] - x[i])/(|x[j] - x[i]|*|x[k] - x[i]|))",
        {"two, three": "pair_style sw"},
        FEW,
    ),
    "bonds alone": Case(
        "topology bonds(i, j)\nenergy bond = sum((i, j) in bonds) morse_bond(5.0, 1.7, 0.95)(|x[i] - x[j]|)",
        {"bond": "bond_style morse"},
        of("bonds"),
    ),
    "left out": Case(
        "topology bonds(i, j), pairs13(i, j) = apart(bonds, 2)\nenergy U = sum(i < j, (i, j) not in bonds, (i, j) not in pairs13) "
        "truncated(lennard_jones(1.0, 0.5), 2.4)(|x[i] - x[j]|)",
        {"U": "pair_style lj/cut"},
        of("bonds"),
    ),
    "skew box": pair(
        "truncated(lennard_jones(1.1, 0.7), 2.5)",
        "lj/cut",
        bind={"box": np.array([[EDGE, 0, 0], [2.5, EDGE, 0], [-1.5, 3.1, EDGE]])},
    ),
    # -- no style of any program ------------------------------------------------------------------------
    "switched": pair("switched(lennard_jones(1.1, 0.7), 1.9, 2.6)", "lepton", novel=True),
    "wavy": pair(
        "force_shifted(wavy, 3.0)", "lepton", novel=True, head=HEAD + "def wavy(r) = cos(7*r)/r^3 + exp(-r)\n"
    ),
    "steps": Case(
        "energy U = sum(i < j) if r < 3 then (3 - r)^2*tanh(2*(r - 1.5)) + 0.3*max(0, 2.5 - r)^3 - |r - 2|^3*erf(3 - r) "
        "else 0 where r = |x[i] - x[j]|",
        {"U": "pair_style lepton"},
        novel=True,
    ),
    "two cutoffs": Case(
        TWO_SPECIES
        + "energy U = sum(i < j) if r < 2.9 then (if species[i] == species[j] then 1 else -0.4)*(2.9 - r)^3 "
        "else 0 where r = |x[i] - x[j]|\n"
        "energy V = sum(i < j) 0.5*e[i,j]*(if r < 2*s[i,j] then (2*s[i,j] - r)^4 else 0) where r = |x[i] - x[j]|",
        {"U, V": "pair_style lepton"},
        AB,
        novel=True,
    ),
    "charges": Case(
        "data q[atoms]\nenergy U = sum(i < j) (damped_shifted_force(q[i], q[j], 0.3, 3.5)(|x[i] - x[j]|) + "
        "truncated(lennard_jones(1.0, 0.4), 3.0)(|x[i] - x[j]|))",
        {"U": "pair_style lepton/coul"},
        {"data": {"q": np.where(np.arange(64) % 2, 0.7, -0.7)}},
        novel=True,
    ),
    "grains": Case(
        # repulsion of spheres, each of a size of its own, with Hertz' power
        "data size[atoms]\nenergy U = sum(i < j) if r < s then 40*(1 - r/s)^2.5 else 0 where r = |x[i] - x[j]|, "
        "s = (size[i] + size[j])/2",
        {"U": "pair_style lepton/coul"},
        {"data": {"size": np.linspace(1.6, 2.6, 64)}},
        novel=True,
    ),
    "strange bonds": Case(
        "topology bonds(i, j), angles(i, j, k), dihedrals(i, j, k, l)\nspecies A, B\nparam k[species] = { A: 20, B: 30 }\n"
        "energy bond = sum((i, j) in bonds) k[i]*k[j]/20*log(exp(5*(r - 1)) + exp(5*(1 - r))) where r = |x[i] - x[j]|\n"
        "energy bend = sum((i, j, k) in angles) (3*exp(-(a - 2)^2/0.3) + 0.4*a^4) where a = angle(x[i], x[j], x[k])\n"
        "energy turn = sum((i, j, k, l) in dihedrals) 0.4*exp(1.2*cos(dihedral(x[i], x[j], x[k], x[l]) - 0.8))",
        {"bond": "bond_style lepton", "bend": "angle_style lepton", "turn": "dihedral_style lepton"},
        {**of("bonds", "angles", "dihedrals"), **AB},
        novel=True,
    ),
    "trap": Case(
        "species A, B\nparam k[species] = { A: 0.3, B: 0.7 }\n"
        "energy U = sum(i < j) truncated(lennard_jones(1.0, 0.5), 2.5)(|x[i] - x[j]|)\n"
        "energy T = sum(i) (k[i]*log(1 + (x[i].z - 3.5)^2) + 0.2*sin(x[i].z)*exp(-x[i].z/4))",
        {"U": "pair_style lj/cut", "T": "fix addforce"},
        {"box": [EDGE, EDGE, np.inf], **AB},
        novel=True,
    ),
    "cluster": pair("truncated(mie(1.0, 1.2, 10, 5), 3.0)", "lepton", bind={"box": [np.inf] * 3}, novel=True),
    # -- what LAMMPS is not told, and OpenMM is -----------------------------------------------------------
    "band": Case(
        "use manybody\nspecies A, B\nparam xi[species, species] = { A-A: 1.2, B-B: 1.0, A-B: 0.9 }\n"
        "quantity moment[i] = sum(j != i) switched(gupta_moment(xi[i, j], 1.3, 1.8), 2.5, 3.1)(|x[i] - x[j]|)\n"
        "energy band = sum(i) gupta_band(moment[i])\n"
        "energy push = sum(i < j) switched(gupta_pair(0.1, 9, 1.8), 2.5, 3.1)(|x[i] - x[j]|)",
        None,
        AB,
        novel=True,
    ),
    "three": Case(
        "energy T = sum(i; j < k) if a < 2.6 and b < 2.6 then (2.6 - a)^2*(2.6 - b)^2*(c^3 + 0.4*exp(-c))/(a*b) else 0 "
        "where a = |x[j] - x[i]|, b = |x[k] - x[i]|, c = (x[j] - x[i])·(x[k] - x[i])/(a*b)",
        None,
        FEW,
        novel=True,
    ),
}

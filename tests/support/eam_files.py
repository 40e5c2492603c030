"""Files of embedded atoms made of simple formulas, in each of the formats."""

import numpy as np

KNOTS, DRHO, RADIAL, DR, CUT = 60, 0.05, 80, 0.0625, 4.8
ELEMENTS = {"Cu": 1.0, "Ni": 1.3, "Au": 0.7}  # each with a strength of its own
NUMBERS = {"Cu": 29, "Ni": 28, "Au": 79}
RHO, R = DRHO * np.arange(KNOTS), DR * np.arange(RADIAL)


def embedding(a, rho=RHO):
    return -ELEMENTS[a] * np.sqrt(rho + 0.1) + 0.02 * rho**2


def smooth(r):
    return np.where(r < CUT, (1 - r / CUT) ** 3, 0.0)


def density(a, host=None, r=R):
    return ELEMENTS[a] * (1.0 if host is None else 1 + 0.3 * ELEMENTS[host] ** 2) * np.exp(-0.8 * r) * smooth(r)


def charge(a, r=R):
    return 3 * ELEMENTS[a] * np.exp(-0.5 * r) * smooth(r)


def r_phi(a, b, r=R):
    return (ELEMENTS[a] + ELEMENTS[b]) * (4 * np.exp(-r) - 0.3 * r) * smooth(r)


def numbers(values):
    return "\n".join(" ".join(f"{v:.17g}" for v in values[k : k + 5]) for k in range(0, len(values), 5))


def setfl(elements, hosts=False):
    """The text of a setfl file, of a Finnis-Sinclair file where densities depend on their ``hosts``."""
    parts = [
        "made by a test",
        "of simple formulas",
        "",
        f"{len(elements)} {' '.join(elements)}",
        f"{KNOTS} {DRHO} {RADIAL} {DR} {CUT}",
    ]
    for a in elements:
        parts += [f"{NUMBERS[a]} 60.0 3.6 fcc", numbers(embedding(a))]
        parts += [numbers(density(a, b)) for b in (elements if hosts else [None])]
    parts += [numbers(r_phi(a, b)) for k, a in enumerate(elements) for b in elements[: k + 1]]
    return "\n".join(parts) + "\n"


def funcfl(element):
    head = ["made by a test", f"{NUMBERS[element]} 60.0 3.6 fcc", f"{KNOTS} {DRHO} {RADIAL} {DR} {CUT}"]
    return "\n".join([*head, *map(numbers, (embedding(element), charge(element), density(element)))]) + "\n"


def write(folder):
    """All of them in a folder."""
    (folder / "alloy.setfl").write_text(setfl(["Cu", "Ni", "Au"]))
    (folder / "alloy.fs").write_text(setfl(["Cu", "Ni", "Au"], hosts=True))
    (folder / "Cu.setfl").write_text(setfl(["Cu"]))
    (folder / "Cu.eam").write_text(funcfl("Cu"))
    r = np.linspace(0.5, 3.0, 51)
    (folder / "pair.txt").write_text("# r u\n" + "\n".join(f"{a:.4f} {b:.17g} ignored" for a, b in zip(r, pair(r))))
    return folder


def pair(r):
    """What pair.txt holds."""
    return 2 * (3 - r) ** 2 * np.exp(-r)

"""Makes argon.extxyz, the structure that argon.mdsl reads: 864 atoms of liquid argon at 1.374 g/cm³ (Rahman 1964).

    python examples/make_argon.py [FILE]

An fcc crystal of that density is melted at 300 K and cooled to 94.4 K, both by mdsl itself.
"""

import sys
from pathlib import Path

import jax
import numpy as np

import mdsl

DENSITY = 1.374  # g/cm³
MASS = 39.948  # g/mol
CELLS = 6
EDGE = (4 * MASS / DENSITY * 1e24 / 6.02214076e23) ** (1 / 3)  # of the cubic cell of four atoms, angstrom

PROGRAM = f"""
use units.real
use pair (lennard_jones, switched)
use integrators (baoab)

param sigma   = 3.405 [angstrom]
param epsilon = 0.2381 [kcal/mol]
param m       = {MASS} [g/mol]

energy lj = sum(i < j) u(|x[i] - x[j]|)
            where u = switched(lennard_jones(sigma, epsilon), 2.2*sigma, 2.5*sigma)

observe T = temperature

run {{
  x = fcc(a = {EDGE!r} [angstrom], cells = {CELLS}, species = Ar)
  v ~ maxwell(600 [K])
  baoab(dt = 5 [fs], T = 300 [K], gamma = 2 [1/ps])   for 4_000  record T, lj every 500
  baoab(dt = 5 [fs], T = 94.4 [K], gamma = 2 [1/ps])  for 4_000  record T, lj every 500
}}
"""


def main(path: Path) -> None:
    jax.config.update("jax_enable_x64", True)
    result = mdsl.compile(PROGRAM).bind(seed=1964).run(jax.random.key(1964))
    for step, T, U in zip(*(result.records[name] for name in ("step", "T", "lj"))):
        print(f"step {step:5d}   {T:6.1f} K   {U:8.1f} kcal/mol")
    edge = f"{CELLS * EDGE:.6f}"
    rows = "".join(f"Ar {x:.4f} {y:.4f} {z:.4f}\n" for x, y, z in np.asarray(result.x))
    head = f'Lattice="{edge} 0 0 0 {edge} 0 0 0 {edge}" Properties=species:S:1:pos:R:3 pbc="T T T"'
    path.write_text(f"{len(result.x)}\n{head}\n{rows}")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("argon.extxyz"))

"""mdsl from Python: compile, bind, differentiate, batch, run; and a potential from SymPy.

python examples/python_tour.py
"""

from pathlib import Path

import jax
import numpy as np

import mdsl

jax.config.update("jax_enable_x64", True)  # mdsl follows JAX: single precision without this line

# Compile: text to a program. No atoms yet.
program = mdsl.load(Path(__file__).with_name("kob_andersen.mdsl"))
print("parameters    ", {name: np.shape(value) for name, value in program.params.items()})

# Bind: arrays fix the shapes. A shaken fcc crystal of 256 atoms, four in five of species A.
# (`program.bind()` without arrays places the atoms as the program's run block says.)
rng = np.random.default_rng(1)
edge = 4 * (4 / 1.2) ** (1 / 3)
cells = np.stack(np.meshgrid(*[np.arange(4)] * 3), -1).reshape(-1, 1, 3)
sites = cells + np.array([[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]])
x = edge / 4 * sites.reshape(-1, 3) + 0.05 * rng.normal(size=(256, 3))
species = rng.permutation(["A"] * 205 + ["B"] * 51)
system = program.bind(x, box=edge, species=species)

# Pure functions of positions, parameters and box.
U = system.energy(x)
f = system.forces(x)
print(f"energy         {U:.6f}, of {len(x)} atoms")
print(f"largest force  {np.abs(f).max():.6f}")

# Derivatives by whatever there is: positions, parameters, the box.
np.testing.assert_allclose(jax.grad(system.energy)(x), -f, atol=1e-9)
dU = jax.grad(lambda p: system.energy(x, params=p))(program.params)
print(f"dU/dε(A-B)     {dU['epsilon'][0, 1]:.6f}")
print(f"dU/dL          {jax.grad(lambda box: system.energy(x, box=box))(system.box)}")

# Batches: eight configurations at once, and two values of a parameter.
batch = x + 0.01 * rng.normal(size=(8, *x.shape))
print(f"energies       {np.round(jax.jit(jax.vmap(system.energy))(batch), 2)}")
scaled = {**program.params, "epsilon": np.stack([program.params["epsilon"], 1.1 * program.params["epsilon"]])}
axes = {name: 0 if name == "epsilon" else None for name in scaled}
print(f"ε and 1.1 ε    {jax.vmap(lambda p: system.energy(x, params=p), in_axes=(axes,))(scaled)}")

# Run: the statements of the run block, here at most 400 steps of each. Rows are steps; NaN where a statement does not
# record.
result = system.run(jax.random.key(0), steps=400)
for name, values in result.records.items():
    print(f"record {name:7} {np.round(values, 3)}")

# A potential from SymPy is a program like any other.
r, sigma, epsilon = mdsl.symbols("r sigma epsilon")
pair = mdsl.pair(
    4 * epsilon * ((sigma / r) ** 12 - (sigma / r) ** 6),
    r,
    cutoff=2.5 * sigma,
    smoothing="force_shifted",
    species=("A", "B"),
    params={sigma: {"A-A": 1.0, "A-B": 0.80, "B-B": 0.88}, epsilon: {"A-A": 1.0, "A-B": 1.50, "B-B": 0.50}},
)
print(f"from SymPy     {pair.bind(x, box=edge, species=species).energy():.6f}, the same energy")

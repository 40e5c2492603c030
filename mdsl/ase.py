"""Programs as calculators of ASE, the Atomic Simulation Environment.

    atoms.calc = mdsl.ase.Calculator(program)     # or program.calculator()

And the other way round `program.bind(atoms)` takes `Atoms`, and `result.to_atoms()` gives some.
"""

from mdsl.api.calculator import Calculator

__all__ = ["Calculator"]

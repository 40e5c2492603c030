"""A program as a calculator of ASE."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from ase.calculators import calculator as base
from ase.stress import full_3x3_to_voigt_6_stress

from mdsl.files.atoms import Orientation, fixed_of, in_ase, labels_of, orientation
from mdsl.grammar.diagnostics import Diagnostic, Rejected
from mdsl.lowering.jax_version import check
from mdsl.lowering.planning.policy import DEFAULT, Policy
from mdsl.model.dependencies import energetic
from mdsl.model.dimensions import ENERGY, LENGTH
from mdsl.model.faults import fault
from mdsl.model.nodes import Expr, Op, Read, names_in, walk
from mdsl.passes.given import missing_externs
from mdsl.start.atoms import bind_atoms
from mdsl.start.box import extended
from mdsl.start.initial import Initial

from .program import Program, precision_of
from .system import System

if TYPE_CHECKING:
    from ase import Atoms


class Calculator(base.Calculator):
    """The energies of a program for `Atoms`, in ASE's units: eV and angstrom.

    params: values of free parameters, in the units of the program; data: name to the numbers that the program declares
    as ``data``, as `Program.bind` takes them, where columns, charges and constraints of the Atoms do not give them;
    topologies: name to atoms [M, k]; species: what the program calls an element or label of the Atoms, by these;
    precision: single, mixed or double (None: as JAX is set up); policy: the numbers by which lists are planned. All
    may be changed by ``set``.

    Gives energy and free_energy (the same), forces, stress (positive in tension, xx yy zz yz xz xy; where the Atoms
    have three box vectors) and energies (of the atoms: each summand in equal parts to the atoms that it reads), where
    the potential is made of such. The box is that of the Atoms, also where the program declares one. In reduced units
    1 angstrom, 1 eV and 1 atomic mass stand for the program's units of length, energy and mass. Of constraints ASE
    itself takes care; velocities play no part.

    Neighbour lists are kept from call to call, and nothing is compiled anew while the number of atoms, their species
    and the axes that repeat stay the same.

    Raises Rejected as `Program.bind`, and `ase.calculators.calculator.CalculationFailed` where the energy is not
    finite.
    """

    implemented_properties = ["energy", "free_energy", "forces", "stress", "energies"]
    default_parameters = {
        "params": None,
        "data": None,
        "topologies": None,
        "species": None,
        "precision": None,
        "policy": DEFAULT,
    }
    ignored_changes = {"initial_magmoms"}

    def __init__(
        self,
        program: Program,
        *,
        params: Mapping[str, object] | None = None,
        data: Mapping[str, object] | None = None,
        topologies: Mapping[str, object] | None = None,
        species: Mapping[str, str] | None = None,
        precision: str | None = None,
        policy: Policy = DEFAULT,
        atoms: Atoms | None = None,
    ):
        check()
        missing = missing_externs(program.model)
        if missing:
            raise Rejected(*missing)
        if not program.model.of_kind("energy"):
            raise Rejected(Diagnostic("empty-program", "the program has no energy to calculate"))
        self.program = program
        self._bound: _Bound | None = None
        self._told: set[str] = set()
        given = {"params": params, "data": data, "topologies": topologies, "species": species}
        super().__init__(atoms=atoms, **given, precision=precision, policy=policy)

    def set(self, **given) -> dict[str, object]:
        """Change what `Calculator` takes. ``params`` are those that are given now, all others are the program's own."""
        unknown = given.keys() - self.default_parameters.keys()
        if unknown:
            raise Rejected(
                Diagnostic(
                    "wrong-arguments",
                    f"a Calculator has nothing called `{min(unknown)}`",
                    help=f'a parameter of the program is given as `params={{"{min(unknown)}": ...}}`',
                )
            )
        if "params" in given:
            self.program.internal(given["params"])  # says what is wrong with them
        changed = super().set(**given)
        if changed:
            self.reset()
        if changed.keys() - {"params"}:
            self._bound = None
        return changed

    @property
    def lists(self) -> int:
        """How many neighbour lists were built for the present atoms."""
        return 0 if self._bound is None else self._bound.energies.builds

    def system(self, atoms: Atoms) -> System:
        """These Atoms as a bound system, for derivatives that ASE has no name for."""
        bound = self._for(atoms)
        return System(self.program, bound.initial, self._precision, None, self.parameters["policy"])

    # -- what ASE asks ---------------------------------------------------------------------------------------------

    def check_state(self, atoms: Atoms, tol: float = 1e-15) -> list[str]:
        """What has changed: beside what ASE looks at, the masses and columns that the energies read."""
        found = super().check_state(atoms, tol)
        if self.atoms is not None and self._data(atoms) != self._data(self.atoms):
            found.append("data")
        return found

    def calculate(self, atoms=None, properties=("energy",), system_changes=base.all_changes) -> None:
        super().calculate(atoms, properties, system_changes)
        bound, model = self._for(self.atoms), self.program.model
        box = orientation(self.atoms, model.dim)
        self._check_turned(box)
        length, energy = in_ase(model.units, LENGTH), in_ase(model.units, ENERGY)
        x = box.turned(self.atoms.positions)[:, : model.dim] / length
        leaves = {**self._leaves, **bound.initial.data}
        cell = bound.cell(box.cell / length)
        if set(properties) <= {"energy", "free_energy"}:
            found = bound.energies.energy(leaves, x, cell)
        else:
            found, forces, virial = bound.energies.all(leaves, x, cell)
            self.results["forces"] = box.back(np.asarray(forces, float)) * (energy / length)
            if self.atoms.cell.rank == 3:
                virial = np.asarray(virial, float) * energy
                tensor = -box.back_tensor((virial + virial.T) / 2) / self.atoms.get_volume()
                self.results["stress"] = full_3x3_to_voigt_6_stress(tensor)
        self.results["energy"] = self.results["free_energy"] = float(found) * energy
        if not all(np.isfinite(v).all() for v in self.results.values()):
            self.results = {}
            raise base.CalculationFailed("the energy or a force of these positions is not finite: do atoms overlap?")
        if "energies" in properties:
            of_atoms = bound.energies.of_atoms(leaves, x, cell)
            if of_atoms is None:
                raise base.PropertyNotImplementedError(
                    "the potential is no sum of energies of atoms: an energy is a nonlinear function of sums, or a "
                    "function of Python"
                )
            self.results["energies"] = np.asarray(of_atoms, float) * energy

    # -- atoms ------------------------------------------------------------------------------------------------------

    @property
    def _precision(self) -> str:
        return precision_of(self.parameters["precision"])

    @property
    def _leaves(self) -> Mapping[str, object]:
        key = id(self.parameters["params"]), self._precision
        if self.__dict__.get("_leaves_key") != key:
            self.__dict__["_leaves_key"] = key
            self.__dict__["_leaves_of"] = self.program.internal(self.parameters["params"])
        return self.__dict__["_leaves_of"]

    @cached_property
    def _columns(self) -> tuple[str, ...]:
        """The columns of Atoms that decide what the program computes."""
        model, given = self.program.model, self.parameters["data"] or ()
        own = [p.name for p in model.data if p.per_atom and p.name not in given]
        weighs = "m" in names_in(tuple(e.body for e in energetic(model)))
        return (*own, *(["masses"] if weighs else ()), *(["initial_charges"] if "q" in own else ()), "label")

    def _data(self, atoms: Atoms) -> tuple:
        """The numbers in these columns; and the atoms that are fixed, where the program freezes by data."""
        found = tuple(atoms.arrays[name].tobytes() for name in self._columns if name in atoms.arrays)
        fixed = fixed_of(atoms)[0] if self.program.model.freezing else None
        return found, None if fixed is None else fixed.tobytes()

    def _for(self, atoms: Atoms) -> _Bound:
        """What is kept for atoms of this kind."""
        key = (atoms.numbers.tobytes(), atoms.pbc.tobytes(), self._precision, self._data(atoms))
        if self._bound is None or self._bound.key != key:
            self._bound = self._bind(atoms, key)
        return self._bound

    def _check_turned(self, box: Orientation) -> None:
        if box.rotation is None or self._directed is None:
            return
        raise Rejected(
            fault(
                self.program.model.source,
                "triclinic-box",
                "the box of the Atoms would have to be turned, and an energy depends on directions in space",
                self._directed,
                help="give the Atoms a box with a along x and b in the plane of x and y, and with what does not repeat "
                "along an axis",
            )
        )

    @cached_property
    def _directed(self) -> Expr | None:
        """What of the energies depends on directions in space, or on places in it; None where nothing does."""

        def looks(node: Expr) -> bool:
            if isinstance(node, Read):
                return node.symbol in ("origin", "cell")
            return isinstance(node, Op) and (node.op == "vector" or node.op.startswith(("component_", "entry_")))

        return next((n for e in energetic(self.program.model) for n in walk(e.body) if looks(n)), None)

    def _bind(self, atoms: Atoms, key: tuple) -> _Bound:
        from mdsl.lowering.run.held_energies import HeldEnergies

        model, parameters = self.program.model, self.parameters
        names = parameters["species"] or {}
        species = [names.get(label, label) for label in labels_of(atoms)] if names else None
        params = {name: np.asarray(value) for name, value in self._leaves.items()}
        initial, box = bind_atoms(
            model, atoms, species, None, params, parameters["topologies"], parameters["data"], boxed=True
        )
        self._tell(atoms)
        self.program.check_whole(initial)
        energies = HeldEnergies.of(
            self.program.compiled.field, initial, self._precision, {**params, **initial.data}, parameters["policy"]
        )
        return _Bound(key, initial, box.periodic, energies)

    def _tell(self, atoms: Atoms) -> None:
        """Say, once, what Atoms say of the physics and the program does not use."""
        model = self.program.model
        left = []
        if atoms.get_initial_charges().any() and model.param("q") is None:
            left.append("charges")
        if atoms.get_initial_magnetic_moments().any() and model.param("initial_magmoms") is None:
            left.append("magnetic moments")
        if model.dim == 2 and atoms.pbc[2]:
            left.append("that z repeats")
        if left and (words := f"not used of the Atoms: {', '.join(left)}") not in self._told:
            self._told.add(words)
            warnings.warn(words, stacklevel=2)


class _Bound:
    """What is kept for Atoms of one kind, whatever their positions and box."""

    def __init__(self, key: tuple, initial: Initial, periodic: tuple[bool, ...], energies):
        self.key, self.initial, self.periodic, self.energies = key, initial, periodic, energies

    def cell(self, vectors: np.ndarray):
        """The box of this moment as JAX takes it, with tilts where it had some or has any now."""
        from mdsl.lowering.geometry.cell import cast, of_matrix

        vectors = extended(vectors, self.periodic)
        tilted = self.initial.tilted or bool(np.tril(vectors, -1).any())
        return cast(of_matrix(vectors, tilted), self.energies.lowered.dtype)

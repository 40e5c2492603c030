"""A calculator of ASE as a function of JAX: its energy by a call of the host, its forces and stress as derivatives.

What the calculator cannot do ends no program of XLA, which would say so in its own words: the energy is NaN then, and
what is wrong is kept for whoever called (`telling`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np

from mdsl.files.atoms import in_ase
from mdsl.grammar.diagnostics import Diagnostic, Rejected
from mdsl.lowering.jax_internals import SymbolicZero
from mdsl.model.dimensions import ENERGY, LENGTH
from mdsl.model.nodes import Model

if TYPE_CHECKING:
    from ase.calculators.calculator import BaseCalculator


class AseEnergy:
    """``calculator`` of the extern energy ``name``. ``failure``: what it has failed with since `telling` began."""

    def __init__(self, name: str, calculator: BaseCalculator):
        self.name, self.calculator = name, calculator
        self.failure: Diagnostic | None = None

    def __call__(self, *arguments):
        raise TypeError("a calculator computes in the units of a program: `in_units`")

    @property
    def title(self) -> str:
        return f"the calculator {type(self.calculator).__name__} of `{self.name}`"

    def in_units(self, model: Model, periodic: tuple[bool, ...]) -> Callable:
        """The function of the inputs that the program names, in its units. Raises Rejected: ``bad-extern``."""
        (own,) = (e for e in model.python if e.function is self)
        wrong = None
        if set(own.parameters) != {"x", "species", "box"}:
            wrong = "takes x, species and box", f"`extern energy {self.name}(x, species, box)`"
        elif model.dim != 3:
            wrong = "knows three dimensions only", None
        elif not model.species:
            wrong = "must know the elements of the atoms", "declare them: `species Cu`"
        if wrong is not None:
            raise Rejected(Diagnostic("bad-extern", f"{self.title} {wrong[0]}", own.span, help=wrong[1]))
        places = [own.parameters.index(name) for name in ("x", "species", "box")]
        function = self._function(model, periodic)
        return lambda *given: function(*(given[k] for k in places))

    def _function(self, model: Model, periodic: tuple[bool, ...]) -> Callable:
        shown = {d: model.units.shown_per_internal(d) for d in (LENGTH, ENERGY)}
        length, unit = (
            in_ase(model.units, d) / shown[d] for d in (LENGTH, ENERGY)
        )  # ASE's number for 1 of the program

        def host(what: str, shape: tuple, x, species, box):
            """A property at these positions, in ASE's units; NaN where there is none."""
            from ase import Atoms

            try:
                symbols = [model.species[k] for k in np.asarray(species)]
                rows = np.where(np.array(periodic)[:, None], np.asarray(box, float) * length, 0.0)
                atoms = Atoms(symbols, np.asarray(x, float) * length, cell=rows, pbc=periodic)
                if what == "stress" and not all(periodic):
                    raise ValueError("there is no stress in a box that does not repeat along every axis")
                if what == "energy" and "free_energy" in self.calculator.implemented_properties:
                    what = "free_energy"  # of which forces are the derivative
                found = np.asarray(self.calculator.get_property(what, atoms), float)
                if what == "stress":
                    xx, yy, zz, yz, xz, xy = found
                    found = np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]]) * atoms.get_volume()
                if not np.isfinite(found).all():
                    raise ValueError(f"its {what.replace('_', ' ')} is not finite")
                return found.reshape(shape).astype(x.dtype)
            except Exception as error:  # whatever a calculator may raise
                first = (str(error).strip().splitlines() or [""])[0]
                words = f"{self.title} fails: {type(error).__name__}: {first}"
                (own,) = (e for e in model.python if e.function is self)
                self.failure = self.failure or Diagnostic("bad-extern", words, own.span)
                return np.full(shape, np.nan, x.dtype)

        def called(what: str, shape: tuple, x, species, box):
            of = jax.ShapeDtypeStruct(shape, x.dtype)
            return jax.pure_callback(
                lambda *given: host(what, shape, *given), of, x, species, box, vmap_method="sequential"
            )

        def first_only(what: str, shape: Callable) -> Callable:
            """A derivative, which has none itself."""

            @jax.custom_jvp
            def slope(x, species, box):
                return called(what, shape(x), x, species, box)

            @slope.defjvp
            def _(primals, tangents):
                words = f"{self.title} has no second derivatives: ASE knows energies, forces and stresses"
                help = "forces and runs need none; derivatives of forces, of runs and of minima do"
                own = next(e for e in model.python if e.function is self)
                raise Rejected(Diagnostic("no-derivative", words, own.span, help=help))

            return slope

        forces = first_only("forces", lambda x: x.shape)
        stress = first_only("stress", lambda x: (3, 3))

        @jax.custom_jvp
        def energy(x, species, box):
            return called("energy", (), x, species, box) / unit

        def rule(primals, tangents):
            (x, species, box), (dx, _, dbox) = primals, tangents
            pull = -forces(x, species, box) * (length / unit)
            change = jnp.zeros((), x.dtype) if isinstance(dx, SymbolicZero) else jnp.sum(pull * dx)
            if not isinstance(dbox, SymbolicZero) and any(periodic):
                # The strain of all is that of positions and that of the box.
                strained = stress(x, species, box) / unit - x.T @ pull
                change += jnp.sum(jnp.linalg.solve(box.T, strained) * dbox)
            return energy(x, species, box), change

        energy.defjvp(rule, symbolic_zeros=True)
        return energy


@contextmanager
def telling(model: Model) -> Iterator[None]:
    """What calculators fail with within is raised at the end, in place of what follows from it. Raises Rejected:
    ``bad-extern``."""
    own = [e.function for e in model.python if isinstance(e.function, AseEnergy)]
    for energy in own:
        energy.failure = None
    try:
        yield
    except Rejected:
        _raise(own)
        raise
    _raise(own)


def _raise(own: list[AseEnergy]) -> None:
    found = [energy.failure for energy in own if energy.failure is not None]
    if found:
        raise Rejected(*found)

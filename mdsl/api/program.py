"""The Python face: compile a program, bind arrays to it, and get pure functions of JAX.

All arrays are in the units of the program's unit system (`units.metal`: angstrom, eV, ...), and so are the
results. `program.params` holds the free parameters; energies and forces take other values as ``params=``.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mdsl.compiler import Compiled, compile_source
from mdsl.grammar import tree
from mdsl.grammar.diagnostics import Diagnostic, Rejected
from mdsl.grammar.source import Source
from mdsl.interpret.constants import factor
from mdsl.interpret.species_pairs import pair_constant
from mdsl.interpret.topologies import check_names, check_whole
from mdsl.lowering.jax_version import check
from mdsl.lowering.planning.policy import DEFAULT, Policy
from mdsl.model import nearest_image
from mdsl.model.dimensions import LENGTH
from mdsl.model.nodes import Model
from mdsl.passes.atom_data import check_data_names
from mdsl.passes.finite import knows
from mdsl.passes.given import missing_externs
from mdsl.resolve.sources import read_program
from mdsl.start.arrays import bind, given_velocities
from mdsl.start.builders import seeds, start
from mdsl.start.initial import Initial

from .atoms import bound, is_atoms
from .given import joined, numbers, symmetric
from .no_derivative import check_bound, unknown
from .system import System

if TYPE_CHECKING:
    from .calculator import Calculator


def compile(text: str, folder: str | Path | None = None, *, externs: Mapping[str, Callable] | None = None) -> Program:
    """The program in a text. ``folder`` is where the files and modules that it names lie.

    ``externs``: the functions of Python that it calls, by name; for an extern energy also a function with its weights,
    (function, weights), or a calculator of ASE. Raises Rejected with every error found.
    """
    return Program(compiled_with(Source("<string>", text), Path(folder) if folder is not None else Path.cwd(), externs))


def load(path: str | Path, *, externs: Mapping[str, Callable] | None = None) -> Program:
    """The program in a file. ``externs``: the functions of Python that it calls, by name. Raises Rejected."""
    source, folder = read_program(path)
    return Program(compiled_with(source, folder, externs))


def compiled_with(
    source: Source, folder: Path, externs: Mapping[str, Callable] | None, given: tuple[tree.Declaration, ...] = ()
) -> Compiled:
    """A program and the functions of Python that it calls, by name; ``given`` as of `compile_source`. Raises Rejected
    with every error found."""
    if not externs:
        return compile_source(source, folder, given=given)
    check()
    from mdsl.lowering.kernels.calls import bad_externs

    from .python import functions

    return compile_source(source, folder, functions(externs), bad_externs, given)


@dataclass(frozen=True, eq=False)
class Program:
    """A compiled program: text without arrays."""

    compiled: Compiled

    def __repr__(self) -> str:
        return f"Program({self.compiled.source.name!r})"

    @property
    def text(self) -> str:
        """The program as it was written."""
        return self.compiled.source.text

    @property
    def model(self):
        """The program as it is lowered: a typed Model without functions (`mdsl/model/nodes.py`)."""
        return self.compiled.model

    @property
    def warnings(self) -> tuple[Diagnostic, ...]:
        """What the compiler found worth saying of it."""
        return self.compiled.warnings

    @cached_property
    def params(self) -> dict[str, object]:
        """The free parameters by name: scalars, arrays with an axis for each of their axes, and of a learned function a
        dict of its weights."""
        check()
        import jax

        from mdsl.lowering.kernels.globals import defaults

        # Asked for first inside a transformation, they are numbers all the same.
        with jax.ensure_compile_time_eval():
            return {name: shown_param(self.model, name, value) for name, value in defaults(self.model).items()}

    def initial_params(self, seed: int) -> dict[str, object]:
        """`params` with the weights of learned functions drawn by another seed."""
        check()
        import jax

        from mdsl.lowering.kernels.globals import weights

        with jax.ensure_compile_time_eval():
            return self.params | {n: shown_param(self.model, n, w) for n, w in weights(self.model, seed).items()}

    def _scale(self, name: str) -> float:
        return factor(self.model, self.model.param(name).type.dimension)

    def internal(self, params: Mapping[str, object] | None) -> dict[str, object]:
        """Parameters in internal units; those not given have their defaults. Raises Rejected: ``unknown-parameter``,
        ``no-derivative``, ``wrong-type``, ``wrong-shape``, ``bad-table``."""
        check()
        import jax.numpy as jnp

        given = dict(params or {})
        for name, value in given.items():
            if name not in self.params:
                raise unknown(self.model, self.params, name, value)
            if (network := self.model.param(name).learned) is not None:
                given[name] = joined(network, value)
                continue
            value = numbers(name, value)
            if value.shape != jnp.shape(self.params[name]):
                raise Rejected(
                    Diagnostic(
                        "wrong-shape", f"`{name}` has the shape {value.shape}, not {jnp.shape(self.params[name])}"
                    )
                )
            given[name] = symmetric(self.model.param(name), value)
        default = {
            name: joined(n, value) if (n := self.model.param(name).learned) else value
            for name, value in self.params.items()
            if name not in given
        }
        return {
            name: jnp.asarray(given[name] if name in given else default[name]) / self._scale(name)
            for name in self.params
        }

    def explain(self) -> str:
        """What the compiler decided, with line numbers."""
        from mdsl.lowering.native.compile import vectors
        from mdsl.report.explain import explain

        return explain(self.compiled, vectors=vectors())

    def bind(
        self,
        x=None,
        *,
        box=None,
        species: Sequence | None = None,
        velocities=None,
        masses=None,
        topologies: Mapping[str, object] | None = None,
        data: Mapping[str, object] | None = None,
        seed: int = 0,
        precision: str | None = None,
        devices: Sequence | None = None,
        skin: float | None = None,
        policy: Policy = DEFAULT,
    ) -> System:
        """The program with atoms.

        x: positions [N, d], or `Atoms` of ASE with their box, elements, masses, charges, fixed atoms and velocities;
        box: one edge, one for each axis, or the box vectors in the rows of [d, d], triangular (a along x, b in the
        plane of x and y), inf for what does not repeat; species: [N] labels or places in
        `species`; velocities: [N, d]; masses: [N]; topologies: name to the atoms of its tuples, [M, k], counted from 0;
        data: name to an array with the axes of its declaration, in the unit declared. Without ``x``, atoms are placed
        as the run block says, random ones by ``seed``, and there are no ``box``, ``species`` and ``masses`` to give.
        Without ``velocities`` these are drawn as the run block says (`v ~ ...`), by ``seed``, and are 0 where it does
        not. ``precision`` is single, mixed or double (None: as JAX is set up); ``devices`` share the work of `run`;
        ``skin`` is what a neighbour list holds beyond the cutoff; ``policy``: the numbers by which lists are planned.

        Raises Rejected: ``wrong-shape``, ``wrong-arguments``, ``unknown-species``, ``missing-data``, ``box-too-small``,
        ``no-support``, ``unsupported-jax``, ...
        """
        check()
        missing = missing_externs(self.model)
        if missing:
            raise Rejected(*missing)
        check_bound(
            {
                "x": x,
                "box": box,
                "species": species,
                "velocities": velocities,
                "masses": masses,
                "topologies": topologies,
                "data": data,
                "seed": seed,
                "skin": skin,
            }
        )
        if skin is not None and not (isinstance(skin, (int, float, np.number)) and 0 <= skin < np.inf):
            raise Rejected(Diagnostic("bad-number", f"`skin` is a length, at least 0, not {skin!r}"))
        if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
            raise Rejected(Diagnostic("bad-number", f"`seed` is a whole number, at least 0, not {seed!r}"))
        params = {name: np.asarray(value) for name, value in self.internal(None).items()}
        if x is None:
            without = next(
                (name for name, given in (("box", box), ("species", species), ("masses", masses)) if given is not None),
                None,
            )
            if without is not None:
                raise Rejected(
                    Diagnostic(
                        "wrong-arguments",
                        f"`{without}` of `bind` is given without `x`",
                        help=f"the run block places the atoms, and decides their {without}; give their positions too, "
                        f"or change the program",
                    )
                )

        def begun(seed: int, params: Mapping[str, np.ndarray]) -> Initial:
            if is_atoms(x):
                return bound(self.model, x, box, species, velocities, masses, params, topologies, data, seed)
            if x is not None:
                return bind(self.model, x, box, species, velocities, masses, params, topologies, data, seed)
            more = check_names(self.model, topologies), check_data_names(self.model, data)
            placed = start(self.model, self.compiled.folder, seed, params, *more)
            if velocities is None:
                return placed
            return replace(placed, v=given_velocities(self.model, velocities, placed))

        initial, number = begun(seed, params), self.model.replicas
        starts: tuple[Initial, ...] = ()
        if number is not None:
            numbers = np.arange(number.numbers.first, number.numbers.last + 1)
            more = zip(seeds(seed, len(numbers))[1:], numbers[1:])
            starts = (initial, *(begun(s, {**params, number.name: np.asarray(float(k))}) for s, k in more))
        self.check_whole(initial)
        for note in initial.notes:
            warnings.warn(note, stacklevel=2)
        length = factor(self.model, LENGTH)
        return System(
            self,
            initial,
            precision_of(precision),
            tuple(devices) if devices else None,
            policy if skin is None else replace(policy, skin=float(skin / length)),
            x is None,
            velocities is None and not (is_atoms(x) and x.has("momenta")),
            starts,
        )

    def calculator(self, **options) -> Calculator:
        """A calculator of ASE, with the options of `mdsl.ase.Calculator`."""
        from .calculator import Calculator

        return Calculator(self, **options)

    def check_whole(self, initial: Initial) -> None:
        """Raises Rejected where tuples of topologies reach farther than nearest images: ``bad-topology``."""
        from mdsl.lowering.planning.on_host import nearest

        edges = np.diag(initial.cell)
        terms = self.compiled.field.tuple_terms

        def ends(term) -> bool:
            """Whether a pair that is farther apart than half of the box counts for nothing, as in sums over all
            pairs."""
            cutoff = term.support.cutoff
            if cutoff is None or not knows(self.model, cutoff):
                return False
            reach = float(np.max(pair_constant(self.model, cutoff, term.binders)))
            return bool(np.isfinite(reach) and nearest_image.fits(edges, initial.periodic, reach))

        check_whole(
            self.model,
            initial.topologies,
            frozenset(t.domain.topology for t in terms if not ends(t)),
            initial.x,
            lambda d: nearest(d, initial.cell, initial.periodic),
            nearest_image.half(edges, initial.periodic),
            factor(self.model, LENGTH),
        )


def shown_param(model: Model, name: str, value):
    """A parameter as the user sees it, from its value in internal units: of a learned function a dict of its
    weights."""
    param = model.param(name)
    return value * factor(model, param.type.dimension) if param.learned is None else param.learned.split(value)


def precision_of(asked: str | None) -> str:
    """The precision that is asked for, or as JAX is set up. Raises Rejected: ``precision``."""
    import jax

    double = jax.config.jax_enable_x64
    if asked is None:
        return "double" if double else "single"
    if asked not in ("single", "mixed", "double"):
        raise Rejected(Diagnostic("precision", f"there is no precision `{asked}`", help="single, mixed or double"))
    if asked != "single" and not double:
        raise Rejected(
            Diagnostic(
                "precision",
                f"{asked} precision needs 64-bit numbers, which JAX has switched off",
                help='jax.config.update("jax_enable_x64", True) before the first array is made',
            )
        )
    return asked

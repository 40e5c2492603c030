"""The potential energy of a program as JAX functions: energies, forces, virial, derivatives by parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache

import jax.numpy as jnp

from mdsl.model import Model

from .field import Field, Measure, Term
from .kernels import ENERGY, FORCE, SLOPES, VIRIAL, PairKernel, atom_values, total, virial_components
from .traversal import all_pairs_sum, slot_sum
from .values import Globals


@dataclass(frozen=True)
class Geometry:
    """What stays as it is while positions change: the dimension of space and which axes repeat."""

    dim: int
    periodic: tuple[bool, ...]

    def nearest(self, lengths: tuple):
        """Displacement (a tuple of arrays) to displacement of the nearest image."""

        def image(d: tuple) -> tuple:
            return tuple(c - length * jnp.round(c / length) if repeats else c for c, length, repeats in zip(d, lengths, self.periodic))

        return image

    def wrap(self, x: tuple, lengths: tuple) -> tuple[tuple, tuple]:
        """Positions brought back into the box, and by how many boxes each was moved."""
        moved = tuple(jnp.floor(c / length) if repeats else jnp.zeros_like(c) for c, length, repeats in zip(x, lengths, self.periodic))
        return tuple(c - length * n if repeats else c for c, length, n, repeats in zip(x, lengths, moved, self.periodic)), moved


@dataclass(frozen=True)
class Result:
    """``force``: a tuple of [N] arrays; ``sums``: "#k" to the value of sum k; ``virial``: rows of the tensor."""

    force: tuple | None
    sums: Mapping[str, object]
    virial: tuple | None
    slopes: Mapping[str, object]


@dataclass(frozen=True, eq=False)
class Potential:
    field: Field
    geometry: Geometry
    dtype: object  # of the pair kernels; sums are added up in the dtype of the positions

    @property
    def model(self) -> Model:
        return self.field.model

    @cached_property
    def _kernel(self):
        @lru_cache(maxsize=None)
        def kernel(outputs: frozenset[str], measures: tuple[Measure, ...]) -> PairKernel:
            return PairKernel(self.model, self.field.pair_terms, measures, outputs)

        return kernel

    def cutoff(self, params: Mapping[str, object]):
        """The distance beyond which all pair terms are zero; None where one of them has no proved support."""
        reach = None
        for term in self.field.pair_terms:
            if term.support.cutoff is None:
                return None
            value = jnp.max(Globals(self.model, params).table(term.support.cutoff, term.domain.binders))
            reach = value if reach is None else jnp.maximum(reach, value)
        return jnp.asarray(0.0) if reach is None else reach

    def evaluate(
        self, known: Globals, atoms: Mapping[str, object], slots, outputs: frozenset[str], measures: tuple[Measure, ...] = ()
    ) -> Result:
        """All terms at once.

        ``atoms``: x and v as tuples of [N] arrays, m and species as [N] arrays, in the order of ``slots``
        [K, N]; ``slots`` None: all pairs. ``measures``: the sums of observables that are wanted too.
        """
        x = atoms["x"]
        dtype = x[0].dtype
        nearest = self.geometry.nearest(known.lengths)
        force = [jnp.zeros_like(c) for c in x]
        virial = [jnp.zeros((), dtype) for _ in virial_components(self.geometry.dim)]
        sums: dict[str, object] = {}
        slopes: dict[str, object] = {}
        pair_measures = tuple(m for m in measures if m.domain.kind == "ordered")
        wanted = outputs if self.field.pair_terms else frozenset()
        if (wanted and self.field.pair_terms) or pair_measures:
            pairs = self._pairs(known, atoms, slots, outputs, pair_measures)
            if FORCE in outputs:
                force = [a + b.astype(dtype) for a, b in zip(force, pairs[FORCE])]
            if VIRIAL in outputs:
                virial = [a + jnp.sum(b.astype(dtype)) / 2 for a, b in zip(virial, pairs[VIRIAL])]
            sums |= {k: jnp.sum(v.astype(dtype)) / 2 for k, v in pairs.items() if k.startswith("#")}
            if SLOPES in outputs:
                for term in self.field.pair_terms:
                    for k in range(len(term.slopes)):
                        slopes[f"slope {term.number} {k}"] = pairs[f"slope {term.number} {k}"]
        for term in self.field.atom_terms:
            self._atoms(term, known, atoms, nearest, outputs, force, virial, sums, slopes)
        for measure in measures:
            if measure.domain.kind == "each":
                sums[f"#{measure.number}"] = total(self._each(measure, known, atoms, nearest))
        rows = tuple(tuple(virial[a * self.geometry.dim + b] for b in range(self.geometry.dim)) for a in range(self.geometry.dim))
        return Result(tuple(force), sums, rows, slopes)

    def _pairs(self, known: Globals, atoms: Mapping[str, object], slots, outputs: frozenset[str], measures: tuple[Measure, ...]):
        kernel = self._kernel(outputs, measures)
        values = {"x": tuple(c.astype(self.dtype) for c in atoms["x"])}
        for name in kernel.atom_reads - {"x"}:
            values[name] = atoms[name]
        lengths = tuple(jnp.asarray(length, self.dtype) for length in known.lengths)
        nearest = self.geometry.nearest(lengths)
        # An atom with itself is no pair; it is given a distance at which every term is regular.
        cutoff = self.cutoff(known.params)
        safe = jnp.asarray(1.0 if cutoff is None else (2 * cutoff) ** 2, self.dtype)
        body = kernel.body(known, nearest, safe)
        zeros = kernel.zeros(values["x"][0])
        if slots is None:
            return all_pairs_sum(body, values, values, zeros)
        return slot_sum(body, slots, values, values, zeros)

    def _each(self, measure: Measure | Term, known: Globals, atoms, nearest):
        values = atom_values(measure.summand, measure.domain.binders[0], known, atoms, nearest)
        return _fill(values, atoms["x"][0])

    def _atoms(self, term: Term, known: Globals, atoms, nearest, outputs, force, virial, sums, slopes) -> None:
        """Add one sum over atoms (an external field) to the results."""
        binder = term.domain.binders[0]
        gradient = term.gradients[0]
        if ENERGY in outputs:
            sums[f"#{term.number}"] = jnp.sum(self._each(term, known, atoms, nearest))
        if FORCE in outputs or VIRIAL in outputs:
            d = nearest(atoms["x"])
            for a in range(self.geometry.dim):
                slope = jnp.zeros_like(d[a])
                if gradient.radial is not None:
                    slope = slope + 2 * atom_values(gradient.radial, binder, known, atoms, nearest) * d[a]
                if gradient.direct is not None:
                    slope = slope + atom_values(gradient.direct[a], binder, known, atoms, nearest)
                force[a] = force[a] - slope
                for b in range(self.geometry.dim):
                    virial[b * self.geometry.dim + a] = virial[b * self.geometry.dim + a] - jnp.sum(d[b] * slope)
        if SLOPES in outputs:
            for k, (_, slope) in enumerate(term.slopes):
                values = atom_values(slope, binder, known, atoms, nearest)
                slopes[f"slope {term.number} {k}"] = _fill(values, atoms["x"][0])


def _fill(values, like):
    if isinstance(values, tuple):
        return tuple(_fill(v, like) for v in values)
    return jnp.broadcast_to(jnp.asarray(values, like.dtype), like.shape)



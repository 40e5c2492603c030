"""What `mdsl explain` says of how pairs are found: by lists or all of them, of which radius, at which cost."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from mdsl.compiler import Compiled
from mdsl.grammar.diagnostics import Rejected
from mdsl.interpret.species_pairs import pair_constant
from mdsl.lowering.field.costs import DOUBLE, GEOMETRY, LONGEST, OPERATION, VISIT
from mdsl.lowering.field.field import Field
from mdsl.lowering.planning.policy import Policy
from mdsl.lowering.planning.traversal import Facts, plan
from mdsl.model.box_dependencies import decided_by
from mdsl.model.box_shape import changes_box
from mdsl.model.dimensions import LENGTH
from mdsl.model.nodes import Op, Setup, walk
from mdsl.passes.finite import knows

from .energies import by_species, shown

Fact = tuple[str, str]


def finding_pairs(compiled: Compiled, policy: Policy) -> Iterator[Fact]:
    field, model = compiled.field, compiled.model
    length = model.units.dimension(LENGTH)
    facts, reaches = facts_of_run(compiled)
    unknown, endless = any(r is np.nan for r in reaches), any(r is None for r in reaches)
    cutoff = None if endless else max(float(np.max(r)) for r in reaches)
    if endless:
        yield (
            "rule",
            f"some pair energy has no cutoff: all pairs are visited, up to {policy.most_all_pairs:,} atoms; above that "
            f"it is an error",
        )
        yield from _here(compiled, facts, policy)
        return
    if unknown:
        yield (
            "rule",
            f"up to {policy.all_pairs} atoms all pairs are visited; above, neighbour lists whose radius is known with "
            f"the data of the atoms",
        )
        return
    radius = cutoff + policy.first_skin(cutoff, facts and facts.spacing)
    yield (
        "rule",
        f"up to {policy.all_pairs} atoms all pairs are visited; above, neighbour lists of radius cutoff + skin = "
        + shown(model, radius, length),
    )
    if len(reaches) > 1:
        ends = ", ".join(f"{t.equation} {by_species(model, r, length)}" for t, r in zip(field.reaching, reaches))
        yield "", f"one traversal serves all pair energies, as far as the farthest reaches: {ends}"
    changing = changes_box(model) or "t" in decided_by(model)
    yield (
        "",
        "a list is rebuilt when "
        + (
            "the box and the atoms in it have changed so far that it might lack a pair"
            if changing
            else "an atom has moved by half the skin"
        ),
    )
    yield (
        "",
        "the skin is adapted to how long lists hold, by counting pairs and steps: no clock is read, so that "
        "runs repeat",
    )
    if field.triple_terms:
        yield "", "three-body sums pick the neighbours within their own cutoff from it, and go through pairs of these"
    exclusions = {frozenset(t.domain.excluded) for t in field.pair_terms}
    if len(exclusions) > 1:
        yield (
            "",
            f"sums that leave out different pairs go through the list one after the other: {len(exclusions)} times",
        )
    elif any(exclusions):
        yield "", "pairs that are left out are taken off the list when it is built: the force loop does not meet them"
    yield from _here(compiled, facts, policy)


def facts_of_run(compiled: Compiled) -> tuple[Facts | None, list]:
    """By what the way to pairs is decided, as far as the run block says it, and how far each energy reaches: None
    without an end, NaN where that is known with the data of the atoms."""
    field, model = compiled.field, compiled.model
    reaches = [
        None
        if t.support.cutoff is None
        else pair_constant(model, t.support.cutoff, t.domain.binders)
        if knows(model, t.support.cutoff)
        else np.nan
        for t in field.reaching
    ]
    atoms, lengths = atoms_of_run(compiled)
    cell = None if lengths is None else np.diag(lengths)
    endless = not reaches or any(r is None for r in reaches)
    cutoff = None if endless else max(float(np.max(r)) for r in reaches)
    return None if atoms is None else Facts(atoms, cell, (True,) * model.dim, cutoff), reaches


def _here(compiled: Compiled, facts: Facts | None, policy: Policy) -> Iterator[Fact]:
    """What a run will do, as far as is known of its atoms."""
    field, length = compiled.field, compiled.model.units.dimension(LENGTH)
    if facts is None:
        yield "here", "the number of atoms is known when the run starts"
        return
    try:
        found = plan(field, facts, policy)
    except Rejected:
        yield (
            "here",
            f"{facts.atoms:,} atoms: too many, the run will be refused"
            if facts.cutoff is None
            else f"half the box is {shown(compiled.model, facts.half, length)}, less than the cutoff: the run will be "
            f"refused",
        )
        return
    if not found.listed:
        tight = facts.cutoff is not None and facts.atoms > policy.all_pairs
        why = f", for {found.why}" if tight else ""
        yield "here", f"{facts.atoms:,} atoms: all {facts.atoms * (facts.atoms - 1) // 2:,} pairs{why}"
        return
    yield "here", f"{facts.atoms:,} atoms: neighbour lists"
    if found.radius < facts.cutoff + policy.first_skin(facts.cutoff, facts.spacing):
        yield "", f"the box leaves room for a radius of {shown(compiled.model, found.radius, length)} only"
    if facts.cell is not None:
        dim = compiled.model.dim
        near = facts.atoms / float(np.prod(np.diag(facts.cell))) * _ball(found.radius, dim)
        yield (
            "",
            f"about {near:.0f} neighbours in the list of an atom, "
            f"{near * (facts.cutoff / found.radius) ** dim:.0f} of them within the cutoff",
        )
        yield from _cost(field, facts.atoms, near, policy)


def _cost(field: Field, atoms: int, near: float, policy: Policy) -> Iterator[tuple[str, str]]:
    """What one evaluation of the pair energies by a list is expected to cost."""
    exprs = [e for t in field.pair_terms for g in t.gradients for e in (g.radial, *(g.direct or ())) if e is not None]
    operations = GEOMETRY + len({id(n) for e in exprs for n in walk(e) if isinstance(n, Op)})
    seconds = atoms * near * LONGEST * (VISIT + operations * OPERATION)
    yield (
        "cost",
        f"each atom visits its neighbours one by one: about {near * LONGEST:.0f} visits with those of the longest row, "
        f"each of about {operations} operations",
    )
    yield (
        "",
        f"expected on one core: {1e3 * seconds:.2g} ms for each force in single or mixed precision, "
        f"{1e3 * DOUBLE * seconds:.2g} ms in double (rates of one machine, in `lowering/field/costs.py`)",
    )
    yield "", f"the list takes about {4 * policy.slots * near:.0f} bytes for each atom"


def _ball(radius: float, dim: int) -> float:
    return math.pi * radius**2 if dim == 2 else 4 / 3 * math.pi * radius**3


def atoms_of_run(compiled: Compiled) -> tuple[int | None, tuple[float, ...] | None]:
    """How many atoms the run block places, and the edges of their box; None where that is not known yet."""
    from mdsl.files.lattices import LATTICES
    from mdsl.interpret.constants import value, whole
    from mdsl.start.box import declared_box

    model = compiled.model
    setup = next((s for s in model.run if isinstance(s, Setup) and s.target == "x"), None)
    if setup is None:
        return None, None
    options = dict(setup.options)
    try:
        if setup.builder in LATTICES:
            lattice = LATTICES[setup.builder]
            cells = [whole(model, v, {}, "`cells`") for k, v in sorted(options.items()) if k.startswith("cells")]
            cells = cells * model.dim if len(cells) == 1 else cells
            atoms = len(lattice.basis) * math.prod(cells)
            a = (
                float(value(model, options["a"], {}))
                if "a" in options
                else lattice.constant(float(value(model, options["density"], {})))
            )
            lengths = tuple(a * side * n for side, n in zip(lattice.sides, cells))
        elif setup.builder == "uniform":
            atoms = whole(model, options["atoms"], {}, "`atoms`")
            lengths = (
                ((atoms / float(value(model, options["density"], {}))) ** (1 / model.dim),) * model.dim
                if "density" in options
                else None
            )
        else:
            return _read(compiled)
        if model.box is not None:
            cell, periodic = declared_box(model, {}, atoms)
            lengths = tuple(map(float, cell.diagonal())) if all(periodic) else None
    except (Rejected, KeyError, ArithmeticError):
        return None, None
    return atoms, lengths


def _read(compiled: Compiled) -> tuple[int | None, tuple[float, ...] | None]:
    """The same for a structure that is read from a file, where the file is there."""
    from mdsl.start.builders import start

    try:
        initial = start(compiled.model, compiled.folder, 0, {})
    except (Rejected, OSError):
        return None, None
    return initial.atoms, tuple(map(float, initial.lengths)) if all(initial.periodic) else None

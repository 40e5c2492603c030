"""OpenMM: a System of custom forces whose expressions are the program's formulas, a state, integrators, and a script.

    system.xml        the System, as OpenMM's XmlSerializer writes it
    state.xml         positions, velocities and the box at the start
    integrator-K.xml  one for each statement of dynamics that can be said coordinate by coordinate
    run.py            reads the above, and runs

Lengths are in nm, energies in kJ/mol, times in ps; of a program in reduced units 1 stands for 1 of each.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mdsl.export.deck import Deck
from mdsl.export.pairs import farthest
from mdsl.export.steps import Unsaid, every, scheme
from mdsl.export.subject import Law, Scale, Subject, scale
from mdsl.interpret.quantities import least_skew
from mdsl.lowering.field.field import PerAtom
from mdsl.model.domains import Each, Members, Others, Pairs, Triples
from mdsl.model.nodes import Advance
from mdsl.start.initial import still

from .integrators import integrator
from .terms import Terms

SYSTEM, STATE, SCRIPT = "system.xml", "state.xml", "run.py"
AVOGADRO = 6.02214076e23
SIZES = (1e-9, 1e3 / AVOGADRO, 1e-3 / AVOGADRO)
PLATFORM = "Reference"


def scale_of(subject: Subject) -> Scale:
    return scale(subject, *SIZES)


def box_vectors(subject: Subject, s: Scale, cutoff: float) -> np.ndarray | None:
    """[3, 3] in nm, the least skew of the lattice; axes without end are so long that no image is met. None where
    nothing repeats."""
    initial = subject.initial
    if not any(initial.periodic):
        return None
    d = initial.x.shape[1]
    cell = np.zeros((3, 3))
    cell[:d, :d] = least_skew(initial.cell, initial.periodic) * s.length
    for k in range(3):
        if k >= d or not initial.periodic[k]:
            cutoff = cutoff if np.isfinite(cutoff) else 0.0
            extent = float(np.ptp(initial.x[:, k])) * s.length if k < d else 0.0
            cell[k, :], cell[k, k] = 0.0, 100 * (extent + cutoff)
    return cell


def export(subject: Subject, name: str) -> Deck:
    """Raises Rejected: ``cannot-export``."""
    import openmm

    s, laws = scale_of(subject), subject.laws()
    longest = _longest(subject, laws, s)
    box = box_vectors(subject, s, longest)
    excluded = {w.domain.excluded for w in laws if isinstance(w.domain, Pairs)}
    excluded |= {v.domain.excluded for v in _densities(subject, laws)}
    system = openmm.System()
    rests = still(subject.model, subject.initial.species, subject.initial.data)
    masses = np.where(np.isfinite(subject.initial.masses), subject.initial.masses, 1.0) * s.mass
    for mass, rest in zip(masses, rests):
        system.addParticle(0.0 if rest else float(mass))
    if box is not None:
        system.setDefaultPeriodicBoxVectors(*box)
    terms: Terms = Terms(subject, s, box is not None, longest)
    styles: dict[str, str] = {}
    for law in laws:
        force = _force(subject, terms, law)
        force.setName(law.term.equation)
        force.setForceGroup(min(len(styles), 31))
        styles[law.term.equation] = type(force).__name__
        system.addForce(force)
    files: dict[str, str | bytes] = {SYSTEM: openmm.XmlSerializer.serialize(system)}
    if len(excluded) > 1:
        terms.notes.append("energies leave out other pairs than others, which OpenMM takes on some platforms only")
    notes, runs, began = [], [], 0.0
    for k, advance in enumerate(a for a in subject.model.run if isinstance(a, Advance)):
        short = advance.scheme.rpartition(".")[2]
        try:
            found = scheme(subject, advance)
            files[f"integrator-{k + 1}.xml"] = openmm.XmlSerializer.serialize(integrator(found, s, began))
            began += found.steps * found.dt
        except Unsaid as why:
            notes.append(f"`{short}` is not exported to OpenMM: {why}; the script ends before it")
            break
        records = [n for _, n in every(subject, advance, "record") if n]
        runs.append((f"integrator-{k + 1}.xml", found.steps, min(records, default=100)))
        if advance.outputs:
            notes.append(f"`{short}`: the script prints energies; what the program records and writes is left to it")
    files[STATE] = _state(subject, system, s, box)
    files[SCRIPT] = _script(name, runs)
    return Deck(files, tuple(dict.fromkeys([*terms.notes, *notes])), styles, {"units": "nm, kJ/mol, ps"})


def _densities(subject: Subject, laws: Sequence[Law]) -> list[PerAtom]:
    """The sums over neighbours that energies of atoms read."""
    read = {r.symbol for law in laws for r in law.reads.values()}
    return [v for v in subject.field.values if v.name in read and isinstance(v.domain, Others)]


def _longest(subject: Subject, laws: Sequence[Law], s: Scale) -> float:
    """The cutoff of all pairs, in nm: platforms want one for all forces, whose formulas have their own ends. Infinite
    where one has none."""
    every = [w for w in laws if isinstance(w.domain, Pairs)] + [subject.law(v) for v in _densities(subject, laws)]
    return max((farthest(subject, law) for law in every), default=1.0) * s.length


def _force(subject: Subject, terms: Terms, law: Law):
    values = {v.name: v for v in subject.field.values}
    read = {r.symbol for r in law.reads.values() if r.symbol in values}
    if read and (not isinstance(law.domain, Each) or len(read) > 1):
        raise subject.refuse(
            "OpenMM is told energies of single atoms as functions of one sum around each (CustomGBForce), and this one "
            "reads more",
            law.formula,
        )
    match law.domain:
        case Pairs():
            return terms.pairs(law)
        case Each() if read:
            (name,) = read
            value = values[name]
            if not isinstance(value.domain, Others) or value.axis is not None:
                raise subject.refuse(
                    f"`{name}` is no sum over the neighbours of each atom, and OpenMM's CustomGBForce has no other",
                    value.summand,
                )
            return terms.embedded(law, subject.law(value), name)
        case Each():
            return terms.external(law)
        case Triples():
            return terms.triples(law)
        case Members():
            return terms.members(law)
    raise subject.refuse("this kind of sum is not exported to OpenMM", law.term.summand)


def positions(subject: Subject, s: Scale, x: np.ndarray) -> np.ndarray:
    """[N, 3] in nm."""
    out = np.zeros((len(x), 3))
    out[:, : x.shape[1]] = x * s.length
    return out


def _state(subject: Subject, system, s: Scale, box: np.ndarray | None) -> str:
    import openmm

    context = openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName(PLATFORM))
    context.setPositions(positions(subject, s, subject.initial.x))
    context.setVelocities(positions(subject, s, subject.initial.v) / s.time)
    if box is not None:
        context.setPeriodicBoxVectors(*box)
    text = openmm.XmlSerializer.serialize(context.getState(positions=True, velocities=True))
    del context
    return text


def _script(name: str, runs: Sequence[tuple[str, int, int]]) -> str:
    lines = [
        f'"""Written by mdsl from {name}: python run.py [PLATFORM]. Energies are in kJ/mol, times in ps."""',
        "",
        "import sys",
        "from pathlib import Path",
        "",
        "import openmm",
        "",
        "HERE = Path(__file__).parent",
        f'PLATFORM = sys.argv[1] if len(sys.argv) > 1 else "{PLATFORM}"',
        f"RUNS = {[list(r) for r in runs]!r}  # integrator, steps, steps between lines",
        "",
        "",
        "def read(name):",
        "    return openmm.XmlSerializer.deserialize((HERE / name).read_text())",
        "",
        "",
        f'system, state, time = read("{SYSTEM}"), read("{STATE}"), 0.0',
        'for name, steps, every in RUNS or [["", 0, 1]]:',
        "    integrator = read(name) if name else openmm.VerletIntegrator(0.001)",
        "    platform = openmm.Platform.getPlatformByName(PLATFORM)",
        "    context = openmm.Context(system, integrator, platform)",
        "    context.setPeriodicBoxVectors(*state.getPeriodicBoxVectors())",
        "    context.setPositions(state.getPositions())",
        "    context.setVelocities(state.getVelocities())",
        "    context.setTime(time)",
        "    for done in [*range(0, steps, every), steps]:",
        "        integrator.step(done - context.getStepCount())",
        "        energies = context.getState(energy=True)",
        "        potential, kinetic = energies.getPotentialEnergy()._value, energies.getKineticEnergy()._value",
        '        print(f"{done:>10} {context.getTime()._value:14.8g} {potential:20.12g} {kinetic:20.12g}")',
        "    state = context.getState(positions=True, velocities=True)",
        "    time = state.getTime()",
        '(HERE / "final.xml").write_text(openmm.XmlSerializer.serialize(state))',
        "",
    ]
    return "\n".join(lines)

"""What is computed once instead of for each pair, or for each leg of a triple, is worth the same."""

from pathlib import Path

import numpy as np
import pytest
from interpreted import jumbled
from interpreted_field import FieldOfAtoms
from test_meaning import CASES, models
from varied import Case

from mdsl.interpret.rows import Rows
from mdsl.interpret.species_pairs import pair_constant
from mdsl.lowering.field.hoist import Hoisted
from mdsl.lowering.field.hoist_legs import CENTRE, END, LegValues
from mdsl.lowering.field.series import at_entry, reads_entry
from mdsl.model.nodes import Number, Read, transform

RANGES = """dim 2
species S, T
param s[species, species] = { S-S: 1.0, S-T: 0.9, T-T: 0.8 }
param c[k in 1..3] = 0.5*k
data q[atoms]
quantity G[i, k] = sum(j != i) (if r < 1.9*s[i, j] then c[k]*s[i, j]^k*(1.9 - r)^2/k + q[j]*s[i, j] else 0)
  where r = |x[i] - x[j]|
energy U = sum(i) (G[i, 1] + G[i, 3]^2)
energy V = sum(i < j) q[i]*q[j]*s[i, j]*sqrt(2)*exp(-s[i, j]*2*|x[i] - x[j]|)*c[2]"""


def kernels(now):
    """The expressions of pairs and of triples of a Field: with the range, and the atoms, over which they are."""
    for value in now.field.values:
        if value.domain is not None:
            yield value.axis, value.binders, [value.summand]
    for term in now.terms:
        if len(term.binders) > 1:
            gradients = [e for g in term.gradients for e in (g.radial, *(g.direct or ())) if e is not None]
            slopes = [e for _, e in (*term.slopes, *term.partials, *term.data)]
            yield term.axis, term.binders, [term.summand, *gradients, *slopes]


def alike(now, before, after, rows):
    """Both in the same rows."""
    with np.errstate(all="ignore"):
        a, b = (now.value(e, rows()) for e in (before, after))
    np.testing.assert_allclose(b, a, rtol=1e-11, atol=1e-12 * np.nanmax(np.abs(a)))


PAIRS = ["species table", "params of params", "a density", "the volume", "species compared", "entries and masses"]
TRIPLES = ["three bodies", "quantities of three bodies", "flat quantities"]
OWN = Case(RANGES, jumbled(8, 2, species=np.arange(8) % 2, params={"q": np.linspace(0.5, 1.3, 8)}))
SOME = {name: CASES[name] for name in PAIRS} | {"ranges and species": OWN}


@pytest.mark.parametrize("name", SOME)
def test_what_pairs_share(name):
    """Numbers of the program are computed without any atom, tables with one atom of each species."""
    (_, field), system = models(SOME[name], Path()), SOME[name].system
    now, count = FieldOfAtoms(field, system), max(1, len(field.model.species))
    hoisted = {}
    for axis, binders, exprs in kernels(now):
        if len(binders) != 2:
            continue
        hoist = hoisted.setdefault(axis, Hoisted(field.model))
        for expr in exprs:
            lifted = hoist.lift(expr, binders)
            reads = {**{r: e for e, r in hoist.scalars.items()}, **{r: e for e, r in hoist.tables.items()}}
            assert len({r.symbol for r in reads}) == len(reads)
            assert not any(reads_entry(e) for e in hoist.tables)

            for k, before in enumerate(at_entry(expr, axis)):
                known = {}
                for read, part in reads.items():
                    part = at_entry(part, axis)[k]
                    table = pair_constant(field.model, _once(now, part), read.indices or ("i", "j"))
                    known[read.symbol] = table if read.indices else table[:1, :1]
                after = at_entry(lifted, axis)[k]
                i, j = _pairs(len(system.x))
                names = dict(zip(binders, (i, j))) | now.names
                species = system.species if count > 1 else 0 * system.species
                of = dict(zip(binders, (species[i], species[j])))
                # A table is read at the species of its atoms.
                named = {}

                def rule(node, known=known, of=of, named=named):
                    if isinstance(node, Read) and node.symbol in known:
                        table = known[node.symbol]
                        value = table[tuple(of[b] for b in node.indices)] if node.indices else table[0]
                        named[f"{node}"] = value
                        return Read(f"{node}", type=node.type)
                    return node

                after = transform(after, rule)
                alike(now, before, after, lambda: Rows(len(i), names | named))
    assert any(h.scalars or h.tables for h in hoisted.values())


def _once(now, part):
    """What stands for one number for all in a part, such as a sum or the volume, as that number."""

    def rule(node):
        if isinstance(node, Read) and not node.indices and (node.symbol in now.names or node.symbol in ("volume", "N")):
            return Number(float(now.value(node, Rows(1, now.names))[0]), type=node.type)
        return node

    return transform(part, rule)


def _pairs(n):
    i, j = np.triu_indices(n, 1)
    return np.concatenate([i, j]), np.concatenate([j, i])


@pytest.mark.parametrize("name", TRIPLES)
def test_what_legs_share(name):
    """A part of one leg is computed of the centre and that end alone."""
    (_, field), system = models(CASES[name], Path()), CASES[name].system
    now, shared = FieldOfAtoms(field, system), 0
    n = len(system.x)
    for _, binders, exprs in kernels(now):
        if len(binders) != 3:
            continue
        legs = LegValues()
        lifted = [legs.lift(e, binders) for e in exprs]
        shared += len(legs.parts)
        i, j = (a.ravel() for a in np.indices((n, n)))
        with np.errstate(all="ignore"):
            of = {
                k: now.value(e, Rows(n * n, {CENTRE: i, END: j} | now.names)).reshape(n, n)
                for k, e in legs.parts.items()
            }
        centre, first, second = (a.ravel() for a in np.indices((n, n, n)))
        keep = (first < second) & (first != centre) & (second != centre)
        atoms = dict(zip(binders, (centre[keep], first[keep], second[keep])))
        for before, after in zip(exprs, lifted):
            named = {}

            def rule(node, of=of, atoms=atoms, named=named, binders=binders):
                if isinstance(node, Read) and node.symbol in of:
                    named[f"{node}"] = of[node.symbol][atoms[binders[0]], atoms[node.indices[0]]]
                    return Read(f"{node}", type=node.type)
                return node

            after = transform(after, rule)
            alike(now, before, after, lambda: Rows(keep.sum(), atoms | now.names | named))
    assert shared >= 2

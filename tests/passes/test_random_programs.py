"""Random valid programs compile, and mean what the interpreter says: energy, forces, virial, derivatives, a few steps.

`MDSL_RANDOM=1000:2000 pytest -m exhaustive tests/passes/test_random_programs.py` tries other seeds.
"""

import os
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import random_programs as random
from random_atoms import atoms
from random_checks import check, expected, found, model_of, same

import mdsl
from mdsl.grammar import tree
from mdsl.grammar.parse import parse
from mdsl.grammar.source import Source
from mdsl.model.domains import KINDS, blank
from mdsl.report.dump import STAGES, dump

FAULTS = sorted((Path(__file__).parents[1] / "data" / "random").glob("*.mdsl"))
QUICK = (17, 44, 67, 76, 95, 98, 109)
MANY = range(*map(int, os.environ.get("MDSL_RANDOM", "0:300").split(":")))
NOT_GROWN = {"Range"}  # it stands in domains alone


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("random")
    (place / random.TABLE).write_text(random.table())
    return place


@pytest.mark.parametrize("seed", QUICK)
def test_random_programs(seed, folder):
    check(random.grown(seed), folder)


@pytest.mark.exhaustive
@pytest.mark.parametrize("seed", [s for s in MANY if s not in QUICK])
def test_many_random_programs(seed, folder):
    check(random.grown(seed), folder)


def test_programs_are_grown_of_all_expressions():
    """Every kind of expression and domain of the grammar, and every function of numbers, is in some program."""
    kinds, names = set(), set()

    def visit(node):
        kinds.add(node.form if isinstance(node, tree.Domain) else type(node).__name__)
        names.update({node.id} if isinstance(node, tree.Name) else ())
        for part in fields(node):
            value = getattr(node, part.name)
            for item in value if isinstance(value, tuple) else (value,):
                for one in item if isinstance(item, tuple) else (item,):
                    if isinstance(one, tree.Node):
                        visit(one)

    for seed in range(150):
        visit(parse(Source("random", random.grown(seed).text)))
    every = {k.__name__ for k in tree.Expr.__subclasses__()} | {tree.NOT_IN} | {blank(k.form) for k in KINDS}
    assert not every - kinds - NOT_GROWN
    wanted = {"sin", "acos", "asin", "atan2", "erfc", "floor", "round", "min", "max", "abs", "log", "sqrt", "exp", "D"}
    assert not (wanted | {"integral", "switched", "angle", "dihedral", "kinetic", "potential"}) - names


def test_a_seed_is_a_program():
    assert random.grown(7).text == random.grown(7).text != random.grown(9).text


@pytest.mark.parametrize("path", FAULTS, ids=lambda p: p.stem)
def test_programs_that_were_faults(path, folder):
    """Each once ended in an exception of Python."""
    program = mdsl.compile(path.read_text(), folder)
    assert program.explain()
    assert all(dump(program.compiled, stage) for stage in STAGES)


@pytest.mark.slow
@pytest.mark.parametrize("path", FAULTS, ids=lambda p: p.stem)
def test_programs_that_were_faults_mean_what_they_say(path, folder):
    text = path.read_text()
    program = mdsl.compile(text, folder)
    model = program.model
    rng = np.random.default_rng(len(text))
    data = [p.name for p in model.data]
    system = atoms(rng, model.dim, "edges", len(model.species), bool(model.topologies), data)
    values = {name: system.params[name] for name in data}
    grown = random.Grown(0, text, system, np.diag(system.cell), values, ())
    bound = program.bind(
        system.x,
        box=grown.box,
        masses=system.masses,
        data=values or None,
        species=system.species,
        topologies={n: t for n, t in system.topologies.items() if n in dict(model.topologies)} or None,
    )
    along = rng.normal(size=system.x.shape)
    same(expected(model_of(text, folder), grown, program, along), found(bound, program, along))

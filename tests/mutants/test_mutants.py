"""The list of wrong compilers stays one of what the compiler is now. `run.py` beside this tries them out."""

import ast
from collections import Counter

import pytest
from mutants import ROOT, mutants

ALL = mutants()
RULES = {"support", "bounds", "differentiate", "exchange", "hoist", "guard", "step", "derivation"}


@pytest.mark.parametrize("mutant", ALL, ids=str)
def test_a_mutant_changes_what_stands_once(mutant):
    right = mutant.path.read_text()
    assert ast.dump(ast.parse(mutant.applied(right))) != ast.dump(ast.parse(right)), "it changes nothing"
    for test in mutant.tests:
        assert (ROOT / test.partition("::")[0]).exists()


def test_every_rule_has_its_mutants():
    count = Counter(m.rule for m in ALL)
    assert set(count) == RULES and min(count.values()) >= 8
    assert max(Counter(map(str, ALL)).values()) == 1 and len(ALL) >= 60

"""`--set` gives parameters other values: expressions that may read the others."""

from pathlib import Path

import numpy as np
import pytest

from mdsl.command.options import settings
from mdsl.command.settings import with_settings
from mdsl.compiler import compile_source
from mdsl.grammar.diagnostics import Rejected
from mdsl.grammar.source import Source
from mdsl.interpret.meaning import defaults

PROGRAM = """use units.real
species A, B
param sigma[species] = { A: 3.0 [angstrom], B: 3.5 [angstrom] }
param epsilon = 0.2 [kcal/mol]
param depth   = 2*epsilon
const rc      = 9 [angstrom]
energy U = sum(i < j) if r < rc then depth*(1 - r/rc)^2*(sigma[i] + sigma[j])/rc else 0 where r = |x[i] - x[j]|
"""


def given(*texts):
    model = compile_source(Source("a.mdsl", PROGRAM), Path.cwd()).model
    return defaults(with_settings(model, settings(list(texts))))


def test_what_is_set_may_read_other_parameters():
    plain = defaults(compile_source(Source("a.mdsl", PROGRAM), Path.cwd()).model)
    found = given("depth=epsilon/4", "epsilon=0.4 [kcal/mol]", "rc=3*sigma[B]")
    np.testing.assert_allclose(found["depth"], plain["epsilon"] / 2)  # it follows the other setting
    np.testing.assert_allclose(found["rc"], 3 * plain["sigma"][1])
    np.testing.assert_allclose(given("epsilon=0.1 [kcal/mol]")["depth"], plain["epsilon"])


def test_settings_that_need_each_other_are_refused():
    with pytest.raises(Rejected, match="`epsilon` needs `depth` needs `epsilon`"):
        given("epsilon=depth/3")

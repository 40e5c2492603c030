"""The names that the compiler gives: keys among strings, which no program can spell, and which stay what they are."""

import copy
import pickle

import pytest

from mdsl.lowering.field import names
from mdsl.lowering.field.names import AdjointOf, EndsOf, EntryOf, SumOf, Symbol

NAMES = [Symbol("t"), *(kind(3, 0) for kind in Symbol.__subclasses__()), AdjointOf(SumOf(2)), EndsOf(AdjointOf("rho"))]


@pytest.mark.parametrize("name", NAMES, ids=str)
def test_a_name_is_no_word_of_a_program_and_survives_copies(name):
    assert not str(name).isidentifier()
    for same in (copy.deepcopy(name), pickle.loads(pickle.dumps(name))):
        assert type(same) is type(name) and same == name and same.parts == name.parts


def test_names_are_put_in_order_among_strings_and_different_ones_differ():
    assert len({*NAMES, *(kind(4, 0) for kind in Symbol.__subclasses__())}) == len(NAMES) + len(Symbol.__subclasses__())
    assert sorted(["x", *NAMES]) == sorted(map(str, ["x", *NAMES]))
    assert {kind.__name__ for kind in Symbol.__subclasses__()} == {
        n
        for n, kind in vars(names).items()
        if isinstance(kind, type) and issubclass(kind, Symbol) and kind is not Symbol
    }
    assert str(AdjointOf(SumOf(2))) == "~#2" and str(EntryOf("rho", 3)) == "rho 3"

"""Every domain of sums that the Field may hold has a file that says what sums over it add up to."""

import inspect

import pytest

from mdsl.lowering.traversals import domains as traversed
from mdsl.model import domains

KINDS = {*domains.KINDS, domains.Whole} - {domains.Over}  # which no program writes; which `inline` writes out


def test_every_domain_has_its_sums():
    assert traversed.OVER.keys() - {None} == KINDS
    assert len(traversed.OVER) == sum(len(sums.OVER) for sums in traversed.DOMAINS), "two files for one domain"


@pytest.mark.parametrize("kind", sorted(KINDS, key=str))
def test_sums_have_all_that_is_asked_of_them(kind):
    sums = traversed.OVER[kind]
    asked = {name for name in vars(traversed.Sums) if not name.startswith("_")} | set(traversed.Sums.__annotations__)
    assert asked == {"OVER", "BY_ROWS", "values", "totals", "partials", "weighted", "histogram", "suspects"}
    for name in asked - {"OVER", "BY_ROWS", "histogram", "suspects"}:
        right = inspect.signature(getattr(traversed.Sums, name)).parameters
        assert list(inspect.signature(getattr(sums, name)).parameters) == list(right)[1:], name
    assert isinstance(sums.BY_ROWS, bool) and (sums.histogram is not None) == kind.counted


def test_sums_are_parted_by_their_domains():
    class Sum:
        def __init__(self, domain):
            self.domain = domain

    pair, other, single, alone = map(
        Sum, (domains.Pairs(("i", "j")), domains.Others(("j",), "i"), domains.Each(("i",)), None)
    )
    found = list(traversed.parted([single, pair], (alone, other)))
    assert [(domain.__name__.rpartition(".")[2], *groups) for domain, *groups in found] == [
        ("pairs", (pair,), (other,)),
        ("each", (single,), (alone,)),
    ]

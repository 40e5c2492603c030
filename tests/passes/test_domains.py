"""What a program writes as the domain of a sum is what it becomes, and what a domain says of itself."""

import pytest

import mdsl
from mdsl.model.domains import Around, Centred, Domain, Each, Members, Others, Over, Pairs, Partners, Triples, Whole
from mdsl.model.nodes import Reduce, walk

HEAD = "use units.lj\ntopology bonds(i, j)\ntopology angles(i, j, k)\n"
WRITTEN = {
    "i": Each(("i",)),
    "i < j": Pairs(("i", "j")),
    "i < j, not in bonds, not in angles": Pairs(("i", "j"), ("bonds", "angles")),
    "j != c": Others(("j",), "c"),
    "j != c, not in bonds": Others(("j",), "c", ("bonds",)),
    "i; j < k": Triples(("i", "j", "k")),
    "c; j < k": Around(("j", "k"), "c"),
    "(i, j) in bonds": Members(("i", "j"), "bonds"),
    "j in bonds[c]": Partners(("j",), "bonds", "c"),
    "(i, j, k) in angles": Members(("i", "j", "k"), "angles"),
}


@pytest.mark.parametrize("text", WRITTEN)
def test_a_domain_is_what_is_written(text):
    domain = WRITTEN[text]
    centred = isinstance(domain, Centred)
    written = text.replace("not in", f"({', '.join(domain.atoms[:: -1 if centred else 1])}) not in")
    name, head = ("q", "energy U = sum(i) q[i]\nquantity q[c]") if centred else ("U", "energy U")
    model = mdsl.compile(f"{HEAD}{head} = sum({written}) 1.0\n").model
    (found,) = {n.domain for n in walk(model.equation(name).body) if isinstance(n, Reduce)}
    assert found == domain and str(domain) == text


@pytest.mark.parametrize("domain", WRITTEN.values(), ids=WRITTEN)
def test_what_a_domain_says_of_itself(domain):
    names = {name: name.upper() for name in domain.atoms}
    assert domain.renamed(names).atoms == tuple(map(str.upper, domain.atoms)) and domain.renamed({}) == domain
    if hasattr(domain, "around"):
        assert domain.around.everywhere == domain and domain.around.atoms == domain.atoms
        assert domain.around.centre == domain.atoms[0] and not isinstance(domain, Centred)
    if hasattr(domain, "everywhere"):
        assert domain.everywhere.atoms == domain.atoms and getattr(domain.everywhere, "around", domain) == domain
    assert domain.reaches == isinstance(domain, Pairs | Others | Triples | Around)


def test_every_kind_of_domain_is_here():
    kinds, pending = set(), [Domain]
    while pending:
        more = pending.pop().__subclasses__()
        kinds |= {k for k in more if not k.__subclasses__()}
        pending += more
    assert kinds == {type(d) for d in WRITTEN.values()} | {Over, Whole}  # which no program writes

"""What mdsl needs of JAX beyond its public functions: in one module, each found on this JAX, with a way on where one
goes."""

import ast
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mdsl
from mdsl.lowering import jax_internals as internals
from mdsl.lowering import jax_version
from mdsl.lowering.traversals.pair_sum import pair_sum

ROOT = Path(__file__).parents[2]
PRIVATE = ("jax._src", "jax.core", "jax.extend", "jax.interpreters", "jax.custom_derivatives", "jaxlib")
TRACER = "jax.core.Tracer"  # public, and read in one place

NEEDED = {
    "ShapedArray": "operations say the types of their results",
    "Primitive": "sums over pairs, and records without a derivative, are operations with rules of their own",
    "Jaxpr": "the kernel of a sum over pairs is kept as data",
    "JaxprEqn": "each operation of a kernel has a parity",
    "Literal": "numbers written into a kernel are no inputs",
    "eval_jaxpr": "kernels, and their operations one by one, are computed",
    "dce_jaxpr": "a derived kernel is freed of what it does not use, and its sum of the arrays that only this read",
    "Zero": "a tangent that is known to be 0 asks for no second sum",
    "SymbolicZero": "whether JAX has a derivative of what decides a count",
    "is_undefined_primal": "a transpose is taken by some operands only, and the others are numbers",
    "primitive_jvps": "the rule of an operation in forward mode",
    "primitive_transposes": "the rule of an operation in reverse mode",
    "primitive_batchers": "the rule of an operation under `vmap`",
    "register_lowering": "the rule by which an operation is compiled",
    "lower_fun": "operations are compiled as the functions of JAX that they are",
}


def _modules():
    for folder in ("grammar", "mdsl", "lowering", "stdlib"):
        yield from (ROOT / folder).rglob("*.py")


def _private_names(tree):
    """Dotted names of JAX's private modules that a module imports or reads."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Attribute):
            names = [ast.unparse(node)]
        else:
            continue
        for name in names:
            if any(name == p or name.startswith(f"{p}.") for p in PRIVATE):
                yield name


def test_private_parts_of_jax_are_in_one_module():
    found = {}
    for path in _modules():
        names = set(_private_names(ast.parse(path.read_text()))) - {TRACER, "jax.core"}
        if names:
            found[path.relative_to(ROOT).as_posix()] = names
    assert set(found) == {"lowering/jax_internals.py"}
    reads = [p for p in _modules() if TRACER in set(_private_names(ast.parse(p.read_text())))]
    assert [p.name for p in reads] == ["tracing.py"]


def test_a_private_part_would_be_seen():
    text = (
        "import jax\nfrom jax.interpreters import ad\ndef f(v):\n    from jax._src import core\n    return "
        "jax.core.Jaxpr"
    )
    assert set(_private_names(ast.parse(text))) >= {"jax.interpreters.ad", "jax._src.core", "jax.core.Jaxpr"}


def test_each_part_has_its_reason():
    assert {name: part.why for name, part in internals.PARTS.items()} == NEEDED


@pytest.mark.parametrize("name", NEEDED)
def test_each_part_is_where_it_is_looked_for_first(name):
    """On the releases that were tested the first place is right; a newer one may need the others."""
    found = internals.find(name)
    if jax.__version__ in jax_version.TESTED:
        module, _, attribute = internals.PARTS[name].places[0].partition(":")
        assert getattr(internals.import_module(module), attribute) is found


@pytest.mark.parametrize("name", sorted(set(NEEDED) - set(internals.STAND_INS)))
def test_a_part_that_has_gone_is_named(name, monkeypatch):
    gone = internals.Part("what it was for", ("jax.extend.core:Gone", "jax.no_such_module:Gone"))
    monkeypatch.setitem(internals.PARTS, name, gone)
    with pytest.raises(mdsl.Rejected) as caught:
        internals.find(name)
    (told,) = caught.value.diagnostics
    assert told.id == "unsupported-jax" and f"`{name}`" in told.message and jax.__version__ in told.message
    assert "what it was for" in told.notes[0] and jax_version.TESTED[-1] in told.help


def test_a_part_that_has_moved_is_found(monkeypatch):
    real = internals.find("Primitive")
    moved = internals.Part(
        "", ("jax.extend.core:Gone", "jax.no_such_module:Primitive", internals.PARTS["Primitive"].places[0])
    )
    monkeypatch.setitem(internals.PARTS, "Primitive", moved)
    assert internals.find("Primitive") is real


# -- the stand-ins ---------------------------------------------------------------------------------------


def _without(monkeypatch, *names):
    for name in names:
        monkeypatch.setitem(internals.PARTS, name, internals.Part("", ("jax.core:Gone",)))
        assert internals.find(name) is getattr(internals, internals.STAND_INS[name])
    monkeypatch.setattr(internals, "_eval", internals.find("eval_jaxpr"))
    monkeypatch.setattr(internals, "_dce", internals.find("dce_jaxpr"))


SLOTS = np.array([[1, 0, 0, 3], [2, 1, 2, 3]])  # of four atoms: the pairs 0-1 and 0-2; their own index is padding


def _energy(x, k):
    def body(own, other, valid):
        r2 = (own["x"] - other["x"]) ** 2
        return {"e": jnp.where(valid, k * jax.jit(jnp.sin)(r2), 0.0), "unused": jnp.where(valid, own["y"], 0.0)}

    found = pair_sum(body, jnp.asarray(SLOTS), {"x": x, "y": x}, {"e": jnp.zeros(4), "unused": jnp.zeros(4)})
    return jnp.sum(found["e"]) / 2


def _by_hand(x, k):
    """Of the pairs 0-1 and 0-2: the energy, and its derivatives by x and k."""
    d = np.array([x[0] - x[1], x[0] - x[2]])
    slope = 2 * k * d * np.cos(d**2)
    return k * np.sin(d**2).sum(), np.array([slope.sum(), -slope[0], -slope[1], 0.0]), np.sin(d**2).sum()


@pytest.mark.parametrize("names", [("eval_jaxpr",), ("dce_jaxpr",), ("eval_jaxpr", "dce_jaxpr"), ()])
def test_sums_over_pairs_with_the_stand_ins(names, monkeypatch):
    _without(monkeypatch, *names)
    x, k = np.array([0.3, 1.1, -0.4, 2.0]), 1.7
    energy, by_x, by_k = _by_hand(x, k)
    assert float(_energy(x, k)) == pytest.approx(energy, rel=1e-14)
    found = jax.grad(_energy, (0, 1))(x, k)
    np.testing.assert_allclose(found[0], by_x, rtol=1e-13)
    np.testing.assert_allclose(found[1], by_k, rtol=1e-13)
    many = jax.vmap(jax.grad(_energy), in_axes=(0, None))(np.stack([x, 2 * x]), k)
    np.testing.assert_allclose(many, [by_x, _by_hand(2 * x, k)[1]], rtol=1e-13)
    h = 1e-5
    bent = jax.jvp(jax.grad(_energy), (x, k), (np.ones(4) * [1, 0, 2, 0], 0.0))[1]
    step = h * np.array([1, 0, 2, 0])
    np.testing.assert_allclose(bent, (_by_hand(x + step, k)[1] - _by_hand(x - step, k)[1]) / (2 * h), rtol=1e-8)


def test_what_is_pruned():
    def kernel(a, b, c):
        jnp.exp(c)  # of no use
        return a * 2.0, b + 1.0

    number = jax.ShapeDtypeStruct((), float)
    jaxpr, _ = internals.traced(kernel, number, number, number)
    left, used = internals.pruned_here(jaxpr, [True, False], [False, False, False])
    assert used == [True, False, False] and [e.primitive.name for e in left.eqns] == ["mul"]
    assert internals.evaluated_here(left, (), 3.0) == [6.0]
    assert internals.pruned_here(jaxpr, [True, True], [False, False, True])[1] == [True, True, True]

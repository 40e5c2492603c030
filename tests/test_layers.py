"""Who may import whom. Each room of this list imports those before it, and itself; what a function imports counts too.

docs/architecture.md tells what is decided in each room.
"""

import ast
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
WITHOUT_JAX = (
    "grammar",
    "mdsl.model",
    "mdsl.symbolic",
    "mdsl.interpret",
    "mdsl.files",
    "mdsl.statistics",
    "mdsl.resolve",
    "mdsl.printing",
    "mdsl.passes",
    "lowering.field",
    "lowering.planning",
    "mdsl.compiler",
    "mdsl.start",
    "mdsl.report",
    "mdsl.plots",
)
WITH_JAX = (
    "lowering.jax_version",
    "lowering.tracing",
    "lowering.jax_internals",
    "lowering.arrays",
    "lowering.native",
    "lowering.geometry",
    "lowering.neighbours",
    "lowering.kernels",
    "lowering.traversals",
    "lowering.potential",
    "lowering.dynamics",
    "lowering.run",
    "mdsl.export",
    "mdsl.api",
    "mdsl.command",
)
LAYERS = WITHOUT_JAX + WITH_JAX
FACES = ("mdsl", "mdsl.__main__", "mdsl.space", "grammar", "lowering")  # of the package, which may import anything
MOST_MODULES = 21  # of a room, with the page that says what it is


def name(path):
    """The module of a file by its place in the repository: `grammar.tree`, `mdsl.model.nodes`."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name(p): p for folder in ("grammar", "mdsl", "lowering") for p in sorted((ROOT / folder).rglob("*.py"))}


def placed(imported):
    """The module of the repository that an import names, or None: `mdsl.grammar.tree.Node` is of `grammar.tree`."""
    if imported != "mdsl" and not imported.startswith("mdsl."):
        return None
    if imported.startswith(("mdsl.grammar", "mdsl.lowering")):
        imported = imported.removeprefix("mdsl.")
    target = imported if imported in MODULES else imported.rpartition(".")[0]
    assert target in MODULES, f"there is no {imported}"
    return target


@cache
def imports(module, *, at_once=False):
    """What a module imports, by full names; ``at_once``: only what is imported when the module is."""
    path = MODULES[module]
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    package = package if package.startswith("mdsl") else f"mdsl.{package}"
    found = []

    def visit(node):
        if at_once and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            return
        if at_once and isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            return
        if isinstance(node, ast.Import):
            found.extend(a.name for a in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package.split(".")[: len(package.split(".")) - node.level + 1]) if node.level else ""
            base = ".".join(part for part in (base, node.module) if part)
            found.extend(f"{base}.{a.name}" for a in node.names)
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(ast.parse(path.read_text(encoding="utf-8")))
    return tuple(found)


def layer(module):
    return next((k for k, room in enumerate(LAYERS) if module == room or module.startswith(f"{room}.")), None)


@pytest.mark.parametrize("module", [m for m in MODULES if m not in FACES])
def test_imports_go_down(module):
    own = layer(module)
    assert own is not None, "every module has a room"
    for imported in imports(module):
        if imported.split(".")[0] in ("jax", "jaxlib"):
            assert own >= len(WITHOUT_JAX), f"{imported}: nothing below lowering/geometry knows JAX"
        target = placed(imported)
        if target is not None and target not in FACES:
            assert layer(target) <= own, f"{imported} is above"
        assert target not in ("mdsl", "mdsl.space") or own >= layer("mdsl.api") or imported == "mdsl.__version__"


def test_no_cycle():
    """Among what is imported at once: what is imported by functions, or for types alone, may look back within a
    room."""
    graph = {m: {t for i in imports(m, at_once=True) if (t := placed(i)) and t != m} for m in MODULES}
    tuple(TopologicalSorter(graph).static_order())  # raises CycleError


def test_rooms_are_small():
    folders = {p.parent for p in MODULES.values()}
    assert {str(f): n for f in folders if (n := len(list(f.glob("*.py")))) > MOST_MODULES} == {}


def test_rooms_say_what_is_decided_in_them():
    """And have no code at their doors, which would be imported with whatever lies behind."""
    for module, path in MODULES.items():
        if path.name == "__init__.py" and module not in ("mdsl", "lowering"):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            assert ast.get_docstring(tree) and len(tree.body) == 1, module


def test_every_room_is_installed():
    """In a wheel there is what pyproject.toml lists."""
    import tomllib

    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    rooms = {m if m.startswith("mdsl") else f"mdsl.{m}" for m, p in MODULES.items() if p.name == "__init__.py"}
    assert set(listed) == rooms | {"mdsl.docs", "mdsl.stdlib", "mdsl.stdlib.units"}

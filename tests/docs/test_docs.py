"""README.md and docs/language.md say what is so.

Every fenced block ```mdsl is compiled. A block that is no whole program is completed by what it lacks of: `use
units.lj`, `use pair`, `use integrators (...)`, an energy. ```mdsl error=ID must be refused with that diagnostic;
```mdsl file=NAME is a file beside the programs of its page. ```python blocks of the README are run in order, and
tables between `<!-- name -->` and `<!-- end -->` are those that the code makes.
"""

import dataclasses
import re
import subprocess
import sys
from pathlib import Path

import pytest

import mdsl
from mdsl.grammar import tree
from mdsl.grammar.parse import _parser, parse
from mdsl.grammar.source import Source
from mdsl.model import domains
from mdsl.model.operators import BUILTINS
from mdsl.resolve.builders import BUILDERS
from mdsl.resolve.modules import library_modules, library_source
from mdsl.resolve.readers import READERS

ROOT = Path(__file__).parents[2]
PAGES = ("README.md", "docs/language.md", "docs/architecture.md")
FENCE = re.compile(r"^```(\w*)([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMPLETION = (
    (r"^\s*use units\b", "use units.lj\n"),
    (r"^\s*use pair\b", "use pair\n"),
    (r"^\s*use integrators\b", "use integrators (velocity_verlet, baoab, brownian)\n"),
)


@dataclasses.dataclass(frozen=True)
class Block:
    page: str
    line: int
    language: str
    options: dict[str, str]
    text: str

    def __str__(self) -> str:
        return f"{Path(self.page).name}:{self.line}"


def blocks(language: str) -> list[Block]:
    found = []
    for page in PAGES:
        text = (ROOT / page).read_text(encoding="utf-8")
        for match in FENCE.finditer(text):
            if match[1] == language:
                options = dict(word.split("=", 1) for word in match[2].split())
                found.append(Block(page, text.count("\n", 0, match.start()) + 2, match[1], options, match[3]))
    return found


PROGRAMS = [b for b in blocks("mdsl") if "file" not in b.options]


def completed(text: str) -> str:
    """The block with what it lacks to be a program. Fragments in other unit systems give their own energy."""
    before = "".join(line for pattern, line in COMPLETION if not re.search(pattern, text, re.MULTILINE))
    has_energy = re.search(r"^\s*energy\b", text, re.MULTILINE)
    return before + text + ("" if has_energy else "energy U_ = sum(i < j) wca(1.0, 1.0)(|x[i] - x[j]|)\n")


@pytest.fixture
def folder(tmp_path):
    """The files that the pages show."""
    for block in (*blocks("mdsl"), *blocks("text")):
        if "file" in block.options:
            path = tmp_path / block.options["file"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text, encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("block", PROGRAMS, ids=str)
def test_block(block, folder):
    text = completed(block.text)
    if "error" not in block.options:
        mdsl.compile(text, folder)
        return
    with pytest.raises(mdsl.Rejected) as caught:
        mdsl.compile(text, folder)
    ids = {d.id for d in caught.value.diagnostics}
    assert ids == {block.options["error"]}, str(caught.value)


def test_the_unit_system_of_the_page(folder):
    text = "use units.nano use pair energy U = sum(i < j) wca(0.3 [nm], 1.0 [kJ/mol])(|x[i] - x[j]|)"
    assert "nm" in mdsl.compile(text, folder).explain()


def _nodes(node):
    yield node
    for field in dataclasses.fields(node):
        value = getattr(node, field.name)
        for item in _flat(value):
            yield from _nodes(item)


def _flat(value):
    if isinstance(value, tree.Node):
        yield value
    elif isinstance(value, tuple):
        for item in value:
            yield from _flat(item)


def test_every_construct_has_an_example():
    """Each node of the syntax tree, in each of its kinds, stands in some block of the reference."""
    seen = set()
    for block in blocks("mdsl"):
        if block.page == "docs/language.md" and block.options.get("error") not in (
            "reserved-name",
            "chained-comparison",
        ):
            for node in _nodes(parse(Source(str(block), block.text))):
                seen.add(type(node).__name__)
                seen.update(
                    {(type(node).__name__, getattr(node, a)) for a in ("op", "kind", "form") if hasattr(node, a)}
                )
    abstract = {"Node", "Expr", "Domain", "Statement"}
    wanted = {name for name, c in vars(tree).items() if isinstance(c, type) and issubclass(c, tree.Node)} - abstract
    wanted |= {("Binary", op) for op in ("+", "-", "*", "/", "^", "·", "==", "<", "<=", ">", ">=", "and", "or")}
    wanted |= {
        ("Unary", "-"),
        ("Unary", "not"),
        ("Update", "="),
        ("Update", "+="),
    }
    forms = [c.form for c in vars(domains).values() if isinstance(c, type) and hasattr(c, "form")]
    wanted |= {("Domain", domains.blank(form)) for form in forms} | {("Domain", tree.NOT_IN)}
    wanted |= {("Declaration", k) for k in ("const", "param", "state")} | {
        ("Equation", k) for k in ("energy", "quantity", "observe")
    }
    wanted |= {("Integrator", k) for k in ("integrator", "minimizer")}
    missing = {w for w in wanted if w not in seen} - {"Tuple"}
    assert not missing


def test_reserved_words():
    text = (ROOT / "docs/language.md").read_text(encoding="utf-8")
    listed = re.findall(r"`(\w+)`", "".join(line for line in text.splitlines() if line.startswith("> ")))
    assert listed == sorted(_parser()[1].words)


def between(name: str) -> list[str]:
    text = (ROOT / "docs/language.md").read_text(encoding="utf-8")
    return re.search(rf"<!-- {name} -->\n(.*?)\n<!-- end -->", text, re.DOTALL)[1].splitlines()[2:]


def test_table_of_builtins():
    rows = [f"| `{name}{'[i]' if b.per_atom else ''}` | {b.kind} | {b.meaning} |" for name, b in BUILTINS.items()]
    assert between("builtins") == rows


def test_table_of_builders():
    rows = []
    for name, builder in BUILDERS.items():
        options = ", ".join(o.name if o.required else f"[{o.name}]" for o in builder.options)
        rows.append(f"| `{builder.target} {builder.op} {name}({options})` | {builder.meaning} |")
    assert between("builders") == rows


def test_table_of_readers():
    assert between("readers") == [
        f"| `{name}` | {reader.meaning} | `{reader.example}` |" for name, reader in READERS.items()
    ]


def test_table_of_the_library():
    rows, units = [], []
    for module in library_modules():
        if module.startswith("units."):
            units.append(f"`{module}`")
        elif module != "prelude":
            declared = [s.name.id for s in parse(library_source(module)).statements if hasattr(s, "name")]
            rows.append(f"| `{module}` | {', '.join(f'`{name}`' for name in declared)} |")
    assert between("library") == [*rows, f"| {', '.join(units)} | |"]


# -- the README ------------------------------------------------------------------------------------------


def test_the_program_of_the_readme_is_the_example():
    assert (ROOT / "examples/lj_melt.mdsl").read_text(encoding="utf-8") in [b.text for b in blocks("mdsl")]


def test_what_explain_says():
    """Each line of the README's `mdsl explain` stands in what it says now, in this order; dots leave lines out."""
    shown = next(b.text for b in blocks("text") if "support " in b.text)
    said = iter(mdsl.load(ROOT / "examples/lj_melt.mdsl").explain().splitlines())
    for line in shown.splitlines():
        if line.strip() not in ("", "...") and not line.endswith(".mdsl"):
            assert line in said, line


def test_what_an_error_looks_like(tmp_path):
    """The diagnostics that the README shows are those of the program before them."""
    (program,) = [b for b in blocks("mdsl") if b.page == "README.md" and "error" in b.options]
    shown = next(b.text for b in blocks("text") if b.text.startswith("error["))
    path = tmp_path / re.search(r"--> ([\w.]+):", shown)[1]
    path.write_text(program.text, encoding="utf-8")
    with pytest.raises(mdsl.Rejected) as caught:
        mdsl.load(path)
    assert str(caught.value).replace(str(path), path.name) == shown.rstrip("\n")


def test_python_of_the_readme(tmp_path):
    code = "\n".join(b.text for b in blocks("python"))
    code = code.replace('"examples/', f'"{ROOT}/examples/')
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_python_of_derivatives(tmp_path):
    """docs/derivatives.md, and what it says of its results."""
    text = (ROOT / "docs/derivatives.md").read_text(encoding="utf-8")
    code = "\n".join(match[3] for match in FENCE.finditer(text) if match[1] == "python")
    code += """
assert jnp.abs(Hv).max() < 1e-9 and frequencies.shape == (324,) and jnp.abs(hessian - hessian.T).max() < 1e-9
assert C11 > C44 > 0 and jnp.abs(by_sigma).max() < 1e-9
assert abs(jax.grad(relaxed_stress)(0.0) - C44) < 1e-6*C44
assert all(jnp.isfinite(v).all() and v.shape == (4,) for v in ensemble.values())
assert slopes.shape == (5,) and jnp.isfinite(slopes).all() and jnp.abs(slopes).max() > 1e-3
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


def test_links():
    """Links to files and to headings of the same page lead somewhere."""
    for page in [*PAGES, "docs/decisions.md", "docs/derivatives.md"]:
        path = ROOT / page
        text = re.sub(FENCE, "", path.read_text(encoding="utf-8"))
        headings = {
            re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in re.findall(r"^#+ (.*)$", text, re.MULTILINE)
        }
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            file, _, anchor = target.partition("#")
            if "://" not in target:
                assert (path.parent / file).exists() if file else anchor in headings, f"{page}: {target}"


def test_ci_runs_the_command_of_the_readme():
    """The README's two commands for a fresh machine are what .ci/run tests."""
    commands = [line for b in blocks("sh") for line in b.text.splitlines() if "-m venv" in line]
    assert len(commands) == 2
    assert commands[1] in (ROOT / ".ci/run").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", ["docs/architecture.md", "docs/decisions.md", "CONTRIBUTING.md"])
def test_files_that_are_named_exist(page):
    text = FENCE.sub("", (ROOT / page).read_text(encoding="utf-8"))
    named = re.findall(r"`((?:grammar|mdsl|lowering|stdlib|tests|docs|examples|benchmarks|\.ci)/[\w./-]*)`", text)
    assert [name for name in named if not (ROOT / name).exists()] == []
    assert named

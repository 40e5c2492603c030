"""Wrong compilers: each is the right one with one rule changed, as someone who writes it might get it wrong.

A file `RULE.toml` for each rule: ``old`` stands once in ``file``, ``new`` in its place gives another program for some
text, ``why`` says what is wrong with it. ``tests`` are those that are tried first.

Not here, since they change nothing that anyone could see: of supports, to go on with a factor that is negative (the
bound is then infinite), or with a bound that reads the distance (refused later); of terms, to forget earlier parts of a
component (there is one), or to refuse a cutoff that reads a sum with other words; of hoisting, to lift constant
exponents (numbers stay); of steps, that `+=` reads its target (what is added to and never read is lost anyway), or to
hold more than the tail reads (slower); of matrices, cofactors in the other order (the sign cancels).
"""

import tomllib
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


@dataclass(frozen=True)
class Mutant:
    rule: str
    name: str
    file: str
    old: str
    new: str
    why: str
    tests: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.rule}: {self.name}"

    @property
    def path(self) -> Path:
        return ROOT / self.file

    def applied(self, text: str) -> str:
        """The text of the file with the fault. Raises ValueError where ``old`` does not stand in it exactly once."""
        if (count := text.count(self.old)) != 1:
            raise ValueError(f"{self}: what it changes stands {count} times in {self.file}")
        return text.replace(self.old, self.new)


def mutants() -> list[Mutant]:
    """All of them, by rule."""
    found = []
    for path in sorted(HERE.glob("*.toml")):
        rule = tomllib.loads(path.read_text())
        for given in rule["mutant"]:
            fault = {"file": rule.get("file"), "tests": rule["tests"], **given}
            found.append(Mutant(path.stem, **{**fault, "tests": tuple(fault["tests"])}))
    return found

"""Signatures in comments of the library: the dimension of every parameter, and of the result.

    # Lennard-Jones 1931; minimum -epsilon at 2^(1/6)*sigma
    # (σ: length, ε: energy)(r: length): energy
    def lennard_jones(σ, ε)(r) = 4*ε*((σ/r)^12 - (σ/r)^6)

The last line of the comment above a definition, in the form of the definition. Functions have no dimensions of their
own, so this is documentation; the tests hold it against what the compiler infers. A dimension is a name, `number`, or
a product such as `energy/length^2`; a parameter that is a function says `energy of length`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from mdsl.grammar.source import Source
from mdsl.grammar.tokens import canonical

from .dimensions import NAMED, ONE, Dimension

NAME, LEVEL = r"\w+", r"[\w/*^ -]+"
LINE = re.compile(rf"((?:\((?:{NAME}(?:: {LEVEL})?(?:, {NAME}(?:: {LEVEL})?)*)?\))+)(?:: ({LEVEL}))?")


@dataclass(frozen=True)
class Signature:
    """``groups``: the name and dimension of each parameter, a tuple for each pair of parentheses."""

    groups: tuple[tuple[tuple[str, str], ...], ...]
    result: str

    def __str__(self) -> str:
        shown = "; ".join(
            ", ".join(f"{name}: {kind}" if kind else name for name, kind in group) for group in self.groups if group
        )
        return f"{shown} -> {self.result}" if self.result else shown


def signature(line: str) -> Signature | None:
    """The signature that a line of a comment holds, if it does."""
    match = LINE.fullmatch(line.strip())
    if match is None:
        return None
    groups = []
    for group in re.findall(r"\(([^()]*)\)", match[1]):
        parts = [part.partition(":") for part in group.split(",") if part.strip()]
        groups.append(tuple((str(canonical(name.strip())), kind.strip()) for name, _, kind in parts))
    return Signature(tuple(groups), (match[2] or "").strip())


def definition(source: Source, at: int) -> str | None:
    """The head of the definition of a library's text in which something stands, with the dimensions that its comment
    says."""
    heads = [
        h
        for h in re.finditer(rf"^(?:def|flow|integrator|minimizer) ({NAME})", source.text, re.MULTILINE)
        if h.start() <= at
    ]
    if not heads:
        return None
    line = source.text[: heads[-1].start()].rstrip("\n").rpartition("\n")[2]
    said = signature(line.removeprefix("#")) if line.startswith("#") else None
    if said is None:
        return None
    groups = (
        "(" + ", ".join(f"{name}: {kind}" if kind else name for name, kind in group) + ")" for group in said.groups
    )
    return heads[-1][1] + "".join(groups)


def dimension(text: str) -> Dimension:
    """The dimension that a text such as `energy/length^2` names. Raises KeyError where it names none."""
    names = {**NAMED, "number": ONE, "1": ONE}
    result, sign = ONE, 1
    for part in re.split(r"([*/])", text):
        if part in "*/":
            sign = 1 if part == "*" else -1
        else:
            name, _, power = part.strip().partition("^")
            result *= names[name] ** (sign * int(power or 1))
    return result

"""What `mdsl run` can be told on the command line, checked as far as that is possible without the program."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from mdsl.grammar import tree
from mdsl.grammar.diagnostics import Diagnostic, Rejected
from mdsl.grammar.parse import parse
from mdsl.grammar.source import Source

PRECISIONS = ("single", "mixed", "double")


@dataclass(frozen=True)
class Setting:
    """``--set NAME=VALUE``: ``text`` is an expression of the language, such as ``300 [K]``."""

    name: str
    text: str

    @property
    def declaration(self) -> tree.Declaration:
        """What it means: `param NAME = VALUE`. Its spans point into the option, so that a diagnostic can show it."""
        statements = parse(Source("--set", f"param {self.name} = {self.text}")).statements
        if len(statements) != 1 or not isinstance(statements[0], tree.Declaration):
            raise bad_option(f"--set {self.name}: {self.text!r} is not one value")
        return statements[0]


@dataclass(frozen=True)
class Sweep:
    """``--sweep NAME=START:STOP:COUNT`` or ``NAME=A,B,C``: ``values`` are expressions; with a ``count``, the first and
    the last of so many at equal distances. ``text`` is what was written behind the name."""

    name: str
    text: str
    values: tuple[str, ...]
    count: int | None = None


@dataclass(frozen=True)
class RunOptions:
    """The options of one run; None where the user leaves the choice to the program or to mdsl.

    ``settings`` replace the defaults of parameters, in the order given. ``out`` is the folder to make,
    ``resume`` the folder of a run to go on with; ``params`` a file of parameters. ``externs``: functions of Python that
    the program may call, its name for each and where it is, `module:name`. ``checkpoint``: seconds between checkpoints.
    """

    steps: int | None = None
    seed: int | None = None
    settings: tuple[Setting, ...] = ()
    out: Path | None = None
    overwrite: bool = False
    precision: str | None = None
    platform: str | None = None
    kernels: str | None = None
    threads: int | None = None
    quiet: bool = False
    checkpoint: float | None = None
    resume: Path | None = None
    replicas: int | None = None
    sweeps: tuple[Sweep, ...] = ()
    params: Path | None = None
    externs: tuple[tuple[str, str], ...] = ()


def bad_option(message: str, help: str | None = None) -> Rejected:
    return Rejected(Diagnostic("bad-option", message, help=help))


def setting(text: str) -> Setting:
    """``sigma=3.4 [angstrom]`` as a Setting. Raises Rejected: ``bad-option``, or the syntax error of the value."""
    name, equals, value = (part.strip() for part in text.partition("="))
    if not equals or not name or not value:
        raise bad_option(
            f"--set {text!r} does not give a value",
            help="write --set NAME=VALUE, for example --set 'sigma=3.4 [angstrom]'",
        )
    if not name.isidentifier():
        raise bad_option(f"--set {text!r}: {name!r} is not the name of a parameter")
    return Setting(Setting(name, value).declaration.name.id, value)


def settings(texts: list[str]) -> tuple[Setting, ...]:
    """All ``--set`` options; a parameter may be set once."""
    found = tuple(setting(text) for text in texts)
    names = [s.name for s in found]
    for name in names:
        if names.count(name) > 1:
            raise bad_option(f"--set gives `{name}` twice")
    return found


def sweep(text: str) -> Sweep:
    """``D=0.5:1.0:26`` or ``D=0.5,0.7`` as a Sweep. Raises Rejected: ``bad-option``, or the syntax error of a value."""
    name, _, values = (part.strip() for part in text.partition("="))
    if name.partition("[")[0].isidentifier() and name.endswith("]"):
        raise bad_option(
            f"--sweep {text!r}: single entries of a table cannot be swept",
            help="give the entries a `param` of their own in the program, and sweep that",
        )
    if not name.isidentifier() or not values:
        raise bad_option(
            f"--sweep {text!r} does not give values",
            help="write --sweep NAME=START:STOP:COUNT, for example --sweep D=0.5:1.0:26, or --sweep NAME=A,B,C",
        )
    parts, listed = _cut(values, ":"), _cut(values, ",")
    count = None
    if len(parts) > 1:
        if len(parts) != 3:
            raise bad_option(f"--sweep {text!r}: a range is START:STOP:COUNT")
        count = whole(f"the number of values of --sweep {name}", parts[2], 2)
        listed = parts[:2]
    if not all(listed):
        raise bad_option(
            f"--sweep {text!r}: a value is missing", help="write --sweep NAME=START:STOP:COUNT, or --sweep NAME=A,B,C"
        )
    read = tuple(setting(f"{name}={value}") for value in listed)
    return Sweep(read[0].name, values, tuple(s.text for s in read), count)


def sweeps(texts: list[str], settings: tuple[Setting, ...]) -> tuple[Sweep, ...]:
    """All ``--sweep`` options, of which each is another parameter."""
    found = tuple(sweep(text) for text in texts)
    names = [*(s.name for s in settings), *(s.name for s in found)]
    for name in names:
        if names.count(name) > 1:
            raise bad_option(f"`{name}` is given values twice")
    return found


def _cut(text: str, sign: str) -> list[str]:
    """The parts of a text between signs that stand in no brackets."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter in "([{") - (letter in ")]}")
        if letter == sign and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts]


def externs(texts: list[str]) -> tuple[tuple[str, str], ...]:
    """``--allow-extern u=potentials:morse``, or ``potentials:u`` where both have one name."""
    found = []
    for text in texts:
        name, _, place = text.rpartition("=")
        module, colon, function = (part.strip() for part in place.partition(":"))
        if not colon or not function.isidentifier() or not all(part.isidentifier() for part in module.split(".")):
            raise bad_option(
                f"--allow-extern {text!r} names no function",
                help="write --allow-extern NAME=MODULE:FUNCTION, for example --allow-extern u=potentials:morse",
            )
        found.append((name.strip() or function, f"{module}:{function}"))
    return tuple(found)


def seconds(name: str, text: str | None) -> float | None:
    """A time in seconds, 0 or longer."""
    if text is None:
        return None
    try:
        value = float(text.replace("_", ""))
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise bad_option(f"{name} is a number of seconds, not {text!r}")
    return value


def probability(name: str, text: str) -> float:
    """A number between 0 and 1, both left out."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < 1:
        raise bad_option(f"{name} is a probability between 0 and 1, not {text!r}")
    return value


def whole(name: str, text: str, least: int, most: int | None = None) -> int:
    """A whole number, at least ``least`` and at most ``most``; 10_000 and 1e6 are numbers too."""
    digits = text.replace("_", "")
    try:
        value = int(digits)
    except ValueError:
        try:
            value = int(float(digits)) if float(digits).is_integer() else None
        except (ValueError, OverflowError):
            value = None
    if value is None:
        raise bad_option(f"{name} is a whole number, not {text!r}")
    if value < least:
        raise bad_option(f"{name} is at least {least}, not {value}")
    if most is not None and value > most:
        raise bad_option(f"{name} is at most {most}, not {value}")
    return value

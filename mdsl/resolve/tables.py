"""`table` statements: the file is read, and each name gets its functions, in the program's units and for its
species."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from mdsl.files.tables import UNEVEN, Grid, TableFile, read_table
from mdsl.grammar import tree
from mdsl.grammar.diagnostics import Diagnostic, Rejected, suggest
from mdsl.model.curves import LEAST, REPEAT, Curves
from mdsl.model.dimensions import ENERGY, LENGTH, NAMED, ONE, Dimension
from mdsl.model.nodes import Axis, Expr, Number, Param, Read, Table
from mdsl.model.units import UnitValue

from .names import Module, Resolution
from .readers import BEYOND, COLUMNS, ENDS, READERS, Reader, Tabulated
from .scope import Global
from .units import unit_value

ANGSTROM, ELECTRONVOLT = UnitValue(1e-10, LENGTH), UnitValue(1.602176634e-19, ENERGY)


def read_tables(work: Resolution) -> dict[str, Param]:
    """The tables of all modules by name; what is wrong with them is reported. A program that declares no species has
    those of the first file with elements."""
    found: list[tuple[Module, tree.TableDecl, Reader, TableFile, tree.Text, tuple]] = []
    for module in work.order:
        for statement in module.program.statements:
            if isinstance(statement, tree.TableDecl):
                try:
                    found.append((module, statement, *_read(work, statement)))
                except Rejected as rejected:
                    work.report += [
                        d if d.span else replace(d, span=statement.value.span) for d in rejected.diagnostics
                    ]
    if not work.species:
        elements = next((file.elements for *_, file, _, _ in found if file.elements), ())
        work.species.update({name: Global("species", name) for name in elements})
    tables: dict[str, Param] = {}
    for module, statement, reader, file, path, call in found:
        try:
            for item, kind, grid in zip(statement.items, reader.functions, file.functions):
                if module.declared[item.name.id].span is item.name.span:
                    tables[item.name.id] = _table(work, statement, item, kind, file, grid, path, call)
        except Rejected as rejected:
            work.report += rejected.diagnostics
    return tables


def _rejected(id: str, message: str, at: tree.Node | Number, **more) -> Rejected:
    return Rejected(Diagnostic(id, message, at.span, **more))


def _read(work: Resolution, statement: tree.TableDecl) -> tuple[Reader, TableFile, tree.Text, tuple]:
    """The reader that a statement calls, what is in the file, its path, and the call as the Model keeps it."""
    value = statement.value
    if not (isinstance(value, tree.Call) and isinstance(value.function, tree.Name)):
        raise _rejected(
            "wrong-type",
            "a table is read from a file",
            value,
            help=f"by one of {', '.join(READERS)}: `{READERS['setfl'].example}`",
        )
    name = value.function.id
    reader = READERS.get(name)
    if reader is None:
        raise _rejected(
            "unknown-name",
            f"nothing called `{name}` reads tables",
            value.function,
            help=suggest(name, READERS) or f"there are {', '.join(READERS)}",
        )
    if len(value.args) != 1 or not isinstance(value.args[0], tree.Text):
        raise _rejected(
            "wrong-arguments", f"`{name}` takes the name of a file in quotes", value, help=f"`{reader.example}`"
        )
    _check_names(statement, name, reader)
    options = tuple(_option(work, name, named) for named in value.named)
    _check_options(work, reader, value, dict(options))
    path = value.args[0]
    try:
        file = read_table((work.folder or Path.cwd()) / path.value, name)
    except Rejected as rejected:
        raise Rejected(*(replace(d, span=path.span) for d in rejected.diagnostics)) from None
    return reader, file, path, (name, path.value, options)


def _check_names(statement: tree.TableDecl, name: str, reader: Reader) -> None:
    """As many names as the file has functions, each with its axes."""
    if len(statement.items) != len(reader.functions):
        count = f"{len(reader.functions)} functions" if len(reader.functions) > 1 else "one function"
        raise _rejected(
            "bad-table",
            f"`{name}` gives {count}, and here "
            f"{'is one name' if len(statement.items) == 1 else f'are {len(statement.items)} names'}",
            statement,
            help=f"`{reader.example}`",
        )
    for item, kind in zip(statement.items, reader.functions):
        if any(a.name != "species" or a.range is not None for a in item.axes) or len(item.axes) != kind.axes:
            wanted = f"[{', '.join(['species'] * kind.axes)}]" if kind.axes else "no axes"
            raise _rejected("bad-axis", f"`{item.name.id}` has {wanted} here", item, help=f"`{reader.example}`")


def _option(work: Resolution, reader: str, named: tree.Named) -> tuple[str, Expr]:
    options = (*COLUMNS, *ENDS) if reader == "tabulated" else ()
    if named.name not in options:
        raise _rejected(
            "unknown-option",
            f"`{reader}` has no option `{named.name}`",
            named,
            help=suggest(named.name, options)
            or (
                f"its options are {', '.join(options)}" if options else "files of embedded atoms are in angstrom and eV"
            ),
        )
    value = named.value
    if named.name == "beyond":
        return named.name, _beyond(value)
    if not isinstance(value, tree.Number) or value.value <= 0:
        repeats = named.name == "period"
        what = "what the argument grows by until the function repeats" if repeats else "what 1 in the file stands for"
        example = "360" if repeats else f"1 [{'angstrom' if named.name == 'x' else 'eV'}]"
        raise _rejected(
            "wrong-type",
            f"`{named.name}` is {what}: a positive number with its unit",
            value,
            help=f"for example `{named.name} = {example}`",
        )
    if value.unit is None:
        return named.name, Number(value.value, span=value.span)
    if work.units.reduced:
        raise _rejected(
            "unit-in-reduced",
            f"`units.{work.units.name}` has no units: every quantity is a pure number",
            value.unit,
            help="leave the unit out, or use units.metal, units.real or units.si",
        )
    unit = unit_value(value.unit, work.known_units)
    return named.name, Number(work.units.to_internal(value.value, unit), unit.dimension, span=value.span)


def _beyond(value: tree.Expr) -> Expr:
    """What a function is outside of its knots: the number 0, or one of the words."""
    if isinstance(value, tree.Name) and value.id in BEYOND:
        return Read(value.id, span=value.span)
    if isinstance(value, tree.Number) and value.value == 0 and value.unit is None:
        return Number(0.0, span=value.span)
    raise _rejected(
        "wrong-type",
        f"`beyond` is one of {', '.join(BEYOND)}",
        value,
        help="0 from the last knot on; `hold` the values at the ends; `continue` as straight lines; `stop` the run",
    )


def _check_options(work: Resolution, reader: Reader, call: tree.Call, given: dict[str, Expr]) -> None:
    reduced = work.units.reduced
    if len(given) < len(call.named):
        raise _rejected("wrong-arguments", "an option is given twice", call)
    if reader.functions[0].argument is not None:
        if reduced:
            raise _rejected(
                "unit-in-reduced",
                "files of embedded atoms are in angstrom and eV, and this program has no units",
                call,
                help="use units.metal, units.real or units.si",
            )
    elif not reduced and (missing := [c for c in COLUMNS if c not in given]):
        raise _rejected(
            "missing-option",
            f"`tabulated` needs {' and '.join(f'`{m}`' for m in missing)}: the units of the columns",
            call,
            help=f"`{reader.example}`; a pure number is `y = 1`",
        )
    if all(name in given for name in ENDS):
        raise _rejected(
            "wrong-arguments", "a function with a period has nothing beyond it", call, help="leave `beyond` out"
        )


# -- functions for the species of the program --------------------------------------------------------------


def _table(
    work: Resolution,
    statement: tree.TableDecl,
    item: tree.TableItem,
    kind: Tabulated,
    file: TableFile,
    grid: Grid,
    path: tree.Text,
    call: tuple,
) -> Param:
    options = dict(call[2])
    argument, per_x = _unit(work, kind.argument, options.get("x"))
    result, per_y = _unit(work, kind.result, options.get("y"))
    values, number = _for_species(work, path, file, grid)
    per_value = per_y * (per_x if grid.divided else 1.0)
    end = None if grid.end is None else grid.end * per_x
    curves = Curves(grid.first * per_x, grid.step * per_x, values * per_value, number, end, grid.divided)
    if "period" in options:
        curves = _repeated(curves, argument, options["period"], call[1])
    elif isinstance(options.get("beyond"), Read):
        curves = replace(curves, end=None, beyond=options["beyond"].symbol)
    axes = (Axis("species"),) * kind.axes
    return Param("table", item.name.id, axes, None, statement.span, table=Table(curves, argument, result, call))


def _repeated(curves: Curves, argument: Dimension, period: Number, path: str) -> Curves:
    """Functions with a period: the knots go once around, with the first again at the end or without."""
    if period.dimension != argument:
        raise _rejected("wrong-unit", f"`period` is a number, and the argument {argument}", period)
    steps, knots = period.value / curves.step, curves.values.shape[-1]
    around = round(steps)
    if around not in (knots - 1, knots) or abs(steps - around) > UNEVEN * around or around < LEAST:
        raise _rejected(
            "bad-table",
            f"the {knots} knots of {path} do not go once around the period",
            period,
            notes=(f"a step is {curves.step:g}, so the period is {steps:g} steps",),
            help="the knots are evenly spaced over one period; its end may be left out",
        )
    first, last = curves.values[..., 0], curves.values[..., -1]
    if around == knots - 1 and (np.abs(first - last) > UNEVEN * np.ptp(curves.values, axis=-1)).any():
        raise _rejected(
            "bad-table",
            f"{path} has other values at the beginning of a period and at its end",
            period,
            notes=(f"they are {float(first.flat[0]):g} and {float(last.flat[0]):g}",),
        )
    values = curves.values[..., :around]
    return replace(curves, step=period.value / around, values=values, end=None, beyond=REPEAT)


def _unit(work: Resolution, name: str | None, option: Number | None) -> tuple[Dimension, float]:
    """The dimension of a number in a file, and what 1 there is in internal units."""
    if name is None:
        return (ONE, 1.0) if option is None else (option.dimension, option.value)
    dimension = NAMED[name]
    file = {LENGTH: ANGSTROM, ENERGY: ELECTRONVOLT}.get(dimension, UnitValue(1.0, ONE))
    return dimension, work.units.to_internal(1.0, file)


def _for_species(work: Resolution, path: tree.Text, file: TableFile, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """The curves [C, K] of the program's species, and which of them serves each entry; equal ones are kept once."""
    if not file.elements:
        return grid.values, np.zeros(())
    missing = [name for name in work.species if name not in file.elements]
    if missing:
        raise _rejected(
            "missing-entry",
            f"{path.value} holds no functions of {', '.join(missing)}",
            path,
            notes=(f"its elements: {', '.join(file.elements)}",),
            help="the species of the program bear the names of the elements",
        )
    places = [file.elements.index(name) for name in work.species]
    axes = grid.values.ndim - 1
    chosen = grid.values[np.ix_(*[places] * axes)]
    values, number = np.unique(chosen.reshape(-1, chosen.shape[-1]), axis=0, return_inverse=True)
    return values, number.reshape(chosen.shape[:-1])

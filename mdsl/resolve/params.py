"""`param`, `const` and `state`: their axes, and tables over species."""

from __future__ import annotations

from mdsl.grammar import tree
from mdsl.grammar.diagnostics import Diagnostic, Label, suggest
from mdsl.model import nodes as model

from .expressions import Resolver
from .names import Resolution
from .ranges import resolve_range
from .scope import Binder, Scope


def resolve_param(work: Resolution, resolver: Resolver, statement: tree.Declaration, scope: Scope) -> model.Param:
    """A parameter, constant or state with its axes, and its default or what is given in its place."""
    given = work.given.get(statement.name.id)
    axes: list[model.Axis] = []
    index: dict[str, Binder] = {}
    default, declared = None, None
    for axis in statement.axes:
        if axis.range is not None:
            found = resolve_range(work, resolver, axis.range, scope)
            if found is None:
                continue
            axes.append(found)
            index = {axis.name: Binder(axis.name, "range", span=axis.span)}
        elif axis.name in ("species", "atoms"):
            axes.append(model.Axis(axis.name))
        else:
            resolver.error(
                "bad-axis",
                f"`{axis.name}` is not an axis",
                axis,
                help="an axis is `species`, `atoms`, or a range such as `k in 1..16`",
            )
    if len([a for a in axes if a.kind == "species"]) > 2:
        resolver.error("bad-axis", "an array has at most two axes of species", statement.axes[2])
    elif len(axes) < len(statement.axes):
        pass  # an axis is wrong, which has been said
    elif any(a.kind == "atoms" for a in axes) or index and len(axes) > 1:
        what = "a value for each atom" if not index else "a range beside another axis"
        work.report.append(
            Diagnostic(
                "not-yet",
                f"{what} is not implemented yet",
                statement.span,
                notes=("arrays have axes of species, or one range",),
            )
        )
    else:
        default = _value(work, resolver, statement.value, tuple(axes), scope.inside(index))
        if given is not None:
            declared = default
            default = _value(work, resolver, given.value, tuple(axes), work.outside().inside(index))
    place, binder = (given or statement).span, next(iter(index), None)
    return model.Param(statement.kind, statement.name.id, tuple(axes), default, place, binder=binder, declared=declared)


def resolve_replicas(
    work: Resolution, resolver: Resolver, statement: tree.Replicas, scope: Scope
) -> model.Param | None:
    """The number of the replica: a parameter, which is another for each of them. A system alone is the first."""
    name = statement.name.id
    numbers = resolve_range(work, resolver, statement.range, scope)
    if name in work.given:
        help = f"it goes from one end of `replicas {name} in ...` to the other; set what is made of it"
        message = f"`{name}` numbers the replicas, and has no value of its own"
        work.report.append(Diagnostic("unknown-parameter", message, work.given[name].span, help=help))
    if numbers is None:
        return None
    first = model.Number(float(numbers.first), span=statement.name.span)
    return model.Param("param", name, (), first, statement.span, numbers=numbers)


def _value(
    work: Resolution, resolver: Resolver, value: tree.Expr, axes: tuple[model.Axis, ...], scope: Scope
) -> model.Expr:
    if isinstance(value, tree.Table):
        return _table(work, resolver, value, axes, scope)
    return resolver.expr(value, scope)


def _table(
    work: Resolution, resolver: Resolver, table: tree.Table, axes: tuple[model.Axis, ...], scope: Scope
) -> model.Expr:
    """A species table; complete (a pair may be given either way round), without contradictions."""
    if not axes or any(a.kind != "species" for a in axes):
        return resolver.error(
            "bad-table",
            "only arrays over species are given as tables",
            table,
            help="for example `param sigma[species] = { A: 1.0, B: 0.8 }`",
        )
    entries: dict[tuple[str, ...], tree.Entry] = {}
    wrong = False
    for entry in table.entries:
        if len(entry.labels) != len(axes):
            labels = "one label" if len(axes) == 1 else "two labels"
            axes_wanted = ", ".join(["species"] * len(entry.labels))
            resolver.error(
                "bad-table",
                f"an entry of this table has {labels}, not {len(entry.labels)}",
                entry,
                help=f"one axis for each label: `[{axes_wanted}]`" if len(entry.labels) < 3 else None,
            )
            return model.TableOf(())
        unknown = [label for label in entry.labels if label not in work.species]
        for label in dict.fromkeys(unknown):
            near = suggest(label, work.species)
            resolver.error(
                "unknown-species",
                f"there is no species `{label}`",
                entry,
                help=near or f"declare it: `species {', '.join([*work.species, label])}`",
            )
            wrong = True
        key = tuple(sorted(entry.labels))
        if key in entries:
            resolver.report.append(
                Diagnostic(
                    "bad-table",
                    f"the entry {'-'.join(entry.labels)} is given twice",
                    entry.span,
                    secondary=(Label(entries[key].span, "first here"),),
                )
            )
        entries[key] = entry
    wanted = (
        [(a,) for a in work.species]
        if len(axes) == 1
        else [tuple(sorted((a, b))) for a in work.species for b in work.species]
    )
    missing = sorted({"-".join(key) for key in wanted if key not in entries})
    if missing and not wrong:  # what is missing may be the label that is wrong
        resolver.error(
            "missing-entry",
            f"the table has no entry for {', '.join(missing)}",
            table,
            notes=(f"species: {', '.join(work.species)}",),
            help="give each species" + (" pair an entry; A-B also stands for B-A" if len(axes) == 2 else " an entry"),
        )
    return model.TableOf(tuple((e.labels, resolver.expr(e.value, scope)) for e in entries.values()), span=table.span)

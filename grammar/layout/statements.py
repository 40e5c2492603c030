"""Statements as text, without a text that they came from."""

from __future__ import annotations

from mdsl.grammar import tree

from .expressions import call, expression, range_text, unit_text


def statement(node: tree.Statement) -> str:
    """The text of a statement: on one line, but for `where` and for blocks."""
    match node:
        case tree.Use(module=module, names=names):
            return f"use {'.'.join(module)}" + (f" ({_names(names)})" if names is not None else "")
        case tree.Dim(value=value):
            return f"dim {value}"
        case tree.SpeciesDecl(names=names):
            return f"species {_names(names)}"
        case tree.Frozen(names=names):
            return f"frozen {_names(names)}"
        case tree.Replicas(name=name, range=range):
            return f"replicas {name.id} in {range_text(range)}"
        case tree.Topology(items=items):
            return "topology " + ", ".join(
                f"{i.name.id}({', '.join(i.indices)}){'' if i.value is None else f' = {expression(i.value)}'}"
                for i in items
            )
        case tree.Box(value=value):
            return f"box {expression(value)}"
        case tree.Declaration(kind=kind):
            return f"{kind} {_array(node)} = {expression(node.value)}"
        case tree.Data(unit=unit):
            return f"data {_array(node)}" + (f" in {unit_text(unit)}" if unit else "")
        case tree.TableDecl(items=items, value=value):
            return f"table {', '.join(map(_array, items))} = {expression(value)}"
        case tree.Learned(name=name, value=value):
            return f"learned {name.id} = {expression(value)}"
        case tree.Extern(name=name, parameters=parameters):
            return f"extern {name.id}({_names(parameters)})"
        case tree.ExternEnergy(name=name, inputs=inputs):
            return f"extern energy {name.id}({_parameters(inputs)})"
        case tree.Def(name=name, groups=groups, value=value, where=where):
            return f"def {name.id}{_groups(groups)} = {expression(value)}{_where(where)}"
        case tree.Equation(kind=kind, value=value, where=where):
            return f"{kind} {_array(node)} = {expression(value)}{_where(where)}"
        case tree.UnitDecl(name=name, value=value, dimension=dimension):
            return f"unit {name.id} : {dimension}" if value is None else f"unit {name.id} = {expression(value)}"
        case tree.UnitSystem(entries=entries):
            return _block("units", [f"{name.id} = {unit_text(unit)}" for name, unit in entries])
        case tree.Flow(name=name, parameters=parameters, body=body):
            return _block(f"flow {name.id}({_parameters(parameters)})", map(step, body))
        case tree.Integrator(kind=kind, name=name, parameters=parameters, body=body):
            return _block(f"{kind} {name.id}({_parameters(parameters)})", map(step, body))
        case tree.Run(body=body):
            return _block("run", map(step, body))
    raise TypeError(f"no statement: {node!r}")


def step(node: tree.Step | tree.Advance | tree.Record | tree.Write | tree.Exchange) -> str:
    """The text of a step in a block, or of an output of a run."""
    match node:
        case tree.Update(target=target, op=op, value=value, index=index):
            at = "" if index is None else f"[{expression(index)}]"
            return f"{target.id}{at} {op} {expression(value)}"
        case tree.Declaration() | tree.Equation():
            return statement(node).replace("\n", "\n  ")
        case tree.Loop(variable=variable, range=range, down=down, body=body):
            head = f"for {variable.id} in {range_text(range)}{' down' if down else ''}"
            return _block(head, map(step, body)).replace("\n", "\n  ")
        case tree.Draw(target=target, distribution=distribution):
            return f"{target.id} ~ {expression(distribution)}"
        case tree.Call():
            return call(node)
        case tree.Advance(outputs=outputs, steps=steps, until=until):
            head = f"{call(node.call)}  for {expression(steps)}"
            if until is not None:
                head = f"{call(node.call)}  until {expression(until)}, at most {expression(steps)}"
            return "\n    ".join([head, *map(step, outputs)])
        case tree.Record(names=names, every=every):
            return f"record {_names(names)}{_every(every)}"
        case tree.Write(path=path, every=every, names=names):
            return f"write {', '.join([expression(path), *(n.id for n in names)])}{_every(every)}"
        case tree.Exchange(name=name, every=every):
            return f"exchange {name.id}{_every(every)}"
    raise TypeError(f"no step: {node!r}")


def _names(names) -> str:
    return ", ".join(name.id for name in names)


def _parameters(parameters) -> str:
    return ", ".join(p.id if p.default is None else f"{p.id} = {expression(p.default)}" for p in parameters)


def _groups(groups) -> str:
    return "".join(f"({_names(group)})" for group in groups)


def _array(node: tree.Declaration | tree.Data | tree.TableItem | tree.Equation) -> str:
    axes = (f"{axis.name} in {range_text(axis.range)}" if axis.range else axis.name for axis in node.axes)
    return node.name.id + (f"[{', '.join(axes)}]" if node.axes else "")


def _where(bindings) -> str:
    if not bindings:
        return ""
    texts = [f"{b.name.id}{_groups(b.groups)} = {expression(b.value)}" for b in bindings]
    return "\n  where " + ",\n        ".join(texts)


def _every(every: tree.Expr | None) -> str:
    return f"  every {expression(every)}" if every is not None else ""


def _block(head: str, steps) -> str:
    lines = "".join(f"  {line}\n" for line in steps)
    return f"{head} {{\n{lines}}}" if lines else f"{head} {{ }}"

"""mdsl: a compiler for molecular dynamics.

    program = mdsl.load("melt.mdsl")                 # or mdsl.compile("... text ...")
    system = program.bind(x, box=box)                # or program.bind(): as the run block says
    system.energy(x); system.forces(x); system.run(jax.random.key(0))

Importing mdsl imports neither JAX nor anything else that takes time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from mdsl.api.fitting import Fit as Fit
    from mdsl.api.fitting import fit as fit
    from mdsl.api.parameter_files import load_params as load_params
    from mdsl.api.parameter_files import save_params as save_params
    from mdsl.api.program import Program as Program
    from mdsl.api.program import compile as compile
    from mdsl.api.program import load as load
    from mdsl.api.sympy_pair import pair as pair
    from mdsl.api.sympy_pair import symbols as symbols
    from mdsl.grammar.diagnostics import Diagnostic as Diagnostic
    from mdsl.grammar.diagnostics import Rejected as Rejected
    from mdsl.statistics.estimates import Estimate as Estimate
    from mdsl.statistics.estimates import estimate as estimate

    from . import space as space

_WHERE = {
    "Program": "api.program",
    "compile": "api.program",
    "load": "api.program",
    "Fit": "api.fitting",
    "fit": "api.fitting",
    "load_params": "api.parameter_files",
    "save_params": "api.parameter_files",
    "pair": "api.sympy_pair",
    "symbols": "api.sympy_pair",
    "Diagnostic": "grammar.diagnostics",
    "Rejected": "grammar.diagnostics",
    "Estimate": "statistics.estimates",
    "estimate": "statistics.estimates",
}

__all__ = [
    "Diagnostic",
    "Estimate",
    "Fit",
    "Program",
    "Rejected",
    "compile",
    "estimate",
    "fit",
    "load",
    "load_params",
    "pair",
    "save_params",
    "space",
    "symbols",
]


def __getattr__(name: str):
    from importlib import import_module

    if name == "space":
        return import_module(f"{__name__}.space")
    if name not in _WHERE:
        raise AttributeError(f"module 'mdsl' has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]

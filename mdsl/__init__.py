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
    from .grammar.diagnostics import Diagnostic as Diagnostic, Rejected as Rejected
    from .program import Program as Program, compile as compile, load as load
    from .fitting import Fit as Fit, fit as fit
    from .parameter_files import load_params as load_params, save_params as save_params
    from . import space as space
    from .prototype import pair as pair, symbols as symbols

_WHERE = {
    "Program": "program",
    "compile": "program",
    "load": "program",
    "Fit": "fitting",
    "fit": "fitting",
    "load_params": "parameter_files",
    "save_params": "parameter_files",
    "pair": "prototype",
    "symbols": "prototype",
    "Diagnostic": "grammar.diagnostics",
    "Rejected": "grammar.diagnostics",
}

__all__ = ["Diagnostic", "Fit", "Program", "Rejected", "compile", "fit", "load", "load_params", "pair", "save_params", "space", "symbols"]


def __getattr__(name: str):
    from importlib import import_module

    if name == "space":
        return import_module(f"{__name__}.space")
    if name not in _WHERE:
        raise AttributeError(f"module 'mdsl' has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]

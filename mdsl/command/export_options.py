"""What `mdsl export` can be told on the command line."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mdsl.resolve.sources import read_program

if TYPE_CHECKING:
    from .options import Setting


@dataclass(frozen=True)
class ExportOptions:
    """The options of `mdsl export`; ``states``: at so many random ones the engine is compared, unless not
    ``certify``."""

    to: str
    out: Path | None = None
    overwrite: bool = False
    seed: int = 1
    settings: tuple[Setting, ...] = ()
    params: Path | None = None
    states: int = 3
    certify: bool = True


def export_arguments(sub: ArgumentParser) -> None:
    """What may stand on its line."""
    sub.add_argument("file", metavar="FILE", help="a program with a run block, which places the atoms")
    sub.add_argument("--to", metavar="ENGINE", required=True, help="lammps, openmm, or stablehlo (jax.export)")
    sub.add_argument("--out", metavar="DIR", help="the folder to write to; by default the next free one in exports/")
    sub.add_argument("--overwrite", action="store_true", help="replace the export that --out holds already")
    sub.add_argument("--seed", metavar="S", default="1", help="the seed of random atoms, velocities and states; 1")
    sub.add_argument("--set", metavar="NAME=VALUE", action="append", default=[], help="as of `mdsl run`")
    sub.add_argument("--params", metavar="FILE", help="parameters from a safetensors file, as of `mdsl run`")
    sub.add_argument("--states", metavar="N", default="3", help="compare at so many random states; 3")
    sub.add_argument("--no-certificate", action="store_true", help="do not run the engine")


def exporting(options: Namespace) -> ExportOptions:
    """What stands on the line of `mdsl export`. Raises Rejected: ``bad-option``, ``missing-file``, ..."""
    from .options import bad_option, settings, whole

    if options.file == "-":
        raise bad_option("`mdsl export` takes a file, not standard input")
    read_program(options.file)
    return ExportOptions(
        to=options.to,
        out=Path(options.out) if options.out else None,
        overwrite=options.overwrite,
        seed=whole("--seed", options.seed, 0, 2**63 - 1),
        settings=settings(options.set),
        params=Path(options.params) if options.params else None,
        states=whole("--states", options.states, 0),
        certify=not options.no_certificate,
    )

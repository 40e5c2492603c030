"""The process and the machine of a run: how JAX is set up, and what `run.json` says of both."""

from __future__ import annotations

import contextlib
import os
import platform
from importlib.metadata import version
from pathlib import Path

import numpy as np

import mdsl
from mdsl.grammar.diagnostics import Diagnostic, Rejected
from mdsl.lowering.jax_version import check
from mdsl.lowering.planning.kernels import CHOICE, KERNELS, asked, by_pallas

from . import xla_flags as xla
from .options import RunOptions


def set_up_jax(precision: str, options: RunOptions) -> tuple | None:
    """Configure JAX for this process, before it starts: precision, platform, one host device for each thread."""
    check()
    count = threads(options)
    # XLA's own log would tell of every cached program that it was compiled with preferences the processor does not
    # list.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("NPROC", str(count))  # as many as XLA starts itself
    os.environ["XLA_FLAGS"] = xla.flags(os.environ.get("XLA_FLAGS", ""), bool(options.replicas or options.sweeps))
    if options.kernels is not None:
        os.environ[CHOICE] = options.kernels
    if os.environ.get(CHOICE, "native") not in KERNELS:
        known = f"{', '.join(KERNELS[:-1])} or {KERNELS[-1]}"
        raise Rejected(Diagnostic("bad-option", f"{CHOICE} is {known}, not {os.environ[CHOICE]!r}"))
    if options.platform is not None:
        os.environ["JAX_PLATFORMS"] = {"gpu": "cuda"}.get(options.platform, options.platform)

    import jax

    jax.config.update("jax_enable_x64", precision != "single")
    with contextlib.suppress(RuntimeError):  # JAX runs already, as when a test calls this: its devices stay
        jax.config.update("jax_num_cpu_devices", count)
    jax.config.update("jax_compilation_cache_dir", str(xla.cache_folder() / "jax"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.05)
    try:
        devices = jax.devices()
    except (RuntimeError, AssertionError) as error:  # the latter where no plugin for it is installed at all
        why = str(error).splitlines()[:1]
        raise Rejected(
            Diagnostic("bad-option", ": ".join([f"the platform {options.platform} is not to be had here", *why]))
        ) from None
    if options.kernels == "native":
        _check_native()
    if options.kernels == "pallas":
        _check_pallas(devices[0])
    return tuple(devices[:count]) if devices[0].platform == "cpu" and len(devices) > 1 else None


def _check_native() -> None:
    """Raises Rejected where what was asked for is not to be had."""
    from mdsl.lowering.native.call import unavailable

    if why := unavailable():
        help = "`pip install llvmlite` brings LLVM; with `--kernels xla` all sums are XLA's"
        raise Rejected(Diagnostic("bad-option", f"there are no native kernels here: {why}", help=help))


def _check_pallas(device) -> None:
    """Raises Rejected where there is no GPU, or none that they compute the right sums on."""
    from mdsl.lowering.traversals.row_kernel import unavailable

    if why := unavailable(device):
        help = "without `--kernels` a program takes what suits the platform"
        raise Rejected(Diagnostic("bad-option", f"there are no kernels of Pallas here: {why}", help=help))


def threads(options: RunOptions) -> int:
    """How many processor cores a run uses."""
    return options.threads or os.cpu_count() or 1


def kernels() -> str:
    """Which kernels sums over pairs are computed with. JAX is set up."""
    if not asked():
        return "xla"
    import jax

    if by_pallas() and jax.default_backend() != "cpu":
        from mdsl.lowering.traversals.row_kernel import unavailable

        why = unavailable(jax.devices()[0])
        return f"xla, since {why}" if why else "pallas"
    from mdsl.lowering.native.call import described

    return described(jax.default_backend())


def left_to_xla() -> dict[str, int]:
    """The operations for which sums over pairs had no native kernel in this process, and how many sums, where others
    had one."""
    if not kernels().startswith("native"):
        return {}
    from mdsl.lowering.native.call import left

    return dict(left)


def versions() -> dict[str, str]:
    """Of all that results may depend on."""
    packages = {name: version(name) for name in ("jax", "jaxlib")}
    return {
        "mdsl": mdsl.__version__,
        "python": platform.python_version(),
        **packages,
        "numpy": np.__version__,
    }


def described(devices: tuple | None) -> dict[str, object]:
    """The processor, and the devices of JAX that a run uses."""
    import jax

    return {
        "processor": processor(),
        "kernels": kernels(),
        "devices": [str(d) for d in devices or jax.devices()[:1]],
    }


def processor() -> str:
    """The model of the processor, where the system tells it, or its kind."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()

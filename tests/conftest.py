"""64-bit numbers for all tests, before the first array is made; and programs that compile quickly rather than run so."""

import os

import jax

from mdsl.command.xla_flags import known

jax.config.update("jax_enable_x64", True)

QUICK = (
    "--xla_backend_optimization_level=0",
    "--xla_llvm_disable_expensive_passes=true",
    "--xla_cpu_use_fusion_emitters=false",  # the older code generation, where there is one
)


def pytest_configure(config):
    """Most tests compile much and compute little, for which these flags halve the time. The slow ones compute, and want
    what users get."""
    if "not slow" in (config.option.markexpr or "") and "XLA_FLAGS" not in os.environ:
        os.environ["XLA_FLAGS"] = " ".join(known(QUICK))

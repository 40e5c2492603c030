"""64-bit numbers for all tests, before the first array is made; and programs that compile quickly rather than run so."""

import os

import jax

jax.config.update("jax_enable_x64", True)


def pytest_configure(config):
    """Most tests compile much and compute little: XLA's older code generation takes half the time for it. The slow ones
    compute, and want what users get."""
    if "not slow" in (config.option.markexpr or ""):
        quick = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true --xla_cpu_use_fusion_emitters=false"
        os.environ.setdefault("XLA_FLAGS", quick)

"""64-bit numbers for all tests, before the first array is made; and programs that compile quickly rather than run so."""

import os

import jax
import quick

jax.config.update("jax_enable_x64", True)


def pytest_configure(config):
    """Most tests compile much and compute little, for which these flags halve the time. The slow ones compute, and want
    what users get."""
    if "not slow" in (config.option.markexpr or "") and "XLA_FLAGS" not in os.environ:
        os.environ["XLA_FLAGS"] = quick.flags()

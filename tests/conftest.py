"""64-bit numbers for all tests, before the first array is made."""

import jax

jax.config.update("jax_enable_x64", True)

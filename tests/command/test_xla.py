"""What XLA is told before it starts."""

import os
import subprocess
import sys

from mdsl.command import xla_flags as xla

COMPILED = """
from mdsl.command.machine import set_up_jax
from mdsl.command.options import RunOptions
set_up_jax("single", RunOptions())
import jax, jax.numpy as jnp
loop = jax.jit(lambda x: jax.lax.fori_loop(0, 10, lambda k, x: jnp.sin(x) + k, x))
print("xla_cpu_small_call" in loop.lower(jnp.ones(100_000)).compile().as_text())
"""


def test_flags_of_the_user_stay():
    both = f"{xla.WIDEST} {xla.WHOLE_LOOPS}"
    assert xla.flags("") == both
    assert xla.flags("--xla_dump_to=here") == f"--xla_dump_to=here {both}"
    own = "--xla_backend_extra_options=xla_cpu_small_while_loop_byte_threshold=0 --xla_cpu_prefer_vector_width=128"
    assert xla.flags(own) == own


def test_loops_of_ensembles_stay_in_pieces():
    assert xla.flags("", ensemble=True) == xla.WIDEST


def test_the_command_line_has_loops_compiled_whole(tmp_path):
    """XLA marks a loop that it makes one function of; of one over 400 kB it does not by itself."""
    environment = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"} | {"XDG_CACHE_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", COMPILED], env=environment, capture_output=True, text=True)
    assert done.stdout.split() == ["True"], done.stderr


def test_importing_mdsl_tells_xla_nothing():
    environment = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"}
    done = subprocess.run(
        [sys.executable, "-c", "import os, mdsl; print(os.environ.get('XLA_FLAGS'))"],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.stdout.split() == ["None"], done.stderr

"""What XLA is told before it starts: nothing that it does not know."""

import json
import os
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version

import pytest

from mdsl.command import xla_flags as xla

MADE_UP = "--xla_cpu_flag_that_nobody_has=1"
REAL = "--xla_backend_optimization_level=1"
WRONG = "--xla_backend_optimization_level=high"  # a value that the flag cannot have ends the process as well
COMPILED = """
from mdsl.command.machine import set_up_jax
from mdsl.command.options import RunOptions
set_up_jax("single", RunOptions())
import jax, jax.numpy as jnp
loop = jax.jit(lambda x: jax.lax.fori_loop(0, 10, lambda k, x: jnp.sin(x) + k, x))
print("xla_cpu_small_call" in loop.lower(jnp.ones(100_000)).compile().as_text())
"""
SET_UP = """
import os
from mdsl.command import xla_flags
xla_flags.WIDEST = "--xla_cpu_flag_that_nobody_has=1"
from mdsl.command.machine import set_up_jax
from mdsl.command.options import RunOptions
set_up_jax("double", RunOptions())
import jax
print(float(jax.numpy.ones(3).sum()), os.environ["XLA_FLAGS"])
"""


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache folder, and the file of answers in it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "mdsl" / f"xla-flags-{version('jaxlib')}.json"


@pytest.fixture
def asked(monkeypatch):
    """What XLA was started with; it knows all flags but those that are made up."""
    starts = []

    def start(given):
        starts.append(tuple(given))
        return MADE_UP not in given

    monkeypatch.setattr(xla, "_starts", start)
    return starts


def in_a_process(code, **environment):
    inherited = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"}
    return subprocess.run(
        [sys.executable, "-c", code], env=inherited | environment, capture_output=True, text=True, timeout=300
    )


# -- what is asked, and what is remembered ---------------------------------------------------------------


def test_flags_of_the_user_stay(cache, asked):
    both = f"{xla.WIDEST} {xla.WHOLE_LOOPS}"
    assert xla.flags("") == both
    assert xla.flags("--xla_dump_to=here") == f"--xla_dump_to=here {both}"
    own = "--xla_backend_extra_options=xla_cpu_small_while_loop_byte_threshold=0 --xla_cpu_prefer_vector_width=128"
    assert xla.flags(own) == own


def test_loops_of_ensembles_stay_in_pieces(cache, asked):
    assert xla.flags("", ensemble=True) == xla.WIDEST


def test_xla_itself_is_asked_and_remembered(cache):
    """Really: one flag that it has, one that nobody has, and one with a value that is none."""
    assert xla.known([REAL, MADE_UP, WRONG]) == [REAL]
    assert json.loads(cache.read_text()) == {REAL: True, MADE_UP: False, WRONG: False}


def test_what_is_remembered_is_not_asked_again(cache, asked):
    assert xla.known([REAL, MADE_UP]) == [REAL] and asked
    asked.clear()
    assert xla.known([MADE_UP, REAL]) == [REAL] and xla.known([MADE_UP]) == [] and not asked
    assert xla.known([REAL, "--xla_another=2"]) == [REAL, "--xla_another=2"] and asked == [("--xla_another=2",)]
    assert xla.known([]) == []


def test_all_flags_are_asked_at_once(cache, asked):
    assert xla.known([REAL, "--xla_another=2"]) == [REAL, "--xla_another=2"]
    assert asked == [(REAL, "--xla_another=2")]


def test_another_release_is_asked_anew(cache, asked, monkeypatch):
    xla.known([REAL])
    monkeypatch.setattr(xla, "version", lambda package: "99.0")
    asked.clear()
    assert xla.known([REAL]) == [REAL] and asked == [(REAL,)]


@pytest.mark.parametrize("text", ["", "{", "[]", "7", '{"--xla_backend_optimization_level=1": "yes"}'])
def test_a_broken_memory_is_written_anew(cache, asked, text):
    cache.parent.mkdir()
    cache.write_text(text)
    assert xla.known([REAL, MADE_UP]) == [REAL] and json.loads(cache.read_text()) == {REAL: True, MADE_UP: False}


@pytest.mark.parametrize("where", ["/proc/nowhere", "file"])
def test_without_a_cache_folder_it_is_asked_each_time(where, tmp_path, asked, monkeypatch):
    """A home that cannot be written: no root can write to /proc either, nor make a folder of a file."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / where))
    for _ in range(2):
        asked.clear()
        assert xla.known([REAL, MADE_UP]) == [REAL] and asked


def test_nothing_is_concluded_where_xla_does_not_start_at_all(cache, monkeypatch):
    monkeypatch.setattr(xla, "_starts", lambda given: False)
    assert xla.known([REAL]) == [] and not cache.exists()
    monkeypatch.setattr(xla, "_starts", lambda given: True)
    assert xla.known([REAL]) == [REAL]


def test_nothing_is_asked_where_there_is_no_jaxlib(cache, asked, monkeypatch):
    def missing(package):
        raise PackageNotFoundError(package)

    monkeypatch.setattr(xla, "version", missing)
    assert xla.known([REAL]) == [] and not asked


def test_a_process_that_hangs_is_no_answer(monkeypatch):
    monkeypatch.setattr(xla, "PATIENCE", 0.2)
    monkeypatch.setattr(xla, "START", "import time; time.sleep(60)")
    assert not xla._starts(())


def test_what_is_asked_ahead_is_asked_once(cache, monkeypatch):
    """The process that was begun is the one whose answer counts; what is remembered is not begun."""
    monkeypatch.setattr(xla, "START", f"open({str(cache.parent.parent / 'starts')!r}, 'a').write('x')")
    xla.ask_ahead("")
    (begun,) = xla._begun.values()
    assert xla.flags("") == f"{xla.WIDEST} {xla.WHOLE_LOOPS}"
    assert begun.returncode == 0 and (cache.parent.parent / "starts").read_text() == "x" and not xla._begun
    xla.ask_ahead("")
    assert not xla._begun


# -- what it is for --------------------------------------------------------------------------------------


def test_the_command_line_has_loops_compiled_whole(tmp_path):
    """XLA marks a loop that it makes one function of; of one over 400 kB it does not by itself."""
    done = in_a_process(COMPILED, XDG_CACHE_HOME=str(tmp_path))
    assert done.stdout.split() == ["True"], done.stderr


def test_the_command_line_survives_a_flag_that_has_gone(tmp_path):
    """Given to XLA, such a flag ends the process."""
    done = in_a_process(SET_UP, XDG_CACHE_HOME=str(tmp_path))
    assert done.returncode == 0 and done.stdout.split() == ["3.0", xla.WHOLE_LOOPS], done.stderr
    died = in_a_process("import jax; jax.devices()", XLA_FLAGS=MADE_UP)
    assert died.returncode != 0 and "nobody_has" in died.stderr


def test_the_flags_of_these_tests_are_known():
    """What tests/conftest.py gave XLA, or whoever runs them."""
    from mdsl.command.xla_flags import known

    given = os.environ.get("XLA_FLAGS", "").split()
    assert known(given) == given


def test_importing_mdsl_tells_xla_nothing():
    done = in_a_process("import os, mdsl; print(os.environ.get('XLA_FLAGS'))")
    assert done.stdout.split() == ["None"], done.stderr

"""Machine code on the disk: what a second process compiles, and what it makes of files that are broken or of another
text."""

import json
import os
import subprocess
import sys

import pytest

from mdsl.lowering.native import call as native
from mdsl.lowering.native.kept import SIZE, kept

pytest.importorskip("llvmlite")

SUM = """
import json, os, sys
import jax, jax.numpy as jnp, jax.monitoring
jax.config.update("jax_compilation_cache_dir", sys.argv[1])
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
from mdsl.lowering.native import call, compile, kernel
from mdsl.lowering.traversals.pair_sum import pair_sum
kernel.AHEAD = int(sys.argv[2])
counts = {"llvm": 0, "read": 0, "checks": 0}
def counted(module, name, key):
    function = getattr(module, name)
    def call(*args):
        counts[key] += 1
        return function(*args)
    setattr(module, name, call)
counted(compile, "_compiled", "llvm")
counted(call, "differs", "checks")
def event(name, **more):
    counts["read"] += name == "/jax/compilation_cache/cache_hits"
jax.monitoring.register_event_listener(event)
x = jnp.linspace(0.0, 3.0, 20)
slots = jnp.stack([(jnp.arange(20) + k) % 20 for k in (1, 19)]).astype(jnp.int32)
def energy(x):
    body = lambda own, other, valid: jnp.where(valid, jnp.exp(-(own - other) ** 2), 0)
    return pair_sum(body, slots, x, jnp.zeros(20)).sum()
found = jax.jit(jax.value_and_grad(energy))(x)
print(json.dumps(counts | {"energy": float(found[0]), "force": found[1].tolist(), "names": sorted(call._compiled)}))
"""


def in_a_process(folder, ahead=4):
    environment = {k: v for k, v in os.environ.items() if k != "MDSL_KERNELS"} | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    words = [sys.executable, "-c", SUM, str(folder), str(ahead)]
    done = subprocess.run(words, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_a_second_process_compiles_nothing(tmp_path):
    """The program that JAX has kept calls a kernel that was compiled by another process; one of another text is another
    program."""
    first, second = in_a_process(tmp_path), in_a_process(tmp_path)
    assert first["llvm"] >= 2 and first["checks"] == 1 and not first["read"]
    assert second["llvm"] == 0 and second["checks"] == 0 and second["read"]
    other = in_a_process(tmp_path, ahead=3)
    assert other["llvm"] >= 1 and not set(other["names"]) & set(first["names"])
    for found in (second, other):
        assert (found["energy"], found["force"]) == (first["energy"], first["force"])


def test_what_is_broken_is_made_anew(tmp_path):
    made = []

    def make():
        made.append(b"code")
        return made[-1]

    folder = tmp_path / "not yet there"
    assert kept(folder, "k", make) == kept(folder, "k", make) == b"code" and len(made) == 1
    whole = (folder / "k").read_bytes()
    for broken in (b"", whole[:SIZE], whole[:-1], whole + b"more", whole[:SIZE] + b"edoc"):
        (folder / "k").write_bytes(broken)
        made.clear()
        assert kept(folder, "k", make) == b"code" and made
        assert (folder / "k").read_bytes() == whole
    assert [path.name for path in folder.iterdir()] == ["k"]


@pytest.mark.parametrize("where", ["/proc/nowhere", "file/below", None])
def test_where_nothing_can_be_kept(where, tmp_path):
    (tmp_path / "file").write_text("")
    assert kept(where and tmp_path / where, "k", lambda: b"code") == b"code"


def test_what_is_wrong_is_not_kept(tmp_path):
    def fails():
        raise RuntimeError("no code")

    with pytest.raises(RuntimeError):
        kept(tmp_path, "k", fails)
    assert not list(tmp_path.iterdir())


def test_kernels_are_kept_where_jax_keeps_programs(tmp_path, monkeypatch):
    monkeypatch.setattr(native.jax, "config", _Config(str(tmp_path), True))
    assert native.folder() == tmp_path / "kernels"
    for place, enabled in ((str(tmp_path), False), (None, True), ("gs://bucket/programs", True)):
        monkeypatch.setattr(native.jax, "config", _Config(place, enabled))
        assert native.folder() is None


class _Config:
    def __init__(self, place, enabled):
        self.jax_compilation_cache_dir, self.jax_enable_compilation_cache = place, enabled

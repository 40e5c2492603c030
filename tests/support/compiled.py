"""Compiled programs for the tests: how pairs are found, and all that an energy gives at once."""

import functools
from dataclasses import replace

import jax
import numpy as np
import pytest

import mdsl
from mdsl.command import listener as run_listener
from mdsl.command import run as run_program
from mdsl.lowering.planning.policy import DEFAULT, Policy

HEAD = "use units.lj\nuse pair\nuse integrators (velocity_verlet, baoab, brownian, nose_hoover, csvr, berendsen)\n"
TRAVERSALS = ("all pairs", "list")
PAIRS_BY = {"all pairs": Policy(all_pairs=10**6), "list": Policy(all_pairs=1, atoms_each=1)}  # of few atoms too
APART = Policy(all_pairs=1, atoms_each=1, apart=1)  # and each replica of a batch with lists of its own


def program(text, head=HEAD):
    return mdsl.compile(head + text)


def running(text, scheme, steps=100, record="", head=HEAD):
    """A program with one statement of dynamics; its atoms are bound in Python."""
    return program(f'{text}\nrun {{\n  x = read("bound in Python")\n  {scheme} for {steps} {record}\n}}', head)


def bound(program, x, traversal="all pairs", **more):
    """A bound system that finds pairs as told."""
    system = program.bind(x, policy=PAIRS_BY[traversal], **more)
    assert system.traversal.listed == (traversal == "list")
    return system


def run(program, x, key=0, traversal="all pairs", params=None, steps=None, **more):
    """Bind and run."""
    system = program.bind(x, policy=PAIRS_BY[traversal], **more)
    return system.run(jax.random.key(key), params=params, steps=steps)


def everything(system, x=None, params=None, box=None):
    """Energy, forces and virial from one compilation."""
    x = np.asarray(system.x if x is None else x)
    box = np.where(np.isfinite(system.box), system.box, 1.0) if box is None else box
    params = system.program.params if params is None else params
    return tuple(np.asarray(a) for a in _everything(system)(x, params, box))


@functools.lru_cache(maxsize=4)
def _everything(system):
    functions = system.energy, system.forces, system.virial
    return jax.jit(lambda x, params, box: tuple(f(x, params=params, box=box) for f in functions))


def apart(a, b, box):
    """The largest difference of positions, by nearest images."""
    d = np.asarray(a) - np.asarray(b)
    box = np.broadcast_to(box, d.shape)
    whole = np.where(np.isfinite(box), np.round(d / box), 0.0)
    return np.abs(d - np.where(np.isfinite(box), box, 0.0) * whole).max()


def killed(path, options, step=0, policy=DEFAULT):
    """Run a program file that is cut off at its first checkpoint from a step on."""
    checkpoint = run_listener.Listener.checkpoint

    def last(self, runner):
        checkpoint(self, runner)
        if np.max(runner.checkpoint()[0].step) >= step:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(run_listener.Listener, "checkpoint", last)
        with pytest.raises(KeyboardInterrupt):
            run_program.run_file(path, replace(options, checkpoint=0.0), policy)

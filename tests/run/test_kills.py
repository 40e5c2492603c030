"""Runs that are killed, at any moment and by any signal, and resumed: they leave what a run in one piece leaves, to the
last byte. Each run is a process; the fast test of the same is `test_resume`."""

import itertools
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from killing import PROGRAMS, Forks, contents

KILLS = int(os.environ.get("MDSL_KILLS", "40"))
WORKERS = 2
SIGNALS = ("SIGKILL", "SIGTERM", "SIGINT")
ENDED_BY = {"SIGKILL": -9, "SIGTERM": -15, "SIGINT": 130}


def killed_and_resumed(forks, folder, path, more, seconds, random, least):
    """Runs a program until it ends, and kills it on the way at moments that are drawn, at least so often. Returns the
    signals that met it."""
    begin = ["run", path, "--seed", 3, "--threads", 1, "--checkpoint", 0, "--quiet", *more]
    met = []
    for _ in itertools.count():
        resumed = (folder / "checkpoint.npz").exists()
        argv = ["run", path, "--resume", folder, "--quiet"] if resumed else [*begin, "--out", folder, "--overwrite"]
        task = {"log": str(path.with_suffix(".log"))}
        if len(met) < least or random.random() < 0.3:
            signal = SIGNALS[random.integers(3)]
            # From the first checkpoint on, or, of some, from the start.
            early = not resumed and random.random() < 0.1
            once = {} if resumed or early else {"once": str(folder / "checkpoint.npz")}
            share = random.uniform(0, seconds[early or resumed] / (1 + least))
            found = forks.run(argv, signal=signal, after=share, **once, **task)
            if found["status"] == ENDED_BY[signal]:
                met.append(signal)
                continue
        else:
            found = forks.run(argv, **task)
        assert found["status"] == 0, path.with_suffix(".log").read_text()[-3000:]
        return met


def campaign(kills: int, folder, seed=0):
    """Kills, shared between the programs. Returns for each program the signals and how often it was run."""
    counts = {name: kills // len(PROGRAMS) + (k < kills % len(PROGRAMS)) for k, name in enumerate(PROGRAMS)}

    def one(names):
        forks, told = Forks(folder / "cache"), {}
        try:
            for name in names:
                told[name] = of_program(forks, folder / name.replace(" ", "-"), name, counts[name], seed)
        finally:
            forks.close()
        return told

    with ThreadPoolExecutor(WORKERS) as pool:
        shares = [list(PROGRAMS)[k::WORKERS] for k in range(WORKERS)]
        return {name: found for told in pool.map(one, shares) for name, found in told.items()}


def of_program(forks, folder, name, kills, seed) -> list[str]:
    text, more = PROGRAMS[name]
    folder.mkdir()
    path, whole = folder / "program.mdsl", folder / "whole"
    path.write_text(text)
    random, met = np.random.default_rng([seed, list(PROGRAMS).index(name)]), []
    begin = ["run", path, "--seed", 3, "--threads", 1, "--quiet", *more]
    log = {"log": str(path.with_suffix(".log"))}
    found = forks.run([*begin, "--out", whole], **log)  # which compiles what the others find in the cache
    assert found["status"] == 0, path.with_suffix(".log").read_text()[-3000:]
    again = folder / "again"
    found = forks.run(
        [*begin, "--checkpoint", 0, "--out", again], once=str(again / "checkpoint.npz"), **log
    )  # how often checkpoints are written has no part in it
    assert contents(again) == contents(whole), (name, "again")
    seconds = found["seconds"], found["all"]
    while len(met) < kills:
        parts = folder / f"parts-{len(met)}"
        met += killed_and_resumed(forks, parts, path, more, seconds, random, min(3, kills - len(met)))
        assert contents(parts) == contents(whole), (name, met)
    return met


@pytest.mark.slow
def test_killed_runs_leave_what_a_run_in_one_piece_leaves(tmp_path):
    told = campaign(KILLS, tmp_path)
    met = [signal for signals in told.values() for signal in signals]
    assert len(met) >= KILLS and {*met} == {*SIGNALS}

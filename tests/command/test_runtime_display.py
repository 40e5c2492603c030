"""What the terminal shows, and what a file gets instead."""

import io
import re

import numpy as np
import pytest

from mdsl.command import display as module
from mdsl.command.display import Display, Summary, Table, duration, human, number, summary_text
from mdsl.files.records import Column


class Terminal(io.StringIO):
    def isatty(self):
        return True


COLUMNS = [Column("T", "K"), Column("E", "kcal/mol")]


def test_long_series_are_not_in_the_table():
    out = io.StringIO()
    display = Display(4, stream=out)
    short, long = Column("s", "", (2,), (1, 2)), Column("g", "", (100,), (1, 100))
    display.phase("verlet", [Column("T"), short, long], 10)
    display.row(0, 0.0, {"T": 1.0, "s": np.ones(2), "g": np.ones(100)})
    display.finish(Summary(1.0, 10, 4))
    text = out.getvalue()
    assert "g[1] to g[100] in records.csv" in text and "s[2]" in text and "g[2]" not in text


def run(stream, columns=COLUMNS, **options):
    with Display(32000, stream=stream, time_unit="fs", **options) as shown:
        shown.phase("baoab for 20", columns, 20, ns_per_step=1e-6)
        shown.advance(0)
        for step in (10, 20):
            shown.advance(step)
            shown.row(step, 2.0 * step, {"T": 94.4 * step, "E": -123456.789})
        shown.phase("velocity_verlet for 10", columns[:1], 10)
        shown.row(30, 60.0, {"T": 1.0})
        shown.advance(10)
        shown.finish(Summary(2.0, 30, 32000, parts={"pairs": 1.5}))
    return stream.getvalue()


def test_plain_text():
    lines = run(io.StringIO()).splitlines()
    assert not any("\x1b" in line or "\r" in line for line in lines)
    table = lines[1:4]
    assert table[0].split() == ["step", "time", "[fs]", "T", "[K]", "E", "[kcal/mol]"]
    assert table[1].split() == ["10", "20", "944.00000", "-123456.79"]
    assert len({len(line) for line in table}) == 1  # aligned
    assert [line for line in lines if line.startswith("baoab")] and sum("[kcal/mol]" in line for line in lines) == 1
    assert "30 steps of 32,000 atoms in 2.0 s" in lines


def test_the_header_is_written_once_for_the_same_columns():
    stream = io.StringIO()
    with Display(10, stream=stream) as shown:
        for _ in range(3):
            shown.phase("part", COLUMNS, 10)
            shown.row(0, 0.0, {"T": 1.0, "E": 2.0})
    assert stream.getvalue().count("[kcal/mol]") == 1


def test_terminal(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.delenv("NO_COLOR", raising=False)
    text = run(Terminal())
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)
    assert "\x1b" in text
    assert "94.400000" not in plain and "944.00000" in plain and "[kcal/mol]" in plain
    assert "20/20" in plain and "atom-steps/s" in plain and "ns/day" in plain and "left" in plain
    assert text.rstrip().split("\n")[-1].strip().startswith("other")


def test_quiet():
    assert run(io.StringIO(), quiet=True) == ""
    assert run(Terminal(), quiet=True) == ""


def test_progress_now_and_then_where_there_is_no_terminal(monkeypatch):
    monkeypatch.setattr(module, "PLAIN_PROGRESS_SECONDS", 0.0)
    lines = run(io.StringIO()).splitlines()
    assert [line for line in lines if line.startswith("# 10/20")]


def test_a_reader_that_leaves_does_not_stop_the_run():
    class Gone(io.StringIO):
        def write(self, text):
            raise BrokenPipeError

    run(Gone())


def test_tensors_and_missing_values():
    table = Table([Column("step"), Column("time"), Column("s", "bar", (2, 2)), Column("T")])
    assert table.header().split() == [
        "step",
        "time",
        "s_xx",
        "[bar]",
        "s_xy",
        "[bar]",
        "s_yx",
        "[bar]",
        "s_yy",
        "[bar]",
        "T",
    ]
    assert table.row(5, 0.5, {"s": np.arange(4).reshape(2, 2)}).split() == [
        "5",
        "0.5",
        "0",
        "1.0000000",
        "2.0000000",
        "3.0000000",
        "-",
    ]


def test_narrow_terminals_get_fewer_digits():
    columns = [Column("step"), Column("time"), *(Column(name) for name in "abcd")]
    wide, narrow = Table(columns, 120), Table(columns, 76)
    assert wide.digits == 8 and narrow.digits == 5
    assert len(narrow.row(1, 1.0, dict.fromkeys("abcd", -1.23456789e-10))) <= 76


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (1.44, "1.4400000"),
        (-5.0876543219, "-5.0876543"),
        (1e-3, "0.0010000000"),
        (1e-7, "1.0000000e-07"),
        (123456789.0, "1.2345679e+08"),
        (float("nan"), "-"),
        (float("-inf"), "-inf"),
        (12345678.4, "12345678"),
        (99999999.9, "100000000"),
    ],
)
def test_numbers(value, text):
    assert number(value, 8) == text


def test_units_for_people():
    assert [human(v) for v in (0.0123, 5, 999.4, 4.83e6, 2e10, 100, 1e15)] == [
        "0.0123",
        "5.00",
        "999",
        "4.83 M",
        "20.0 G",
        "100",
        "1.00 P",
    ]
    assert [duration(v) for v in (0.04, 59.94, 60, 3723, 90000, float("inf"))] == [
        "0.0 s",
        "59.9 s",
        "0:01:00",
        "1:02:03",
        "25:00:00",
        "?",
    ]


def test_summary():
    text = summary_text(
        Summary(
            10.0,
            1000,
            32000,
            replicas=2,
            nanoseconds=0.005,
            parts={"pairs": 7.0, "neighbours": 2.0},
            folder="runs/argon-001",
        )
    )
    assert "1,000 steps of 32,000 atoms, 2 replicas in 10.0 s" in text
    assert "100 steps/s   6.40 M atom-steps/s   43.2 ns/day" in text
    assert re.search(r"pairs +7\.000 s +70\.0 %", text) and re.search(r"other +1\.000 s +10\.0 %", text)
    assert "runs/argon-001" in text
    assert summary_text(Summary(0.0, 0, 5)) == "0 steps of 5 atoms in 0.0 s"

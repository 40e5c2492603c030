"""The tests, but for slow ones, that are skipped where all is installed (`pip install -e '.[test,oracle]'`), how many,
and why.

`pytest --only-known-skips` fails where any other test is skipped, or more of these; continuous integration runs that.
"""

from collections import Counter
from dataclasses import dataclass


@dataclass(frozen=True)
class Known:
    """So many skips at most, of the tests of one file, with a reason that contains this."""

    file: str
    reason: str
    most: int
    why: str


BESIDE = "the data lie in shared/reference beside the repository, and are not ours to hand on"
DESIGN = "the programs of the design lie in shared/programs beside the repository"

KNOWN = (
    Known("tests/derivatives/test_derivatives.py", "needs the reference data", 1, BESIDE),
    Known("tests/library/test_library_references.py", "needs the reference data", 2, BESIDE),
    Known("tests/interpret/test_integral.py", "NIST", 2, BESIDE),
    Known("tests/oracle/test_reference.py", "no reference data", 8, BESIDE),
    Known("tests/oracle/test_force_styles.py", "the unit tests of LAMMPS", 22, BESIDE),
    Known("tests/oracle/test_eam.py", "programs of the design", 2, DESIGN),
    Known("tests/files/test_runtime_reading.py", "no reference data", 4, BESIDE),
    Known("tests/files/test_runtime_reading.py", "twelve columns", 1, "a layout that is ambiguous is refused instead"),
    Known("tests/dynamics/test_changing_box.py", "the program is not here", 1, DESIGN),
    Known("tests/api/test_learned.py", "programs of the design", 1, DESIGN),
    Known("tests/passes/test_printing.py", "beside it", 1, "a program of the design whose potential file is not ours"),
    Known("tests/docs/test_benchmarks.py", "matplotlib", 1, "figures need the optional dependencies `plot`"),
)


def unknown(skipped: list[tuple[str, str]]) -> list[str]:
    """What is wrong with the tests that were skipped, (identifier, reason) each, in words; nothing where all is
    known."""
    kinds, wrong = Counter(), []
    for test, reason in skipped:
        kind = next((k for k in KNOWN if test.startswith(f"{k.file}::") and k.reason in reason), None)
        if kind is None:
            wrong.append(f"{test} is skipped: {reason}")
        else:
            kinds[kind] += 1
    wrong += [
        f"{count} tests of {k.file} are skipped, not {k.most} at most: {k.reason}"
        for k, count in kinds.items()
        if count > k.most
    ]
    return wrong

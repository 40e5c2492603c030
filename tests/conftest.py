"""64-bit numbers for all tests, before the first array is made; programs that compile quickly rather than run so; and
an option by which only tests are skipped of which that is known."""

import os

import jax
import known_skips
import pytest
import quick

jax.config.update("jax_enable_x64", True)


def pytest_addoption(parser):
    parser.addoption(
        "--only-known-skips", action="store_true", help="fail for skips that tests/support/known_skips.py has not"
    )


def pytest_configure(config):
    """Most tests compile much and compute little, for which these flags halve the time. The slow ones compute, and want
    what users get."""
    chosen = config.option.markexpr or ""
    if ("not slow" in chosen or chosen == "exhaustive") and "XLA_FLAGS" not in os.environ:
        os.environ["XLA_FLAGS"] = quick.flags()


def _unknown_skips(config):
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if not config.option.only_known_skips or reporter is None:  # a worker has none
        return []
    return known_skips.unknown([(r.nodeid, str(r.longrepr[-1])) for r in reporter.stats.get("skipped", ())])


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session, exitstatus):
    if exitstatus == pytest.ExitCode.OK and _unknown_skips(session.config):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter, config):
    for line in _unknown_skips(config):
        terminalreporter.write_line(f"not a known skip: {line}", red=True)

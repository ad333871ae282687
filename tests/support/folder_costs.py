"""A pytest plugin: how long each folder of tests took, set-up and tear-down with it, at the end of a run."""

from __future__ import annotations

from collections import defaultdict
from pathlib import PurePosixPath

import pytest


def folder_of(nodeid: str) -> str:
    """The folder of a test's file, no deeper than `tests/part`."""
    return "/".join(PurePosixPath(nodeid.partition("::")[0]).parent.parts[:2]) or "."


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """A line a folder, the longest first: seconds, tests that ran, folder."""
    seconds: dict[str, float] = defaultdict(float)
    tests: dict[str, set[str]] = defaultdict(set)
    for reports in terminalreporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport):
                folder = folder_of(report.nodeid)
                seconds[folder] += report.duration
                tests[folder].add(report.nodeid)
    if not seconds:
        return
    terminalreporter.section("seconds by folder")
    for folder, cost in sorted(seconds.items(), key=lambda item: -item[1]):
        terminalreporter.line(f"{cost:8.1f} s  {len(tests[folder]):5} tests  {folder}")
    terminalreporter.line(f"{sum(seconds.values()):8.1f} s  {sum(map(len, tests.values())):5} tests  in all")

"""tools/run_tests counts what really ran, and calls a suite that ran nothing a failure."""

from __future__ import annotations

import argparse
import importlib.machinery
import importlib.util
import pathlib
import sys
import time

import pytest


def load():
    path = pathlib.Path(__file__).resolve().parent.parent / "run_tests"
    loader = importlib.machinery.SourceFileLoader("run_tests", str(path))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("run_tests", loader))
    sys.modules["run_tests"] = module
    loader.exec_module(module)
    return module


runner = load()

GTEST = """<testsuites tests="4"><testsuite name="A">
<testcase name="good" status="run" result="completed" classname="A"/>
<testcase name="bad" status="run" result="completed" classname="A"><failure message="a.cc:3&#10;Expected 1"/></testcase>
<testcase name="skipped" status="run" result="skipped" classname="A"><skipped message="no"/></testcase>
<testcase name="DISABLED_x" status="notrun" result="suppressed" classname="A"/>
</testsuite></testsuites>"""
PYTEST = """<testsuites><testsuite><testcase classname="t" name="ok"/><testcase classname="t" name="broken">
<error message="fixture">boom</error></testcase><testcase classname="t" name="s"><skipped/></testcase></testsuite>
</testsuites>"""


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs a suite of one shell command; the command finds where to write its report in $REPORT."""
    monkeypatch.setattr(runner, "ROOT", tmp_path)
    monkeypatch.setattr(runner, "RESULTS", tmp_path / "results")

    def call(script: str, limit_s: int = 20, where: str = "."):
        def commands(suite, _options):
            report = runner.report_of(suite, "x")
            return [runner.Command("x", ["/bin/sh", "-c", script.replace("$REPORT", str(report))], report, tmp_path)]

        suite = runner.Suite("s", "", where, limit_s, commands)
        return runner.run_suite(suite, argparse.Namespace(preset="release"), {"PATH": "/usr/bin:/bin"})

    return call


@pytest.mark.parametrize(("text", "passed", "failed", "skipped"), [(GTEST, 1, 1, 2), (PYTEST, 1, 1, 1)])
def test_reports_are_counted_by_case(tmp_path, text, passed, failed, skipped):
    (tmp_path / "r.xml").write_text(text)
    count = runner.read_report(tmp_path / "r.xml")
    assert (count.passed, len(count.failures), count.skipped) == (passed, failed, skipped)


def test_a_good_suite_passes(run):
    count = run('echo \'<testsuite><testcase name="a"/><testcase name="b"/></testsuite>\' > $REPORT')
    assert (count.passed, count.failures) == (2, [])


def test_no_test_is_a_failure(run):
    count = run("echo '<testsuite/>' > $REPORT")
    assert count.failures == [("x", "ran no test")]


def test_no_report_is_a_failure_with_the_output(run):
    count = run("echo something odd")
    assert "wrote no report" in count.failures[0][1]
    assert "something odd" in count.failures[0][1]


def test_a_crash_is_a_failure_even_after_a_good_report(run):
    count = run("echo '<testsuite><testcase name=\"a\"/></testsuite>' > $REPORT; kill -SEGV $$")
    assert count.passed == 1
    assert count.failures[0][1].startswith("killed by SIGSEGV")


def test_a_hanging_suite_is_stopped_with_all_it_started(run, tmp_path):
    count = run(f"sleep 60 & echo $! > {tmp_path}/child; sleep 60", limit_s=1)
    assert "not done after its limit of 1 s" in count.failures[0][1]
    child = int((tmp_path / "child").read_text())
    deadline = time.monotonic() + 10  # the signal is on its way
    while is_alive(child) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not is_alive(child)


def is_alive(process: int) -> bool:
    try:
        state = pathlib.Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_a_missing_folder_is_a_failure(run):
    assert "MISSING" in run("true", where="tests/none").failures[0][1]


def test_a_folder_that_no_suite_runs_is_found(run, tmp_path):
    (tmp_path / "tests/forgotten").mkdir(parents=True)
    (tmp_path / "tests/api").mkdir()
    assert list(runner.strangers()) == ["tests/forgotten"]


def test_names_of_suites_are_unique_and_checked():
    names = [suite.name for suite in runner.SUITES]
    assert len(names) == len(set(names))
    with pytest.raises(SystemExit):
        runner.parse(["nonsense"])

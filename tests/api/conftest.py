"""Makes pytest collect *.test: one test a case, one server a file."""

from __future__ import annotations

import pathlib
import sys
import tempfile

import pytest

sys.dont_write_bytecode = True
sys.path[:0] = [str(pathlib.Path(__file__).resolve().parent), str(pathlib.Path(__file__).resolve().parents[1])]

from runner.parse import Case, ParseError, parse  # noqa: E402
from runner.run import Failure, Run  # noqa: E402
from support.server import ServerError  # noqa: E402


def pytest_collect_file(parent: pytest.Collector, file_path: pathlib.Path) -> pytest.File | None:
    if file_path.suffix == ".test":
        return DataFile.from_parent(parent, path=file_path)
    return None


class DataFile(pytest.File):
    def collect(self):
        self.folder: tempfile.TemporaryDirectory | None = None
        self.run: Run | None = None
        self.parsed = parse(self.path)
        for case in self.parsed.cases:
            yield DataCase.from_parent(self, name=case.name, case=case)

    def setup(self) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="tidemill-test-")
        self.run = Run(self.parsed, pathlib.Path(self.folder.name))
        self.run.start()

    def teardown(self) -> None:
        try:
            if self.run:
                self.run.stop()
        finally:
            if self.folder:
                self.folder.cleanup()

    def repr_failure(self, excinfo, style=None):
        return str(excinfo.value) if isinstance(excinfo.value, ParseError) else super().repr_failure(excinfo, style)


class DataCase(pytest.Item):
    def __init__(self, *, case: Case, **rest) -> None:
        super().__init__(**rest)
        self.case = case

    def runtest(self) -> None:
        self.parent.run.run(self.case)

    def repr_failure(self, excinfo, style=None):
        if isinstance(excinfo.value, Failure | ServerError):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self):
        return self.path, self.case.line - 1, f"{self.path.name}: {self.name}"

"""From the text of a .test file to its cases."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import re
from typing import Any

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
REQUEST = re.compile(rf"^({'|'.join(METHODS)})\s+(\S+)(?:\s+as\s+(\S+))?$")
ANSWER = re.compile(r"^->\s+(\d{3}|\*)(?:\s+within\s+([\d.]+)\s*s)?$")
EVENTS = re.compile(r"^events(?:\s+within\s+([\d.]+)\s*s)?:\s*(.*)$")
CAPTURE = re.compile(r"^\$([A-Za-z_]\w*)\s*=\s*(\S+)$")
COMMANDS = ("restart", "kill")


class ParseError(Exception):
    """The file is not written as README.md says; the text names the line."""


@dataclasses.dataclass
class Expected:
    status: str  # three digits, or "*"
    within_s: float = 0.0  # repeat the request until it fits
    body: Any = None
    has_body: bool = False
    texts: list[str] = dataclasses.field(default_factory=list)
    headers: list[tuple[str, str]] = dataclasses.field(default_factory=list)
    captures: list[tuple[str, str]] = dataclasses.field(default_factory=list)
    events: list[str] | None = None
    events_within_s: float = 0.0


@dataclasses.dataclass
class Step:
    line: int
    command: str = ""  # "restart" or "kill"; else a request:
    method: str = ""
    path: str = ""
    actor: str = ""
    headers: list[tuple[str, str]] = dataclasses.field(default_factory=list)
    body: Any = None  # JSON
    has_body: bool = False
    text: str | None = None
    file: str = ""
    expected: Expected | None = None


@dataclasses.dataclass
class Case:
    name: str
    line: int
    steps: list[Step] = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class TestFile:
    path: pathlib.Path
    flags: list[str] = dataclasses.field(default_factory=list)
    actors: list[str] = dataclasses.field(default_factory=list)
    cases: list[Case] = dataclasses.field(default_factory=list)


class Parser:
    def __init__(self, path: pathlib.Path, text: str) -> None:
        self.file = TestFile(path)
        self.lines = text.splitlines()
        self.at = 0
        self.step: Step | None = None

    def fail(self, what: str) -> ParseError:
        return ParseError(f"{self.file.path.name}:{self.at}: {what}")

    def parse(self) -> TestFile:
        while self.at < len(self.lines):
            line = self.lines[self.at].strip()
            self.at += 1
            if line and not line.startswith("# ") and line != "#":
                self.take(line)
        if not self.file.cases:
            raise self.fail("the file has no case; begin one with '== what is tested'")
        for case in self.file.cases:
            if not case.steps:
                raise ParseError(f"{self.file.path.name}:{case.line}: the case has no step")
        return self.file

    def take(self, line: str) -> None:
        if line.startswith("== "):
            self.begin_case(line[3:].strip())
        elif not self.file.cases:
            self.take_setting(line)
        elif line in COMMANDS:
            self.begin_step(Step(self.at, command=line))
        elif match := REQUEST.match(line):
            self.begin_step(Step(self.at, method=match[1], path=match[2], actor=match[3] or ""))
        elif match := ANSWER.match(line):
            if not self.step or self.step.command or self.step.expected:
                raise self.fail("'->' must follow a request, once")
            self.step.expected = Expected(match[1], float(match[2] or 0))
        elif not self.step or self.step.command:
            raise self.fail(f"this is neither a request nor a case: {line!r}")
        elif self.step.expected:
            self.take_expectation(line, self.step.expected)
        else:
            self.take_request_part(line, self.step)

    def begin_case(self, name: str) -> None:
        if any(case.name == name for case in self.file.cases):
            raise self.fail(f"there is a case {name!r} already")
        self.file.cases.append(Case(name, self.at))
        self.step = None

    def begin_step(self, step: Step) -> None:
        self.step = step
        self.file.cases[-1].steps.append(step)

    def take_setting(self, line: str) -> None:
        name, colon, value = line.partition(":")
        if name == "server" and colon:
            self.file.flags += value.split()
        elif name == "actors" and colon:
            self.file.actors += [actor.strip() for actor in value.split(",") if actor.strip()]
        else:
            raise self.fail(f"before the first case only 'server: FLAGS' and 'actors: NAMES' may stand, not {line!r}")

    def take_request_part(self, line: str, step: Step) -> None:
        if line[0] in '{["':
            step.body, step.has_body = self.json_value(), True
        elif line == "<<<":
            step.text = self.raw_text()
        elif line.startswith("body: "):
            step.text = json.loads(line[6:]) if line[6:].startswith('"') else line[6:]
        elif line.startswith("file: "):
            step.file = line[6:].strip()
        elif line.startswith("header "):
            name, _, value = line[7:].partition(":")
            step.headers.append((name.strip(), value.strip()))
        else:
            raise self.fail(
                f"a request has 'header N: V', a JSON body, 'body: TEXT', '<<<' or 'file: NAME', not {line!r}"
            )

    def take_expectation(self, line: str, expected: Expected) -> None:
        if line[0] in '{["':
            if expected.has_body:
                raise self.fail("there is an expected body already")
            expected.body, expected.has_body = self.json_value(), True
        elif line.startswith("text: "):
            expected.texts.append(json.loads(line[6:]) if line[6:].startswith('"') else line[6:])
        elif line.startswith("header "):
            name, _, value = line[7:].partition(":")
            expected.headers.append((name.strip(), value.strip()))
        elif match := CAPTURE.match(line):
            expected.captures.append((match[1], match[2]))
        elif match := EVENTS.match(line):
            words = [word.strip() for word in match[2].split(",") if word.strip()]
            expected.events = [] if words == ["none"] else words
            expected.events_within_s = float(match[1] or 0)
        else:
            raise self.fail(
                f"an answer has JSON, 'text: …', 'header N: V', '$name = path' or 'events: …', not {line!r}"
            )

    def json_value(self) -> Any:
        """Reads JSON that begins on the line just taken and may go on for several."""
        first = self.at - 1
        for last in range(first + 1, len(self.lines) + 1):
            try:
                value = json.loads("\n".join(self.lines[first:last]))
            except json.JSONDecodeError:
                if last < len(self.lines) and self.lines[last].startswith(("== ", "-> ")):
                    break
                continue
            self.at = last
            return value
        raise self.fail("this JSON does not end, or is not JSON (send broken bodies with 'body: …')")

    def raw_text(self) -> str:
        first = self.at
        while self.at < len(self.lines):
            if self.lines[self.at].strip() == ">>>":
                self.at += 1
                return "\n".join(self.lines[first : self.at - 1]) + "\n"
            self.at += 1
        raise self.fail("'<<<' is never closed by '>>>'")


def parse(path: pathlib.Path) -> TestFile:
    return Parser(path, path.read_text()).parse()

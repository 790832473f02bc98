"""Runs the cases of one file against one server."""

from __future__ import annotations

import fnmatch
import json
import pathlib
import time
import urllib.parse
from typing import Any

from support.server import Answer, Client, Server, basic

from . import match
from .parse import Case, Expected, Step, TestFile

POLL_S = 0.05
PASSWORD = "a password for tests"
ROLES = ("viewer", "modeller", "approver", "admin", "service")
DATA = pathlib.Path(__file__).resolve().parents[1] / "data"


class Failure(Exception):
    """A step did not go as expected; the text is for people."""


class Run:
    """One server and what its cases captured so far."""

    def __init__(self, file: TestFile, folder: pathlib.Path) -> None:
        self.file = file
        self.server = Server(folder / "data", list(file.flags))
        self.variables: dict[str, Any] = {}
        self.clients: dict[str, Client] = {}

    def start(self) -> None:
        self.server.start()
        self.variables["url"] = self.server.url
        admins = [actor for actor in self.file.actors if role_of(actor) == "admin"]
        for actor in admins + [actor for actor in self.file.actors if actor not in admins]:
            self.add_actor(actor, by=admins[0] if admins and actor != admins[0] else "nobody")

    def add_actor(self, actor: str, by: str) -> None:
        person = {"name": actor, "roles": [role_of(actor)], "password": PASSWORD}
        answer = self.client(by).call_json("POST", "/api/people", person)
        if answer.status != 201:
            raise Failure(f"the actor '{actor}' could not be made (name an admin among the actors): {answer.text}")
        token = answer.json.get("token")  # the first account comes with one
        if not token:
            token = self.client(by).call_json("POST", f"/api/people/{actor}/tokens", {"label": "tests"}).json["token"]
        self.variables[f"token_{actor}"] = token
        self.clients.pop(actor, None)

    def client(self, actor: str) -> Client:
        if actor not in self.clients:
            self.clients[actor] = self.server.client(self.credentials(actor))
        return self.clients[actor]

    def credentials(self, actor: str) -> str:
        token = self.variables.get(f"token_{actor}")
        if token:
            return f"Bearer {token}"
        if actor == "nobody":
            return ""
        if actor in self.file.actors:
            return basic(actor, PASSWORD)
        raise Failure(f"'{actor}' is no actor of this file: write 'actors: admin, {actor}' before the first case")

    def stop(self) -> None:
        self.clients.clear()
        self.server.stop()

    def run(self, case: Case) -> None:
        for step in case.steps:
            try:
                self.run_step(step)
            except match.Unknown as unknown:
                raise Failure(f"{self.file.path.name}:{step.line}: {unknown}") from None

    def run_step(self, step: Step) -> None:
        if step.command:
            self.clients.clear()
            self.server.stop() if step.command == "restart" else self.server.kill()
            self.server.start()
            return
        expected = step.expected or Expected("2**")
        head = self.newest_event() if expected.events is not None else 0
        deadline = time.monotonic() + expected.within_s
        while True:
            answer = self.send(step)
            trouble = self.differences(expected, answer)
            if not trouble or time.monotonic() >= deadline:
                break
            time.sleep(POLL_S)
        if not trouble:
            trouble = self.capture(expected, answer)
        if not trouble and expected.events is not None:
            trouble = self.event_differences(expected, head)
        if trouble:
            raise Failure(self.report(step, answer, trouble))

    def send(self, step: Step) -> Answer:
        path = match.substitute(step.path, self.variables, escape=lambda v: urllib.parse.quote(str(v), safe=""))
        headers = {name: str(match.substitute(value, self.variables)) for name, value in step.headers}
        body: bytes | None = None
        if step.has_body:
            body = json.dumps(match.substitute(step.body, self.variables)).encode()
            headers.setdefault("Content-Type", "application/json")
        elif step.text is not None:
            body = str(match.substitute(step.text, self.variables)).encode()
        elif step.file:
            body = (DATA / step.file).read_bytes()
            headers.setdefault("Content-Type", "application/octet-stream")
        return self.client(step.actor or self.default_actor()).call(step.method, path, body, headers)

    def default_actor(self) -> str:
        return self.file.actors[0] if self.file.actors else "nobody"

    def differences(self, expected: Expected, answer: Answer) -> list[str]:
        lines = []
        if not fnmatch.fnmatchcase(str(answer.status), expected.status.replace("**", "*")):
            lines.append(f"status: expected {expected.status}, got {answer.status}")
        for name, value in expected.headers:
            got = answer.headers.get(name.lower())
            wanted = str(match.substitute(value, self.variables))
            if match.differences(wanted, got):
                lines.append(f"header {name}: expected {wanted!r}, got {got!r}")
        lines += [
            f"text: lacks {text!r}"
            for text in expected.texts
            if match.substitute(text, self.variables) not in answer.text
        ]
        if expected.has_body:
            try:
                lines += match.differences(match.substitute(expected.body, self.variables), answer.json)
            except ValueError:
                lines.append("the body is not JSON")
        return lines

    def capture(self, expected: Expected, answer: Answer) -> list[str]:
        for name, path in expected.captures:
            try:
                if path == "text":
                    self.variables[name] = answer.text
                elif path.startswith("header."):
                    self.variables[name] = answer.headers[path[7:].lower()]
                else:
                    self.variables[name] = match.lookup_path(answer.json, path)
            except (KeyError, IndexError, TypeError, ValueError):
                return [f"${name}: the answer has no {path!r}"]
        return []

    def watcher(self) -> Client:
        """Whoever may read the events, whatever the case's own actor may do."""
        admins = [actor for actor in self.file.actors if role_of(actor) == "admin"]
        return self.client(admins[0] if admins else self.default_actor())

    def events(self, query: str) -> list[dict[str, Any]]:
        answer = self.watcher().call("GET", f"/api/events?{query}")
        if answer.status != 200:
            raise Failure(f"the events cannot be read (accounts without 'actors:'?): {answer.text}")
        return answer.json["events"]

    def newest_event(self) -> int:
        newest = self.events("newest_first=true&limit=1")
        return newest[0]["seq"] if newest else 0

    def event_differences(self, expected: Expected, head: int) -> list[str]:
        assert expected.events is not None
        deadline = time.monotonic() + expected.events_within_s
        while True:
            kinds = [event["kind"] for event in self.events(f"after_seq={head}&limit=1000")]
            if events_fit(expected.events, kinds):
                return []
            if time.monotonic() >= deadline:
                wanted, got = (", ".join(words) or "none" for words in (expected.events, kinds))
                return [f"events: expected {wanted}; got {got}"]
            time.sleep(POLL_S)

    def report(self, step: Step, answer: Answer, trouble: list[str]) -> str:
        actor = f" as {step.actor}" if step.actor else ""
        lines = [
            f"{self.file.path.name}:{step.line}: {step.method} {step.path}{actor}",
            *(f"  - {line}" for line in trouble),
        ]
        lines.append(f"  answer: {answer.status} {answer.headers.get('content-type', '')}")
        lines += [f"  | {line}" for line in pretty(answer).splitlines()[:60]]
        tail = self.server.log_tail(8)
        if tail and (answer.status >= 500 or not self.server.alive()):
            lines += ["  server's log:", *(f"  | {line}" for line in tail.splitlines())]
        return "\n".join(lines)


def role_of(actor: str) -> str:
    """ "approver2" has the role approver."""
    role = actor.rstrip("0123456789")
    if role not in ROLES:
        raise Failure(
            f"an actor's name is its role ({', '.join(ROLES)}), with digits after it if need be, not '{actor}'"
        )
    return role


def events_fit(expected: list[str], kinds: list[str]) -> bool:
    """Exactly these in this order; with '...' among them, these in this order and others anywhere between."""
    if match.MORE not in expected:
        return len(kinds) == len(expected) and all(map(fnmatch.fnmatchcase, kinds, expected))
    rest = iter(kinds)
    return all(any(fnmatch.fnmatchcase(kind, wanted) for kind in rest) for wanted in expected if wanted != match.MORE)


def pretty(answer: Answer) -> str:
    try:
        return json.dumps(answer.json, indent=1, ensure_ascii=False)
    except ValueError:
        return answer.text[:4000]

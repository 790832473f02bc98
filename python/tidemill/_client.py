"""The client: one object for one server, one attribute for each noun of its API."""

from __future__ import annotations

import builtins
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Union

from ._errors import TidemillError
from ._transport import Transport, path_of

Json = dict[str, Any]
PathLike = Union[str, "os.PathLike[str]"]


class Client:
    """Speaks with one server. Thread-safe.

    Address and token default to TIDEMILL_URL and TIDEMILL_TOKEN. Methods return the server's JSON as plain
    dictionaries (their
    fields stand in the reference, /api/openapi.json) and raise `TidemillError`.
    """

    def __init__(
        self, url: str | None = None, token: str | None = None, *, timeout_s: float = 120.0, retries: int = 4
    ) -> None:
        self.url = (url or os.environ.get("TIDEMILL_URL") or "http://127.0.0.1:7070").rstrip("/")
        transport = Transport(self.url, token or os.environ.get("TIDEMILL_TOKEN"), timeout_s, retries)
        self._transport = transport
        self.people = People(transport)
        self.approvals = Approvals(transport)
        self.events = Events(transport)
        self.requirements = Requirements(transport)
        self.datasets = Datasets(transport)
        self.features = Features(transport)
        self.pipelines = Pipelines(transport)
        self.models = Models(transport)
        self.deployments = Deployments(transport)
        self.predictions = Predictions(transport)
        self.monitors = Monitors(transport)
        self.triggers = Triggers(transport)

    def health(self) -> bool:
        """Returns whether the server answers and is ready."""
        try:
            self._transport.request("GET", "/health")
        except TidemillError:
            return False
        return True

    def loop(self) -> Json:
        """Returns what every room is doing, and `idle`: whether nothing is queued, running or unjudged."""
        return self._transport.request("GET", path_of("loop"))

    def idle(self) -> bool:
        """Returns whether nothing is queued, running or due: what a test waits for."""
        return self._transport.request("GET", path_of("loop", "idle"))["idle"]


class _Noun:
    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def _get(self, *segments: object, **query: object) -> Any:
        return self._transport.request("GET", path_of(*segments), query=query)

    def _post(self, *segments: object, body: Any, repeatable: bool = False) -> Any:
        return self._transport.request("POST", path_of(*segments), json_body=body, repeatable=repeatable)


class People(_Noun):
    def add(self, name: str, roles: Sequence[str], password: str | None = None) -> Json:
        """Makes an account; the first of a server must be an admin."""
        body: Json = {"name": name, "roles": list(roles)}
        if password is not None:
            body["password"] = password
        return self._post("people", body=body)

    def token(self, name: str, label: str = "python") -> str:
        """Makes and returns a token; the server never shows it again."""
        return self._post("people", name, "tokens", body={"label": label})["token"]


class Approvals(_Noun):
    def list(self, state: str | None = None) -> builtins.list[Json]:
        return self._get("approvals", state=state)["approvals"]


class Events(_Noun):
    def list(
        self,
        *,
        after_seq: int = 0,
        kind: str | None = None,
        subject: str | None = None,
        limit: int = 100,
        newest_first: bool = False,
    ) -> builtins.list[Json]:
        return self._get(
            "events",
            after_seq=after_seq,
            kind_prefix=kind,
            subject_prefix=subject,
            limit=limit,
            newest_first=newest_first,
        )["events"]

    def all(self, *, kind: str | None = None, subject: str | None = None) -> Iterator[Json]:
        """Yields every event, oldest first."""
        after = 0
        while page := self.list(after_seq=after, kind=kind, subject=subject, limit=1000):
            yield from page
            after = page[-1]["seq"]

    def verify(self) -> Json:
        """Recomputes the hash chain; `ok` tells whether it holds."""
        return self._get("events", "verify")


class Requirements(_Noun):
    def add(self, definition: Mapping[str, Any]) -> Json:
        return self._post("requirements", body=dict(definition))

    def get(self, name: str) -> Json:
        return self._get("requirements", name)


class Datasets(_Noun):
    def create(self, name: str, **fields: Any) -> Json:
        """Makes a dataset; fields: description, owner, rules."""
        return self._post("datasets", body={"name": name, **fields})

    def add(self, name: str, file: PathLike, *, mode: str = "append") -> Json:
        """Adds a version from a CSV or Parquet file; raises GateNotMet when it breaks a rule of the dataset."""
        with open(file, "rb") as body:
            return self._transport.request(
                "POST",
                path_of("datasets", name, "versions"),
                body=body,
                query={"mode": mode, "filename": Path(file).name},
            )

    def get(self, name: str) -> Json:
        return self._get("datasets", name)

    def version(self, name: str, number: int | str = "latest") -> Json:
        return self._get("datasets", name, "versions", number)

    def versions(self, name: str) -> list[Json]:
        return self._get("datasets", name, "versions")["versions"]

    def rows(self, name: str, number: int) -> Iterator[Json]:
        """Yields every row of a version; missing values are None. Asks for a thousand at a time."""
        offset: int | None = 0
        while offset is not None:
            page = self._get("datasets", name, "versions", number, "rows", offset=offset, limit=1000)
            yield from page["rows"]
            offset = int(page["next"]) if page.get("next") else None


class Features(_Noun):
    def add(self, definition: Mapping[str, Any]) -> Json:
        return self._post("features", body=dict(definition))

    def get(self, view: str) -> Json:
        return self._get("features", view)

    def materialize(self, view: str) -> Json:
        """Loads the newest dataset versions that the view reads into the online store."""
        return self._post("features", view, "materialize", body={}, repeatable=True)

    def push(self, dataset: str, rows: Sequence[Mapping[str, Any]]) -> Json:
        """Adds rows that have become known to the online store; a row sent twice counts once."""
        return self._post("features", "sources", dataset, "rows", body={"rows": list(rows)}, repeatable=True)

    def online(self, view: str, rows: Sequence[Mapping[str, Any]]) -> Json:
        return self._post("features", view, "online", body={"rows": list(rows)}, repeatable=True)


class Pipelines(_Noun):
    def add(self, folder: PathLike) -> Json:
        """Stores the pipeline of a folder: its pipeline.yaml and the text files of its steps."""
        root = Path(folder)
        files = {
            path.relative_to(root).as_posix(): path.read_text()
            for path in sorted(root.rglob("*"))
            if path.is_file()
            and path.name != "pipeline.yaml"
            and not any(part.startswith(".") or part == "__pycache__" for part in path.relative_to(root).parts)
        }
        return self._post("pipelines", body={"definition": (root / "pipeline.yaml").read_text(), "files": files})

    def run(self, name: str, params: Mapping[str, Any] | None = None, *, cause: str = "started from Python") -> Json:
        return self._post("pipelines", name, "runs", body={"params": dict(params or {}), "cause": cause})

    def get_run(self, run: str) -> Json:
        return self._get("pipelines", "runs", run)

    def runs(self, *, pipeline: str | None = None, state: str | None = None) -> list[Json]:
        return self._get("pipelines", "runs", pipeline=pipeline, state=state)["runs"]

    def log(self, run: str, step: str) -> str:
        return self._get("pipelines", "runs", run, "steps", step, "log").decode("utf-8", "replace")

    def wait(self, run: str, *, timeout_s: float = 3600.0, every_s: float = 0.2) -> Json:
        """Waits for the run's end and returns it; raises TidemillError when the time is over."""
        deadline = time.monotonic() + timeout_s
        while True:
            now = self.get_run(run)
            if now["state"] not in ("queued", "running"):
                return now
            if time.monotonic() > deadline:
                raise TidemillError(
                    f"Pipeline run {run} is still {now['state']} after {timeout_s:.0f} s.",
                    code="exhausted",
                    reason="client.still_running",
                    remedy="Wait longer, or look at its steps.",
                )
            time.sleep(every_s)


class Models(_Noun):
    def get(self, model: str) -> Json:
        return self._get("models", model)

    def versions(self, model: str) -> list[Json]:
        return self._get("models", model, "versions")["versions"]

    def version(self, model: str, number: int) -> Json:
        return self._get("models", model, "versions", number)

    def request_approval(self, model: str, number: int) -> Json:
        return self._post("models", model, "versions", number, "request-approval", body={})

    def approve(self, model: str, number: int, reason: str) -> Json:
        """Approves a version that somebody else made."""
        return self._post("models", model, "versions", number, "approve", body={"reason": reason})

    def reject(self, model: str, number: int, reason: str) -> Json:
        return self._post("models", model, "versions", number, "reject", body={"reason": reason})

    def lineage(self, model: str, number: int) -> Json:
        return self._get("models", model, "versions", number, "lineage")

    def graph(self, model: str, number: int) -> Json:
        """Lineage up and down as nodes and edges: data, features, runs, the version, tests, deployments."""
        return self._get("models", model, "versions", number, "graph")

    def file(self, model: str, number: int, path: str) -> bytes:
        return self._get("models", model, "versions", number, "files", *path.split("/"))


class Deployments(_Noun):
    def create(self, name: str, **fields: Any) -> Json:
        """Puts an approved version behind an endpoint; fields: model, version, feature_view, log, shadows …"""
        return self._post("deployments", body={"name": name, **fields})

    def get(self, name: str) -> Json:
        return self._get("deployments", name)

    def canary(self, name: str, version: int, percent: int, **fields: Any) -> Json:
        return self._post("deployments", name, "canary", body={"version": version, "percent": percent, **fields})

    def promote(self, name: str) -> Json:
        return self._post("deployments", name, "promote", body={})

    def rollback(self, name: str, reason: str) -> Json:
        return self._post("deployments", name, "rollback", body={"reason": reason})

    def history(self, name: str) -> list[Json]:
        return self._get("deployments", name, "history")["history"]

    def live(self, at: str | None = None, *, model: str | None = None) -> list[Json]:
        """What was in production at a moment (RFC 3339 text; now if not given): deployment, model, champion,
        candidate, shadows, since when and by which event of the log."""
        query = {key: value for key, value in (("at", at), ("model", model)) if value is not None}
        return self._get("live", **query)["live"]

    def add_policy(self, name: str, definition: Mapping[str, Any]) -> Json:
        return self._post("deployments", name, "policies", body=dict(definition))

    def approve_policy(self, name: str, policy: str, reason: str) -> Json:
        return self._post("deployments", name, "policies", policy, "approve", body={"reason": reason})


class Predictions(_Noun):
    def infer(self, deployment: str, request: Mapping[str, Any]) -> Json:
        """Sends an Open Inference Protocol request. Give prediction ids: a request sent twice then counts once."""
        path = "/v2/models/" + path_of(deployment)[len("/api/") :] + "/infer"
        repeatable = "prediction_ids" in (request.get("parameters") or {})
        return self._transport.request("POST", path, json_body=dict(request), repeatable=repeatable)

    def label(self, deployment: str, labels: Sequence[Mapping[str, Any]], *, until_ms: int | None = None) -> Json:
        """Sends labels that have become known: [{"id": …, "label": 0 or 1, "at_ms": …}]; the last one of an id wins.

        `until_ms` says that every label known before it has now been sent; monitors on event time may close windows
        by it.
        """
        body: Json = {"labels": list(labels)}
        if until_ms is not None:
            body["until_ms"] = until_ms
        return self._post("predictions", deployment, "labels", body=body, repeatable=True)

    def get(self, deployment: str, prediction: str) -> Json:
        return self._get("predictions", deployment, prediction)

    def stats(self, deployment: str) -> Json:
        return self._get("predictions", deployment, "stats")


class Monitors(_Noun):
    def add(self, definition: Mapping[str, Any]) -> Json:
        return self._post("monitors", body=dict(definition))

    def windows(self, monitor: str) -> list[Json]:
        return self._get("monitors", monitor, "windows")["windows"]


class Triggers(_Noun):
    def add(self, definition: Mapping[str, Any]) -> Json:
        return self._post("triggers", body=dict(definition))

    def fires(self, trigger: str) -> list[Json]:
        return self._get("triggers", trigger, "fires")["fires"]

"""The real binary on a folder of its own, for tests.

with Server(folder) as server:
    server.client("local").call("GET", "/api/me")
    server.kill()      # SIGKILL, as a power cut would
    server.start()
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import http.client
import json
import os
import pathlib
import re
import signal
import subprocess
import time
from typing import Any

SOURCE = pathlib.Path(os.environ.get("TIDEMILL_SOURCE", pathlib.Path(__file__).resolve().parents[2]))
BINARY = pathlib.Path(os.environ.get("TIDEMILL_BINARY", SOURCE / "build/tidemill"))
PYTHON = os.environ.get("TIDEMILL_PYTHON", str(SOURCE / "build/venv/bin/python"))
READY_S_MAX = 20.0  # generous: a test machine may be busy
STOP_S_MAX = 30.0
READY = re.compile(r"^tidemill: ready at (http://(\S+):(\d+))$")


class ServerError(Exception):
    """The server did not start, or did not stop, as it should."""


@dataclasses.dataclass
class Answer:
    status: int
    headers: dict[str, str]  # names in lower case
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", "backslashreplace")

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """One kept-alive connection with the credentials of one person. Not thread-safe."""

    def __init__(self, host: str, port: int, credentials: str = "", timeout_s: float = 60) -> None:
        self._connection = http.client.HTTPConnection(host, port, timeout=timeout_s)
        self._headers = {"Authorization": credentials} if credentials else {}

    def call(self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> Answer:
        """Sends one request; a kept-alive connection that the server closed meanwhile is opened anew once."""
        for attempt in range(2):
            fresh = self._connection.sock is None
            try:
                self._connection.request(method, path, body=body, headers=self._headers | (headers or {}))
                response = self._connection.getresponse()
                return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
            except (ConnectionError, http.client.RemoteDisconnected):
                self._connection.close()
                if fresh or attempt:
                    raise
        raise AssertionError("unreachable")

    def call_json(self, method: str, path: str, value: Any = None) -> Answer:
        body = None if value is None else json.dumps(value).encode()
        return self.call(method, path, body, {"Content-Type": "application/json"} if body is not None else None)

    def close(self) -> None:
        self._connection.close()


def basic(name: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


class Server:
    """`tidemill server` on `folder`; flags as on the command line. Its standard error goes to folder.log beside it.

    `env` is added to this process's environment; `before` are words of a command that runs the server.
    """

    def __init__(
        self,
        folder: pathlib.Path,
        flags: list[str] | None = None,
        python: str = PYTHON,
        env: dict[str, str] | None = None,
        before: list[str] | None = None,
    ) -> None:
        self.folder = folder
        self.log = folder.with_name(folder.name + ".log")
        self.flags = flags or []
        self.python = python
        self.before = before or []
        self.env = os.environ | (env or {})
        self.process: subprocess.Popen[str] | None = None
        self.url, self.host, self.port = "", "", 0
        self.started_s = 0.0  # how long the last start took
        self._clients: list[Client] = []

    def __enter__(self) -> Server:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop(check=False)

    def start(self) -> None:
        """Starts and waits for the ready line. Takes the same port again after a restart."""
        argv = [str(BINARY), "server", "--data", str(self.folder), "--port", str(self.port), "--python", self.python]
        begun = time.monotonic()
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*self.before, *argv, *self.flags],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=self.env,
            )
        line = self._ready_line()
        found = READY.match(line)
        if not found:
            self.kill()
            raise ServerError(f"{' '.join(argv + self.flags)} did not become ready: {line!r}\n{self.log_tail()}")
        self.started_s = time.monotonic() - begun
        self.url, self.host, self.port = found[1], found[2], int(found[3])

    def _ready_line(self) -> str:
        import selectors

        assert self.process and self.process.stdout
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            if not selector.select(READY_S_MAX):
                return f"(nothing after {READY_S_MAX} s)"
        return self.process.stdout.readline().rstrip("\n")

    def client(self, credentials: str = "", timeout_s: float = 60) -> Client:
        made = Client(self.host, self.port, credentials, timeout_s)
        self._clients.append(made)
        return made

    def stop(self, check: bool = True) -> None:
        """SIGTERM, and waits; with `check` a bad exit code is an error, as a sanitizer's report is."""
        self._drop_clients()
        if not self.process:
            return
        process, self.process = self.process, None
        process.send_signal(signal.SIGTERM)
        try:
            code = process.wait(STOP_S_MAX)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            code = -signal.SIGKILL
        if process.stdout:
            process.stdout.close()
        if check and code != 0:
            raise ServerError(f"the server ended with {code}\n{self.log_tail()}")

    def kill(self) -> None:
        """SIGKILL: nothing is finished, nothing is flushed."""
        self._drop_clients()
        if self.process:
            process, self.process = self.process, None
            process.kill()
            process.wait()
            if process.stdout:
                process.stdout.close()

    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def log_tail(self, lines: int = 20) -> str:
        with contextlib.suppress(OSError):
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
        return ""

    def _drop_clients(self) -> None:
        for client in self._clients:
            client.close()
        self._clients.clear()

"""The real MLflow client against our server, and a real `mlflow server` beside it where both must answer alike."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from typing import Any

START_S_MAX = 120.0  # a busy machine takes its time to import what MLflow imports


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


@contextlib.contextmanager
def mlflow_server(folder: pathlib.Path, *flags: str) -> Iterator[str]:
    """A real `mlflow server` on SQLite in `folder`; yields its URL."""
    port = free_port()
    argv = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
    argv += [
        "--backend-store-uri",
        f"sqlite:///{folder}/mlflow.db",
        "--artifacts-destination",
        str(folder / "artifacts"),
    ]
    env = os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true"}
    url = f"http://127.0.0.1:{port}"
    with (folder / "mlflow.log").open("wb") as log:
        process = subprocess.Popen([*argv, *flags], stdout=log, stderr=log, env=env, start_new_session=True)
    try:
        limit = time.monotonic() + START_S_MAX
        while True:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{url}/health", timeout=2) as answer:
                if answer.status == 200:
                    break
            if process.poll() is not None or time.monotonic() > limit:
                raise RuntimeError(f"mlflow server did not start:\n{(folder / 'mlflow.log').read_text()[-2000:]}")
            time.sleep(0.2)
        yield url
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, 15)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            process.wait()


def call(url: str, method: str, path: str, body: Any = None, query: Any = None) -> tuple[int, Any]:
    """One request below /api/2.0/mlflow; returns the status and the JSON of the answer, or its text."""
    target = urllib.parse.urljoin(f"{url}/api/2.0/mlflow/", path) + (
        f"?{urllib.parse.urlencode(query, doseq=True)}" if query else ""
    )
    data = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(target, data=data, method=method)
    if data is not None:
        request.add_header("Content-Type", "application/json")
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            status, text = answer.status, answer.read()
    except urllib.error.HTTPError as error:
        status, text = error.code, error.read()
    try:
        return status, json.loads(text)
    except ValueError:
        return status, text.decode(errors="replace")

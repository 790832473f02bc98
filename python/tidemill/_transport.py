"""One kept-alive HTTP connection a thread, with retries where a retry is safe."""

from __future__ import annotations

import http.client
import json
import os
import socket
import threading
import time
from collections.abc import Mapping
from typing import IO, Any, Union
from urllib.parse import quote, urlencode, urlsplit

from ._errors import TidemillError, Unreachable, error_from

Body = Union[bytes, IO[bytes], None]


def path_of(*segments: object) -> str:
    """Returns "/api/datasets/my%20name" for ("datasets", "my name")."""
    return "/api/" + "/".join(quote(str(segment), safe="") for segment in segments)


class Transport:
    """Thread-safe: each thread has a connection of its own.

    A request is sent again after a lost connection or a 429/503 only when it is safe to run twice: a GET, PUT or
    DELETE, or one whose caller says
    `repeatable` since the server knows duplicates of it (such as predictions and labels with ids).
    """

    def __init__(self, url: str, token: str | None, timeout_s: float, retries: int) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise TidemillError(
                f"'{url}' is not the address of a server.", remedy="Give one such as http://127.0.0.1:7070."
            )
        self._scheme, self._host = parts.scheme, parts.hostname
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._prefix = parts.path.rstrip("/")
        self._token = token
        self._timeout_s = timeout_s
        self._retries = retries
        self._local = threading.local()

    def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, object] | None = None,
        json_body: Any = None,
        body: Body = None,
        content_type: str = "application/octet-stream",
        repeatable: bool | None = None,
    ) -> Any:
        """Returns the answer's JSON (or its bytes when it is not JSON); raises TidemillError."""
        target = self._prefix + path
        if query:
            target += "?" + urlencode({k: _text(v) for k, v in query.items() if v is not None})
        headers: dict[str, str] = {}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        if json_body is not None:
            body = json.dumps(json_body, allow_nan=False, separators=(",", ":")).encode()
            content_type = "application/json"
        if body is not None:
            headers["Content-Type"] = content_type
            if not isinstance(body, bytes):
                headers["Content-Length"] = str(os.fstat(body.fileno()).st_size)
        if repeatable is None:
            repeatable = method in ("GET", "PUT", "DELETE")
        return self._with_retries(method, target, headers, body, repeatable)

    def _with_retries(self, method: str, target: str, headers: dict[str, str], body: Body, repeatable: bool) -> Any:
        pause_s = 0.05
        for attempt in range(self._retries + 1):
            last = attempt == self._retries
            if attempt and body is not None and not isinstance(body, bytes):
                body.seek(0)
            try:
                status, content_type, text = self._once(method, target, headers, body)
            except (OSError, http.client.HTTPException) as lost:
                self._drop()
                # A refused connection never reached the server, so it is safe to try again whatever it was.
                if last or not (repeatable or isinstance(lost, ConnectionRefusedError)):
                    raise Unreachable(
                        f"No answer from {self._host}:{self._port}: {lost or type(lost).__name__}.",
                        code="unavailable",
                        reason="client.unreachable",
                        remedy="Start the server with 'tidemill server', or check TIDEMILL_URL.",
                    ) from lost
            else:
                if not (repeatable and status in (429, 503)) or last:
                    return _answer(status, content_type, text)
            time.sleep(pause_s)
            pause_s = min(pause_s * 2, 2.0)
        raise AssertionError("the last attempt returns or raises")

    def _once(self, method: str, target: str, headers: dict[str, str], body: Body) -> tuple[int, str, bytes]:
        connection = getattr(self._local, "connection", None)
        if connection is None:
            kind = http.client.HTTPSConnection if self._scheme == "https" else http.client.HTTPConnection
            connection = kind(self._host, self._port, timeout=self._timeout_s)
            connection.connect()
            connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._local.connection = connection
        connection.request(method, target, body=body, headers=headers)
        response = connection.getresponse()
        return response.status, response.getheader("Content-Type", ""), response.read()

    def _drop(self) -> None:
        connection = getattr(self._local, "connection", None)
        if connection is not None:
            connection.close()
            self._local.connection = None


def _text(value: object) -> str:
    return "true" if value is True else "false" if value is False else str(value)


def _answer(status: int, content_type: str, text: bytes) -> Any:
    parsed: Any = text
    if content_type.startswith("application/json"):
        parsed = json.loads(text) if text else {}
    if 200 <= status < 300:
        return parsed
    raise error_from(status, parsed, text.decode("utf-8", "replace"))

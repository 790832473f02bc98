"""Whatever is sent to whichever route: an answer below 500 that says what is wrong, and the server lives.

The routes and the fields of their bodies come from the server's own OpenAPI document, so that a new route is tested
as soon as it exists.
"""

from __future__ import annotations

import itertools
import json
import random
import socket
from collections.abc import Iterator

import pytest
from support.server import Answer, Client, Server

BODIES = [
    b"",
    b"null",
    b"[]",
    b'"text"',
    b"1",
    b"{",
    b"{}}",
    b'{"no_such_field": 1}',
    b'{"a": 1, "a": 2}',
    b"\xff\xfe{}",
    b'{"a": "\xc0\xaf"}',
    b'{"a": "\\ud800"}',
    b'{"a": 1e999}',
    b'{"a": NaN}',
    b"[" * 200 + b"]" * 200,
    b'{"a":' * 100 + b"1" + b"}" * 100,
]
WRONG = [None, True, -1, 2**63, 1e308, "", "x" * 5000, "../../etc/passwd", "潮\u0000", [], [[]], {}, {"x": {}}]
NAMES = [
    "1",
    "no-such-thing",
    "..%2f..%2fetc",
    "%00",
    "%ff",
    "x" * 300,
    "%E6%BD%AE",
    "a%20b",
    "-1",
    "99999999999999999999",
]
KILLS = 5  # how many answers of one route may be listed before it is enough


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Server(tmp_path_factory.mktemp("bad-input") / "data") as started:
        yield started


@pytest.fixture(scope="module")
def document(server) -> dict:
    return server.client().call("GET", "/api/openapi.json").json


def operations(document: dict) -> Iterator[tuple[str, str, dict]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def filled(path: str, names: Iterator[str]) -> str:
    while "{" in path:
        path = path[: path.index("{")] + next(names) + path[path.index("}") + 1 :]
    return path


def fields_of(document: dict, schema: dict) -> list[str]:
    if "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]
    return list(schema.get("properties", {}))


def bodies_for(document: dict, operation: dict) -> Iterator[bytes]:
    yield from BODIES
    schema = operation["requestBody"]["content"].get("application/json", {}).get("schema", {})
    for field, value in itertools.product(fields_of(document, schema), WRONG):
        yield json.dumps({field: value}).encode()


def is_bad(answer: Answer) -> bool:
    """501 is what is deliberately not offered, 503 a part that is not there (such as a runtime)."""
    return answer.status >= 500 and answer.status not in (501, 503)


def explained(answer: Answer) -> bool:
    if not answer.headers.get("content-type", "").startswith("application/json"):
        return False
    body = answer.json
    error = body.get("error", body)
    return bool(error if isinstance(error, str) else error.get("message") or body.get("message"))


def check(client: Client, method: str, path: str, body: bytes | None, trouble: list[str]) -> None:
    answer = client.call(method, path, body, {"Content-Type": "application/json"} if body is not None else None)
    if is_bad(answer) or (answer.status >= 400 and method != "HEAD" and not explained(answer)):
        trouble.append(f"{method} {path[:120]} {(body or b'')[:120]!r} -> {answer.status} {answer.text[:200]}")


def test_no_body_is_too_strange(server, document):
    client, trouble = server.client(), []
    for method, path, operation in operations(document):
        if "requestBody" not in operation:
            continue
        mine: list[str] = []
        for body in bodies_for(document, operation):
            check(client, method, filled(path, itertools.repeat("1")), body, mine)
            if len(mine) >= KILLS:
                break
        trouble += mine
    assert trouble == []
    assert server.alive()


def test_no_name_in_a_path_is_too_strange(server, document):
    client, trouble = server.client(), []
    for method, path, _ in operations(document):
        if "{" not in path:
            continue
        for name in NAMES:
            check(client, method, filled(path, itertools.repeat(name)), b"{}" if method != "GET" else None, trouble)
    assert trouble == []
    assert server.alive()


def test_no_query_is_too_strange(server, document):
    client, trouble = server.client(), []
    values = [
        "",
        "x",
        "-1",
        "0",
        "99999999999999999999",
        "1e9",
        "true",
        "%00",
        "%ff",
        "%zz",
        "a%20b",
        "'; DROP TABLE events; --",
        "%25",
    ]
    for method, path, operation in operations(document):
        if path.endswith("/stream"):
            continue
        for parameter in operation.get("parameters", []):
            if parameter["in"] == "query":
                for value in values:
                    target = filled(path, itertools.repeat("1")) + f"?{parameter['name']}={value.replace(' ', '%20')}"
                    check(client, method, target, b"{}" if "requestBody" in operation else None, trouble)
    assert trouble == []
    assert server.alive()


def mutated(text: bytes, chance: random.Random) -> bytes:
    data = bytearray(text)
    for _ in range(chance.randint(1, 6)):
        at = chance.randrange(len(data) + 1)
        kind = chance.randrange(4)
        if kind == 0 and data:
            data[at % len(data)] = chance.randrange(256)
        elif kind == 1:
            data[at:at] = bytes([chance.randrange(256)] * chance.choice((1, 1, 3, 5000)))
        elif kind == 2:
            del data[at : at + chance.randint(1, 20)]
        else:
            data[at:at] = chance.choice((b"\r\n", b"\r\n\r\n", b"\x00", b"%00", b":", b" ", b"\n", text))
    return bytes(data)


def test_broken_http_never_ends_the_server(server):
    chance = random.Random(20261125)
    text = (
        b"POST /api/people HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 24\r\n\r\n"
        b'{"name": "a", "roles":1}'
    )
    chunked = (
        text.replace(b"Content-Length: 24", b"Transfer-Encoding: chunked").replace(b'{"name', b'18\r\n{"name')
        + b"\r\n0\r\n\r\n"
    )
    for round_ in range(400):
        with socket.create_connection((server.host, server.port), timeout=10) as wire:
            wire.sendall(mutated(chance.choice((text, chunked)), chance))
            wire.shutdown(socket.SHUT_WR)
            answer = b""
            while piece := wire.recv(65536):
                answer += piece
        assert b"HTTP/1.1 5" not in answer.replace(b"HTTP/1.1 501", b""), f"round {round_}: {answer[:300]!r}"
        assert server.alive()
    assert server.client().call("GET", "/health").text == "OK"

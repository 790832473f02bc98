"""The process itself: starting, refusing to start, settings, streams, ending, and that no route forgets its right."""

from __future__ import annotations

import http.client
import json
import os
import pathlib
import resource
import socket
import subprocess
import threading
import time

import pytest
from support.server import BINARY, Server, basic

PASSWORD = "a password for tests"


@pytest.fixture
def server(tmp_path):
    with Server(tmp_path / "data") as started:
        yield started


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    """A server with accounts: (server, admin's token, viewer's token)."""
    with Server(tmp_path_factory.mktemp("guarded") / "data") as started:
        nobody = started.client()
        admin = nobody.call_json("POST", "/api/people", {"name": "ann", "roles": ["admin"]}).json["token"]
        ann = started.client(f"Bearer {admin}")
        assert ann.call_json("POST", "/api/people", {"name": "vic", "roles": ["viewer"]}).status == 201
        viewer = ann.call_json("POST", "/api/people/vic/tokens", {"label": "tests"}).json["token"]
        yield started, admin, viewer


def refused(*flags: str) -> str:
    """Runs a server that must not start; returns what it says."""
    done = subprocess.run([BINARY, "server", *flags], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode != 0, f"it started: {done.stdout}"
    assert done.stdout == ""
    return done.stderr


def operations(server: Server, token: str) -> list[tuple[str, str, str]]:
    document = server.client(f"Bearer {token}").call("GET", "/api/openapi.json").json
    return [
        (method.upper(), path, operation["x-right"])
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]


def filled(path: str) -> str:
    while "{" in path:
        path = path[: path.index("{")] + "1" + path[path.index("}") + 1 :]
    return path


def test_the_folder_is_closed_to_others(server):
    assert server.folder.stat().st_mode & 0o777 == 0o700
    assert all(file.stat().st_mode & 0o077 == 0 for file in server.folder.iterdir() if file.is_file())


def test_a_folder_open_to_others_is_refused_with_the_remedy(tmp_path):
    folder = tmp_path / "open"
    folder.mkdir(mode=0o755)
    folder.chmod(0o755)
    assert f"chmod 700 '{folder}'" in refused("--data", str(folder), "--port", "0")


def test_two_servers_never_share_a_folder(server):
    assert f"Another server works in '{server.folder}'" in refused("--data", str(server.folder), "--port", "0")


def test_two_servers_never_share_a_port(server, tmp_path):
    said = refused("--data", str(tmp_path / "other"), "--port", str(server.port))
    assert f"127.0.0.1:{server.port}" in said
    assert "--port" in said


def test_beyond_loopback_accounts_come_first(tmp_path):
    folder = tmp_path / "data"
    assert "accounts" in refused("--data", str(folder), "--host", "0.0.0.0", "--port", "0")
    with Server(folder) as server:
        made = server.client().call_json(
            "POST", "/api/people", {"name": "ann", "roles": ["admin"], "password": PASSWORD}
        )
        assert made.status == 201
    with Server(folder, ["--host", "0.0.0.0", "--anonymous-read"]) as server:
        server.host = "127.0.0.1"
        assert server.client().call("GET", "/api/me").status == 401
        assert server.client(basic("ann", PASSWORD)).call("GET", "/api/me").json["name"] == "ann"


@pytest.mark.parametrize(
    ("setting", "named"),
    [
        ("nothing.at_all=1", "nothing"),
        ("http.no_such_setting=1", "no_such_setting"),
        ("http.io_threads=many", "io_threads"),
        ("http.io_threads=0", "io_threads"),
        ("http.worker_threads=-1", "worker_threads"),
        ("http", "http"),
        ("=", "="),
    ],
)
def test_a_setting_that_is_wrong_is_named(tmp_path, setting, named):
    assert named in refused("--data", str(tmp_path / "data"), "--port", "0", "--set", setting)


def test_settings_come_from_a_file_and_the_line_wins(tmp_path):
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"http": {"header_bytes_max": 2048, "streams_max": 0}}))
    with Server(tmp_path / "data", ["--config", str(config), "--set", "http.streams_max=1"]) as server:
        client = server.client()
        assert client.call("GET", "/version", headers={"X-Long": "x" * 3000}).status == 431
        assert client.call("GET", "/version", headers={"X-Long": "x" * 1000}).status == 200
        stream = http.client.HTTPConnection(server.host, server.port, timeout=10)
        stream.request("GET", "/api/events/stream")
        assert stream.getresponse().status == 200
        stream.close()
    config.write_text('{"http": {"header_bytes_max": ')
    assert "config" in refused("--data", str(tmp_path / "data"), "--port", "0", "--config", str(config)).lower()


def test_help_shows_how_to_begin():
    done = subprocess.run([BINARY, "server", "--help"], capture_output=True, text=True, timeout=30, check=True)
    assert "tidemill server --data" in done.stdout
    assert "--set" in done.stdout


def test_an_unknown_flag_is_a_usage_error():
    done = subprocess.run([BINARY, "server", "--dta", "x"], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 2
    assert "--help" in done.stderr


def test_settings_are_listed_with_their_defaults():
    done = subprocess.run([BINARY, "server", "--settings"], capture_output=True, text=True, timeout=30, check=True)
    lines = done.stdout.splitlines()
    assert "http.worker_threads=32" in lines
    assert "access.failures_max=10" in lines


def test_sigterm_ends_it_in_good_order_and_the_data_stays(tmp_path):
    server = Server(tmp_path / "data")
    server.start()
    assert server.client().call_json("POST", "/api/people", {"name": "ann", "roles": ["admin"]}).status == 201
    server.stop()  # raises on any exit code but 0
    (server.folder / "uploads" / "left.upload").write_bytes(b"from a crash")
    server.start()
    assert not (server.folder / "uploads" / "left.upload").exists()
    assert server.client().call("GET", "/api/me").status == 401
    server.stop()


def test_what_was_acknowledged_outlives_a_kill(tmp_path):
    server = Server(tmp_path / "data")
    server.start()
    token = server.client().call_json("POST", "/api/people", {"name": "ann", "roles": ["admin"]}).json["token"]
    for round_ in range(3):
        server.kill()
        server.start()
        ann = server.client(f"Bearer {token}")
        assert ann.call_json("POST", "/api/people", {"name": f"p{round_}", "roles": ["viewer"]}).status == 201
    server.kill()
    server.start()
    ann = server.client(f"Bearer {token}")
    assert [p["name"] for p in ann.call("GET", "/api/people").json["people"]] == ["ann", "p0", "p1", "p2"]
    assert ann.call("GET", "/api/events/verify").json["ok"] is True
    server.stop()


def test_anonymous_reading_is_reading_only(tmp_path):
    with Server(tmp_path / "data", ["--anonymous-read"]) as server:
        assert server.client().call_json("POST", "/api/people", {"name": "ann", "roles": ["admin"]}).status == 201
        nobody = server.client()
        assert nobody.call("GET", "/api/me").json["name"] == "visitor"
        assert nobody.call_json("POST", "/api/people", {"name": "eve", "roles": ["admin"]}).status == 401


def test_nothing_but_what_is_open_works_unsigned(guarded):
    server, admin, _ = guarded
    nobody = server.client()
    routes = operations(server, admin)
    assert len(routes) >= 10
    for method, path, right in routes:
        if right != "open":
            assert nobody.call(method, filled(path)).status == 401, f"{method} {path}"


def test_a_viewer_changes_nothing(guarded):
    server, admin, viewer = guarded
    vic = server.client(f"Bearer {viewer}")
    for method, path, right in operations(server, admin):
        if right in ("write", "predict", "approve", "admin"):
            assert vic.call(method, filled(path)).status == 403, f"{method} {path}"


def test_reading_is_all_that_get_needs(guarded):
    server, admin, _ = guarded
    strange = [(m, p, r) for m, p, r in operations(server, admin) if m == "GET" and r not in ("open", "read")]
    strange = [one for one in strange if "/webhooks" not in one[1]]  # where events go is the admins' matter
    assert strange == []


def test_another_sites_page_changes_nothing_whoever_is_signed_in(guarded):
    server, admin, _ = guarded
    ann = server.client(f"Bearer {admin}")
    for method, path, right in operations(server, admin):
        if method != "GET" and right != "open":
            answer = ann.call(method, filled(path), headers={"Origin": "http://evil.example"})
            assert answer.status == 403, f"{method} {path}"


class EventReader(threading.Thread):
    """Follows /api/events/stream and keeps what came."""

    def __init__(self, server: Server, last_id: int | None = None) -> None:
        super().__init__(daemon=True)
        self.connection = http.client.HTTPConnection(server.host, server.port, timeout=30)
        headers = {} if last_id is None else {"Last-Event-ID": str(last_id)}
        self.connection.request("GET", "/api/events/stream", headers=headers)
        self.response = self.connection.getresponse()
        self.events: list[tuple[int, str]] = []

    def run(self) -> None:
        seq = 0
        for line in self.response:
            if line.startswith(b"id: "):
                seq = int(line[4:])
            elif line.startswith(b"data: "):
                self.events.append((seq, json.loads(line[6:])["kind"]))

    def wait_for(self, count: int) -> list[tuple[int, str]]:
        deadline = time.monotonic() + 20
        while len(self.events) < count and time.monotonic() < deadline:
            time.sleep(0.02)
        return self.events


def test_events_are_streamed_as_they_happen_and_resumed_where_they_broke_off(tmp_path):
    with Server(tmp_path / "data", ["--anonymous-read"]) as server:
        live = EventReader(server)
        assert live.response.getheader("Content-Type") == "text/event-stream"
        live.start()
        token = server.client().call_json("POST", "/api/people", {"name": "ann", "roles": ["admin"]}).json["token"]
        assert live.wait_for(2) == [(1, "people.added"), (2, "tokens.made")]
        ann = server.client(f"Bearer {token}")
        assert ann.call_json("POST", "/api/people", {"name": "bob", "roles": ["viewer"]}).status == 201
        resumed = EventReader(server, last_id=1)
        resumed.start()
        assert resumed.wait_for(2) == [(2, "tokens.made"), (3, "people.added")]
        assert live.wait_for(3)[-1] == (3, "people.added")


def test_the_console_is_there_and_locked_down(server):
    client = server.client()
    page = client.call("GET", "/")
    assert page.status == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    policy = page.headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert page.headers["cache-control"] == "no-cache"
    assert client.call("GET", "/models/flight-delay").body == page.body  # an address of the console's own
    assert client.call("GET", "/", headers={"If-None-Match": page.headers["etag"]}).status == 304
    assert client.call("GET", "/assets/no-such-file.js").status == 404
    assert client.call("GET", "/api/no-such-noun").json["error"]["reason"] == "http.no_route"
    assert client.call("POST", "/models/flight-delay").status == 404
    assets = [p for p in (pathlib.Path(BINARY).parent.parent / "web/dist/assets").glob("*.js")]
    if "<script" in page.text and assets:
        script = page.text.split('src="', 1)[1].split('"', 1)[0]
        answer = client.call("GET", script)
        assert answer.status == 200
        assert "immutable" in answer.headers["cache-control"]
        assert answer.headers["content-type"].startswith("text/javascript")


def test_the_process_has_no_open_port_but_its_own(server):
    assert server.process is not None
    inodes = set()
    for entry in pathlib.Path(f"/proc/{server.process.pid}/fd").iterdir():
        target = os.readlink(entry)
        if target.startswith("socket:["):
            inodes.add(target[8:-1])
    listening = [
        line.split()[1]
        for table in ("tcp", "tcp6")
        for line in pathlib.Path(f"/proc/{server.process.pid}/net/{table}").read_text().splitlines()[1:]
        if line.split()[3] == "0A" and line.split()[9] in inodes
    ]
    assert listening == [f"0100007F:{server.port:04X}"]


def test_a_thousand_connections_at_once_are_served_whatever_the_soft_limit(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 4096:
        pytest.skip(f"this machine allows {hard} open files")
    server = Server(tmp_path / "data")
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (512, hard))  # what the server inherits
        server.start()
        resource.setrlimit(resource.RLIMIT_NOFILE, (4096, hard))
        wires = [socket.create_connection((server.host, server.port), timeout=20) for _ in range(1200)]
        for wire in wires[::50]:
            wire.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert all(wire.recv(4096).startswith(b"HTTP/1.1 200") for wire in wires[::50])
        for wire in wires:
            wire.close()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        server.stop()

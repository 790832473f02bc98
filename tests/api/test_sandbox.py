"""A step that attacks the server's own files, on the real server: it reaches none, and what it may do works."""

from __future__ import annotations

import pathlib
import sqlite3
import subprocess
import sys
import time

from support import no_sandbox
from support.server import BINARY, Server

ATTACK = """
import json, os, pathlib, sqlite3, subprocess, sys, urllib.request

data = pathlib.Path(json.loads(pathlib.Path("params.json").read_text())["data"])
reached = []

def attempt(name, function):
    try:
        function()
    except (OSError, sqlite3.Error, subprocess.SubprocessError):
        return
    reached.append(name)

def write(path):
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE planted (x)")
        connection.execute("SELECT * FROM jobs").fetchall()

def read(path):
    with open(path, "rb") as file:
        file.read(1)

database = data / "tidemill.db"
attempt("database", lambda: write(database))
attempt("relative", lambda: write("../../../../tidemill.db"))
pathlib.Path("link").symlink_to(database)
attempt("link", lambda: write("link"))
for process in [str(os.getppid()), *[name for name in os.listdir("/proc") if name.isdigit()]]:
    if int(process) == os.getpid():
        continue
    attempt(f"root of {process}", lambda: read(f"/proc/{process}/root{database}"))
    attempt(f"cwd of {process}", lambda: read(f"/proc/{process}/cwd/tidemill.db"))
    attempt(f"memory of {process}", lambda: read(f"/proc/{process}/mem"))
    for number in range(64):
        attempt(f"file {number} of {process}", lambda: os.stat(f"/proc/{process}/fd/{number}"))
for name in ("blobs", "cache", "online", "pipelines/logs"):
    attempt(name, lambda: os.listdir(data / name))
attempt("unmount", lambda: subprocess.run(["umount", "-l", data], check=True, stderr=subprocess.DEVNULL))
attempt("new namespace", lambda: subprocess.run(
    ["unshare", "-Urm", "sh", "-c", f"umount -l {data}; cat {database}"],
    check=True, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL))

version = urllib.request.urlopen(os.environ["TIDEMILL_URL"] + "/version").status  # loopback works
pathlib.Path(os.environ["TMPDIR"], "x").write_text("temporary")
pathlib.Path("outputs/kept").write_text("kept")
pathlib.Path("outputs/result.json").write_text(json.dumps({"reached": reached, "version": version}))
"""

PIPELINE = """
name: attacker
params: {data: null}
steps:
  - name: attack
    run: [python, code/attack.py]
    outputs: [kept]
"""


def attack(server: Server) -> dict:
    """Runs the attack as a step; returns its result."""
    client = server.client()
    added = client.call_json("POST", "/api/pipelines", {"definition": PIPELINE, "files": {"attack.py": ATTACK}})
    assert added.status == 201, added.text
    params = {"data": str(server.folder)}
    run = client.call_json("POST", "/api/pipelines/attacker/runs", {"params": params}).json["id"]
    for _ in range(300):
        answer = client.call("GET", f"/api/pipelines/runs/{run}").json
        if answer["state"] not in ("queued", "running"):
            break
        time.sleep(0.1)
    log = client.call("GET", f"/api/pipelines/runs/{run}/steps/attack/log").text
    assert answer["state"] == "succeeded", f"{answer}\n{log}"
    return answer["steps"][0]["result"]


def planted(folder: pathlib.Path) -> bool:
    with sqlite3.connect(folder / "tidemill.db") as connection:
        return bool(connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'planted'").fetchall())


def test_a_step_reaches_nothing_of_the_server(tmp_path):
    with Server(tmp_path / "data", ["--steps-sandbox", "required"]) as server:
        assert attack(server) == {"reached": [], "version": 200}
        server.stop()
        assert not planted(server.folder)
        assert "no sandbox" not in server.log.read_text()


def test_off_hides_nothing(tmp_path):
    with Server(tmp_path / "data", ["--steps-sandbox", "off"]) as server:
        assert "database" in attack(server)["reached"]
        assert planted(server.folder)


def without(*ways: str) -> list[str]:
    return [sys.executable, no_sandbox.__file__, ",".join(ways)]


def test_landlock_alone_keeps_it_out_too(tmp_path):
    flags = ["--steps-sandbox", "required"]
    with Server(tmp_path / "data", flags, before=without("mounts")) as server:
        assert attack(server) == {"reached": [], "version": 200}
        server.stop()
        assert not planted(server.folder)


def test_a_machine_without_any_is_told_once_and_works(tmp_path):
    with Server(tmp_path / "data", before=without("mounts", "landlock")) as server:
        assert "database" in attack(server)["reached"]
        server.stop()
        said = [line for line in server.log.read_text().splitlines() if "no sandbox" in line]
        assert len(said) == 1
        assert "mounts: " in said[0]
        assert "landlock: " in said[0]


def test_required_refuses_a_machine_without_any(tmp_path):
    flags = ["--data", str(tmp_path / "data"), "--port", "0", "--steps-sandbox", "required"]
    argv = [*without("mounts", "landlock"), BINARY, "server", *flags]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1
    assert done.stdout == ""
    assert f"cannot be shut off from '{tmp_path / 'data'}' here" in done.stderr
    assert "Operation not permitted" in done.stderr


def test_other_words_are_refused(tmp_path):
    argv = [BINARY, "server", "--data", str(tmp_path / "data"), "--steps-sandbox", "maybe"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 2
    assert "--steps-sandbox" in done.stderr

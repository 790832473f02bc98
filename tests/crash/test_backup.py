"""Backups of a server at work: nothing acknowledged before one began is missing in it, and damage is found by name."""

from __future__ import annotations

import os
import pathlib
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time

import pytest

SOURCE = pathlib.Path(os.environ.get("TIDEMILL_SOURCE", pathlib.Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(SOURCE / "tests"))

from support.s3 import S3  # noqa: E402
from support.server import BINARY, Client, Server  # noqa: E402


def tidemill(*words: object, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    argv = [str(BINARY), *map(str, words)]
    return subprocess.run(argv, capture_output=True, text=True, timeout=300, env=os.environ | (env or {}), check=False)


def new_run(client: Client) -> str:
    answer = client.call_json("POST", "/api/2.0/mlflow/runs/create", {"experiment_id": "0"})
    assert answer.status == 200, answer.text
    return answer.json["run"]["info"]["run_id"]


def artefact(run: str, number: int) -> str:
    return f"/api/2.0/mlflow-artifacts/artifacts/0/{run}/artifacts/{number}.bin"


def content(number: int) -> bytes:
    return random.Random(number).randbytes(60_000)


class Load:
    """Clients that log a metric and put an artefact by turns, and count what was acknowledged."""

    def __init__(self, server: Server, clients: int = 3) -> None:
        self.stop = threading.Event()
        self.acknowledged: dict[str, int] = {}  # run -> how many numbers
        self.failures: list[str] = []
        self.threads = [threading.Thread(target=self._run, args=(server.client(),)) for _ in range(clients)]
        for thread in self.threads:
            thread.start()

    def _run(self, client: Client) -> None:
        run = new_run(client)
        for number in range(1_000_000):
            if self.stop.is_set():
                return
            metric = {"run_id": run, "key": "m", "value": number, "timestamp": number, "step": number}
            for answer in (
                client.call("PUT", artefact(run, number), content(number)),
                client.call_json("POST", "/api/2.0/mlflow/runs/log-metric", metric),
            ):
                if answer.status != 200:
                    self.failures.append(answer.text)
                    return
            self.acknowledged[run] = number + 1

    def wait_for(self, count: int) -> None:
        limit = time.monotonic() + 60
        while sum(self.acknowledged.values()) < count:
            assert time.monotonic() < limit and not self.failures, self.failures
            time.sleep(0.02)

    def end(self) -> None:
        self.stop.set()
        for thread in self.threads:
            thread.join()
        assert not self.failures


def assert_holds(client: Client, acknowledged: dict[str, int]) -> None:
    for run, count in acknowledged.items():
        path = f"/api/2.0/mlflow/metrics/get-history?run_id={run}&metric_key=m&max_results=25000"
        steps = {point["step"] for point in client.call("GET", path).json["metrics"]}
        assert steps >= set(range(count)), f"run {run} lost points"
        for number in {0, count // 2, count - 1}:
            assert client.call("GET", artefact(run, number)).body == content(number)


@pytest.mark.parametrize("name", ["copy", "copy.tar"])
def test_a_backup_under_load_holds_what_was_acknowledged(tmp_path, name):
    target = tmp_path / name
    with Server(tmp_path / "data") as server:
        load = Load(server)
        try:
            load.wait_for(60)
            before = dict(load.acknowledged)
            made = tidemill("backup", "--data", tmp_path / "data", target)
            assert made.returncode == 0, made.stderr
            assert sum(load.acknowledged.values()) > sum(before.values()), "nobody wrote meanwhile"
        finally:
            load.end()
        sound = tidemill("check", "--data", tmp_path / "data")  # beside the running server
        assert sound.returncode == 0, sound.stdout + sound.stderr
    restored = tidemill("restore", target, "--data", tmp_path / "again")
    assert restored.returncode == 0, restored.stderr
    assert tidemill("restore", target, "--data", tmp_path / "again").returncode == 1, "it was written over"
    with Server(tmp_path / "again") as server:
        assert_holds(server.client(), before)


def test_a_killed_backup_is_no_backup_and_hurts_nothing(tmp_path):
    with Server(tmp_path / "data") as server:
        load = Load(server)
        load.wait_for(150)
        load.end()
        chance = random.Random(5)
        for cycle in range(8):
            target = tmp_path / f"killed{cycle}"
            process = subprocess.Popen(
                [BINARY, "backup", "--data", tmp_path / "data", target], stdout=subprocess.DEVNULL
            )
            time.sleep(chance.uniform(0.002, 0.08))
            process.send_signal(signal.SIGKILL)
            process.wait()
            if not (target / "backup.json").exists():
                assert tidemill("restore", target, "--data", tmp_path / "again").returncode == 1
                assert not (tmp_path / "again").exists()
        assert tidemill("check", "--data", tmp_path / "data").returncode == 0
        assert tidemill("backup", "--data", tmp_path / "data", tmp_path / "whole").returncode == 0
    assert tidemill("restore", tmp_path / "whole", "--data", tmp_path / "again").returncode == 0


def flip_bit(path: pathlib.Path, at: int) -> None:
    path.chmod(0o600)
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1]))


def test_check_names_one_flipped_bit(tmp_path):
    data = tmp_path / "data"
    with Server(data) as server:
        client = server.client()
        run = new_run(client)
        for number in range(4):
            assert client.call("PUT", artefact(run, number), content(number)).status == 200
        named = client.call_json("POST", "/api/2.0/mlflow/registered-models/create", {"name": "flipped"})
        assert named.status == 200, named.text
    assert tidemill("check", "--data", data).returncode == 0
    chance = random.Random(6)
    for file in chance.sample([f for f in (data / "blobs").rglob("*") if f.is_file()], 4):
        at = chance.randrange(file.stat().st_size)
        flip_bit(file, at)
        found = tidemill("check", "--data", data)
        assert found.returncode == 1
        assert file.name in found.stdout
        flip_bit(file, at)
    with sqlite3.connect(data / "tidemill.db") as database:
        subject = database.execute("SELECT subject FROM events WHERE seq = 1").fetchone()[0]
    database.close()
    at = (data / "tidemill.db").read_bytes().find(subject.encode())
    flip_bit(data / "tidemill.db", at)
    found = tidemill("check", "--data", data)
    assert found.returncode == 1
    assert "DAMAGED" in found.stdout
    flip_bit(data / "tidemill.db", at)
    assert tidemill("check", "--data", data).returncode == 0
    assert tidemill("check").returncode == 2
    assert tidemill("check", "--data", tmp_path / "none").returncode == 1


def test_a_bucket_is_backed_up_and_restored_into_another(tmp_path):
    with S3(tmp_path) as s3:
        with Server(tmp_path / "data", flags=s3.flags("old"), env=s3.env) as server:
            client = server.client()
            run = new_run(client)
            assert client.call("PUT", artefact(run, 1), content(1)).status == 200
            made = tidemill("backup", "--data", tmp_path / "data", *s3.flags("old"), tmp_path / "b.tar", env=s3.env)
            assert made.returncode == 0, made.stderr
        words = ["--data", tmp_path / "again", *s3.flags("new")]
        restored = tidemill("restore", tmp_path / "b.tar", *words, env=s3.env)
        assert restored.returncode == 0, restored.stderr
        assert tidemill("check", *words, env=s3.env).returncode == 0
        with Server(tmp_path / "again", flags=s3.flags("new"), env=s3.env) as server:
            assert server.client().call("GET", artefact(run, 1)).body == content(1)

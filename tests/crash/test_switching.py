"""Versions change under load while the server is killed: no half-loaded model answers, no acknowledged row is lost."""

from __future__ import annotations

import http.client
import json
import os
import pathlib
import random
import sys
import threading
import time

import pytest

SOURCE = pathlib.Path(os.environ.get("TIDEMILL_SOURCE", pathlib.Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(SOURCE / "tests"))

from support.server import Server, basic  # noqa: E402
from support.serving import Serving, logistic, probability  # noqa: E402

KILLS = int(os.environ.get("TIDEMILL_CRASH_KILLS", "20"))
WEIGHTS = {1: 0.5, 2: 0.7}  # of each version; an answer tells which one gave it
CLIENTS = 4


class Load:
    """Clients that ask without end and keep what was acknowledged. A request that the crash cut off is sent again."""

    def __init__(self, server: Server, credentials: str) -> None:
        self.server = server
        self.credentials = credentials
        self.stop = threading.Event()
        self.acknowledged: dict[str, int] = {}  # id -> version
        self.wrong: list[str] = []
        self.threads = [threading.Thread(target=self._run, args=(n,)) for n in range(CLIENTS)]
        for thread in self.threads:
            thread.start()

    def _run(self, number: int) -> None:
        chance = random.Random(number)
        count = 0
        while not self.stop.is_set():
            count += 1
            name, hour = f"{number}-{count}", chance.uniform(0, 24)
            while not self.stop.is_set():
                try:
                    if self._ask(name, hour):
                        break
                except (OSError, http.client.HTTPException):
                    time.sleep(0.02)

    def _ask(self, name: str, hour: float) -> bool:
        body = {
            "parameters": {"prediction_ids": [name], "at_ms": 1_700_000_000_000},
            "inputs": [
                {"name": "hour", "shape": [1], "datatype": "FP64", "data": [hour]},
                {"name": "carrier", "shape": [1], "datatype": "BYTES", "data": ["UA"]},
            ],
        }
        connection = http.client.HTTPConnection(self.server.host, self.server.port, timeout=20)
        try:
            connection.request(
                "POST", "/v2/models/flights/infer", json.dumps(body), {"Authorization": self.credentials}
            )
            response = connection.getresponse()
            answer = json.loads(response.read())
        finally:
            connection.close()
        if response.status == 503:  # draining or loading
            return False
        version = int(answer.get("model_version", 0))
        expected = probability(hour, "UA", w=WEIGHTS.get(version, 0))
        if response.status != 200 or abs(answer["outputs"][0]["data"][0] - expected) > 1e-6:
            self.wrong.append(f"{response.status} {answer}")
        self.acknowledged[name] = version
        return True

    def finish(self) -> None:
        self.stop.set()
        for thread in self.threads:
            thread.join()


@pytest.fixture
def served(tmp_path):
    with Server(tmp_path / "data") as server:
        token = server.client().call_json("POST", "/api/people", {"name": "root", "roles": ["admin"]}).json["token"]
        admin = server.client(f"Bearer {token}")
        for name, role in (("maria", "modeller"), ("anton", "approver")):
            person = {"name": name, "roles": [role], "password": f"{name}-secret-42"}
            assert admin.call_json("POST", "/api/people", person).status == 201
        token = admin.call_json("POST", "/api/people/maria/tokens", {"label": "test"}).json["token"]
        maria = f"Bearer {token}"
        serving = Serving(server.client(maria), server.client(basic("anton", "anton-secret-42")))
        assert [serving.approved(logistic(w=w)) for w in WEIGHTS.values()] == list(WEIGHTS)
        serving.deploy("flights", 1)
        yield server, maria


def switch(server: Server, credentials: str, chance: random.Random) -> None:
    """One change of what is live, whichever is possible now."""
    client = server.client(credentials)
    now = client.call("GET", "/api/deployments/flights").json
    other = 3 - now["champion"]
    if "candidate" not in now:
        client.call_json("POST", "/api/deployments/flights/canary", {"version": other, "percent": 50})
    elif chance.random() < 0.7:
        client.call_json("POST", "/api/deployments/flights/promote", {"reason": "a round"})
    else:
        client.call_json("POST", "/api/deployments/flights/rollback", {"reason": "a round"})


def test_kills_while_versions_change(served):
    server, maria = served
    chance = random.Random(8)
    load = Load(server, maria)
    try:
        for _ in range(KILLS):
            until = time.monotonic() + chance.uniform(0.05, 0.5)
            while time.monotonic() < until:
                switch(server, maria, chance)
            server.kill()
            server.start()
    finally:
        load.finish()
    assert not load.wrong, load.wrong[:3]
    assert len(load.acknowledged) > KILLS
    client = server.client(maria)
    stats = client.call("GET", "/api/predictions/flights/stats").json
    assert stats["rows"] >= len(load.acknowledged)
    assert stats["rows"] <= len(load.acknowledged) + CLIENTS  # each client may have had one request under way
    for name in chance.sample(sorted(load.acknowledged), min(200, len(load.acknowledged))):
        found = client.call("GET", f"/api/predictions/flights/{name}")
        assert found.status == 200, name
        assert found.json["version"] in WEIGHTS
    assert client.call("POST", "/api/predictions/flights/flush", b"{}").status == 200
    server.kill()
    server.start()
    assert server.client(maria).call("GET", "/api/predictions/flights/stats").json["rows"] == stats["rows"]

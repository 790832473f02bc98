"""kill -9 of the server at random moments while the demo replays and retrains: nothing acknowledged is lost.

The replay is a client like any other: it sends a request again when the answer was lost. What it was told is kept
must be there in the end, once; no
step of a pipeline runs again after it was recorded as finished; and the loop closes all the same.
"""

from __future__ import annotations

import collections
import csv
import json
import os
import pathlib
import random
import subprocess
import sys
import threading
import time

import pytest

SOURCE = pathlib.Path(os.environ.get("TIDEMILL_SOURCE", pathlib.Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(SOURCE / "tests"))

from support.server import Server  # noqa: E402

KILLS = int(os.environ.get("TIDEMILL_CRASH_KILLS", "20"))
SEED = int(os.environ.get("TIDEMILL_CRASH_SEED", "11"))
UNTIL = 5  # March to May: two retrainings, a canary or two


class Killer(threading.Thread):
    """Kills and restarts the server until it has done so KILLS times or the demo has ended."""

    def __init__(self, server: Server, demo: subprocess.Popen) -> None:
        super().__init__(daemon=True)
        self.server, self.demo = server, demo
        self.live = threading.Event()
        self.kills = 0
        self.slowest_start_s = 0.0
        self.fault = ""

    def run(self) -> None:
        dice = random.Random(SEED)
        self.live.wait()
        try:
            while self.kills < KILLS and self.demo.poll() is None:
                time.sleep(dice.uniform(0.3, 3.0))
                if self.demo.poll() is not None:
                    break
                self.server.kill()
                self.server.start()
                self.kills += 1
                self.slowest_start_s = max(self.slowest_start_s, self.server.started_s)
        except Exception as caught:  # the main thread tells
            self.fault = f"after {self.kills} kills: {caught!r}"
            self.demo.kill()


@pytest.fixture(scope="module")
def lived(tmp_path_factory):
    folder = tmp_path_factory.mktemp("crash")
    server = Server(folder / "data", flags=["--anonymous-read"])
    server.start()
    proof = folder / "proof.json"
    argv = [
        sys.executable,
        str(SOURCE / "examples/flights/demo.py"),
        "--url",
        server.url,
        "--until",
        str(UNTIL),
        "--json",
        str(proof),
    ]
    demo = subprocess.Popen(
        [*argv, "--data", str(folder / "work")], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    killer = Killer(server, demo)
    killer.start()
    said = []
    for line in demo.stdout:
        said.append(line)
        if "] Live" in line:
            killer.live.set()
    demo.wait()
    killer.live.set()
    killer.join()
    output = "".join(said[-40:])
    assert not killer.fault, f"{killer.fault}\n{output}\n{server.log_tail()}"
    assert demo.returncode == 0, f"{output}\n{server.log_tail()}"
    yield folder, server, killer, json.loads(proof.read_text())
    server.stop()


def all_events(server: Server) -> list[dict]:
    client, events, after = server.client(), [], 0
    while page := client.call("GET", f"/api/events?after_seq={after}&limit=1000").json["events"]:
        events += page
        after = page[-1]["seq"]
    return events


def test_it_was_killed_often_enough(lived):
    _, _, killer, _ = lived
    assert killer.kills >= KILLS


def test_every_flight_that_was_asked_about_is_there_once(lived):
    folder, server, _, proof = lived
    asked = labelled = 0
    for month in range(3, UNTIL + 1):
        with open(folder / f"work/files/flights-2013-{month:02}.csv", newline="") as file:
            for row in csv.DictReader(file):
                asked += 1
                labelled += row["late"] != ""
    stats = server.client().call("GET", "/api/predictions/flight-delay/stats").json
    # The replay goes on for a day after the last month, whose flights are asked about too.
    assert stats["rows"] >= asked
    assert stats["labelled"] >= labelled
    assert sum(month["predictions"] for month in proof["months"]) == asked
    assert sum(month["labelled"] for month in proof["months"]) == labelled


def test_no_step_ran_again_after_it_was_recorded_as_finished(lived):
    _, server, _, _ = lived
    ended: dict[tuple, int] = {}
    again = []
    for event in all_events(server):
        step = (event["subject"], event["payload"].get("step"))
        if event["kind"] == "pipelines.step_finished" and event["payload"].get("state") == "succeeded":
            ended[step] = event["seq"]
        if event["kind"] == "pipelines.step_started" and step in ended:
            again.append((step, event["seq"]))
    assert ended
    assert again == []


def test_every_alert_fired_its_trigger_once(lived):
    _, server, _, _ = lived
    alerts = [event["seq"] for event in all_events(server) if event["kind"] == "monitors.alerted"]
    fires = server.client().call("GET", "/api/triggers/retrain-flight-delay/fires").json["fires"]
    assert sorted(fire["event_seq"] for fire in fires) == alerts


def test_versions_and_windows_are_there_once(lived):
    _, server, _, proof = lived
    client = server.client()
    for dataset in ("flights", "weather"):
        names = [part["filename"] for part in newest(client, dataset)["parts"]]
        assert [name for name, count in collections.Counter(names).items() if count > 1] == []
    assert [month["month"] for month in proof["months"]] == [f"2013-{n:02}" for n in range(3, UNTIL + 1)]


def newest(client, dataset: str) -> dict:
    versions = client.call("GET", f"/api/datasets/{dataset}/versions").json["versions"]
    number = max(version["number"] for version in versions)
    return client.call("GET", f"/api/datasets/{dataset}/versions/{number}").json


def test_the_loop_closed_and_the_chain_holds(lived):
    _, _, _, proof = lived
    assert proof["audit_ok"]
    assert any(month["retrained"] for month in proof["months"])
    assert proof["promotions"] >= 1

"""The client against the real server, and its own promises."""

from __future__ import annotations

import http.server
import os
import pathlib
import subprocess
import sys
import threading

import pytest
import tidemill

SOURCE = pathlib.Path(os.environ.get("TIDEMILL_SOURCE", pathlib.Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(SOURCE / "tests"))

from support.server import Server  # noqa: E402


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Server(tmp_path_factory.mktemp("sdk") / "data") as running:
        yield running


@pytest.fixture
def client(server):
    return tidemill.Client(server.url, retries=0)


def test_the_public_names_are_these():
    assert sorted(tidemill.__all__) == [
        "Client",
        "Conflict",
        "GateNotMet",
        "NotFound",
        "Refused",
        "Step",
        "TidemillError",
        "Unreachable",
        "WrongInput",
        "step",
    ]
    assert all(hasattr(tidemill, name) for name in tidemill.__all__)


def test_it_needs_nothing_but_the_standard_library():
    code = "import sys; sys.path.insert(0, sys.argv[1]); import tidemill"
    subprocess.run([sys.executable, "-S", "-I", "-c", code, str(SOURCE / "python")], check=True)


def test_it_finds_the_server_ready(client):
    assert client.health()
    assert client.idle()
    assert {room["noun"] for room in client.loop()["rooms"]} >= {"datasets", "models", "triggers"}


def test_rows_come_back_over_the_page_boundary(client, tmp_path):
    file = tmp_path / "numbers.csv"
    file.write_text("id,value\n" + "".join(f"{n},{n / 2}\n" for n in range(2500)))
    client.datasets.create("numbers", keys=["id"])
    assert client.datasets.add("numbers", file)["rows"] == 2500
    rows = list(client.datasets.rows("numbers", 1))
    assert [row["id"] for row in rows] == list(range(2500))


def test_names_with_special_characters_stay_in_their_segment(client):
    with pytest.raises(tidemill.NotFound):
        client.datasets.get("../people")
    with pytest.raises(tidemill.NotFound):
        client.models.get("a model/with a slash")


def test_errors_carry_reason_and_remedy(client):
    with pytest.raises(tidemill.NotFound) as caught:
        client.datasets.get("nothing")
    assert caught.value.reason == "datasets.unknown"
    assert caught.value.remedy
    with pytest.raises(tidemill.WrongInput):
        client.requirements.add({"name": "x", "unknown_field": 1})
    client.datasets.create("twice")
    with pytest.raises(tidemill.Conflict):
        client.datasets.create("twice")


def test_events_are_paged_and_the_chain_holds(client):
    seqs = [event["seq"] for event in client.events.all()]
    assert seqs == list(range(1, len(seqs) + 1))
    assert client.events.verify()["ok"]


def test_an_address_that_is_none_is_refused():
    with pytest.raises(tidemill.TidemillError):
        tidemill.Client("not an address")


def test_nobody_there_is_told_with_a_remedy():
    with pytest.raises(tidemill.Unreachable) as caught:
        tidemill.Client("http://127.0.0.1:1", retries=0).loop()
    assert "tidemill server" in str(caught.value)


def test_outside_of_a_pipeline_there_is_no_step(monkeypatch):
    monkeypatch.delenv("TIDEMILL_PIPELINE_RUN", raising=False)
    with pytest.raises(tidemill.TidemillError, match="not a step"):
        tidemill.step()


class Flaky(http.server.BaseHTTPRequestHandler):
    """Cuts the connection after reading, a given number of times, then answers."""

    cuts = 0
    seen = 0

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        type(self).seen += 1
        if type(self).seen <= type(self).cuts:
            self.connection.close()
            return
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_):
        pass


@pytest.fixture
def flaky():
    Flaky.seen = 0
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Flaky) as listening:
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        yield tidemill.Client(f"http://127.0.0.1:{listening.server_port}", retries=3)
        listening.shutdown()


def test_what_is_safe_to_repeat_is_sent_again(flaky):
    Flaky.cuts = 2
    assert flaky.predictions.label("d", []) == {}
    assert Flaky.seen == 3


def test_what_is_not_safe_to_repeat_is_not(flaky):
    Flaky.cuts = 1
    with pytest.raises(tidemill.Unreachable):
        flaky.pipelines.run("p")
    assert Flaky.seen == 1

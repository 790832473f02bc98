"""Runs docs/start/first-model.md as a reader would: its commands in one shell, against a fresh server."""

from __future__ import annotations

import json
import os
import pathlib
import re
import shlex
import subprocess
import sys
import time

import pytest

SOURCE = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(SOURCE / "tests"))

from support.server import BINARY, PYTHON, Server, ServerError  # noqa: E402

ENGLISH = SOURCE / "docs/start/first-model.md"
CHINESE = SOURCE / "docs/start/first-model.zh.md"
PAGE_S_MAX = 300
WINDOW_S_MAX = 20
APPROVE = "TIDEMILL_TOKEN=$LI build/tidemill models approve"
# Slipped in before the approval: what the page says would be refused.
OWN_WORK = 'build/tidemill models approve cancer 1 --reason mine && exit 99 || echo "own work: exit code $?"'
EXIT_REFUSED = 4


def blocks(page: pathlib.Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """The repository as the page sees it, with a build/ of its own, so that nothing is written into the real one."""
    folder = tmp_path_factory.mktemp("checkout")
    (folder / "build").mkdir()
    (folder / "build/tidemill").symlink_to(BINARY.resolve())
    (folder / "build/venv").symlink_to(pathlib.Path(PYTHON).parent.parent)
    (folder / "examples").symlink_to(SOURCE / "examples")
    return folder


@pytest.fixture(scope="module")
def walked(checkout: pathlib.Path):
    """The server after all commands of the page have run, the output and the token of ann."""
    with Server(checkout / "data") as server:
        script = "set -euo pipefail\n" + "".join(blocks(ENGLISH, "sh")) + '\nprintf "TOKEN=%s\\n" "$TIDEMILL_TOKEN"\n'
        assert script.count(APPROVE) == 1
        script = script.replace(APPROVE, f"{OWN_WORK}\n{APPROVE}")
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("TIDEMILL_", "MLFLOW_"))}
        environment["TIDEMILL_URL"] = server.url
        done = subprocess.run(
            ["bash", "-x", "-c", script],
            cwd=checkout, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PAGE_S_MAX,
        )  # fmt: skip
        if done.returncode != 0:
            raise ServerError(
                f"The page ended with {done.returncode}:\n{done.stdout}\n{done.stderr}\n{server.log_tail()}"
            )
        output, token = done.stdout.rsplit("TOKEN=", 1)
        yield server.client(f"Bearer {token.strip()}"), output


def test_both_languages_have_the_same_commands():
    assert blocks(ENGLISH, "sh")
    for language in ("sh", "text"):
        assert blocks(ENGLISH, language) == blocks(CHINESE, language)


def test_the_server_is_started_as_the_page_says():
    (block,) = blocks(ENGLISH, "text")
    assert shlex.split(block)[:3] == ["build/tidemill", "server", "--data"]
    assert shlex.split(block)[4:] == ["--python", "build/venv/bin/python"]


def test_links_lead_somewhere():
    for page in (ENGLISH, CHINESE):
        for link in re.findall(r"\]\(([^)#]+)", page.read_text()):
            assert link.startswith("http") or (page.parent / link).exists(), f"{page.name}: {link}"


def test_a_second_person_approved_what_passed_the_gate(walked):
    client, _ = walked
    version = client.call("GET", "/api/models/cancer/versions/1").json
    assert (version["state"], version["made_by"]) == ("approved", "ann")
    assert version["tests"][0]["passed"] and version["parity"]["label_agreement"] == 1
    (approval,) = client.call("GET", "/api/approvals?state=approved").json["approvals"]
    assert (approval["asked_by"], approval["decided_by"]) == ("ann", "li")


def test_the_maker_is_refused(walked):
    _, output = walked
    assert f"own work: exit code {EXIT_REFUSED}\n" in output


def test_the_endpoint_answers(walked, checkout: pathlib.Path):
    client, output = walked
    answer = client.call("POST", "/v2/models/cancer/infer", (checkout / "build/cancer/one.json").read_bytes(),
                         {"Content-Type": "application/json"})  # fmt: skip
    assert answer.status == 200, answer.text
    probability = next(o for o in answer.json["outputs"] if o["name"] == "probability")["data"]
    assert len(probability) == 1 and 0 < probability[0] < 1
    assert str(probability[0])[:6] in output  # what the page itself printed


def test_a_prediction_shows_its_features_with_the_digits_that_were_sent(walked, checkout: pathlib.Path):
    client, _ = walked
    asked = json.loads((checkout / "build/cancer/one.json").read_text())
    shown = client.call("GET", f"/api/predictions/cancer/{asked['parameters']['prediction_ids'][0]}").json["features"]
    assert shown == {column["name"]: column["data"][0] for column in asked["inputs"]}


def test_it_is_watched(walked):
    client, output = walked
    stats = client.call("GET", "/api/predictions/cancer/stats").json
    assert (stats["rows"], stats["labelled"]) == (200, 200)  # one.json is the first of day 1: an id counts once
    deadline = time.monotonic() + WINDOW_S_MAX
    while not (windows := client.call("GET", "/api/monitors/cancer/windows").json["windows"]):
        assert time.monotonic() < deadline, "no window has closed"
        time.sleep(0.2)
    assert [w["label"] for w in windows] == ["2025-03-03"]
    assert (windows[0]["served"]["rows"], windows[0]["served"]["labelled"]) == (100, 100)
    assert windows[0]["served"]["auc"] > 0.95 and len(windows[0]["drift"]) == 30
    assert all(verdict["met"] for verdict in windows[0]["verdicts"]) and windows[0]["verdicts"]
    assert "2025-03-03" in output


def test_the_chain_holds(walked):
    client, _ = walked
    assert client.call("GET", "/api/events/verify").json["ok"] is True


@pytest.fixture(scope="module")
def wine(walked, checkout: pathlib.Path):
    """A reader's own CSV: small, with a text column that the test rows have a new value of and a gap in."""
    from sklearn.datasets import load_wine

    client, _ = walked
    table = load_wine(as_frame=True)
    rows = table.data.rename(columns=lambda name: name.replace("/", "_")).sample(frac=1, random_state=0)
    rows.insert(0, "id", [f"w{i}" for i in range(len(rows))])
    rows.insert(1, "grower", ["north", "south", None, "west"] * (len(rows) // 4) + ["new", None])
    rows["first"] = (table.target[rows.index] == 0).astype(int)
    pipeline = (SOURCE / "examples/cancer/pipeline/pipeline.yaml").read_text()
    ours = ("name: wine", "dataset: wine", "label: first", "model: wine")
    for old, new in zip(("name: cancer", "dataset: cancer", "label: malignant", "model: cancer"), ours, strict=True):
        assert old in pipeline
        pipeline = pipeline.replace(old, new)
    steps = SOURCE / "examples/cancer/pipeline/steps"
    files = {f"steps/{file.name}": file.read_text() for file in steps.glob("*.py")}
    assert client.call_json("POST", "/api/datasets", {"name": "wine", "keys": ["id"]}).status == 201
    body = rows.to_csv(index=False).encode()
    assert client.call("POST", "/api/datasets/wine/versions?filename=wine.csv", body).status == 201
    assert client.call_json("POST", "/api/pipelines", {"definition": pipeline, "files": files}).status == 201
    return client


def run_of(client, params: dict) -> dict:
    run = client.call_json("POST", "/api/pipelines/wine/runs", {"params": params}).json
    deadline = time.monotonic() + PAGE_S_MAX
    while run["state"] in ("queued", "running"):
        assert time.monotonic() < deadline, run
        time.sleep(0.2)
        run = client.call("GET", f"/api/pipelines/runs/{run['id']}").json
    return run


def test_a_small_table_is_told_everything_that_it_lacks_at_once(wine):
    (data, *_) = run_of(wine, {"test_rows": "60"})["steps"]
    assert data["state"] == "failed"
    for option in ("rows_min 200, but 60", "positives_min 50, but", "negatives_min 50, but"):
        assert option in data["message"], data["message"]


def test_a_text_column_is_a_category_that_serves_as_it_was_trained(wine):
    run = run_of(wine, {"test_rows": "60", "rows_min": "60", "positives_min": "10", "negatives_min": "15"})
    assert run["state"] == "succeeded", run
    version = wine.call("GET", "/api/models/wine/versions/1").json
    grower = version["columns"][0]
    assert (grower["name"], grower["kind"], grower["missing"]) == ("grower", "category", "code")
    assert grower["categories"] == ["north", "south", "west"], "the newest text is among the test rows only"
    assert version["parity"]["max_abs_diff"] < 1e-5 and version["parity"]["rows"] == 60

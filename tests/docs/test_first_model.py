"""Runs docs/start/first-model.md as a reader would: its commands in one shell, against a fresh server."""

from __future__ import annotations

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

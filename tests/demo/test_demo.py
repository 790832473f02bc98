"""The demo, run to its end as `./demo --once --json FILE` does: the loop closes, and closing it pays.

The figures are statistics of real flights; no time is asserted.
"""

from __future__ import annotations

import json
import os
import pathlib
import statistics
import subprocess
import sys

import pytest

SOURCE = pathlib.Path(os.environ.get("TIDEMILL_SOURCE", pathlib.Path(__file__).resolve().parents[2]))
GAIN_MIN = 0.02  # mean AUC, April to December, of the loop over the frozen model with the same features


@pytest.fixture(scope="module")
def proof(tmp_path_factory) -> dict:
    out = tmp_path_factory.mktemp("demo") / "proof.json"
    demo = [sys.executable, str(SOURCE / "examples/flights/demo.py"), "--once", "--json", str(out)]
    done = subprocess.run(demo, capture_output=True, text=True, check=False, timeout=850)
    assert done.returncode == 0, f"exit code {done.returncode}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    return json.loads(out.read_text())


def test_every_month_from_march_is_there_with_its_predictions(proof):
    assert [month["month"] for month in proof["months"]] == [f"2013-{n:02}" for n in range(3, 13)]
    assert all(month["predictions"] > 20_000 for month in proof["months"])


def test_the_loop_wins_over_the_frozen_model(proof):
    months = [month for month in proof["months"] if month["month"] >= "2013-04"]
    gain = statistics.mean(month["auc_loop"] - month["auc_frozen"] for month in months)
    assert gain >= GAIN_MIN
    assert all(0.5 < month[key] < 1 for month in months for key in ("auc_loop", "auc_frozen"))


def test_retraining_has_a_cause_and_led_to_a_promotion(proof):
    retrained = [month for month in proof["months"] if month["retrained"]]
    assert retrained
    assert all(month["cause"] for month in retrained)
    assert proof["promotions"] >= 1
    assert proof["rollbacks"] >= 0


def test_the_chain_of_events_is_unbroken(proof):
    assert proof["audit_ok"] is True

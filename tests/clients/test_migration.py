"""`tidemill import mlflow` and `export mlflow`, with the real MLflow on both sides."""

from __future__ import annotations

import json
import math
import os
import pathlib
import subprocess

import mlflow
import numpy
import pytest
from mlflow_support import mlflow_server
from sklearn.linear_model import LinearRegression

from tests.support.server import BINARY, Server

os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"  # MLflow 3.17 reads and writes folders only when told so


def tidemill_cli(url: str, *arguments: str, code: int = 0) -> dict:
    done = subprocess.run(
        [str(BINARY), "--server", url, "--json", *arguments], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == code, done.stderr + done.stdout
    return json.loads(done.stdout) if done.stdout else json.loads(done.stderr.splitlines()[-1])


def counts(report: dict) -> dict[str, dict[str, int]]:
    return {row["kind"]: row for row in report["counts"]}


def fill(uri: str, artefacts: str | None = None) -> dict[str, str]:
    """Logs one of everything; returns the ids."""
    mlflow.set_tracking_uri(uri)
    client = mlflow.MlflowClient()
    experiment = client.create_experiment("Müller/7 x", tags={"k": "v"}, artifact_location=artefacts)
    with mlflow.start_run(experiment_id=experiment, run_name="1e5") as run:
        mlflow.log_params({"lines": "a\nb", "slash/ed": "x", "empty": "", "number": "012"})
        for step in range(5):
            mlflow.log_metric("loss", step / 3, step=step)
        points = [mlflow.entities.Metric("long", 0.1 * i, 1_000 + i, i) for i in range(1_000)]
        client.log_batch(run.info.run_id, points)
        client.log_batch(run.info.run_id, [mlflow.entities.Metric("long", 7.5, 9_000, 1_000 + i) for i in range(500)])
        client.log_batch(run.info.run_id, [mlflow.entities.Metric("odd", math.nan, 1, -3)])
        client.log_batch(run.info.run_id, [mlflow.entities.Metric("odd", 0.1 + 0.2, 2, 2**40)])
        mlflow.set_tag("中文", "值")
        mlflow.log_text("hello", "folder/with space.txt")
        data = mlflow.data.from_numpy(numpy.arange(4.0), name="numbers")
        mlflow.log_input(data, context="training", tags={"t": "u"})
        model = LinearRegression().fit([[1.0], [2.0]], [2.0, 4.0])
        logged = mlflow.sklearn.log_model(model, name="line", registered_model_name="line")
        client.log_batch(run.info.run_id, [mlflow.entities.Metric("r2", 1.0, 5, 0, model_id=logged.model_id)])
    client.set_registered_model_alias("line", "live", "1")
    client.set_registered_model_tag("line", "team", "risk")
    client.set_model_version_tag("line", "1", "checked", "yes")
    client.update_model_version("line", "1", "first")
    client.transition_model_version_stage("line", "1", "Staging")
    with mlflow.start_run(experiment_id=experiment) as failed:
        pass
    client.set_terminated(failed.info.run_id, "FAILED")
    client.delete_run(failed.info.run_id)
    gone = client.create_experiment("gone")
    client.create_run(gone)
    client.delete_experiment(gone)
    return {"run": run.info.run_id, "deleted": failed.info.run_id, "model": logged.model_id}


def look(uri: str, ids: dict[str, str]) -> dict:
    """What a client sees of what `fill` logged, without addresses and the times of registry entries."""
    mlflow.set_tracking_uri(uri)
    client = mlflow.MlflowClient()
    run = client.get_run(ids["run"])
    experiment = client.get_experiment(run.info.experiment_id)
    history = {
        key: [(p.step, p.timestamp, str(p.value)) for p in client.get_metric_history(ids["run"], key)]
        for key in run.data.metrics
    }
    version = client.get_model_version_by_alias("line", "live")
    logged = client.get_logged_model(ids["model"])
    loaded = mlflow.sklearn.load_model("models:/line@live")
    file = pathlib.Path(mlflow.artifacts.download_artifacts(run_id=ids["run"], artifact_path="folder/with space.txt"))
    return {
        "experiment": (experiment.name, experiment.tags["k"], experiment.creation_time),
        "run": (run.info.run_name, run.info.status, run.info.start_time, run.info.end_time, run.info.user_id),
        "params": run.data.params,
        "tags": run.data.tags,
        "history": {key: sorted(set(points)) for key, points in history.items()},
        "inputs": [
            (
                i.dataset.name,
                i.dataset.digest,
                i.dataset.schema,
                i.dataset.source,
                sorted((t.key, t.value) for t in i.tags),
            )
            for i in run.inputs.dataset_inputs
        ],
        "outputs": [(o.model_id, o.step) for o in run.outputs.model_outputs],
        "logged": (logged.name, str(logged.status), logged.params, logged.source_run_id, logged.creation_timestamp),
        "logged metrics": sorted((m.key, m.value, m.step) for m in logged.metrics),
        "version": (str(version.version), version.tags, version.description, version.current_stage, version.run_id),
        "model tags": client.get_registered_model("line").tags,
        "deleted": client.get_run(ids["deleted"]).info.lifecycle_stage,
        "gone": client.get_experiment_by_name("gone").lifecycle_stage,
        "prediction": loaded.predict([[3.0]]).tolist(),
        "text": file.read_text(),
    }


@pytest.fixture
def server(tmp_path):
    with Server(tmp_path / "data") as running:
        yield running


def check(source_argument: list[str], source_uri: str, ids: dict[str, str], server: Server) -> None:
    first = tidemill_cli(server.url, "import", "mlflow", *source_argument)
    assert first["skipped"] == [] and first["different"] == []
    for kind in ("runs", "artefacts", "versions", "logged models", "points"):
        row = counts(first)[kind]
        assert row["verified"] == row["read"] == row["written"] > 0, kind
    again = tidemill_cli(server.url, "import", "mlflow", *source_argument)
    assert again["skipped"] == [] and again["different"] == []
    assert {kind: row["written"] for kind, row in counts(again).items() if row["written"]} == {}
    # Last, since loading a model from a folder makes MLflow write a file into it.
    assert look(server.url, ids) == look(source_uri, ids)


def test_a_folder(tmp_path, server):
    uri = f"file://{tmp_path}/mlruns"
    check([str(tmp_path / "mlruns")], uri, fill(uri), server)


def test_a_folder_that_was_moved(tmp_path, server):
    ids = fill(f"file://{tmp_path}/mlruns")
    (tmp_path / "mlruns").rename(tmp_path / "elsewhere")
    report = tidemill_cli(server.url, "import", "mlflow", str(tmp_path / "elsewhere"))
    assert report["different"] == []
    assert counts(report)["artefacts"]["verified"] > 3
    assert look(server.url, ids)["prediction"] == [pytest.approx(6.0)]


def test_a_database(tmp_path, server):
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    check([str(tmp_path / "mlflow.db")], uri, fill(uri, f"file://{tmp_path}/files"), server)


def test_a_live_server_and_then_its_database(tmp_path, server):
    with mlflow_server(tmp_path, "--workers", "1") as url:
        ids = fill(url)
        check([url], url, ids, server)
        arguments = [str(tmp_path / "mlflow.db"), "--artifacts", str(tmp_path / "artifacts")]
        report = tidemill_cli(server.url, "import", "mlflow", *arguments)
        assert report["skipped"] == [] and report["different"] == []
        assert {kind: row["written"] for kind, row in counts(report).items() if row["written"]} == {}


def test_what_was_added_meanwhile_follows(tmp_path, server):
    uri = f"file://{tmp_path}/mlruns"
    ids = fill(uri)
    tidemill_cli(server.url, "import", "mlflow", str(tmp_path / "mlruns"))
    mlflow.set_tracking_uri(uri)
    client = mlflow.MlflowClient()
    client.log_metric(ids["run"], "loss", 9.0, timestamp=1, step=99)
    client.log_text(ids["run"], "more", "folder/more.txt")
    client.set_tag(ids["run"], "late", "yes")
    client.restore_run(ids["deleted"])
    client.log_param(ids["deleted"], "p", 1)
    client.delete_run(ids["deleted"])
    report = counts(tidemill_cli(server.url, "import", "mlflow", str(tmp_path / "mlruns")))
    assert {k: r["written"] for k, r in report.items() if r["written"]} == {
        "artefacts": 1,
        "params": 1,
        "points": 1,
        "tags": 1,
    }
    assert look(server.url, ids) == look(uri, ids)


def test_an_interrupted_import_goes_on(tmp_path, server):
    uri = f"file://{tmp_path}/mlruns"
    ids = fill(uri)
    process = subprocess.Popen(
        [str(BINARY), "--server", server.url, "import", "mlflow", str(tmp_path / "mlruns")],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        process.wait(0.05)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    report = tidemill_cli(server.url, "import", "mlflow", str(tmp_path / "mlruns"))
    assert report["skipped"] == [] and report["different"] == []
    assert look(server.url, ids) == look(uri, ids)


def test_what_differs_is_told(tmp_path, server):
    uri = f"file://{tmp_path}/mlruns"
    ids = fill(uri)
    tidemill_cli(server.url, "import", "mlflow", str(tmp_path / "mlruns"))
    run = next((tmp_path / "mlruns").glob(f"*/{ids['run']}"))
    (run / "params" / "number").write_text("13")
    report = tidemill_cli(server.url, "import", "mlflow", str(tmp_path / "mlruns"), code=1)
    assert [(d["kind"], d["name"]) for d in report["different"]] == [("runs", ids["run"])]


def test_links_in_a_folder_are_not_followed(tmp_path, server):
    uri = f"file://{tmp_path}/mlruns"
    ids = fill(uri)
    secret = tmp_path / "secret"
    secret.write_text("s")
    run = next((tmp_path / "mlruns").glob(f"*/{ids['run']}"))
    (run / "artifacts" / "link").symlink_to(secret)
    report = tidemill_cli(server.url, "import", "mlflow", str(tmp_path / "mlruns"))
    assert [(s["kind"], s["name"]) for s in report["skipped"]] == [("artefacts", ids["run"])]
    assert "link" in report["skipped"][0]["why"]


@pytest.mark.parametrize("content", [b"", b"not a database", b"SQLite format 3\0" + b"\0" * 4096])
def test_files_that_are_no_database(tmp_path, server, content):
    (tmp_path / "x.db").write_bytes(content)
    error = tidemill_cli(server.url, "import", "mlflow", str(tmp_path / "x.db"), code=1)["error"]
    assert error["reason"] in ("import.not_mlflow_db", "import.unreadable")


def test_round_trip(tmp_path, server):
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    ids = fill(uri, f"file://{tmp_path}/files")
    tidemill_cli(server.url, "import", "mlflow", str(tmp_path / "mlflow.db"))
    out = tmp_path / "out"
    report = tidemill_cli(server.url, "export", "mlflow", str(out))
    assert report["different"] == [] and report["skipped"] == []
    assert counts(report)["runs"]["verified"] == counts(report)["runs"]["read"] == 3
    mlflow.set_tracking_uri(f"file://{out}")
    found = mlflow.search_runs(search_all_experiments=True, filter_string="params.number = '012'")
    assert list(found.run_id) == [ids["run"]]
    seen, expected = look(f"file://{out}", ids), look(uri, ids)
    assert seen == expected
    with Server(tmp_path / "data2") as second:
        again = tidemill_cli(second.url, "import", "mlflow", str(out))
        assert again["different"] == [] and again["skipped"] == []
        assert look(second.url, ids) == expected

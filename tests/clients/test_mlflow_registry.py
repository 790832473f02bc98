"""The registry as MLflow's own tests expect it: sources, copies, words of errors."""

from __future__ import annotations

import json
import urllib.request
import uuid

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow_support import call


@pytest.fixture
def client(tidemill):
    return MlflowClient(tidemill, tidemill)


@pytest.fixture
def model(client):
    return client.create_registered_model(f"registry-{uuid.uuid4().hex[:8]}").name


def test_sources_of_runs_elsewhere_are_registered_without_files(client, model):
    version = client.create_model_version(model, "runs:/run_id/model", "run_id_1")
    assert (version.source, version.run_id, version.description) == ("runs:/run_id/model", "run_id_1", "")
    version = client.create_model_version(model, f"runs:/{uuid.uuid4().hex}/model")
    assert version.version == "2"


@pytest.mark.parametrize("path", ["models", "models/", "models///", "models/foo///bar", "models/artifact/..../"])
def test_addresses_with_slashes_and_dots_are_sources(tidemill, client, model, path):
    for host in ("mlflow-artifacts:/", "mlflow-artifacts://host:9000/"):
        body = {"name": model, "source": host + path}
        assert call(tidemill, "POST", "model-versions/create", body)[0] == 200


@pytest.mark.parametrize(
    "source",
    [
        "mlflow-artifacts://host:9000/models/../../../",
        "http://host:9000/models/../../../",
        "s3a://my_bucket/api/2.0/mlflow-artifacts/artifacts/../../../",
        "mlflow-artifacts://host:9000/models/..%2f..%2fartifacts",
        "mlflow-artifacts://host:9000/models/artifact%00",
        "dbfs:/run/artifacts/a%3f/../../../../",
        "https://host/a/%252e%252e/b",
    ],
)
def test_addresses_that_lead_out_are_refused(tidemill, client, model, source):
    status, body = call(tidemill, "POST", "model-versions/create", {"name": model, "source": source})
    assert (status, body["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
    assert "Invalid model version source" in body["message"]
    assert client.search_model_versions(f"name='{model}'") == []


def test_a_copy_has_the_files_of_what_it_copies(client, tidemill, model, tmp_path):
    run = client.create_run("0")
    (tmp_path / "weights").write_bytes(b"weights")
    client.log_artifact(run.info.run_id, str(tmp_path / "weights"), "model")
    first = client.create_model_version(model, f"runs:/{run.info.run_id}/model", run.info.run_id, tags={"a": "b"})
    client.set_registered_model_alias(model, "best", first.version)
    copy = client.copy_model_version(f"models:/{model}@best", f"{model}-copy")
    again = client.copy_model_version(f"models:/{model}-copy/{copy.version}", f"{model}-copy")
    for version, source in ((copy, f"models:/{model}/1"), (again, f"models:/{model}-copy/1")):
        assert (version.source, version.run_id, version.tags) == (source, run.info.run_id, {"a": "b"})
        assert client.get_model_version_download_uri(version.name, version.version) == first.source
    digests = {client.get_model_version(v.name, v.version).source: digest(tidemill, v) for v in (first, copy, again)}
    assert len(digests) == 3
    assert len(set(digests.values())) == 1


def digest(url, version):

    with urllib.request.urlopen(f"{url}/api/models/{version.name}/versions/{version.version}") as answer:
        body = json.load(answer)
    assert sorted(body["files"]) == ["weights"]
    return body["digest"]


def test_errors_of_the_registry_speak_as_mlflow_does(client, model):
    with pytest.raises(MlflowException, match=f"Registered Model with name={model}-x not found"):
        client.get_registered_model(f"{model}-x")
    with pytest.raises(MlflowException, match=r"Registered Model .+ already exists"):
        client.create_registered_model(model)
    with pytest.raises(MlflowException, match=r"Model Version .+ not found"):
        client.get_model_version(model, 7)
    with pytest.raises(MlflowException, match="Parameter 'version' must be an integer, got 'seven'"):
        client.get_model_version(model, "seven")
    assert client.search_model_versions(f"name='{model}-x'") == []


def test_versions_that_tie_are_ordered_by_name_and_newest_first(client, model):
    other = client.create_registered_model(f"{model}-2").name
    for name in (other, model, model, other):
        client.create_model_version(name, "s3://bucket/x")
    found = client.search_model_versions(f"name LIKE '{model}%'", order_by=["version_number DESC"])
    assert [(v.name, v.version) for v in found] == [(model, "2"), (other, "2"), (model, "1"), (other, "1")]


def test_data_sets_alone_find_the_models_measured_on_them(client):
    experiment = client.create_experiment(f"datasets-{uuid.uuid4().hex[:8]}")
    measured, other = (client.create_logged_model(experiment).model_id for _ in range(2))
    run = client.create_run(experiment).info.run_id
    client.log_metric(run, "m", 1.0, dataset_name="d", dataset_digest="1", model_id=measured)
    client.log_metric(run, "m", 1.0, dataset_name="e", dataset_digest="1", model_id=other)
    search = client.search_logged_models
    assert [m.model_id for m in search([experiment], datasets=[{"dataset_name": "d"}])] == [measured]
    both = [{"dataset_name": "d", "dataset_digest": "1"}, {"dataset_name": "e"}]
    assert {m.model_id for m in search([experiment], datasets=both)} == {measured, other}
    assert search([experiment], datasets=[{"dataset_name": "d", "dataset_digest": "2"}]) == []


def test_errors_name_the_item_of_a_batch(tidemill, client):
    run = client.create_run("0").info.run_id
    point = {"key": "m", "value": 1, "timestamp": 1}
    status, body = call(
        tidemill, "POST", "runs/log-batch", {"run_id": run, "metrics": [point, {"key": "m", "value": 1}]}
    )
    assert status == 400
    assert "Missing value for required parameter 'metrics[1].timestamp'" in body["message"]
    assert client.get_run(run).data.metrics == {}
    status, body = call(tidemill, "POST", "experiments/search-datasets", {})
    assert (status, body["error_code"]) == (400, "INVALID_PARAMETER_VALUE")


def test_a_chart_has_the_steps_that_mlflow_chooses(tidemill, client):
    runs = [client.create_run("0").info.run_id for _ in range(2)]
    for run, steps in zip(runs, (10, 20), strict=True):
        points = [{"key": "m", "value": 1.0, "timestamp": 1, "step": step} for step in range(steps)]
        assert call(tidemill, "POST", "runs/log-batch", {"run_id": run, "metrics": points})[0] == 200

    def steps(ids, **limits):
        query = {"run_ids": ids, "metric_key": "m", **limits}
        status, body = call(tidemill, "GET", "metrics/get-history-bulk-interval", query=query)
        assert status == 200
        return [[p["step"] for p in body["metrics"] if p["run_id"] == run] for run in ids]

    assert steps(runs[:1], max_results=5) == [[0, 2, 4, 6, 8, 9]]
    assert steps(runs[:1], max_results=5, start_step=0, end_step=4) == [[0, 1, 2, 3, 4]]
    assert steps(runs, max_results=5) == [[0, 4, 8, 9], [0, 4, 8, 9, 12, 16, 19]]
    assert steps([uuid.uuid4().hex], max_results=5) == [[]]


@pytest.mark.parametrize("limit", ["-9223372036854775808", "9223372036854775807"])
def test_a_chart_over_the_widest_steps_has_both_ends(tidemill, client, limit):
    run = client.create_run("0").info.run_id
    for step in (0, int(limit)):
        client.log_metric(run, "m", 1.0, step=step)
    query = {"run_ids": [run], "metric_key": "m"}
    body = call(tidemill, "GET", "metrics/get-history-bulk-interval", query=query)[1]
    assert sorted(int(p["step"]) for p in body["metrics"]) == sorted([0, int(limit)])


@pytest.mark.parametrize(
    ("operation", "query", "words"),
    [
        ("get-history-bulk", {"metric_key": "m"}, "GetMetricHistoryBulk request must specify at least one run_id"),
        ("get-history-bulk", {"run_id": ["x"] * 101, "metric_key": "m"}, "request cannot specify more than"),
        ("get-history-bulk", {"run_id": "x"}, "GetMetricHistoryBulk request must specify a metric_key"),
        ("get-history-bulk-interval", {"metric_key": "m"}, "Missing value for required parameter 'run_ids'."),
        ("get-history-bulk-interval", {"run_ids": ["x"] * 101, "metric_key": "m"}, "must specify at most 100 run_ids."),
        ("get-history-bulk-interval", {"run_ids": "x", "metric_key": "m", "max_results": 0}, "between 1 and 2500"),
    ],
)
def test_charts_that_ask_for_nothing_or_too_much_are_refused(tidemill, operation, query, words):
    status, body = call(tidemill, "GET", f"metrics/{operation}", query=query)
    assert (status, body["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
    assert words in body["message"]


def test_small_files_go_into_runs_and_out_of_models(tidemill, client, tmp_path):
    run = client.create_run("0").info.run_id
    for query, words in (
        ("", "Request must specify run_uuid."),
        (f"run_uuid={run}", "Request must specify path."),
        (f"run_uuid={run}&path=../x", "Invalid path"),
        (f"run_uuid={run}&path=x", "Request must specify data."),
    ):
        status, body = call(tidemill, "POST", f"upload-artifact?{query}")
        assert status == 400
        assert words in body["message"]
    assert call(tidemill, "POST", f"upload-artifact?run_uuid={run}&path=a/x.txt", b"bytes")[0] == 200
    assert call(tidemill, "POST", f"upload-artifact?run_uuid={run}&path=y", b"x" * (10 * 2**20 + 1))[0] == 413
    assert [f.path for f in client.list_artifacts(run, "a")] == ["a/x.txt"]
    model = client.create_logged_model("0").model_id
    (tmp_path / "MLmodel").write_text("flavors: {}")
    client.log_model_artifact(model, str(tmp_path / "MLmodel"))
    files = f"logged-models/{model}/artifacts/files"
    assert call(tidemill, "GET", files, query={"artifact_file_path": "MLmodel"}) == (200, "flavors: {}")
    assert call(tidemill, "GET", files, query={"artifact_file_path": "../MLmodel"})[0] == 400
    assert call(tidemill, "GET", files, query={"artifact_file_path": "no"})[0] == 404


def test_bulk_history_has_the_first_points_of_each_run(tidemill, client):
    run = client.create_run("0").info.run_id
    for at, step, value in ((1, 2, 10.0), (1, 3, 11.0), (1, 3, 12.0), (2, 3, 12.0)):
        client.log_metric(run, "m", value, timestamp=at, step=step)
    query = {"run_id": [uuid.uuid4().hex, run], "metric_key": "m", "max_results": 2}
    status, body = call(tidemill, "GET", "metrics/get-history-bulk", query=query)
    assert status == 200
    assert [(p["step"], p["value"]) for p in body["metrics"]] == [(2, 10.0), (3, 11.0)]

"""What teams do with MLflow, done by MLflow's own client against our server: one changed line, the tracking URI."""

from __future__ import annotations

import http.client
import math
import os
import urllib.parse
import uuid

import mlflow
import numpy as np
import pytest
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag, ViewType
from mlflow.exceptions import MlflowException, RestException
from mlflow_support import call


@pytest.fixture(autouse=True)
def tracking(tidemill):
    mlflow.set_tracking_uri(tidemill)
    mlflow.set_registry_uri(tidemill)
    yield
    while mlflow.active_run():
        mlflow.end_run()
    mlflow.sklearn.autolog(disable=True)


@pytest.fixture
def client():
    return MlflowClient()


@pytest.fixture
def experiment(client):
    return client.create_experiment(f"e-{uuid.uuid4().hex}")


@pytest.fixture
def run_id(client, experiment):
    return client.create_run(experiment).info.run_id


def data():
    random = np.random.default_rng(1)
    rows = random.random((60, 3))
    return rows, (rows[:, 0] + 0.1 * random.random(60) > 0.5).astype(int)


def test_the_fluent_way(experiment):
    mlflow.set_experiment(experiment_id=experiment)
    with mlflow.start_run(run_name="outer", description="why") as outer:
        mlflow.log_params({"depth": 3, "rate": 0.1})
        for step in range(5):
            mlflow.log_metric("loss", 1 / (step + 1), step=step)
        mlflow.log_metrics({"auc": 0.7, "brier": 0.2})
        mlflow.set_tags({"team": "risk", "空": "值"})
        with mlflow.start_run(nested=True) as inner:
            mlflow.log_metric("auc", 0.6)
    run = mlflow.get_run(outer.info.run_id)
    assert run.info.status == "FINISHED" and run.info.end_time >= run.info.start_time
    assert run.info.run_name == "outer"
    assert run.data.params == {"depth": "3", "rate": "0.1"}
    assert run.data.metrics == {"loss": 0.2, "auc": 0.7, "brier": 0.2}
    assert run.data.tags["team"] == "risk" and run.data.tags["空"] == "值"
    assert run.data.tags["mlflow.note.content"] == "why"
    found = mlflow.search_runs([experiment], f"tags.mlflow.parentRunId = '{outer.info.run_id}'", output_format="list")
    assert [r.info.run_id for r in found] == [inner.info.run_id]
    assert list(mlflow.search_runs([experiment], "metrics.auc > 0.65")["run_id"]) == [outer.info.run_id]


def test_a_failed_run_is_failed(experiment):
    mlflow.set_experiment(experiment_id=experiment)
    with pytest.raises(ZeroDivisionError), mlflow.start_run() as run:
        _ = 1 / 0
    assert mlflow.get_run(run.info.run_id).info.status == "FAILED"


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 0.1, 5e-324, 1.7976931348623157e308, -1 / 3])
def test_every_double_comes_back_bit_for_bit(client, run_id, value):
    client.log_metric(run_id, "m", value)
    for back in (client.get_run(run_id).data.metrics["m"], client.get_metric_history(run_id, "m")[0].value):
        assert np.float64(back).tobytes() == np.float64(value).tobytes()


def test_latest_is_by_step_then_time_then_value(client, run_id):
    client.log_batch(run_id, [Metric("m", 1.0, 20, 2), Metric("m", 2.0, 10, 2), Metric("m", 9.0, 99, 1)])
    assert client.get_run(run_id).data.metrics["m"] == 1.0
    client.log_metric(run_id, "m", 3.0, timestamp=20, step=2)
    client.log_metric(run_id, "m", -5.0, timestamp=500, step=-3)
    assert client.get_run(run_id).data.metrics["m"] == 3.0
    history = client.get_metric_history(run_id, "m")
    assert [(m.step, m.timestamp, m.value) for m in history] == [
        (-3, 500, -5.0), (1, 99, 9.0), (2, 10, 2.0), (2, 20, 1.0), (2, 20, 3.0),
    ]  # fmt: skip


def test_history_of_many_points_is_paged(client, run_id):
    for begin in range(0, 27_000, 1_000):
        client.log_batch(run_id, [Metric("m", float(i), 1, i) for i in range(begin, begin + 1_000)], synchronous=True)
    history = client.get_metric_history(run_id, "m")  # the client asks for pages of 25,000
    assert [m.step for m in history] == list(range(27_000))


def test_parameters_do_not_change(client, run_id):
    client.log_param(run_id, "a", 1)
    client.log_param(run_id, "a", 1)
    with pytest.raises(MlflowException, match="Changing param values is not allowed"):
        client.log_param(run_id, "a", 2)
    with pytest.raises(MlflowException):
        client.log_batch(run_id, [Metric("kept", 1.0, 1, 0)], [Param("a", "2")], [RunTag("t", "x")])
    run = client.get_run(run_id)
    assert "kept" not in run.data.metrics and "t" not in run.data.tags


def test_deleted_is_marked_and_comes_back(client, experiment, run_id):
    client.delete_run(run_id)
    assert client.get_run(run_id).info.lifecycle_stage == "deleted"
    with pytest.raises(MlflowException):
        client.log_metric(run_id, "m", 1.0)
    assert client.search_runs([experiment]) == []
    assert len(client.search_runs([experiment], run_view_type=ViewType.DELETED_ONLY)) == 1
    client.restore_run(run_id)
    client.delete_experiment(experiment)
    name = client.get_experiment(experiment).name
    with pytest.raises(RestException) as taken:
        client.create_experiment(name)
    assert taken.value.error_code == "RESOURCE_ALREADY_EXISTS"
    client.restore_experiment(experiment)
    client.rename_experiment(experiment, name + "-new")
    assert client.get_experiment_by_name(name) is None
    assert [r.info.run_id for r in client.search_runs([experiment])] == [run_id]


def test_search_pages_through_everything_once(client, experiment):
    made = [client.create_run(experiment, start_time=i).info.run_id for i in range(1, 8)]
    found, token = [], None
    while True:
        page = client.search_runs([experiment], max_results=3, page_token=token, order_by=["attributes.start_time ASC"])
        found += [run.info.run_id for run in page]
        token = page.token
        if not token:
            break
    assert found == made


def test_data_sets_are_inputs(experiment):
    import pandas

    mlflow.set_experiment(experiment_id=experiment)
    frame = mlflow.data.from_pandas(pandas.DataFrame({"a": [1, 2]}), name="pairs", source="https://example.org/x.csv")
    with mlflow.start_run() as run:
        mlflow.log_input(frame, context="training", tags={"k": "v"})
    (got,) = mlflow.get_run(run.info.run_id).inputs.dataset_inputs
    assert (got.dataset.name, got.dataset.digest) == ("pairs", frame.digest)
    assert {tag.key: tag.value for tag in got.tags} == {"k": "v", "mlflow.data.context": "training"}
    found = mlflow.search_runs(
        [experiment], "dataset.name = 'pairs' AND dataset.context = 'training'", output_format="list"
    )
    assert [r.info.run_id for r in found] == [run.info.run_id]


def test_artifacts_go_up_and_come_down(client, run_id, tmp_path):
    (tmp_path / "dir/sub").mkdir(parents=True)
    (tmp_path / "dir/a b.txt").write_text("space")
    (tmp_path / "dir/sub/汉字.txt").write_text("unicode")
    (tmp_path / "dir/100%.txt").write_text("percent")
    (tmp_path / "dir/empty").write_bytes(b"")
    big = os.urandom(3 << 20)
    (tmp_path / "dir/sub/big.bin").write_bytes(big)
    client.log_artifacts(run_id, tmp_path / "dir", "in")
    client.log_text(run_id, "text", "top.txt")
    assert [(f.path, f.is_dir, f.file_size) for f in client.list_artifacts(run_id)] == [
        ("in", True, None),
        ("top.txt", False, 4),
    ]
    assert sorted(f.path for f in client.list_artifacts(run_id, "in")) == [
        "in/100%.txt",
        "in/a b.txt",
        "in/empty",
        "in/sub",
    ]
    assert client.list_artifacts(run_id, "nothing") == []
    got = client.download_artifacts(run_id, "in", str(tmp_path))
    for path in ("a b.txt", "sub/汉字.txt", "100%.txt", "empty", "sub/big.bin"):
        with open(os.path.join(got, path), "rb") as file:
            assert file.read() == (tmp_path / "dir" / path).read_bytes()
    with pytest.raises(MlflowException):
        client.download_artifacts(run_id, "nothing.txt", str(tmp_path))


@pytest.mark.parametrize(
    "path",
    [
        "../x",
        "a/../../x",
        "%2e%2e/x",
        "a/%2e%2e/%2e%2e/x",
        "..%2fx",
        "%252e%252e%252fx",
        "%25252e%25252e/x",
        "/etc/passwd",
        "%2fetc/passwd",
        "a%00b",
        "C:/x",
        "a%23b",
        "a%5c..%5cx",
        "%2e%2e%5cx",
        "..",
        "a/..",
    ],
)
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_artifact_paths_lead_nowhere_else(tidemill, method, path):
    address = urllib.parse.urlparse(tidemill)
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=30)
    try:
        connection.request(
            method, f"/api/2.0/mlflow-artifacts/artifacts/{path}", body=b"x" if method == "PUT" else None
        )
        assert connection.getresponse().status in (400, 404)
    finally:
        connection.close()


def test_a_model_is_logged_registered_and_loaded_by_alias(experiment, client):
    from sklearn.linear_model import LogisticRegression

    mlflow.set_experiment(experiment_id=experiment)
    rows, labels = data()
    name = f"model-{uuid.uuid4().hex}"
    with mlflow.start_run() as run:
        fitted = LogisticRegression().fit(rows, labels)
        info = mlflow.sklearn.log_model(
            fitted, name="model", input_example=rows[:2], registered_model_name=name, pip_requirements=["scikit-learn"]
        )
        mlflow.log_metric("auc", 0.9, model_id=info.model_id)
    assert (mlflow.sklearn.load_model(info.model_uri).predict(rows) == fitted.predict(rows)).all()
    logged = mlflow.get_logged_model(info.model_id)
    assert logged.status == "READY" and logged.source_run_id == run.info.run_id
    assert [(m.key, m.value) for m in logged.metrics] == [("auc", 0.9)]
    found = mlflow.search_logged_models([experiment], "metrics.auc > 0.8 AND name = 'model'", output_format="list")
    assert [m.model_id for m in found] == [info.model_id]
    version = client.get_model_version(name, 1)
    assert version.run_id == run.info.run_id and version.source == f"models:/{info.model_id}"
    client.set_registered_model_alias(name, "best", 1)
    loaded = mlflow.pyfunc.load_model(f"models:/{name}@best")
    assert (loaded.predict(rows) == fitted.predict(rows)).all()
    client.set_model_version_tag(name, "1", "checked", "yes")
    assert client.get_model_version_by_alias(name, "best").tags == {"checked": "yes"}
    assert [v.version for v in client.search_model_versions(f"name = '{name}' AND tags.checked = 'yes'")] == ["1"]
    assert [m.name for m in client.search_registered_models(f"name ILIKE '{name.upper()}'")] == [name]
    client.delete_registered_model_alias(name, "best")
    with pytest.raises(MlflowException):
        client.get_model_version_by_alias(name, "best")


def test_registered_models_are_kept_in_order(client):
    name = f"reg-{uuid.uuid4().hex}"
    client.create_registered_model(name, tags={"team": "risk"}, description="about")
    with pytest.raises(RestException) as taken:
        client.create_registered_model(name)
    assert taken.value.error_code == "RESOURCE_ALREADY_EXISTS"
    client.update_registered_model(name, "more")
    model = client.get_registered_model(name)
    assert (model.description, model.tags, model.latest_versions) == ("more", {"team": "risk"}, [])
    client.rename_registered_model(name, name + "-b")
    with pytest.raises(RestException) as gone:
        client.get_registered_model(name)
    assert gone.value.error_code == "RESOURCE_DOES_NOT_EXIST"
    assert name + "-b" in [m.name for m in client.search_registered_models("tags.team = 'risk'")]
    assert name + "-b" in [m.name for m in client.search_registered_models()]  # the client asks for what is no prompt
    client.delete_registered_model(name + "-b")


@pytest.mark.parametrize(
    "source", ["/etc/passwd", "file:///etc/passwd", "../x", "runs:/0/../../x", "mlflow-artifacts:/../x", "./here"]
)
def test_sources_of_versions_lead_nowhere_else(client, source):
    name = f"reg-{uuid.uuid4().hex}"
    client.create_registered_model(name)
    with pytest.raises(RestException) as refused:
        client.create_model_version(name, source)
    assert refused.value.error_code in ("INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST")


def test_autolog_of_scikit_learn(experiment, client):
    from sklearn.linear_model import LogisticRegression

    mlflow.set_experiment(experiment_id=experiment)
    mlflow.sklearn.autolog(log_models=False, silent=True)
    rows, labels = data()
    with mlflow.start_run() as run:
        LogisticRegression(C=0.5).fit(rows, labels)
    got = client.get_run(run.info.run_id)
    assert got.data.params["C"] == "0.5"
    assert 0 < got.data.metrics["training_score"] <= 1
    assert got.inputs.dataset_inputs
    assert "estimator.html" in [f.path for f in client.list_artifacts(run.info.run_id)]


def test_limits_are_said_by_name(tidemill, run_id):
    metric = {"key": "m", "value": 1, "timestamp": 1}
    pair = [{"key": f"k{i}", "value": "v"} for i in range(101)]
    for body in (
        {"metrics": [metric] * 1001},
        {"params": pair},
        {"tags": pair},
        {"metrics": [metric] * 950, "params": pair[:51]},
        {"tags": [{"key": "k" * 251, "value": "v"}]},
        {"params": [{"key": "k", "value": "1"}, {"key": "k", "value": "1"}]},
        {"metrics": [{"key": "m", "value": "one", "timestamp": 1}]},
        {"metrics": [{"key": "m", "timestamp": 1}]},
        {"metrics": [{"key": "m", "value": 1, "timestamp": 2**63}]},
        {"metrics": "m"},
    ):
        status, answer = call(tidemill, "POST", "runs/log-batch", {"run_id": run_id} | body)
        assert status == 400 and answer["error_code"] == "INVALID_PARAMETER_VALUE", (body, answer)
    status, answer = call(tidemill, "GET", "runs/get", query={"run_id": run_id})
    assert answer["run"]["data"]["metrics"] == [] and answer["run"]["data"]["params"] == []


def test_long_values_are_cut_as_mlflow_cuts_them(client, run_id):
    client.log_param(run_id, "p", "汉" * 6001)
    client.set_tag(run_id, "t", "v" * 8001)
    run = client.get_run(run_id)
    assert run.data.params["p"] == "汉" * 6000 and run.data.tags["t"] == "v" * 8000


def test_bad_requests_are_the_callers_fault(tidemill, run_id):
    for body in (
        b"{",
        b"[]",
        b"\xff",
        b'{"run_id": NaN}',
        b'{"run_id": 5}',
        b'{"a":' * 100 + b"1" + b"}" * 100,
        b'{"run_id": "\\ud800"}',
    ):
        status, answer = call(tidemill, "POST", "runs/log-batch", body)
        assert status == 400 and answer["error_code"] == "INVALID_PARAMETER_VALUE", body
    assert call(tidemill, "POST", "no/such/thing", {})[0] == 404
    assert call(tidemill, "GET", "no/such/thing")[1]["error_code"] == "ENDPOINT_NOT_FOUND"
    status, answer = call(
        tidemill, "POST", "runs/search", {"experiment_ids": ["0"], "filter": "metrics.a > 1 OR metrics.b > 2"}
    )
    assert status == 400 and answer["error_code"] == "INVALID_PARAMETER_VALUE"

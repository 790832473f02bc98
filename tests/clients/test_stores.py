"""MLflow's own client against a server whose artefacts lie in a bucket."""

from __future__ import annotations

import os
import pathlib

import mlflow
import numpy as np
import pytest
from mlflow import MlflowClient
from sklearn.linear_model import LogisticRegression

from tests.support.s3 import S3
from tests.support.server import Server, ServerError


@pytest.fixture(scope="module")
def s3(tmp_path_factory):
    with S3(tmp_path_factory.mktemp("s3")) as running:
        yield running


def files_of(folder: pathlib.Path) -> list[pathlib.Path]:
    return [file for file in folder.rglob("*") if file.is_file()]


def upload(client: MlflowClient, folder: pathlib.Path, content: bytes) -> str:
    run = client.create_run("0").info.run_id
    (folder / "big.bin").write_bytes(content)
    client.log_artifact(run, str(folder / "big.bin"), "deep/folder")
    return run


def test_artefacts_and_models_live_in_the_bucket(s3, tmp_path):
    content = os.urandom(12_000_000)
    with Server(tmp_path / "data", flags=s3.flags("one/team"), env=s3.env) as server:
        client = MlflowClient(server.url, server.url)
        run = upload(client, tmp_path, content)
        mlflow.set_tracking_uri(server.url)
        mlflow.set_registry_uri(server.url)
        rows = np.array([[0.0], [1.0], [2.0], [3.0]])
        model = LogisticRegression().fit(rows, [0, 0, 1, 1])
        with mlflow.start_run(experiment_id="0"):
            mlflow.sklearn.log_model(model, name="model", registered_model_name="in-a-bucket")
        assert len(files_of(s3.bucket / "one/team")) >= 4
        assert not files_of(tmp_path / "data/blobs")
        server.kill()
        server.start()
        assert [f.path for f in client.list_artifacts(run, "deep/folder")] == ["deep/folder/big.bin"]
        got = pathlib.Path(client.download_artifacts(run, "deep/folder/big.bin", str(tmp_path / "down")))
        assert got.read_bytes() == content
        loaded = mlflow.sklearn.load_model("models:/in-a-bucket/1")
        assert (loaded.predict(rows) == model.predict(rows)).all()


def test_a_bucket_that_goes_away_is_told_and_comes_back(s3, tmp_path):
    flags = [*s3.flags("two"), "--set", "s3.attempts_max=2", "--set", "s3.backoff_ms=10"]
    with Server(tmp_path / "data", flags=flags, env=s3.env) as server:
        client = MlflowClient(server.url)
        run = upload(client, tmp_path, b"one")
        raw = server.client()
        path = f"/api/2.0/mlflow-artifacts/artifacts/0/{run}/artifacts/two.txt"
        s3.stop()
        try:
            refused = raw.call("PUT", path, b"two")
            assert refused.status == 503, refused.text
            assert raw.call("GET", path).status == 404, "what was refused must not be there"
            client.log_metric(run, "m", 1.0)  # the metadata need no bucket
        finally:
            s3.start()
        assert raw.call("PUT", path, b"two").status == 200
        assert raw.call("GET", path).body == b"two"


@pytest.mark.parametrize(
    ("flags", "env", "reason"),
    [
        (["--blobs", "s3://mill/x"], {"AWS_SECRET_ACCESS_KEY": ""}, "credentials"),
        (["--blobs", "s3://mill/x"], {"AWS_SECRET_ACCESS_KEY": "wrong"}, "SignatureDoesNotMatch"),
        (["--blobs", "s3://no-such/x"], {}, "NoSuchBucket"),
        (["--blobs", "mill/x"], {}, "names no bucket"),
    ],
)
def test_a_server_does_not_start_without_its_bucket(s3, tmp_path, flags, env, reason):
    with pytest.raises(ServerError, match=reason):
        Server(tmp_path / "data", flags=flags, env=s3.env | env).start()

"""Artefacts in parts with MLflow's own client, and what is left out."""

from __future__ import annotations

import os
import urllib.error
import urllib.request
import uuid

import pytest
from mlflow import MlflowClient
from mlflow.store.artifact import mlflow_artifacts_repo
from mlflow_support import call

MIB = 1 << 20


def ask(url, method, path, body=None):
    """A request below /mlflow-artifacts; the status and the headers."""
    request = urllib.request.Request(f"{url}/api/2.0/mlflow-artifacts/{path}", data=body, method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.headers
    except urllib.error.HTTPError as error:
        return error.code, error.headers


def test_the_client_uploads_in_parts(tidemill, monkeypatch, tmp_path):
    monkeypatch.setenv("MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD", "true")
    monkeypatch.setenv("MLFLOW_MULTIPART_UPLOAD_MINIMUM_FILE_SIZE", str(MIB))
    monkeypatch.setenv("MLFLOW_MULTIPART_UPLOAD_CHUNK_SIZE", str(5 * MIB))
    parts = []
    upload_part = mlflow_artifacts_repo.MlflowArtifactsRepository._upload_part

    def counted(*args, **kwargs):
        parts.append(kwargs["credential"].part_number)
        return upload_part(*args, **kwargs)

    monkeypatch.setattr(mlflow_artifacts_repo.MlflowArtifactsRepository, "_upload_part", staticmethod(counted))
    client = MlflowClient(tidemill, tidemill)
    run = client.create_run("0").info.run_id
    source = tmp_path / "weights.bin"
    source.write_bytes(os.urandom(12 * MIB + 3))
    client.log_artifact(run, str(source), "deep/model")
    assert sorted(parts) == [1, 2, 3]
    (tmp_path / "back").mkdir()
    back = client.download_artifacts(run, "deep/model/weights.bin", str(tmp_path / "back"))
    with open(back, "rb") as file:
        assert file.read() == source.read_bytes()


@pytest.fixture
def folder():
    return f"parts-{uuid.uuid4().hex[:8]}"


def begin(url, folder, parts=2):
    path = f"../mlflow-artifacts/mpu/create/{folder}"
    status, body = call(url, "POST", path, {"path": "/home/me/x.bin", "num_parts": parts})
    assert status == 200
    assert [c["part_number"] for c in body["credentials"]] == list(range(1, parts + 1))
    assert body["credentials"][0]["url"].startswith(f"{url}/api/2.0/")
    return body["upload_id"]


def end(url, folder, upload, verb="complete", **fields):
    body = {"path": "x.bin", "upload_id": upload, **fields}
    return call(url, "POST", f"../mlflow-artifacts/mpu/{verb}/{folder}", body)


def test_parts_come_in_any_order_and_twice(tidemill, folder):
    upload = begin(tidemill, folder)
    for number, text in ((2, b"world"), (1, b"old"), (1, b"hello ")):
        status, headers = ask(tidemill, "PUT", f"mpu/parts/{upload}/{number}", text)
        assert status == 200
    assert len(headers["ETag"]) == 66
    parts = [{"part_number": 2, "etag": ""}, {"part_number": 1, "etag": headers["ETag"]}]
    assert end(tidemill, folder, upload, parts=parts)[0] == 200
    with urllib.request.urlopen(f"{tidemill}/api/2.0/mlflow-artifacts/artifacts/{folder}/x.bin") as answer:
        assert answer.read() == b"hello world"
    assert end(tidemill, folder, upload, parts=parts)[0] == 404


def test_what_is_not_whole_is_no_file(tidemill, folder):
    upload = begin(tidemill, folder)
    assert ask(tidemill, "PUT", f"mpu/parts/{upload}/1", b"a")[0] == 200
    one, two = {"part_number": 1}, {"part_number": 2}
    assert ask(tidemill, "PUT", f"mpu/parts/{upload}/3", b"a")[0] == 400
    assert ask(tidemill, "PUT", f"mpu/parts/{uuid.uuid4().hex}/1", b"a")[0] == 404
    assert end(tidemill, folder, upload, parts=[one, two])[0] == 400
    assert ask(tidemill, "PUT", f"mpu/parts/{upload}/2", b"b")[0] == 200
    for parts in ([one], [one, one], [one, {"part_number": 2, "etag": "0" * 64}], [one, two, {"part_number": 3}]):
        assert end(tidemill, folder, upload, parts=parts)[0] == 400
    assert end(tidemill, folder + "-other", upload, parts=[one, two])[0] == 400
    assert ask(tidemill, "GET", f"artifacts/{folder}/x.bin")[0] == 404
    assert end(tidemill, folder, upload, "abort")[0] == 200
    assert end(tidemill, folder, upload, parts=[one, two])[0] == 404


@pytest.mark.parametrize("parts", [0, -1, 10_001, 2**63 - 1])
def test_a_file_has_some_parts_and_not_too_many(tidemill, folder, parts):
    path = f"../mlflow-artifacts/mpu/create/{folder}"
    assert call(tidemill, "POST", path, {"path": "x", "num_parts": parts})[0] == 400


@pytest.mark.parametrize("name", ["..", "a/..", "..\\..", "x#y", ""])
def test_parts_of_files_elsewhere_are_refused(tidemill, folder, name):
    path = f"../mlflow-artifacts/mpu/create/{folder}"
    assert call(tidemill, "POST", path, {"path": name, "num_parts": 1})[0] == 400


@pytest.mark.parametrize(
    ("method", "path", "name"),
    [
        ("POST", "/api/3.0/mlflow/gateway/endpoints/create", "gateway"),
        ("GET", "/ajax-api/3.0/mlflow/gateway/secrets/list", "gateway"),
        ("GET", "/api/3.0/mlflow/scorers/list", "scorers"),
        ("POST", "/api/3.0/mlflow/review-queues/create", "review queues"),
        ("DELETE", "/api/3.0/mlflow/workspaces/x", "workspaces"),
        ("POST", "/api/3.0/mlflow/issues", "issues"),
        ("POST", "/api/3.0/mlflow/datasets/create", "evaluation data sets"),
        ("POST", "/graphql", "GraphQL"),
        ("GET", "/api/2.0/mlflow-artifacts/presigned/1/x", "signed addresses"),
    ],
)
def test_what_is_left_out_says_so(tidemill, method, path, name):
    status, body = call(tidemill, method, "../../.." + path, {} if method == "POST" else None)
    assert (status, body["error_code"]) == (501, "NOT_IMPLEMENTED")
    assert f"{method} {path} is not implemented" in body["message"]
    assert name in body["message"]


def test_probes_and_unknown_paths_are_not_found(tidemill):
    for path in ("server-info", "server-features", "no-such-thing"):
        status, body = call(tidemill, "GET", f"../../3.0/mlflow/{path}")
        assert (status, body["error_code"]) == (404, "ENDPOINT_NOT_FOUND")

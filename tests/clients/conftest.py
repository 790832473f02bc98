"""One server of ours for the MLflow tests of a session, and one of MLflow's own."""

from __future__ import annotations

import os
import pathlib
import sys

import pytest

sys.dont_write_bytecode = True
sys.path[:0] = [str(pathlib.Path(__file__).resolve().parents[2]), str(pathlib.Path(__file__).resolve().parent)]

# Before mlflow is imported anywhere: no calls to the outside, and no minutes of retries behind a failure.
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "1"

from mlflow_support import mlflow_server  # noqa: E402

from tests.support.server import Server  # noqa: E402


@pytest.fixture(scope="session")
def tidemill(tmp_path_factory):
    """The URL of our server, without accounts."""
    with Server(tmp_path_factory.mktemp("mlflow-clients") / "data") as server:
        yield server.url


@pytest.fixture(scope="session")
def peer(tmp_path_factory):
    """The URL of a real `mlflow server` on SQLite."""
    with mlflow_server(tmp_path_factory.mktemp("mlflow-server"), "--workers", "1") as url:
        yield url

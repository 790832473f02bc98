"""The Open Inference Protocol as its own client speaks it: tritonclient, JSON and binary tensors."""

from __future__ import annotations

import http.client
import json
import os
import pathlib
import sys
import threading

import numpy as np
import pytest

SOURCE = pathlib.Path(os.environ.get("TIDEMILL_SOURCE", pathlib.Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(SOURCE / "tests"))

import tritonclient.http as triton  # noqa: E402
from support.server import Server, basic  # noqa: E402
from support.serving import Serving, logistic, probability  # noqa: E402

PEOPLE = {"maria": "modeller", "anton": "approver"}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Server(tmp_path_factory.mktemp("oip") / "data") as made:
        yield made


@pytest.fixture(scope="module")
def credentials(server):
    """Two people, and how each signs in."""
    local = server.client()
    root = local.call_json("POST", "/api/people", {"name": "root", "roles": ["admin"]}).json["token"]
    admin = server.client(f"Bearer {root}")
    out = {}
    for name, role in PEOPLE.items():
        assert (
            admin.call_json(
                "POST", "/api/people", {"name": name, "roles": [role], "password": f"{name}-secret-42"}
            ).status
            == 201
        )
        out[name] = basic(name, f"{name}-secret-42")
    return out


@pytest.fixture(scope="module")
def serving(server, credentials):
    made = Serving(server.client(credentials["maria"]), server.client(credentials["anton"]))
    made.deploy("flights", made.approved(logistic()))
    return made


@pytest.fixture
def client(server, serving):
    with triton.InferenceServerClient(f"{server.host}:{server.port}") as made:
        yield made


@pytest.fixture
def headers(credentials):
    return {"Authorization": credentials["maria"]}


def columns(hours, carriers, binary):
    hour = triton.InferInput("hour", [len(hours)], "FP64")
    hour.set_data_from_numpy(np.array(hours, dtype=np.float64), binary_data=binary)
    carrier = triton.InferInput("carrier", [len(carriers), 1], "BYTES")
    carrier.set_data_from_numpy(np.array([[c.encode()] for c in carriers], dtype=object), binary_data=binary)
    return [hour, carrier]


def test_health_and_metadata(client, headers):
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("flights", headers=headers)
    assert client.is_model_ready("flights", "1", headers=headers)
    assert not client.is_model_ready("nothing", headers=headers)
    assert not client.is_model_ready("flights", "7", headers=headers)
    metadata = client.get_model_metadata("flights", headers=headers)
    assert [i["name"] for i in metadata["inputs"]] == ["hour", "carrier"]
    assert client.get_server_metadata(headers=headers)["extensions"] == ["binary_tensor_data"]


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False])
def test_columns(client, headers, binary_in, binary_out):
    outputs = [triton.InferRequestedOutput(name, binary_data=binary_out) for name in ("label", "probability")]
    result = client.infer(
        "flights",
        columns([9, 17.5, 3], ["UA", "AA", "XX"], binary_in),
        outputs=outputs,
        request_id="q",
        headers=headers,
    )
    expected = [probability(9, "UA"), probability(17.5, "AA"), probability(3, "XX")]
    np.testing.assert_allclose(result.as_numpy("probability"), expected, atol=1e-6)
    np.testing.assert_array_equal(result.as_numpy("label"), [int(p >= 0.5) for p in expected])
    response = result.get_response()
    assert (response["model_name"], response["model_version"], response["id"]) == ("flights", "1", "q")


def test_everything_by_default(client, headers):
    result = client.infer(
        "flights", columns([9], ["UA"], True), headers=headers
    )  # the client then asks for binary outputs
    assert result.as_numpy("probability").dtype == np.float64
    assert len(result.get_response()["parameters"]["prediction_ids"]) == 1


@pytest.mark.parametrize("binary", [True, False])
def test_the_matrix(client, headers, binary):
    matrix = triton.InferInput("input", [2, 2], "FP32")
    matrix.set_data_from_numpy(np.array([[9, 1], [17.5, 0]], dtype=np.float32), binary_data=binary)
    result = client.infer("flights", [matrix], headers=headers)
    probabilities = result.as_numpy("probabilities")
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities[:, 1], [probability(9, "UA"), probability(17.5, "AA")], atol=1e-6)


def test_compressed_requests_are_refused_or_answered_whole(client, headers):
    """Whatever the server does about gzip, it never answers with numbers out of a body that it did not understand."""
    try:
        result = client.infer(
            "flights", columns([9], ["UA"], True), request_compression_algorithm="gzip", headers=headers
        )
        np.testing.assert_allclose(result.as_numpy("probability"), [probability(9, "UA")], atol=1e-6)
    except triton.InferenceServerException as refused:
        assert refused.message()


def test_errors_reach_the_client(client, headers):
    with pytest.raises(triton.InferenceServerException, match="carrier"):
        client.infer("flights", columns([9], ["UA"], True)[:1], headers=headers)
    with pytest.raises(triton.InferenceServerException, match="no deployment 'nothing'"):
        client.infer("nothing", columns([9], ["UA"], True), headers=headers)


def test_a_canary_splits_by_prediction_id_and_a_version_can_be_asked_by_name(client, headers, serving):
    second = serving.approved(logistic(w=0.7))
    serving.deploy("split", serving.approved(logistic()))
    canary = serving.post("/api/deployments/split/canary", {"version": second, "percent": 40})
    assert canary["live"]
    ids = [f"f{i}" for i in range(500)]
    parameters = {"prediction_ids": ids}
    first = client.infer("split", columns([9] * 500, ["UA"] * 500, True), parameters=parameters, headers=headers)
    versions = first.get_response()["parameters"]["row_versions"]
    assert 150 < sum(v == second for v in versions) < 250
    expected = [probability(9, "UA", w=0.7 if v == second else 0.5) for v in versions]
    np.testing.assert_allclose(first.as_numpy("probability"), expected, atol=1e-6)
    again = client.infer("split", columns([9] * 500, ["UA"] * 500, True), parameters=parameters, headers=headers)
    assert again.get_response()["parameters"]["row_versions"] == versions
    assert serving.get("/api/predictions/split/stats")["rows"] == 500
    named = client.infer("split", columns([9], ["UA"], True), model_version=str(second), headers=headers)
    assert named.get_response()["model_version"] == str(second)


def test_many_clients_get_their_own_answers(server, credentials, serving):
    """Each asks for its own hour; a mixed-up batch would show as another's probability."""
    wrong: list[str] = []

    def ask(hour: float) -> None:
        connection = http.client.HTTPConnection(server.host, server.port, timeout=60)
        for i in range(50):
            value = hour + i / 100
            body = {
                "inputs": [
                    {"name": "hour", "shape": [1], "datatype": "FP64", "data": [value]},
                    {"name": "carrier", "shape": [1], "datatype": "BYTES", "data": ["UA"]},
                ]
            }
            connection.request(
                "POST", "/v2/models/flights/infer", json.dumps(body), {"Authorization": credentials["maria"]}
            )
            response = connection.getresponse()
            answer = json.loads(response.read())
            if response.status != 200 or abs(answer["outputs"][0]["data"][0] - probability(value, "UA")) > 1e-6:
                wrong.append(f"{response.status} {answer}")
        connection.close()

    threads = [threading.Thread(target=ask, args=(float(n),)) for n in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong, wrong[:3]

"""MLflow's webhooks by its own client: what a receiver is sent, checked with MLflow's own code for the signature."""

from __future__ import annotations

import http.server
import json
import threading
import time
import uuid

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.entities.webhook import VALID_ENTITY_ACTIONS, WebhookEvent, WebhookStatus
from mlflow.exceptions import MlflowException
from mlflow.webhooks.delivery import _generate_hmac_signature
from mlflow.webhooks.types import get_payload_class_for_event
from mlflow_support import call

from tests.support.server import Server

ALL = [f"{entity.value}.{action.value}" for entity, actions in VALID_ENTITY_ACTIONS.items() for action in actions]


class Receiver:
    """Keeps what it was sent; `statuses` are its first answers."""

    def __init__(self, statuses=()):
        self.requests = []
        self.statuses = list(statuses)
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                receiver.requests.append((dict(self.headers.items()), body))
                self.send_response(receiver.statuses.pop(0) if receiver.statuses else 200)
                self.end_headers()
                self.wfile.write(b"thanks")

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    def close(self):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

    def wait(self, count, within_s=20.0):
        limit = time.monotonic() + within_s
        while len(self.requests) < count and time.monotonic() < limit:
            time.sleep(0.02)
        assert len(self.requests) >= count, [json.loads(b) for _, b in self.requests]
        return [json.loads(body) for _, body in self.requests]


@pytest.fixture
def receiver():
    it = Receiver()
    yield it
    it.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    flags = ["--set", "outgoing.plain_http=true", "--set", 'outgoing.allowed_networks=["127.0.0.0/8"]']
    flags += ["--set", "webhooks.retry_ms=100"]
    with Server(tmp_path_factory.mktemp("webhooks") / "data", flags) as it:
        yield it.url


@pytest.fixture
def client(server):
    mlflow.set_tracking_uri(server)
    mlflow.set_registry_uri(server)
    it = MlflowClient(server, server)
    yield it
    for webhook in it.list_webhooks():
        it.delete_webhook(webhook.webhook_id)


def test_made_listed_changed_and_deleted(client, receiver):
    made = client.create_webhook("hook-1", receiver.url, ["model_version.created"], description="d", secret="s")
    assert (made.name, made.url, made.status, made.description) == ("hook-1", receiver.url, WebhookStatus.ACTIVE, "d")
    assert made.events == [WebhookEvent("model_version", "created")] and made.secret is None
    assert made.creation_timestamp > 1_600_000_000_000
    second = client.create_webhook("hook-2", receiver.url, ALL, status="DISABLED")
    assert second.status == WebhookStatus.DISABLED and {str(e) for e in second.events} == set(ALL)
    page = client.list_webhooks(max_results=1)
    assert [w.name for w in page] == ["hook-1"]
    assert [w.name for w in client.list_webhooks(max_results=1, page_token=page.token)] == ["hook-2"]
    changed = client.update_webhook(made.webhook_id, name="other", events=["prompt.created"], status="DISABLED")
    assert (changed.name, changed.status, changed.url) == ("other", WebhookStatus.DISABLED, receiver.url)
    assert [str(e) for e in client.get_webhook(made.webhook_id).events] == ["prompt.created"]
    client.delete_webhook(made.webhook_id)
    with pytest.raises(MlflowException, match="not found") as error:
        client.get_webhook(made.webhook_id)
    assert error.value.error_code == "RESOURCE_DOES_NOT_EXIST"


@pytest.mark.parametrize(
    "url",
    ["http://10.0.0.1/", "http://169.254.169.254/", "http://[::1]/", "http://0177.0.0.1/", "file:///etc/passwd", ""],
)
def test_addresses_within_are_refused(client, url):
    with pytest.raises(MlflowException) as error:
        client.create_webhook("bad", url, ["model_version.created"])
    assert error.value.error_code == "INVALID_PARAMETER_VALUE"


def test_a_model_is_told_of_signed(client, receiver):
    client.create_webhook("all", receiver.url, ALL, secret="s3cret")
    name = f"m-{uuid.uuid4().hex}"
    client.create_registered_model(name, tags={"team": "risk"}, description="why")
    version = client.create_model_version(name, "s3://bucket/model", tags={"a": "1"}, description="first").version
    client.set_model_version_tag(name, version, "k", "v")
    client.delete_model_version_tag(name, version, "k")
    client.set_registered_model_alias(name, "blue", version)
    client.delete_registered_model_alias(name, "blue")
    told = receiver.wait(6)
    assert [f"{t['entity']}.{t['action']}" for t in told] == [
        "registered_model.created",
        "model_version.created",
        "model_version_tag.set",
        "model_version_tag.deleted",
        "model_version_alias.created",
        "model_version_alias.deleted",
    ]
    assert told[0]["data"] == {"name": name, "tags": {"team": "risk"}, "description": "why"}
    assert told[1]["data"] == {
        "name": name,
        "version": "1",
        "source": "s3://bucket/model",
        "run_id": None,
        "tags": {"a": "1"},
        "description": "first",
    }
    assert told[2]["data"] == {"name": name, "version": "1", "key": "k", "value": "v"}
    assert told[4]["data"] == {"name": name, "alias": "blue", "version": "1"}
    for one in told:
        expected = get_payload_class_for_event(WebhookEvent(one["entity"], one["action"]))
        assert set(one["data"]) == set(expected.__annotations__)
        assert one["timestamp"].endswith("+00:00")
    for headers, body in receiver.requests:
        delivery, at = headers["X-MLflow-Delivery-Id"], headers["X-MLflow-Timestamp"]
        assert abs(int(at) - time.time()) < 60
        assert headers["X-MLflow-Signature"] == _generate_hmac_signature("s3cret", delivery, at, body)
    assert len({headers["X-MLflow-Delivery-Id"] for headers, _ in receiver.requests}) == 6


def test_a_prompt_is_told_of_as_a_prompt(client, server, receiver):
    client.create_webhook("prompts", receiver.url, [e for e in ALL if e.startswith("prompt")])
    name = f"p-{uuid.uuid4().hex}"
    # What MLflow's client sends for a prompt; its methods for models refuse the tag.
    is_prompt = {"key": "mlflow.prompt.is_prompt", "value": "true"}
    body = {"name": name, "tags": [is_prompt, {"key": "team", "value": "risk"}]}
    assert call(server, "POST", "registered-models/create", body)[0] == 200
    words = {"mlflow.prompt.text": "Hello {{name}}!", "_mlflow_prompt_type": "text", "lang": "en"}
    tags = [is_prompt, *({"key": key, "value": value} for key, value in words.items())]
    body = {"name": name, "source": "s3://bucket/none", "tags": tags, "description": "first"}
    assert call(server, "POST", "model-versions/create", body)[0] == 200
    for method, path, fields in (
        ("POST", "registered-models/set-tag", {"key": "k", "value": "v"}),
        ("POST", "model-versions/set-tag", {"version": "1", "key": "k", "value": "v"}),
        ("POST", "registered-models/alias", {"alias": "live", "version": "1"}),
        ("DELETE", "registered-models/alias", {"alias": "live"}),
    ):
        assert call(server, method, path, {"name": name} | fields)[0] == 200
    told = receiver.wait(6)
    by_event = {f"{t['entity']}.{t['action']}": t["data"] for t in told}
    assert by_event["prompt.created"] == {"name": name, "tags": {"team": "risk"}, "description": ""}
    created = by_event["prompt_version.created"]
    assert created["template"] == "Hello {{name}}!" and created["description"] == "first"
    assert created["tags"] == {"lang": "en"}
    assert by_event["prompt_tag.set"] == {"name": name, "key": "k", "value": "v"}
    assert by_event["prompt_version_tag.set"] == {"name": name, "version": "1", "key": "k", "value": "v"}
    assert by_event["prompt_alias.created"] == {"name": name, "alias": "live", "version": "1"}
    assert by_event["prompt_alias.deleted"] == {"name": name, "alias": "live"}
    assert not any(event.startswith(("registered_model", "model_version")) for event in by_event)


def test_tried_again_until_it_is_taken(client, receiver):
    receiver.statuses = [503, 429, 500]
    client.create_webhook("slow", receiver.url, ["registered_model.created"])
    client.create_registered_model(f"m-{uuid.uuid4().hex}")
    receiver.wait(4)
    assert len({headers["X-MLflow-Delivery-Id"] for headers, _ in receiver.requests}) == 1


def test_the_test_button(client, receiver):
    made = client.create_webhook("tested", receiver.url, ALL, secret="s")
    result = client.test_webhook(made.webhook_id)
    assert (result.success, result.response_status, result.response_body) == (True, 200, "thanks")
    for event in ALL:
        assert client.test_webhook(made.webhook_id, event=event).success
        sent = json.loads(receiver.requests[-1][1])
        expected = get_payload_class_for_event(WebhookEvent.from_str(event))
        assert sent["data"] == expected.example(), event
    receiver.statuses = [404]
    assert client.test_webhook(made.webhook_id).success is False
    receiver.close()
    gone = client.test_webhook(made.webhook_id)
    assert gone.success is False and "could not be reached" in gone.error_message
    receiver.__init__()


def test_a_server_as_it_comes_reaches_nothing_within(tmp_path):
    with Server(tmp_path / "data") as server:
        client = MlflowClient(server.url, server.url)
        for url in ("https://127.0.0.1/", "https://localhost/", "http://1.1.1.1/"):
            with pytest.raises(MlflowException) as error:
                client.create_webhook("bad", url, ["model_version.created"])
            assert error.value.error_code == "INVALID_PARAMETER_VALUE"

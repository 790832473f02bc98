"""Traces, assessments and prompts by the real client of MLflow, and the same searches put to a real `mlflow server`."""

from __future__ import annotations

import gzip
import json
import time
import urllib.error
import urllib.request
import uuid
import zlib

import mlflow
import pytest
from mlflow.entities import AssessmentSource, Feedback, SpanEvent
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

WAIT_S_MAX = 30.0


def eventually(look):
    """Clients send spans in the background; returns what `look` finds once it is true."""
    limit = time.monotonic() + WAIT_S_MAX
    while not (found := look()):
        assert time.monotonic() < limit, "it did not come"
        time.sleep(0.05)
    return found


def post(url, path, body, headers=None):
    """A POST of bytes or of JSON; returns the status and the bytes of the answer."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(
        url + path, data=data, headers={"Content-Type": "application/json"} | (headers or {})
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def get(url, path):
    try:
        with urllib.request.urlopen(url + path, timeout=30) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


@pytest.fixture
def experiment(tidemill):
    mlflow.set_tracking_uri(tidemill)
    mlflow.set_registry_uri(tidemill)
    return mlflow.set_experiment(f"traces-{uuid.uuid4().hex}").experiment_id


@pytest.fixture
def trace(experiment):
    """A trace of two spans, complete on the server."""

    @mlflow.trace(span_type="CHAIN")
    def answer(question):
        with mlflow.start_span("model", span_type="CHAT_MODEL") as span:
            span.set_inputs({"messages": [question, "潮汐"]})
            span.set_attribute("temperature", 0.5)
            span.set_attribute("nested", {"a": [1, None, True, {"b": "x"}]})
            span.add_event(SpanEvent("token", attributes={"n": 3}))
            span.set_outputs([1, 2.5])
        mlflow.update_current_trace(
            tags={"team": "risk"},
            metadata={"mlflow.trace.session": "s1", "mlflow.trace.user": "ann"},
            client_request_id=f"c-{question}",
        )
        return {"answer": 42}

    answer("why?")
    return whole(mlflow.get_last_active_trace_id(), 2)


def whole(trace_id, spans):
    def look():
        # Until a trace is complete the client complains; that is not what is tested here.
        try:
            found = mlflow.get_trace(trace_id, silent=True)
        except mlflow.exceptions.MlflowException:
            return None
        return found if found and len(found.data.spans) == spans else None

    return eventually(look)


def test_a_trace_comes_back_as_it_was(trace):
    assert trace.info.state == "OK"
    assert trace.info.tags["team"] == "risk"
    assert trace.info.tags["mlflow.traceName"] == "answer"
    assert trace.info.trace_metadata["mlflow.trace.session"] == "s1"
    assert trace.info.client_request_id == "c-why?"
    root, model = trace.data.spans
    assert (root.name, root.span_type, root.parent_id) == ("answer", "CHAIN", None)
    assert root.inputs == {"question": "why?"}
    assert root.outputs == {"answer": 42}
    assert (model.name, model.parent_id, model.span_type) == ("model", root.span_id, "CHAT_MODEL")
    assert model.inputs == {"messages": ["why?", "潮汐"]}
    assert model.outputs == [1, 2.5]
    assert model.attributes["temperature"] == 0.5
    assert model.attributes["nested"] == {"a": [1, None, True, {"b": "x"}]}
    assert [(event.name, event.attributes) for event in model.events] == [("token", {"n": 3})]
    assert model.end_time_ns > model.start_time_ns


def test_a_failed_trace_says_so(experiment):
    @mlflow.trace
    def fails():
        raise ValueError("boom")

    with pytest.raises(ValueError, match="boom"):
        fails()
    found = whole(mlflow.get_last_active_trace_id(), 1)
    assert found.info.state == "ERROR"
    assert found.data.spans[0].status.status_code == "ERROR"
    assert any(event.name == "exception" for event in found.data.spans[0].events)


def test_traces_are_found_as_a_table_and_with_a_filter(trace, experiment):
    table = mlflow.search_traces(locations=[experiment])
    assert list(table["trace_id"]) == [trace.info.trace_id]
    for filter_string, count in [
        ("tags.team = 'risk'", 1),
        ("trace.status = 'OK' AND span.name = 'model'", 1),
        ("span.type = 'CHAT_MODEL' AND span.attributes.temperature = '0.5'", 1),
        ("span.type = 'CHAT_MODEL' AND span.name = 'answer'", 0),  # no one span is both
        ("trace.text LIKE '%潮汐%'", 1),
        ("metadata.`mlflow.trace.user` = 'bob'", 0),
    ]:
        found = mlflow.search_traces(locations=[experiment], filter_string=filter_string, return_type="list")
        assert len(found) == count, filter_string


def test_the_artefact_of_a_trace_is_its_spans(tidemill, trace):
    for version in ("2.0", "3.0"):
        status, body = get(tidemill, f"/ajax-api/{version}/mlflow/get-trace-artifact?request_id={trace.info.trace_id}")
        assert status == 200
        data = mlflow.entities.TraceData.from_dict(json.loads(body))
        for stored, span in zip(data.spans, trace.data.spans, strict=True):
            assert stored.attributes == span.attributes
            assert stored.to_dict() | {"attributes": None} == span.to_dict() | {"attributes": None}


def test_tags_are_set_and_deleted(trace):
    trace_id = trace.info.trace_id
    mlflow.set_trace_tag(trace_id, "k", "v")
    mlflow.set_trace_tag(trace_id, "mlflow.traceName", "renamed")
    tags = mlflow.get_trace(trace_id).info.tags
    assert (tags["k"], tags["mlflow.traceName"]) == ("v", "renamed")
    mlflow.delete_trace_tag(trace_id, "k")
    assert "k" not in mlflow.get_trace(trace_id).info.tags
    with pytest.raises(mlflow.exceptions.MlflowException, match="No trace tag"):
        mlflow.delete_trace_tag(trace_id, "k")


@pytest.mark.parametrize("value", [0.7, 3, True, False, "good", ["a", 1], {"a": {"b": None}}, None])
def test_feedback_and_expectations_keep_their_values(trace, value):
    trace_id = trace.info.trace_id
    human = AssessmentSource("HUMAN", "bob")
    error = ValueError("no value") if value is None else None
    said = mlflow.log_feedback(
        trace_id=trace_id, name="f", value=value, error=error, source=human, rationale="r", metadata={"a": "b"}
    )
    read = mlflow.get_assessment(trace_id, said.assessment_id)
    assert (read.value, read.rationale, read.metadata, read.source) == (value, "r", {"a": "b"}, human)
    if value is None:
        assert read.error.error_message == "no value"
        return
    expected = mlflow.log_expectation(trace_id=trace_id, name="e", value=value, source=human)
    assert mlflow.get_assessment(trace_id, expected.assessment_id).value == value


def test_assessments_are_changed_overridden_and_deleted(trace):
    trace_id = trace.info.trace_id
    first = mlflow.log_feedback(trace_id=trace_id, name="f", value=1, metadata={"a": "b"})
    changed = Feedback(name="f", value=2, rationale="better", metadata={"c": "d"})
    mlflow.update_assessment(trace_id=trace_id, assessment_id=first.assessment_id, assessment=changed)
    read = mlflow.get_assessment(trace_id, first.assessment_id)
    assert (read.value, read.rationale, read.metadata) == (2, "better", {"a": "b", "c": "d"})
    second = mlflow.override_feedback(trace_id=trace_id, assessment_id=first.assessment_id, value=3)
    assert not mlflow.get_assessment(trace_id, first.assessment_id).valid
    mlflow.delete_assessment(trace_id, second.assessment_id)
    mlflow.delete_assessment(trace_id, second.assessment_id)  # no error
    assert mlflow.get_assessment(trace_id, first.assessment_id).valid
    with pytest.raises(mlflow.exceptions.MlflowException, match="not found"):
        mlflow.get_assessment(trace_id, second.assessment_id)


def test_traces_belong_to_runs(experiment):
    @mlflow.trace
    def work():
        return 1

    work()
    linked = whole(mlflow.get_last_active_trace_id(), 1).info.trace_id
    with mlflow.start_run() as run:
        work()
    made = whole(mlflow.get_last_active_trace_id(), 1).info.trace_id
    mlflow.MlflowClient().link_traces_to_run([linked], run.info.run_id)
    found = mlflow.search_traces(locations=[experiment], run_id=run.info.run_id, return_type="list")
    assert {trace.info.trace_id for trace in found} == {linked, made}


def test_traces_are_deleted(tidemill, trace, experiment):
    client = mlflow.MlflowClient()
    assert client.delete_traces(experiment, trace_ids=["tr-nobody"]) == 0
    assert client.delete_traces(experiment, trace_ids=[trace.info.trace_id]) == 1
    assert client.delete_traces(experiment, max_timestamp_millis=int(time.time() * 1000)) == 0
    assert get(tidemill, f"/api/3.0/mlflow/traces/{trace.info.trace_id}")[0] == 404
    files = f"/api/2.0/mlflow-artifacts/artifacts?path={experiment}/traces/{trace.info.trace_id}/artifacts"
    assert json.loads(get(tidemill, files)[1])["files"] == []


def test_token_usage_is_summed_over_the_tree(tidemill, experiment):
    def span(number, parent, tokens):
        usage = {"input_tokens": tokens, "output_tokens": 1, "total_tokens": tokens + 1}
        return {
            "traceId": "5b8aa5a2d2c872e8321cf37308d69df2",
            "spanId": f"{number:016x}",
            "parentSpanId": f"{parent:016x}" if parent else "",
            "name": f"span {number}",
            "startTimeUnixNano": str(1_700_000_000_000_000_000 + number),
            "endTimeUnixNano": str(1_700_000_001_000_000_000),
            "attributes": [{"key": "mlflow.chat.tokenUsage", "value": {"stringValue": json.dumps(usage)}}]
            if tokens
            else [],
        }

    # 2 sums up what 3 used; they come in two requests, the parent last
    for spans in ([span(3, 2, 10), span(4, 1, 5)], [span(1, 0, 0), span(2, 1, 12)]):
        body = {"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]}
        assert post(tidemill, "/v1/traces", body, {"x-mlflow-experiment-id": experiment})[0] == 200
    trace = mlflow.get_trace("tr-5b8aa5a2d2c872e8321cf37308d69df2")
    assert trace.info.token_usage == {"input_tokens": 17, "output_tokens": 2, "total_tokens": 19}
    assert (trace.info.state, trace.info.execution_duration) == ("OK", 1000)


# --- prompts ---


@pytest.fixture
def prompt(experiment):
    name = f"greet-{uuid.uuid4().hex}"
    mlflow.genai.register_prompt(name, "Hello {{name}}", commit_message="first", tags={"a": "b"})
    mlflow.genai.register_prompt(name, "Hi {{name}}")
    return name


def test_prompts_are_registered_and_loaded(prompt):
    assert mlflow.genai.load_prompt(prompt, version=1).template == "Hello {{name}}"
    assert mlflow.genai.load_prompt(f"prompts:/{prompt}/2").format(name="Ann") == "Hi Ann"
    mlflow.genai.set_prompt_alias(prompt, "production", 1)
    assert mlflow.genai.load_prompt(f"prompts:/{prompt}@production").version == 1
    mlflow.genai.delete_prompt_alias(prompt, "production")
    chat = [{"role": "user", "content": "hi {{x}}"}]
    mlflow.genai.register_prompt(f"{prompt}-chat", chat)
    assert mlflow.genai.load_prompt(f"{prompt}-chat", version=1).template == chat
    assert mlflow.genai.load_prompt(f"{prompt}-nobody", version=1, allow_missing=True) is None


def test_prompts_are_searched_apart_from_models(prompt):
    client = mlflow.MlflowClient()
    assert [found.name for found in client.search_prompts(filter_string=f"name = '{prompt}'")] == [prompt]
    assert [version.version for version in client.search_prompt_versions(prompt)] == [2, 1]
    assert client.search_registered_models(filter_string=f"name = '{prompt}'") == []
    mlflow.genai.set_prompt_tag(prompt, "x", "y")
    assert mlflow.genai.get_prompt_tags(prompt)["x"] == "y"
    client.delete_prompt_version(prompt, "2")
    assert [version.version for version in client.search_prompt_versions(prompt)] == [1]


def test_prompts_are_linked_to_traces_and_runs(prompt, experiment):
    @mlflow.trace
    def greet():
        return mlflow.genai.load_prompt(f"prompts:/{prompt}/2").format(name="Ann")

    greet()
    trace_id = mlflow.get_last_active_trace_id()

    def look():
        return mlflow.search_traces(
            locations=[experiment], filter_string=f'prompt = "{prompt}/2"', return_type="list", include_spans=False
        )

    assert [trace.info.trace_id for trace in eventually(look)] == [trace_id]
    with mlflow.start_run() as run:
        mlflow.genai.load_prompt(f"prompts:/{prompt}/1")
    tags = mlflow.get_run(run.info.run_id).data.tags
    assert json.loads(tags["mlflow.linkedPrompts"]) == [{"name": prompt, "version": "1"}]


def test_the_source_of_a_prompt_leads_nowhere(tidemill, prompt):
    tags = [{"key": "mlflow.prompt.is_prompt", "value": "true"}]
    body = {"name": prompt, "source": "/etc/passwd", "tags": tags}
    assert post(tidemill, "/api/2.0/mlflow/model-versions/create", body)[0] == 400


# --- OTLP ---


def otlp(trace_id, name="span", spans=1):
    request = ExportTraceServiceRequest()
    scope = request.resource_spans.add().scope_spans.add()
    for number in range(spans):
        span = scope.spans.add()
        span.trace_id, span.span_id = bytes.fromhex(trace_id), (number + 1).to_bytes(8, "big")
        span.name = name
        span.start_time_unix_nano, span.end_time_unix_nano = 1_700_000_000_000_000_000, 1_700_000_000_500_000_000
        span.attributes.add(key="k").value.string_value = "v"
        if number:
            span.parent_span_id = (1).to_bytes(8, "big")
    return request


def send(url, experiment, body, **headers):
    base = {"Content-Type": "application/x-protobuf", "x-mlflow-experiment-id": experiment}
    return post(url, "/v1/traces", body, base | headers)


@pytest.mark.parametrize("encoding", ["", "gzip", "deflate"])
def test_otlp_is_taken_in_protobuf_also_packed(tidemill, experiment, encoding):
    trace_id = uuid.uuid4().hex
    body = otlp(trace_id, spans=3).SerializeToString()
    packed = {"gzip": gzip.compress, "deflate": zlib.compress}.get(encoding, bytes)(body)
    headers = {"Content-Encoding": encoding} if encoding else {}
    assert send(tidemill, experiment, packed, **headers) == (200, b"")
    assert len(mlflow.get_trace(f"tr-{trace_id}").data.spans) == 3
    # the same again replaces itself
    assert send(tidemill, experiment, packed, **headers)[0] == 200
    assert len(mlflow.get_trace(f"tr-{trace_id}").data.spans) == 3


BROKEN = {
    "no protobuf": b"\xff\xff\xff",
    "cut off": otlp("0" * 31 + "1").SerializeToString()[:-3],
    "nothing": b"",
    "zero id": otlp("0" * 32).SerializeToString(),
    "not UTF-8": otlp("0" * 31 + "2", name="x").SerializeToString().replace(b"\x01x", b"\x01\xff"),
    "nested": None,
}


def nested(levels):
    request = otlp(uuid.uuid4().hex)
    value = request.resource_spans[0].scope_spans[0].spans[0].attributes[0].value
    for _ in range(levels):
        value = value.array_value.values.add()
    return request.SerializeToString()


@pytest.mark.parametrize("name", BROKEN)
def test_broken_otlp_is_refused(tidemill, experiment, name):
    body = nested(1000) if name == "nested" else BROKEN[name]
    status, answer = send(tidemill, experiment, body)
    assert status == 400, answer
    assert json.loads(answer)["error_code"] == "INVALID_PARAMETER_VALUE"


def test_values_may_nest_as_deep_as_the_limit(tidemill, experiment):
    assert send(tidemill, experiment, nested(60))[0] == 200
    assert send(tidemill, experiment, nested(61))[0] == 400


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Content-Type": "text/plain"}, 400),
        ({"Content-Encoding": "br"}, 400),
        ({"Content-Encoding": "gzip"}, 400),  # it is not
        ({"x-mlflow-experiment-id": "999999"}, 404),
        ({"x-mlflow-experiment-id": "../x"}, 404),
        ({"x-mlflow-run-id": "0" * 32}, 404),
        ({"x-mlflow-run-id": "x"}, 404),
    ],
)
def test_what_does_not_fit_a_request_is_refused(tidemill, experiment, headers, status):
    assert send(tidemill, experiment, otlp(uuid.uuid4().hex).SerializeToString(), **headers)[0] == status


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b'{"resourceSpans": 5}',
        b'{"resourceSpans": [5]}',
        b'{"resourceSpans": [{"scopeSpans": [{"spans": [{}]}]}]}',
        b'{"resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": "xy", "spanId": "zz"}]}]}]}',
        b"[" * 100_000,
        b'{"resourceSpans":' + b'[{"a":' * 50_000,
    ],
)
def test_broken_otlp_json_is_refused(tidemill, experiment, body):
    status, answer = send(tidemill, experiment, body, **{"Content-Type": "application/json"})
    assert status == 400, answer


def test_a_packed_bomb_is_refused(tidemill, experiment):
    status, _ = send(tidemill, experiment, gzip.compress(b"\0" * (65 << 20)), **{"Content-Encoding": "gzip"})
    assert status == 413


# --- alike ---

TRACES = {  # number -> tags, metadata, state, duration, session
    0: {"name": "a", "tags": {"team": "risk", "x": "1"}, "metadata": {"m": "1"}, "state": "OK", "duration": "1s"},
    1: {"name": "b", "tags": {"team": "Risk"}, "metadata": {"m": "2"}, "state": "ERROR", "duration": "0.500s"},
    2: {"name": "c", "tags": {"team": "ops"}, "metadata": {}, "state": "IN_PROGRESS", "duration": None},
    3: {"name": "a", "tags": {}, "metadata": {"m": "风"}, "state": "OK", "duration": "2s"},
}
SPANS = {0: [("root", "CHAIN"), ("llm", "LLM")], 1: [("root", "CHAIN")], 3: [("llm", "CHAIN"), ("tool", "TOOL")]}
FEEDBACK = {0: [("good", 0.7), ("kind", "yes")], 1: [("good", 0.2)], 3: [("good", True)]}


class Side:
    def __init__(self, url):
        self.url = url
        body = {"name": f"alike-{uuid.uuid4().hex}"}
        self.experiment = json.loads(post(url, "/api/2.0/mlflow/experiments/create", body)[1])["experiment_id"]
        self.ids = [f"tr-{uuid.uuid4().hex}" for _ in TRACES]
        self.numbers = {trace_id: number for number, trace_id in enumerate(self.ids)}
        for number, fields in TRACES.items():
            self._trace(number, fields)

    def _trace(self, number, fields):
        info = {
            "trace_id": self.ids[number],
            "client_request_id": f"c{number}",
            "trace_location": {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": self.experiment}},
            "request_time": f"2025-01-01T00:00:0{number}.000Z",
            "state": fields["state"],
            "trace_metadata": fields["metadata"],
            "tags": fields["tags"] | {"mlflow.traceName": fields["name"]},
        }
        if fields["duration"]:
            info["execution_duration"] = fields["duration"]
        assert post(self.url, "/api/3.0/mlflow/traces", {"trace": {"trace_info": info}})[0] == 200
        request = ExportTraceServiceRequest()
        for order, (name, kind) in enumerate(SPANS.get(number, [])):
            span = (request.resource_spans or [request.resource_spans.add()])[0].scope_spans.add().spans.add()
            span.trace_id, span.span_id = bytes.fromhex(self.ids[number][3:]), (order + 1).to_bytes(8, "big")
            span.name, span.start_time_unix_nano = name, 1_735_689_600_000_000_000 + number * 10**9
            span.end_time_unix_nano = span.start_time_unix_nano + 1000
            span.attributes.add(key="mlflow.spanType").value.string_value = kind
            if order:
                span.parent_span_id = (1).to_bytes(8, "big")
        if request.resource_spans:
            assert send(self.url, self.experiment, request.SerializeToString())[0] == 200
        for name, value in FEEDBACK.get(number, []):
            said = {
                "assessment_name": name,
                "trace_id": self.ids[number],
                "source": {"source_type": "HUMAN", "source_id": "ann"},
                "create_time": "2025-01-01T00:00:00Z",
                "last_update_time": "2025-01-01T00:00:00Z",
                "feedback": {"value": value},
                "valid": True,
            }
            path = f"/api/3.0/mlflow/traces/{self.ids[number]}/assessments"
            status, answer = post(self.url, path, {"assessment": said})
            assert status == 200, answer

    def search(self, filter_="", order_by=(), **more):
        location = {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": self.experiment}}
        body = {"locations": [location], "filter": filter_.replace("$0", self.ids[0]), "order_by": list(order_by)}
        status, answer = post(self.url, "/api/3.0/mlflow/traces/search", body | more)
        answer = json.loads(answer)
        if status != 200:
            return status, answer["error_code"]
        return status, [self.numbers[trace["trace_id"]] for trace in answer.get("traces", [])]


@pytest.fixture(scope="module")
def sides(tidemill, peer):
    return Side(tidemill), Side(peer)


FILTERS = [
    "",
    "tags.team = 'risk'",
    "tag.team != 'risk'",
    "tags.team LIKE 'r%'",
    "tags.team ILIKE 'r%'",
    "tags.team IS NULL",
    "tags.team IS NOT NULL",
    "tags.nothing = '1'",
    "metadata.m = '1'",
    "request_metadata.m != '1'",
    "metadata.m = '风'",
    "metadata.m IS NULL",
    "name = 'a'",
    "trace.name != 'a'",
    "attributes.name LIKE 'a%'",
    "tags.`mlflow.traceName` = 'a'",
    "status = 'OK'",
    "trace.status != 'OK'",
    "status IN ('ERROR', 'IN_PROGRESS')",
    "attributes.status = 'ERROR' AND tags.team = 'Risk'",
    "timestamp_ms > 1735689601000",
    "trace.timestamp >= 1735689601000",
    "timestamp_ms != 1735689600000",
    "execution_time_ms > 600",
    "execution_time <= 1000",
    "end_time_ms > 1735689601400",
    "request_id = '$0'",
    "trace.request_id IN ('$0')",
    "client_request_id = 'c1'",
    "trace.client_request_id LIKE 'c%'",
    "run_id = 'nobody'",
    "prompt = 'a/1'",
    "span.name = 'llm'",
    "span.name LIKE '%l%'",
    "span.type = 'CHAIN'",
    "span.name = 'llm' AND span.type = 'CHAIN'",
    "span.name IN ('llm', 'tool')",
    "span.status = 'UNSET'",
    "span.name = 'root' AND tags.team ILIKE 'risk'",
    "span.content LIKE '%tool%'",
    "trace.text ILIKE '%TOOL%'",
    "feedback.good > 0.5",
    "feedback.good <= 0.2",
    "feedback.good = '0.7'",
    "feedback.good != '0.7'",
    "feedback.good = 'true'",
    "feedback.kind = 'yes'",
    "feedback.kind LIKE '%y%'",
    "feedback.good IS NULL",
    "feedback.good IS NOT NULL",
    "expectation.good IS NOT NULL",
    "issue.id = 'nobody'",
    # what is refused
    "tags.team = risk",
    "tags.team > 'a'",
    "tags.team = 'a' OR tags.team = 'b'",
    "(tags.team = 'a')",
    "status > 'OK'",
    "timestamp_ms LIKE '1'",
    "nothing.a = '1'",
    "attributes.nothing = '1'",
    "span.nothing = 'x'",
    "span.content = 'x'",
    "span.name > 'x'",
    "prompt LIKE 'a/1'",
    "prompt = 'a'",
    "issue.id != 'x'",
    "feedback.good > 'x'",
    "feedback.good = 1",
    "metrics.a > 1",
]

ORDERS = [
    [],
    ["timestamp_ms ASC"],
    ["timestamp DESC"],
    ["execution_time_ms DESC"],
    ["execution_time ASC"],
    ["status", "timestamp_ms"],
    ["name DESC"],
    ["name"],
    ["tags.team"],
    ["tags.team DESC", "timestamp_ms ASC"],
    ["metadata.m ASC"],
    # what is refused
    ["nothing.a"],
    ["span.name"],
    ["feedback.good"],
]


@pytest.mark.parametrize("filter_", FILTERS)
def test_filters_find_the_same(sides, filter_):
    ours, theirs = (side.search(filter_) for side in sides)
    assert ours == theirs


@pytest.mark.parametrize("order_by", ORDERS, ids=str)
def test_orders_are_the_same(sides, order_by):
    ours, theirs = (side.search("", order_by) for side in sides)
    assert ours == theirs


@pytest.mark.parametrize("filter_", ["timestamp_ms = 'x'", "issue.name = 'x'"])
def test_filters_that_find_nothing_there_are_refused_on_purpose(sides, filter_):
    assert [side.search(filter_)[0] for side in sides] == [400, 200]


def test_linking_to_a_run_that_is_not_there_is_refused_on_purpose(sides):
    body = {"run_id": "0" * 32, "trace_ids": ["tr-a"]}
    assert [post(side.url, "/api/2.0/mlflow/traces/link-to-run", body)[0] for side in sides] == [404, 200]


def test_span_attributes_are_compared_by_value_on_purpose(sides):
    # There, the text "<name>"<value> is looked for in the span's JSON, so equality finds nothing.
    assert [side.search("span.attributes.`mlflow.spanType` = 'TOOL'")[1] for side in sides] == [[3], []]


@pytest.mark.parametrize("size", [1, 3, 4, 100])
def test_pages_have_the_same_traces(sides, size):
    def pages(side):
        out, token = [], None
        while True:
            location = {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": side.experiment}}
            body = {"locations": [location], "max_results": size} | ({"page_token": token} if token else {})
            answer = json.loads(post(side.url, "/api/3.0/mlflow/traces/search", body)[1])
            out += [side.numbers[trace["trace_id"]] for trace in answer.get("traces", [])]
            token = answer.get("next_page_token")
            if not token:
                return out

    ours, theirs = (pages(side) for side in sides)
    assert ours == theirs == [3, 2, 1, 0]


CALLS = [
    ("/api/3.0/mlflow/traces", {}),
    ("/api/3.0/mlflow/traces/search", {}),
    ("/api/3.0/mlflow/traces/search", {"locations": [], "max_results": 501}),
    ("/api/2.0/mlflow/traces/delete-traces", {}),
    ("/api/2.0/mlflow/traces/delete-traces", {"experiment_id": "$e"}),
    ("/api/2.0/mlflow/traces/delete-traces", {"experiment_id": "$e", "request_ids": ["tr-nobody"]}),
    ("/api/2.0/mlflow/traces/link-to-run", {}),
    (
        "/api/2.0/mlflow/traces/link-prompts",
        {"trace_id": "tr-nobody", "prompt_versions": [{"name": "p", "version": "1"}]},
    ),
    ("/api/3.0/mlflow/traces/tr-nobody/assessments", {}),
]


@pytest.mark.parametrize(("path", "body"), CALLS)
def test_calls_come_to_the_same(sides, path, body):
    def outcome(side):
        text = json.dumps(body).replace("$e", side.experiment).encode()
        status, answer = post(side.url, path, text)
        return status, json.loads(answer).get("error_code")

    ours, theirs = (outcome(side) for side in sides)
    assert ours == theirs

"""A deployed model for tests and benchmarks, made as users make one: a pipeline registers and tests it, a second person approves, then it is deployed.

The model is a logistic regression over `hour` (a number) and `carrier` (AA or UA): P(late) = 1 / (1 + exp(-(w · hour + v · [carrier is UA] + b))).
"""

from __future__ import annotations

import json
import math
import time
from typing import Any

from tests.support.server import Client

MAKE = """
import json
import numpy as np
import onnx
from onnx import TensorProto as T, helper as h, numpy_helper as n
p = json.load(open("params.json"))
w = np.array([[0, p["hour"]], [0, p["carrier"]]], dtype=np.float32)
b = np.array([0, p["bias"]], dtype=np.float32)
nodes = [h.make_node("Gemm", ["input", "w", "b"], ["logits"]), h.make_node("Softmax", ["logits"], ["probabilities"])]
graph = h.make_graph(nodes, "g", [h.make_tensor_value_info("input", T.FLOAT, [None, 2])],
                     [h.make_tensor_value_info("probabilities", T.FLOAT, [None, 2])], [n.from_array(w, "w"), n.from_array(b, "b")])
model = h.make_model(graph, opset_imports=[h.make_opsetid("", 15)])
model.ir_version = 8
onnx.save(model, "outputs/model.onnx")
json.dump({"columns": [{"name": "hour", "kind": "number"}, {"name": "carrier", "kind": "category", "categories": ["AA", "UA"], "missing": "code"}],
           "label_column": "late"}, open("outputs/columns.json", "w"))
with open("outputs/rows.csv", "w") as rows:
    rows.write("hour,carrier,late\\n")
    for i in range(400):
        rows.write(f"{i % 24},{['AA', 'UA'][i // 24 % 2]},{int(i % 24 > 11)}\\n")
"""

PIPELINE = """
name: logistic
params: {model: flight-delay, hour: 0.5, carrier: 1.0, bias: -5.0}
steps:
  - {name: make, run: [python, code/make.py], outputs: [model.onnx, columns.json, rows.csv]}
  - name: register
    uses: models.register
    with: {model: "${params.model}"}
    inputs: {onnx: make/model.onnx, columns: make/columns.json}
  - name: gate
    uses: models.gate
    with: {model: "${params.model}", version: "${steps.register.result.number}", requirement: separates, parity_required: false,
           beat_champion: false, rows_min: 100}
    inputs: {data: make/rows.csv}
"""


class Serving:
    """Makes models and deployments through the API: `maker` may write, `approver` is another person who may approve."""

    def __init__(self, maker: Client, approver: Client) -> None:
        self.maker = maker
        self.approver = approver
        self._post(maker, "/api/requirements", {"name": "separates", "goal": "a test", "owner": "tests", "fallback": "none",
                                                "rules": [{"metric": "auc", "op": ">=", "value": 0.6}]})
        self._post(maker, "/api/pipelines", {"definition": PIPELINE, "files": {"make.py": MAKE}})

    def tested(self, **params: Any) -> int:
        """Returns the number of a new version that passed its gate; params: hour, carrier, bias, model."""
        run = self._post(self.maker, "/api/pipelines/logistic/runs", {"params": params})["id"]
        deadline = time.monotonic() + 60
        while True:
            now = self.get(f"/api/pipelines/runs/{run}")
            if now["state"] not in ("queued", "running"):
                break
            assert time.monotonic() < deadline, now
            time.sleep(0.05)
        assert now["state"] == "succeeded", json.dumps(now, indent=1)
        steps = {step["name"]: step for step in now["steps"]}
        assert steps["gate"]["result"]["passed"], steps["gate"]["result"]
        return steps["register"]["result"]["number"]

    def approved(self, **params: Any) -> int:
        number = self.tested(**params)
        model = params.get("model", "flight-delay")
        self._post(self.approver, f"/api/models/{model}/versions/{number}/approve", {"reason": "a test"})
        return number

    def deploy(self, name: str, **fields: Any) -> dict[str, Any]:
        """Deploys a version, by default a new approved one."""
        body = {"name": name, "model": "flight-delay", **fields}
        if "version" not in body:
            body["version"] = self.approved()
        return self._post(self.maker, "/api/deployments", body)

    def get(self, path: str) -> Any:
        answer = self.maker.call("GET", path)
        assert answer.status == 200, (path, answer.status, answer.text)
        return answer.json

    def post(self, path: str, body: Any) -> Any:
        return self._post(self.maker, path, body)

    @staticmethod
    def _post(client: Client, path: str, body: Any) -> Any:
        answer = client.call("POST", path, json.dumps(body).encode(), {"Content-Type": "application/json"})
        assert answer.status in (200, 201), (path, answer.status, answer.text)
        return answer.json


def probability(hour: float, carrier: str, *, w: float = 0.5, v: float = 1.0, b: float = -5.0) -> float:
    """What the model answers; a carrier that it does not know has the code -1."""
    code = {"AA": 0, "UA": 1}.get(carrier, -1)
    return 1 / (1 + math.exp(-(w * hour + v * code + b)))

"""A deployed model for tests and benchmarks, made through the API as users do.

Uploaded, tested, approved by a second person, deployed.

The model is a logistic regression over `hour` (a number) and `carrier` (AA or UA):
P(late) = 1 / (1 + exp(-(w · hour + v · [carrier is UA] + b))).
"""

from __future__ import annotations

import json
import math
import struct
import urllib.parse
from typing import Any

from .server import SOURCE, Client

COLUMNS = {
    "columns": [
        {"name": "hour", "kind": "number"},
        {"name": "carrier", "kind": "category", "categories": ["AA", "UA"], "missing": "code"},
    ],
    "label_column": "late",
}


def _varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append((value & 0x7F) | 0x80)
        value >>= 7
    return bytes(out) + bytes([value])


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _bytes(field: int, value: bytes | str) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return _varint(field << 3 | 2) + _varint(len(data)) + data


def logistic(w: float = 0.5, v: float = 1.0, b: float = -5.0) -> bytes:
    """Returns the ONNX file, without needing a package: probabilities = softmax(0, x · (w, v) + b)."""

    def info(name: str, columns: int) -> bytes:
        shape = _bytes(1, _bytes(2, "N")) + _bytes(1, _number(1, columns))
        return _bytes(1, name) + _bytes(2, _bytes(1, _number(1, 1) + _bytes(2, shape)))

    def floats(name: str, shape: list[int], values: list[float]) -> bytes:
        return (
            b"".join(_number(1, n) for n in shape)
            + _number(2, 1)
            + _bytes(8, name)
            + _bytes(9, struct.pack(f"<{len(values)}f", *values))
        )

    def node(op: str, inputs: list[str], output: str) -> bytes:
        return b"".join(_bytes(1, name) for name in inputs) + _bytes(2, output) + _bytes(4, op)

    graph = (
        _bytes(2, "g")
        + _bytes(1, node("Gemm", ["input", "w", "b"], "logits"))
        + _bytes(1, node("Softmax", ["logits"], "probabilities"))
    )
    graph += _bytes(5, floats("w", [2, 2], [0, w, 0, v])) + _bytes(5, floats("b", [2], [0, b]))
    graph += _bytes(11, info("input", 2)) + _bytes(12, info("probabilities", 2))
    return _number(1, 8) + _bytes(2, "tidemill-test") + _bytes(7, graph) + _bytes(8, _bytes(1, "") + _number(2, 15))


def probability(hour: float, carrier: str, *, w: float = 0.5, v: float = 1.0, b: float = -5.0) -> float:
    """What that model answers; a carrier that it does not know has the code -1."""
    return 1 / (1 + math.exp(-(w * hour + v * {"AA": 0, "UA": 1}.get(carrier, -1) + b)))


class Serving:
    """`maker` may write; `approver` is another person who may approve. The gate's rows are those of tests/api/data."""

    def __init__(self, maker: Client, approver: Client) -> None:
        self.maker = maker
        self.approver = approver
        self.post(
            "/api/requirements",
            {"name": "separates", "goal": "a test", "owner": "tests", "rules": [{"metric": "auc", "value": 0.5}]},
        )

    def tested(
        self, onnx: bytes, columns: dict[str, Any] | None = None, model: str = "flight-delay", gate: bytes | None = None
    ) -> int:
        """Returns the number of a new version that passed its gate on the labelled rows of `gate` (Parquet)."""
        if self.maker.call("GET", f"/api/models/{model}").status == 404:
            self.post("/api/models", {"name": model})
        query = urllib.parse.urlencode({"columns": json.dumps(columns or COLUMNS)})
        number = self._made(self.maker, f"/api/models/{model}/versions?{query}", onnx)["number"]
        rows = gate or (SOURCE / "tests/api/data/models/rows.parquet").read_bytes()
        query = "requirement=separates&parity_required=false&beat_champion=false"
        report = self._made(self.maker, f"/api/models/{model}/versions/{number}/gate?{query}", rows)
        assert report["passed"], report
        return number

    def approved(self, onnx: bytes, **fields: Any) -> int:
        number = self.tested(onnx, **fields)
        path = f"/api/models/{fields.get('model', 'flight-delay')}/versions/{number}/approve"
        self._made(self.approver, path, json.dumps({"reason": "a test"}).encode())
        return number

    def deploy(self, name: str, version: int, **fields: Any) -> dict[str, Any]:
        made = self.post("/api/deployments", {"name": name, "model": "flight-delay", "version": version, **fields})
        assert made["live"], made
        return made

    def get(self, path: str) -> Any:
        answer = self.maker.call("GET", path)
        assert answer.status == 200, (path, answer.status, answer.text)
        return answer.json

    def post(self, path: str, body: Any) -> Any:
        return self._made(self.maker, path, json.dumps(body).encode())

    @staticmethod
    def _made(client: Client, path: str, body: bytes) -> Any:
        answer = client.call("POST", path, body)
        assert answer.status in (200, 201), (path, answer.status, answer.text)
        return answer.json

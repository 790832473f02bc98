"""Makes the files beside it: a logistic model over (hour, carrier) that is right, one that is poor, and labelled rows.

Run after a change: python tests/api/data/models/make.py
"""

import pathlib

import numpy as np
import onnx
import pyarrow as pa
import pyarrow.parquet as pq
from onnx import TensorProto, helper, numpy_helper

HERE = pathlib.Path(__file__).resolve().parent


def logistic(weights: list[float], bias: float) -> bytes:
    """probabilities [N, 2] = softmax of (0, x·w + b)."""
    w = np.stack([np.zeros(len(weights)), weights], axis=1).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Gemm", ["input", "w", "b"], ["logits"]),
            helper.make_node("Softmax", ["logits"], ["probabilities"]),
        ],
        "logistic",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [None, len(weights)])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [None, 2])],
        [numpy_helper.from_array(w, "w"), numpy_helper.from_array(np.array([0, bias], np.float32), "b")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], ir_version=8)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def rows(count: int) -> pa.Table:
    random = np.random.default_rng(1)
    hour = random.integers(0, 24, count)
    ua = random.random(count) < 0.5
    chance = 1 / (1 + np.exp(-(0.3 * hour + ua - 4)))
    return pa.table(
        {
            "hour": hour.astype(float),
            "carrier": np.where(ua, "UA", "AA"),
            "late": (random.random(count) < chance).astype(int),
        }
    )


if __name__ == "__main__":
    (HERE / "good.onnx").write_bytes(logistic([0.3, 1.0], -4))
    (HERE / "poor.onnx").write_bytes(logistic([0.0, 1.0], -1))
    pq.write_table(rows(1000), HERE / "rows.parquet")
    pq.write_table(rows(100), HERE / "few.parquet")

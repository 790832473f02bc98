#!/usr/bin/env python3
"""One-row predictions over HTTP: ours beside FastAPI + onnxruntime + orjson; same model, load tool (wrk) and run.

    tools/setup bench && sudo apt-get install -y wrk
    build/venv-bench/bin/python bench/predictions.py [--seconds 5] [--json FILE]

Model: scikit-learn's GradientBoosting, 100 trees, 20 features. FastAPI is at its best: two workers, uvloop, httptools,
orjson, no validation, no log. Ours has its prediction log on; both modes are shown. Figures depend on the machine
and on what else runs there; the ratio is what counts.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

SOURCE = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(SOURCE / "tests"))

import numpy as np  # noqa: E402
import pyarrow as pa  # noqa: E402
import pyarrow.parquet as pq  # noqa: E402
from skl2onnx import to_onnx  # noqa: E402
from sklearn.datasets import make_classification  # noqa: E402
from sklearn.ensemble import GradientBoostingClassifier  # noqa: E402
from support.server import Server, basic  # noqa: E402
from support.serving import Serving  # noqa: E402

COLUMNS = 20
CONNECTIONS = (1, 8, 64)

FASTAPI = """
import numpy as np, onnxruntime as ort, orjson
from fastapi import FastAPI, Request, Response
options = ort.SessionOptions()
options.intra_op_num_threads = 1
session = ort.InferenceSession("model.onnx", options, providers=["CPUExecutionProvider"])
app = FastAPI()

@app.post("/predict")
async def predict(request: Request):
    body = orjson.loads(await request.body())
    row = np.asarray(body["features"], dtype=np.float32).reshape(1, -1)
    label, probabilities = session.run(None, {"input": row})
    answer = {"label": int(label[0]), "probability": float(probabilities[0, 1])}
    return Response(orjson.dumps(answer), media_type="application/json")
"""


def train() -> tuple[bytes, pa.Table, list[float]]:
    x, y = make_classification(4000, COLUMNS, n_informative=10, random_state=1)
    model = GradientBoostingClassifier(n_estimators=100, random_state=1).fit(x, y)
    onnx = to_onnx(
        model, x[:1].astype(np.float32), options={id(model): {"zipmap": False}}, target_opset={"": 15, "ai.onnx.ml": 3}
    )
    onnx.graph.input[0].name = "input"
    for node in onnx.graph.node:
        for i, name in enumerate(node.input):
            if name == "X":
                node.input[i] = "input"
    table = pa.table({**{f"x{i}": x[:, i] for i in range(COLUMNS)}, "y": y})
    return onnx.SerializeToString(), table, [round(float(v), 4) for v in x[0]]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wrk(
    url: str, body: bytes, headers: dict[str, str], connections: int, seconds: int, folder: pathlib.Path
) -> dict[str, float]:
    """Returns requests per second and latencies in ms; fails when any answer is not 2xx."""
    script = folder / "post.lua"
    fields = "".join(f"wrk.headers[{json.dumps(k)}] = {json.dumps(v)}\n" for k, v in headers.items())
    script.write_text(
        f"wrk.method = 'POST'\nwrk.body = [==[{body.decode()}]==]\n{fields}"
        "done = function(summary, latency, requests)\n"
        "  local e = summary.errors\n"
        "  io.write(string.format('RESULT %d %d %d %d %d %d %d %d\\n', summary.requests, summary.duration, "
        "latency:percentile(50), latency:percentile(99), latency.max, "
        "e.status, e.connect + e.read + e.write, e.timeout))\n"
        "end\n"
    )
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", str(script), url]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.search(r"^RESULT (.*)$", out, re.M)
    assert found, out
    requests, duration, p50, p99, most, bad, broken, late = (int(n) for n in found[1].split())
    assert bad == broken == late == 0, out
    return {
        "requests_per_s": requests / (duration / 1e6),
        "p50_ms": p50 / 1e3,
        "p99_ms": p99 / 1e3,
        "max_ms": most / 1e3,
    }


def wait_for(url: str, body: bytes, headers: dict[str, str]) -> bytes:
    deadline = time.monotonic() + 30
    while True:
        try:
            with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=5) as response:
                return response.read()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def measure_fastapi(
    folder: pathlib.Path, onnx: bytes, row: list[float], seconds: int
) -> tuple[dict[int, dict[str, float]], float]:
    (folder / "model.onnx").write_bytes(onnx)
    (folder / "app.py").write_text(FASTAPI)
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "uvicorn",
        "app:app",
        "--port",
        str(port),
        "--workers",
        "2",
        "--loop",
        "uvloop",
        "--http",
        "httptools",
        "--no-access-log",
        "--log-level",
        "error",
    ]
    server = subprocess.Popen(command, cwd=folder)
    try:
        url, body, headers = (
            f"http://127.0.0.1:{port}/predict",
            json.dumps({"features": row}).encode(),
            {"Content-Type": "application/json"},
        )
        answer = json.loads(wait_for(url, body, headers))["probability"]
        wrk(url, body, headers, 8, 1, folder)  # warm
        return {c: wrk(url, body, headers, c, seconds, folder) for c in CONNECTIONS}, answer
    finally:
        server.terminate()
        server.wait()


class Ours:
    """A server with two deployments of the model: one logs before it answers, the other after."""

    def __init__(self, folder: pathlib.Path, onnx: bytes, table: pa.Table) -> None:
        self.folder = folder
        self.server = Server(folder / "data")
        self.server.start()
        local = self.server.client()
        root = local.call_json("POST", "/api/people", {"name": "root", "roles": ["admin"]}).json["token"]
        admin = self.server.client(f"Bearer {root}")
        for name, role in (("maria", "modeller"), ("anton", "approver")):
            assert (
                admin.call_json(
                    "POST", "/api/people", {"name": name, "roles": [role], "password": "a-secret-of-" + name}
                ).status
                == 201
            )
        token = admin.call_json("POST", "/api/people/maria/tokens", {"label": "bench"}).json["token"]
        self.headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        serving = Serving(
            self.server.client(f"Bearer {token}"), self.server.client(basic("anton", "a-secret-of-anton"))
        )
        gate = folder / "gate.parquet"
        pq.write_table(table, gate)
        columns = {"columns": [{"name": f"x{i}", "kind": "number"} for i in range(COLUMNS)], "label_column": "y"}
        version = serving.approved(onnx, columns=columns, gate=gate.read_bytes())
        serving.deploy("async", version, log={"durable": False})
        serving.deploy("durable", version)

    def url(self, deployment: str) -> str:
        return f"{self.server.url}/v2/models/{deployment}/infer"

    def measure(self, deployment: str, body: bytes, seconds: int) -> dict[int, dict[str, float]]:
        wrk(self.url(deployment), body, self.headers, 8, 1, self.folder)  # warm
        return {c: wrk(self.url(deployment), body, self.headers, c, seconds, self.folder) for c in CONNECTIONS}


def bodies(row: list[float]) -> dict[str, bytes]:
    matrix = {"inputs": [{"name": "input", "shape": [1, COLUMNS], "datatype": "FP32", "data": row}]}
    columns = {"inputs": [{"name": f"x{i}", "shape": [1], "datatype": "FP64", "data": [v]} for i, v in enumerate(row)]}
    return {"matrix": json.dumps(matrix).encode(), "columns": json.dumps(columns).encode()}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--seconds", type=int, default=5, help="of each figure")
    arguments.add_argument("--json", type=pathlib.Path, help="also write the figures here")
    options = arguments.parse_args()
    if not shutil.which("wrk"):
        sys.exit("bench/predictions.py needs wrk: apt-get install -y wrk")
    onnx, table, row = train()
    figures: dict[str, dict[int, dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        figures["FastAPI"], expected = measure_fastapi(folder, onnx, row, options.seconds)
        ours = Ours(folder, onnx, table)
        try:
            for form, body in bodies(row).items():
                answer = json.loads(wait_for(ours.url("async"), body, ours.headers))["outputs"]
                got = (
                    answer[0]["data"][0]
                    if form == "columns"
                    else next(o for o in answer if o["datatype"] == "FP32")["data"][1]
                )
                assert abs(got - expected) < 1e-6, (form, got, expected)  # the same model indeed
                figures[f"Tidemill, {form}"] = ours.measure("async", body, options.seconds)
            figures["Tidemill, matrix, durable log"] = ours.measure("durable", bodies(row)["matrix"], options.seconds)
        finally:
            ours.server.stop(check=False)
    show(figures)
    if options.json:
        options.json.write_text(
            json.dumps({"cpus": os.cpu_count(), "load": os.getloadavg()[0], "figures": figures}, indent=1)
        )


def show(figures: dict[str, dict[int, dict[str, float]]]) -> None:
    print(
        f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}; "
        f"1 row of {COLUMNS} features, 100 trees; wrk on the same machine\n"
    )
    print(f"{'':32}{'connections':>12}{'req/s':>10}{'p50 ms':>9}{'p99 ms':>9}{'max ms':>9}{'ratio':>8}")
    for name, by_connections in figures.items():
        for connections, figure in by_connections.items():
            ratio = figure["requests_per_s"] / figures["FastAPI"][connections]["requests_per_s"]
            print(
                f"{name:32}{connections:12}{figure['requests_per_s']:10.0f}{figure['p50_ms']:9.2f}"
                f"{figure['p99_ms']:9.2f}"
                f"{figure['max_ms']:9.1f}"
                f"{ratio:7.1f}×"
            )


if __name__ == "__main__":
    main()

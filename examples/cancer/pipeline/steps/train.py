"""Trains with scikit-learn, logs with MLflow's own client, converts to ONNX."""

import json

import mlflow
import pandas as pd
import tidemill
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss, roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

OPSET = 15

step = tidemill.step()
label = step.params["label"]
train = pd.read_parquet(step.input("train.parquet"))
test = pd.read_parquet(step.input("test.parquet"))
features = [column for column in train.columns if column not in (label, step.params["id"])]


def matrix(rows: pd.DataFrame):
    """float32, as the converted model takes it: both then see the same numbers."""
    return rows[features].to_numpy(dtype="float32", na_value=float("nan"))


# This is the part to replace by your own model.
model = make_pipeline(SimpleImputer(strategy="median"), StandardScaler(), LogisticRegression(max_iter=1000))
model.fit(matrix(train), train[label])

probability = model.predict_proba(matrix(test))[:, 1]
mlflow.set_experiment("cancer")
with mlflow.start_run(run_name=step.pipeline_run) as run:
    mlflow.log_params({"model": "logistic regression", "train_rows": len(train), "test_rows": len(test)})
    auc = roc_auc_score(test[label], probability)
    mlflow.log_metrics({"auc": auc, "brier": brier_score_loss(test[label], probability)})

rows_of_floats = [("features", FloatTensorType([None, len(features)]))]
# Without zipmap=False the probabilities would be a list of maps, which no engine serves fast.
onnx = to_onnx(model, initial_types=rows_of_floats, options={id(model): {"zipmap": False}}, target_opset=OPSET)
step.output("model.onnx").write_bytes(onnx.SerializeToString())
columns = [{"name": name, "kind": "number"} for name in features]
step.output("columns.json").write_text(json.dumps({"columns": columns, "label_column": label}))
pd.DataFrame({"probability": probability.astype("float64")}).to_parquet(step.output("predictions.parquet"), index=False)
step.result({"run_id": run.info.run_id})

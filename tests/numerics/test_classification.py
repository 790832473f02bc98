"""AUC, DeLong, Brier, log loss and the confusion counts against scikit-learn and a plain numpy DeLong."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import StatisticsError
from scipy import stats
from sklearn import metrics


def placements(scores: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """DeLong's structural components by their definition: all pairs, O(m n)."""
    up, down = scores[labels == 1], scores[labels == 0]
    wins = (up[:, None] > down[None, :]) + 0.5 * (up[:, None] == down[None, :])
    return wins.mean(axis=1), wins.mean(axis=0)


def delong(first: np.ndarray, second: np.ndarray, labels: np.ndarray) -> tuple[float, float, float]:
    """Returns var(first), var(second) and var(first - second) of DeLong, DeLong & Clarke-Pearson (1988)."""
    (up_a, down_a), (up_b, down_b) = placements(first, labels), placements(second, labels)
    s = np.cov(up_a, up_b) / up_a.size + np.cov(down_a, down_b) / down_a.size
    return s[0, 0], s[1, 1], s[0, 0] + s[1, 1] - 2 * s[0, 1]


def cases(cancer):
    random = np.random.default_rng(7)
    yield (*cancer,)
    for rows in (5, 50, 3000, 20_000):
        labels = (random.random(rows) < 0.3).astype(int)
        labels[:4] = [0, 0, 1, 1]
        smooth = random.random(rows) * 0.7 + labels * 0.2
        tied = np.clip(np.round(smooth + random.normal(0, 0.2, rows), 1), 0, 1)
        yield smooth, tied, labels
    yield np.full(40, 0.25), np.linspace(0, 1, 40), np.tile([0, 1], 20)  # one score for all
    perfect = np.r_[np.zeros(9), np.ones(9)]
    yield perfect, 1 - perfect, perfect.astype(int)


def test_auc_and_its_variance(call, cancer):
    for first, second, labels in cases(cancer):
        for scores in (first, second):
            value, variance, low, high = call("auc", scores, labels)
            assert value == pytest.approx(metrics.roc_auc_score(labels, scores), abs=1e-13)
            if labels.size <= 5000:
                assert variance == pytest.approx(delong(scores, scores, labels)[0], abs=1e-14, rel=1e-10)
            half = stats.norm.ppf(0.975) * np.sqrt(variance)
            assert low == pytest.approx(max(0, value - half), abs=1e-13)
            assert high == pytest.approx(min(1, value + half), abs=1e-13)


def test_the_paired_difference(call, cancer):
    for first, second, labels in cases(cancer):
        if labels.size > 5000:
            continue
        value, variance, z, p = call("auc_difference", first, second, labels)
        by_hand = metrics.roc_auc_score(labels, first) - metrics.roc_auc_score(labels, second)
        assert value == pytest.approx(by_hand, abs=1e-13)
        expected = delong(first, second, labels)[2]
        assert variance == pytest.approx(expected, abs=1e-14, rel=1e-9)
        if expected > 1e-12:
            assert z == pytest.approx(value / np.sqrt(expected), rel=1e-8)
            assert p == pytest.approx(2 * stats.norm.sf(abs(z)), rel=1e-12)


def test_a_model_does_not_differ_from_itself(call, cancer):
    value, variance, z, p = call("auc_difference", cancer[0], cancer[0], cancer[2])
    assert (value, variance, z, p) == (0, 0, 0, 1)


def test_auc_takes_infinite_scores_and_both_zeros(call):
    labels = [0, 0, 1, 1]
    assert call("auc", [-np.inf, 0.0, -0.0, np.inf], labels)[0] == metrics.roc_auc_score(labels, [-9, 0, 0, 9])


def test_separation_is_ks_of_the_classes(call, cancer):
    for scores, _, labels in cases(cancer):
        expected = stats.ks_2samp(scores[labels == 1], scores[labels == 0]).statistic
        assert call("separation", scores, labels)[0] == pytest.approx(expected, abs=1e-14)


def test_brier_log_loss_and_confusion(call, cancer):
    for scores, tied, labels in cases(cancer):
        for p in (scores, tied):
            p = np.clip(p, 0, 1)
            value, variance = call("brier", p, labels)
            errors = (p - labels) ** 2
            assert value == pytest.approx(metrics.brier_score_loss(labels, p), abs=1e-15, rel=1e-13)
            assert variance == pytest.approx(errors.var(ddof=1) / errors.size, abs=1e-17, rel=1e-11)
            assert call("log_loss", p, labels)[0] == pytest.approx(metrics.log_loss(labels, p), rel=1e-12)
            for threshold in (0.0, 0.3, 0.5, 1.0):
                called = (p >= threshold).astype(int)
                precision, recall, f1, _ = metrics.precision_recall_fscore_support(
                    labels, called, average="binary", zero_division=0
                )
                expected = [metrics.accuracy_score(labels, called), precision, recall, f1]
                assert call("confusion", p, labels, threshold) == pytest.approx(expected, abs=1e-14)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (([0.1, 0.2], [0, 0]), "statistics.one_class"),
        (([0.1, 0.2], [1, 1]), "statistics.one_class"),
        (([], []), "statistics.empty"),
        (([0.1, 0.2], [0]), "statistics.length"),
        (([0.1, np.nan], [0, 1]), "statistics.not_a_number"),
        (([0.1, 0.2], [0, 2]), "statistics.label"),
    ],
)
def test_auc_refuses(call, arguments, reason):
    with pytest.raises(StatisticsError, match=reason):
        call("auc", *arguments)


@pytest.mark.parametrize("bad", [np.nan, -0.001, 1.001, np.inf])
def test_probabilities_must_be_probabilities(call, bad):
    for function in ("brier", "log_loss"):
        with pytest.raises(StatisticsError, match=r"statistics\.not_a_probability"):
            call(function, [0.5, bad], [0, 1])


def test_two_rows_of_one_class_are_needed_for_a_variance(call):
    value, variance, low, high = call("auc", [0.1, 0.2, 0.3], [0, 0, 1])
    assert value == 1 and np.isnan(variance) and (low, high) == (0, 1)

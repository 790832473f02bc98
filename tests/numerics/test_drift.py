"""Two-sample statistics against scipy, on real flights and on hard random data."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import StatisticsError
from scipy import stats
from scipy.spatial import distance


def samples(flights):
    first, second = flights
    for column in ("dep_delay", "distance", "air_time", "hour"):
        yield first[column].to_numpy(float)[:30_000], second[column].to_numpy(float)[:20_000]
    random = np.random.default_rng(11)
    for n1, n2 in ((1, 1), (1, 9), (3, 4), (20, 31), (200, 150), (900, 1100), (5000, 8000)):
        yield random.normal(0, 1, n1), random.normal(0, 1, n2)
        yield random.normal(0, 1, n1), random.normal(0.3, 1.2, n2)
        yield random.integers(0, 4, n1).astype(float), random.integers(0, 5, n2).astype(float)  # nothing but ties
    yield random.normal(0, 1, 6000) * 1e300, -random.normal(0, 1, 6000) * 1e-300  # extremes of the exponent
    yield np.r_[np.nan, random.random(40), np.nan], np.r_[random.random(30), np.nan]  # missing values
    yield np.zeros(50), np.zeros(70)  # one constant
    yield np.zeros(50), np.ones(70)  # two of them


def present(sample: np.ndarray) -> np.ndarray:
    return sample[~np.isnan(sample)]


def test_ks_is_scipys(call, flights):
    for a, b in samples(flights):
        d, p = call("ks", a, b)
        expected = stats.ks_2samp(present(a), present(b), method="asymp")
        assert d == pytest.approx(expected.statistic, abs=1e-15)
        if a.size * b.size / (a.size + b.size) <= 0.5:
            assert p == 1  # one value against one: scipy says NaN
        else:
            assert p == pytest.approx(expected.pvalue, rel=1e-8, abs=1e-14), (a.size, b.size)


def test_kolmogorov_distribution(call):
    for n in (1, 2, 3, 7, 20, 99, 139, 140, 141, 200, 1000, 5000, 30_000, 100_001):
        typical = np.array([0.3, 0.5, 0.8, 1.0, 1.2, 1.36, 1.63, 2.0, 3.0]) / np.sqrt(n)
        grid = np.unique(np.r_[np.linspace(0.01, 0.99, 23), typical, 0.4 / n, 0.9 / n])
        for d in grid[(grid > 0) & (grid < 1)]:
            assert call("kolmogorov", [n, d])[0] == pytest.approx(stats.kstwo.sf(d, n), rel=2e-8, abs=1e-13), (n, d)
    assert call("kolmogorov", [10, 0.0])[0] == 1
    assert call("kolmogorov", [10, 1.0])[0] == 0


def test_wasserstein_is_scipys(call, flights):
    for a, b in samples(flights):
        expected = stats.wasserstein_distance(present(a), present(b))
        assert call("wasserstein", a, b)[0] == pytest.approx(expected, rel=1e-11, abs=1e-15)


def test_infinite_values_are_ranked_but_have_no_distance(call):
    a, b = [-np.inf, 0, 1, np.inf], [0, 0.5, 1, 2]
    assert call("ks", a, b)[0] == stats.ks_2samp([-99, 0, 1, 99], b).statistic
    with pytest.raises(StatisticsError, match=r"statistics\.infinite"):
        call("wasserstein", a, b)


def tables():
    random = np.random.default_rng(3)
    yield np.array([90.0, 60.0]), np.array([30.0, 50.0])  # one degree of freedom: Yates
    yield np.array([3.0, 1.0]), np.array([1.0, 3.0])
    for k in (3, 8, 40):
        for size in (5, 50, 5000):
            yield random.integers(1, size, k).astype(float), random.integers(1, size, k).astype(float)
            # a category that is new
            yield np.r_[0.0, random.integers(1, size, k)], np.r_[2.0, random.integers(1, size, k)]


def test_chi2_is_scipys(call):
    for a, b in tables():
        statistic, p, degrees = call("chi2", a, b)
        expected = stats.chi2_contingency(np.array([a, b]))
        assert (statistic, p) == pytest.approx((expected.statistic, expected.pvalue), rel=1e-11, abs=1e-300)
        assert degrees == expected.dof


def test_chi2_leaves_out_what_never_occurs(call):
    assert list(call("chi2", [5, 0, 9, 4], [6, 0, 2, 8])) == list(call("chi2", [5, 9, 4], [6, 2, 8]))
    assert list(call("chi2", [5, 0], [7, 0])) == [0, 1, 0]


def test_jensen_shannon_is_scipys(call):
    for a, b in tables():
        assert call("jensen_shannon", a, b)[0] == pytest.approx(distance.jensenshannon(a, b), rel=1e-11, abs=1e-15)
    assert call("jensen_shannon", [1, 0], [0, 1])[0] == pytest.approx(np.sqrt(np.log(2)))


def test_psi_by_its_definition(call):
    for a, b in tables():
        before, now = (a + 0.5) / (a + 0.5).sum(), (b + 0.5) / (b + 0.5).sum()
        value, no_drift, p = call("psi", a, b)
        assert value == pytest.approx(np.sum((now - before) * np.log(now / before)), rel=1e-11)
        noise = 1 / a.sum() + 1 / b.sum()
        assert no_drift == pytest.approx((a.size - 1) * noise)
        assert p == pytest.approx(stats.chi2.sf(value / noise, a.size - 1), rel=1e-10)


def test_psi_without_drift_is_what_it_says(call):
    """The mean of many samples of one distribution meets no_drift, and p is uniform: the chi-squared law holds."""
    random = np.random.default_rng(5)
    shares = np.full(10, 0.1)
    pairs = [(random.multinomial(4000, shares), random.multinomial(3000, shares)) for _ in range(2000)]
    values = np.array([call("psi", before, now) for before, now in pairs])
    assert values[:, 0].mean() == pytest.approx(values[0, 1], rel=0.05)
    assert stats.kstest(values[:, 2], "uniform").pvalue > 0.001


def test_psi_of_an_empty_bin_is_finite_and_grows_with_the_evidence(call):
    few, many = call("psi", [10, 10], [20, 0])[0], call("psi", [1000, 1000], [2000, 0])[0]
    assert 0 < few < many < np.inf


@pytest.mark.parametrize("function", ["chi2", "jensen_shannon", "psi"])
@pytest.mark.parametrize(
    ("a", "b", "reason"),
    [
        ([1, 2], [1], "statistics.length"),
        ([0, 0], [1, 2], "statistics.empty"),
        ([1, -1], [1, 2], "statistics.count"),
        ([1, np.nan], [1, 2], "statistics.count"),
        ([1, np.inf], [1, 2], "statistics.count"),
    ],
)
def test_counts_are_checked(call, function, a, b, reason):
    with pytest.raises(StatisticsError, match=reason):
        call(function, a, b)


@pytest.mark.parametrize("function", ["ks", "wasserstein"])
def test_empty_samples_are_refused(call, function):
    for a, b in (([], [1]), ([np.nan], [1]), ([1], [])):
        with pytest.raises(StatisticsError, match=r"statistics\.empty"):
            call(function, a, b)


def test_sorting(call):
    random = np.random.default_rng(1)
    for n in (0, 1, 2, 4095, 4096, 4097, 30_000):
        values = random.normal(0, 1, n) * 10.0 ** random.integers(-300, 300, n)
        values[::7] = np.nan
        values[1::11] = np.inf
        values[2::13] = -np.inf
        values[3::5] = -0.0
        assert list(call("sort", values)) == sorted(present(values))


def test_quantiles_are_numpys_inverted_cdf(call):
    random = np.random.default_rng(2)
    for n in (1, 2, 9, 10, 11, 1000):
        values = np.round(random.normal(0, 1, n), 1)
        for q in (0, 0.1, 0.25, 0.3, 0.5, 0.7, 0.9, 1):
            assert call("quantile", values, q)[0] == np.quantile(values, q, method="inverted_cdf")


def test_bins_hold_what_they_say(call, flights):
    for a, _ in samples(flights):
        out = call("edges", a)
        bins = (out.size + 1) // 2
        edges, counts = out[: bins - 1], out[bins - 1 :]
        wanted = np.unique(np.quantile(present(a), np.arange(1, 10) / 10, method="inverted_cdf"))
        assert list(edges) == [e for e in wanted if e < present(a).max()]
        expected = np.bincount(np.searchsorted(edges, present(a), side="left"), minlength=bins)
        assert list(counts) == list(expected)


def test_drift_against_a_baseline(call, flights):
    """While training had no more values than the baseline keeps, KS and Wasserstein are exact; else D errs by 1/512."""
    random = np.random.default_rng(9)
    small, now = random.normal(0, 1, 200), random.normal(0.5, 1, 3000)
    psi, d, p, w, js, missing = call("number_drift", small, now)
    expected = stats.ks_2samp(small, now, method="asymp")
    assert (d, p) == pytest.approx((expected.statistic, expected.pvalue), rel=1e-8)
    assert w == pytest.approx(stats.wasserstein_distance(small, now), rel=1e-11)
    for a, b in samples(flights):
        _, d, *_ = call("number_drift", a, b)
        assert d == pytest.approx(stats.ks_2samp(present(a), present(b)).statistic, abs=1 / 512 + 1e-12)


def test_a_column_that_goes_missing_has_drifted(call):
    random = np.random.default_rng(4)
    before, now = random.normal(0, 1, 5000), random.normal(0, 1, 5000)
    assert call("number_drift", before, now)[0] < 0.01
    now[:2000] = np.nan
    psi, *_, missing = call("number_drift", before, now)
    assert psi > 0.25 and missing == 0.4
    assert call("number_drift", before, np.full(100, np.nan))[0] > 0.25


def test_drift_of_a_category(call):
    random = np.random.default_rng(6)
    before, now = random.integers(-1, 5, 4000), random.integers(-2, 6, 3000)
    psi, chi2, p, js = call("category_drift", before, now, 5)

    def counts(codes: np.ndarray) -> list[float]:
        return [float((codes == c).sum()) for c in range(5)] + [float(((codes < -1) | (codes >= 5)).sum())]

    expected = stats.chi2_contingency(np.array([counts(before), counts(now)]))
    assert (chi2, p) == pytest.approx((expected.statistic, expected.pvalue), rel=1e-10)
    with_missing = [counts(before) + [(before == -1).sum()], counts(now) + [(now == -1).sum()]]
    assert js == pytest.approx(distance.jensenshannon(*map(np.array, with_missing)), rel=1e-11)

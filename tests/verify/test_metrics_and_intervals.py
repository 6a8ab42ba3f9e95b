import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import r2_score, roc_auc_score

from mlopt.verify.intervals import bootstrap, paired_drop_interval, ratio_interval, share_interval, wilson
from mlopt.verify.metrics import auc, per_sample, r2, top_classes, weighted_auc


def test_the_top_class_of_a_tie_is_the_first_and_of_a_nan_is_none():
    scores = np.array([[1.0, 1.0, 0.0], [0.0, np.nan, 1.0], [0.0, 1.0, np.inf], [0.0, 0.5, 1.0]])
    assert top_classes(scores).tolist() == [0, -1, -1, 2]


def test_the_score_of_a_dense_sample_is_its_share_of_right_positions():
    assert per_sample(np.array([[[True, True], [False, True]], [[False, False], [False, False]]])).tolist() == [0.75, 0]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5)), min_size=2, max_size=60))
def test_auc_equals_sklearns_also_with_ties(pairs):
    labels, scores = np.array([p for p, _ in pairs], dtype=int), np.array([s for _, s in pairs], dtype=float)
    if labels.min() == labels.max():
        assert np.isnan(auc(labels, scores))
    else:
        assert auc(labels, scores) == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)


def test_auc_is_undefined_with_a_nan_score():
    assert np.isnan(auc(np.array([0, 1]), np.array([0.1, np.nan])))


def test_weighting_a_sample_twice_is_having_it_twice():
    labels, scores = np.array([0, 1, 0, 1, 1]), np.array([0.2, 0.3, 0.3, 0.1, 0.9])
    weights = np.array([[1, 2, 0, 3, 1]])
    repeated = np.repeat(np.arange(5), weights[0])
    assert weighted_auc(labels, scores, weights)[0] == pytest.approx(roc_auc_score(labels[repeated], scores[repeated]))


def test_r2_of_several_values_is_sklearns_variance_weighted_one():
    random = np.random.default_rng(0)
    truth, output = random.normal(size=(50, 3)) * [1, 5, 0.2], random.normal(size=(50, 3))
    error, spread = ((truth - output) ** 2).sum(axis=1), ((truth - truth.mean(axis=0)) ** 2).sum(axis=1)
    assert r2(error, spread) == pytest.approx(r2_score(truth, output, multioutput="variance_weighted"))


def test_r2_of_labels_that_do_not_vary_is_unknown():
    assert np.isnan(r2(np.ones(3), np.zeros(3))) and np.isnan(r2(np.zeros(0), np.zeros(0)))


@pytest.mark.parametrize(("right", "n"), [(0, 7), (3, 7), (7, 7), (4510, 5000)])
def test_wilson_equals_scipys(right, n):
    found, wanted = wilson(right / n, n), stats.binomtest(right, n).proportion_ci(method="wilson")
    assert (found.low, found.high) == pytest.approx((wanted.low, wanted.high), abs=1e-12)


@pytest.mark.parametrize("n", [1, 3, 300, 10_000])
def test_the_interval_of_none_or_all_holds_the_share_itself(n):
    assert wilson(1.0, n).high == 1.0 and wilson(0.0, n).low == 0.0
    assert wilson(1.0, n).low == pytest.approx(1 - wilson(0.0, n).high)


def test_a_share_of_zeros_and_ones_gets_wilsons_interval():
    scores = np.r_[np.ones(13), np.zeros(7)]
    found, wanted = share_interval(scores), wilson(13 / 20, 20)
    assert (found.low, found.high) == pytest.approx((wanted.low, wanted.high))


def test_positions_that_err_alike_count_as_one_sample():
    together = np.repeat([1.0, 0.0], 50)                       # each sample wholly right or wholly wrong
    apart = np.full(100, 0.5) + np.tile([0.01, -0.01], 50)     # the same share, hardly any spread between samples
    wide, narrow = share_interval(together), share_interval(apart)
    assert wide.high - wide.low > 5 * (narrow.high - narrow.low)


def test_no_samples_no_interval():
    for found in (share_interval(np.zeros(0)), paired_drop_interval(np.zeros(0)), wilson(0.5, 0)):
        assert np.isnan(found.low) and np.isnan(found.high)


def test_bonett_and_prices_interval_worked_by_hand():
    # 20 pairs: source right and file wrong in 4, the other way in 1. p12 = 5/22, p21 = 2/22, difference 3/22,
    # variance (7/22 - 9/484) / 22 = 0.0136176..., half width 1.959964 * 0.1166946 = 0.2287172
    drops = np.array([1.0] * 4 + [-1.0] + [0.0] * 15)
    found = paired_drop_interval(drops)
    assert found.low == pytest.approx(3 / 22 - 0.2287172, abs=1e-6)
    assert found.high == pytest.approx(3 / 22 + 0.2287172, abs=1e-6)


def test_dense_drops_get_students_t():
    drops = np.random.default_rng(0).normal(0.01, 0.1, 30).clip(-1, 1)
    wanted = stats.ttest_1samp(drops, 0).confidence_interval(0.95)
    found = paired_drop_interval(drops)
    assert (found.low, found.high) == pytest.approx((wanted.low, wanted.high))


@pytest.mark.parametrize(("n", "lost", "won"), [(50, 0.06, 0.02), (200, 0.02, 0.02), (1000, 0.015, 0.005)])
def test_the_paired_interval_covers_the_truth_about_95_times_in_100(n, lost, won):
    random = np.random.default_rng(7)
    trials, covered = 2000, 0
    for counts in random.multinomial(n, [lost, won, 1 - lost - won], size=trials):
        drops = np.repeat([1.0, -1.0, 0.0], counts)
        found = paired_drop_interval(drops)
        covered += found.low <= lost - won <= found.high
    assert 0.935 <= covered / trials <= 0.99       # three standard errors of 2,000 trials are 1.5 points


def test_a_ratio_of_equal_wholes_has_the_interval_of_a_mean():
    parts = np.random.default_rng(1).integers(0, 4, 40)
    wanted = stats.ttest_1samp(parts / 4, 0).confidence_interval(0.95)
    found = ratio_interval(parts, np.full(40, 4))
    assert (found.low, found.high) == pytest.approx((wanted.low, wanted.high))


def test_the_bootstrap_of_a_mean_is_near_students_interval_and_repeats_itself():
    values = np.random.default_rng(2).normal(size=400)

    def mean(weights):
        return (weights @ values / 400)[:, None]

    (found,) = bootstrap(mean, np.zeros(400), seed=3)
    (again,) = bootstrap(mean, np.zeros(400), seed=3)
    wanted = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert found == again
    assert (found.low, found.high) == pytest.approx((wanted.low, wanted.high), abs=0.02)


def test_strata_keep_their_sizes_in_every_draw():
    strata = np.array([0] * 3 + [1] * 97)
    seen = []

    def count(weights):
        seen.append(weights[:, strata == 0].sum(axis=1))
        return np.zeros((len(weights), 1))

    bootstrap(count, strata, seed=0, replicates=50)
    assert (np.concatenate(seen) == 3).all()


def test_the_bootstrap_interval_of_an_auc_covers_the_truth():
    random = np.random.default_rng(5)
    truth, covered, trials = stats.norm.cdf(1 / np.sqrt(2)), 0, 150     # unit normals one apart
    for trial in range(trials):
        labels = np.repeat([0, 1], 60)
        scores = random.normal(size=120) + labels
        (found,) = bootstrap(
            lambda w, y=labels, s=scores: weighted_auc(y, s, w)[:, None], labels, seed=trial, replicates=300
        )
        covered += found.low <= truth <= found.high
    assert covered / trials >= 0.88                # 95 % less three standard errors of 150 trials

"""From fits of folds to results: means, paired differences, intervals, the mixture, the verdict."""

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from skltransfer.model_selection._comparison import Comparison
from skltransfer.model_selection._folds import Folds, target_folds
from skltransfer.model_selection._metrics import Metric, Predicted
from skltransfer.model_selection._mixture import exponential_weights, sample_losses
from skltransfer.model_selection._results import (
    FoldFit,
    Paired,
    Scoring,
    Track,
    best_of,
    mixed,
    results_of,
)

CLASSES = np.array(["no", "yes"])


def make_folds(n, *, n_repeats=2, n_folds=5, groups=None, seed=0):
    rng, splits = np.random.default_rng(seed), []
    for _ in range(n_repeats):
        fold = np.arange(n) // 2 % n_folds  # each holds both classes where they alternate
        fold = np.roll(fold, rng.integers(n // 4) * 2)
        splits += [(np.flatnonzero(fold != k), np.flatnonzero(fold == k)) for k in range(n_folds)]
    return Folds(splits, n, n_repeats, groups)


def make_scoring(y, folds, scoring=None, classes=CLASSES):
    return Scoring(folds, Metric.of(scoring, y, classes), np.zeros((len(y), 1)), y, classes)


def make_track(name, scoring, outputs, folds_done=None):
    """Return the track of a strategy with the same outputs in all repetitions."""
    fits = []
    for number, (_, test) in enumerate(scoring.folds.splits):
        if folds_done is not None and number not in folds_done:
            fits.append(None)
            continue
        part = outputs[test]
        model = Predicted(part, scoring.classes)
        fits.append(FoldFit(*scoring.metric(model, None, scoring.y[test], part), part, 1.0))
    return Track(name, "instance", None, fits)


def two_columns(p):
    return np.column_stack([1 - p, p])


@pytest.fixture
def classified():
    rng = np.random.default_rng(0)
    y = CLASSES[np.arange(40) % 2]
    return y, rng.uniform(0.05, 0.95, 40), rng.uniform(0.05, 0.95, 40)


def test_accuracy_and_its_difference_by_brute_force(classified):
    y, p, q = classified
    scoring = make_scoring(y, make_folds(40))
    paired = Paired(
        scoring,
        {
            "base": make_track("base", scoring, two_columns(p)),
            "other": make_track("other", scoring, two_columns(q)),
        },
    )
    hits = [((part > 0.5) == (y == "yes")).astype(float) for part in (p, q)]
    estimate, difference = paired.score("other"), hits[1] - hits[0]
    assert estimate.mean == pytest.approx(hits[1].mean())
    # One more deviation of 1, the step of hits, enters the variance.
    margin = stats.t.ppf(0.975, 39) * np.sqrt((hits[1].var(ddof=1) + 1 / 39) / 40 * 5 / 4)
    assert estimate.high - estimate.mean == pytest.approx(margin)
    found = paired.difference("other", "base")
    error = np.sqrt((difference.var(ddof=1) + 1 / 39) / 40 * 5 / 4)
    assert found.mean == pytest.approx(difference.mean())
    assert found.mean - found.low == pytest.approx(stats.t.ppf(0.975, 39) * error)
    assert found.p_value == pytest.approx(2 * stats.t.sf(abs(difference.mean() / error), 39))


def test_log_loss_is_the_evidence_and_scores_by_name(classified):
    y, p, q = classified
    scoring = make_scoring(y, make_folds(40), "neg_log_loss")
    tracks = {n: make_track(n, scoring, two_columns(o)) for n, o in (("base", p), ("other", q))}
    paired = Paired(scoring, tracks)
    losses = [-np.log(np.where(y == "yes", part, 1 - part)) for part in (p, q)]
    assert paired.loss("base") == pytest.approx(losses[0].mean())
    assert paired.score("base").mean == pytest.approx(-losses[0].mean())
    assert paired.evidence("other", "base").mean == pytest.approx((losses[0] - losses[1]).mean())


def test_metrics_that_are_no_means_take_the_interval_of_nadeau_and_bengio(classified):
    y, p, q = classified
    scoring = make_scoring(y, make_folds(40), "roc_auc")
    tracks = {n: make_track(n, scoring, two_columns(o)) for n, o in (("base", p), ("other", q))}
    found = Paired(scoring, tracks).difference("other", "base")
    aucs = np.array(
        [
            [roc_auc_score(y[t] == "yes", part[t]) for part in (p, q)]
            for _, t in scoring.folds.splits
        ]
    )
    gains = aucs[:, 1] - aucs[:, 0]
    error = np.sqrt(gains.var(ddof=1) * (1 / 10 + 8 / 32))
    assert found.mean == pytest.approx(gains.mean())
    assert found.high - found.mean == pytest.approx(stats.t.ppf(0.975, 9) * error)


def test_r2_refers_to_the_variance_of_all_labels():
    rng = np.random.default_rng(0)
    y, p = rng.normal(size=20), rng.normal(size=20)
    scoring = make_scoring(y, make_folds(20, n_folds=10), classes=None)
    score = Paired(scoring, {"base": make_track("base", scoring, p)}).score("base")
    assert score.mean == pytest.approx(1 - ((y - p) ** 2).mean() / y.var())


def test_samples_of_a_group_are_one_observation(classified):
    """Twice the same data, with copies in one group, tells no more than once."""
    y, p, q = classified
    intervals = []
    for groups in (None, np.repeat(np.arange(40), 2), None):
        labels, outputs = (y, (p, q)) if not intervals else (np.repeat(y, 2), None)
        outputs = outputs or (np.repeat(p, 2), np.repeat(q, 2))
        scoring = make_scoring(labels, make_folds(len(labels), groups=groups))
        tracks = {
            name: make_track(name, scoring, two_columns(part))
            for name, part in zip(("base", "other"), outputs, strict=True)
        }
        found = Paired(scoring, tracks).difference("other", "base")
        intervals.append((found.low, found.high))
    assert intervals[1] == pytest.approx(intervals[0])
    assert np.ptp(intervals[2]) < 0.8 * np.ptp(intervals[0])


def test_strategies_with_few_folds_are_paired_on_these(classified):
    y, p, q = classified
    scoring = make_scoring(y, make_folds(40))
    paired = Paired(
        scoring,
        {
            "base": make_track("base", scoring, two_columns(p)),
            "other": make_track("other", scoring, two_columns(q), folds_done={0, 1}),
        },
    )
    test = np.concatenate([scoring.folds.splits[number][1] for number in (0, 1)])
    hits = [((part > 0.5) == (y == "yes"))[test] for part in (p, q)]
    assert paired.difference("other", "base").mean == pytest.approx(hits[1].mean() - hits[0].mean())


def weigh(losses, n_samples):
    return exponential_weights(
        losses, prior_rows=20, baseline_share=0.2, min_weight=0.03, n_samples=n_samples
    )


def test_the_mixture_is_cross_fitted(classified):
    y, p, q = classified
    scoring = make_scoring(y, make_folds(40, n_repeats=1))
    outputs = [two_columns(part) for part in (p, q)]
    tracks = {n: make_track(n, scoring, o) for n, o in zip("ab", outputs, strict=True)}
    track, weights = mixed(scoring, tracks, weigh)
    losses = np.array([sample_losses(part, scoring.coded) for part in outputs])
    for (train, test), fit in zip(scoring.folds.splits, track.fits, strict=True):
        share = weigh(losses[:, train], 40)[1]
        expected = (1 - share) * outputs[0][test] + share * outputs[1][test]
        np.testing.assert_allclose(fit.outputs, expected)
    assert list(weights.values()) == pytest.approx(weigh(losses, 40).tolist())


def test_labels_of_a_fold_have_no_part_in_its_mixture(classified):
    y, p, q = classified
    before, after = (
        mixed(
            (scoring := make_scoring(labels, make_folds(40, n_repeats=1))),
            {n: make_track(n, scoring, two_columns(o)) for n, o in (("a", p), ("b", q))},
            weigh,
        )[0]
        for labels in (y, np.where(np.isin(np.arange(40), make_folds(40).splits[0][1]), "no", y))
    )
    np.testing.assert_array_equal(before.fits[0].outputs, after.fits[0].outputs)
    assert not np.array_equal(before.fits[1].outputs, after.fits[1].outputs)


def comparison_of(y, outputs, *, n_labelled=None, scoring=None, classes=CLASSES):
    folds = make_folds(len(y))
    how = make_scoring(y, folds, scoring, classes)
    tracks = {name: make_track(name, how, part) for name, part in outputs.items()}
    paired = Paired(how, tracks)
    return Comparison(
        "title", how.metric.name, "no transfer", results_of(paired, "no transfer", {}),
        len(y), 0, 100, 5, 2, classes is not None, best_=best_of(paired, "no transfer", tracks),
    )  # fmt: skip


def simulated(n, gain, seed=0):
    """Return labels and probabilities, those of the mixture with better logits by `gain`."""
    rng = np.random.default_rng(seed)
    sign = rng.choice([-1, 1], n)
    logits = sign * 0.5 + rng.normal(size=n)
    outputs = {
        name: two_columns(1 / (1 + np.exp(-(logits + add * sign))))
        for name, add in (("no transfer", 0), ("pooled", -0.1), ("mixture", gain))
    }
    return CLASSES[(sign > 0).astype(int)], outputs


@pytest.mark.parametrize(
    ("n", "gain", "outcome", "opening"),
    [
        (60, 1.0, "helps", "Transfer helps: the mixture's log loss is"),
        (60, -1.0, "hurts", "Transfer hurts: the mixture's log loss is"),
        (60, 0.0, "no evidence", "No evidence either way: the mixture's log loss is 0.000 nats"),
        (12, 1.0, "unknown", "Whether transfer helps cannot be told from 12 labels"),
    ],
)
def test_the_verdict_on_simulated_effects(n, gain, outcome, opening):
    comparison = comparison_of(*simulated(n, gain))
    assert comparison.outcome == outcome
    assert comparison.verdict.startswith(opening)


def test_the_verdict_holds_the_numbers_of_the_results():
    comparison = comparison_of(*simulated(60, 1.0))
    result = comparison.results["mixture"]
    loss, low, high = (
        f"{-value:.3f}"
        for value in (
            result.loss_difference, result.loss_difference_high, result.loss_difference_low
        )
    )  # fmt: skip
    scores = [f"{comparison.results[n].score:.1%}" for n in ("mixture", "no transfer")]
    scores = [score.replace("%", " %") for score in scores]
    pooled = comparison.results["pooled"].loss
    gains = [f"{pooled - comparison.results[n].loss:.3f}" for n in ("mixture", "no transfer")]
    assert comparison.verdict == (
        f"Transfer helps: the mixture's log loss is {loss} nats lower than that of no transfer "
        f"(95 % interval: {low} to {high} lower; accuracy {scores[0]} instead of {scores[1]}; 60 "
        f"labels). Better than plain pooling (log loss lower by): mixture ({gains[0]} nats), no "
        f"transfer ({gains[1]} nats)."
    )


def test_the_verdict_of_numbers_is_in_percent_of_the_squared_error():
    rng = np.random.default_rng(0)
    y = rng.normal(size=50)
    error = rng.normal(size=50)
    outputs = {"no transfer": y + error, "pooled": y + error, "mixture": y + 0.5 * error}
    verdict = comparison_of(y, outputs, classes=None).verdict
    assert verdict.startswith(
        "Transfer helps: the mixture's squared error is 75.0 % lower than that of no transfer"
    )


def ridge(X, y):
    return np.linalg.solve(X.T @ X + np.eye(X.shape[1]), X.T @ y)


def test_false_alarms_of_helps_without_an_effect():
    """Other samples of the same distribution, as many as there are: as good on average."""
    n, weights, rng, false, helps = 40, np.ones(5) / np.sqrt(5), np.random.default_rng(0), 0, 0
    folds = make_folds(n)
    for _ in range(250):
        X, X_other = rng.normal(size=(n, 5)), rng.normal(size=(n, 5))
        y, y_other = (rows @ weights + rng.normal(size=n) for rows in (X, X_other))
        scoring, other = make_scoring(y, folds, classes=None), ridge(X_other, y_other)
        fits = [X[test] @ ridge(X[train], y[train]) for train, test in folds.splits]
        tracks = {
            "base": Track("base", "baseline", None, [FoldFit(outputs=part) for part in fits]),
            "other": make_track("other", scoring, X @ other),
        }
        says_so = Paired(scoring, tracks).evidence("other", "base").low > 0
        risks = [((found - weights) ** 2).sum() for found in (ridge(X, y), other)]
        helps += says_so
        false += says_so and risks[1] >= risks[0]
    assert helps > 0
    assert false / 250 <= 0.05


def test_the_mixture_is_the_choice_unless_another_is_better_beyond_chance():
    y, outputs = simulated(60, 0.5)
    assert comparison_of(y, outputs).best_ == "mixture"
    little, much = (two_columns(np.where(y == "yes", p, 1 - p)) for p in (0.5, 0.99))
    noise = np.random.default_rng(0).uniform(-0.04, 0.05, 60) * np.where(y == "yes", 1, -1)
    close = two_columns(np.clip(outputs["mixture"][:, 1] + noise, 0.01, 0.99))
    others = {"little": little, "close": close}
    assert comparison_of(y, {**outputs, **others}).best_ == "mixture"
    assert comparison_of(y, {**outputs, "much": much}).best_ == "much"


def test_folds_deal_each_class_twice_over():
    y = np.repeat([0, 1, 2], [10, 9, 1])
    folds = target_folds(y, None, None, True, 0, np.arange(20), y)
    assert (folds.n_folds, folds.n_repeats) == (5, 2)
    for repeat in range(2):
        tests = [test for _, test in folds.splits[5 * repeat : 5 * repeat + 5]]
        assert sorted(np.concatenate(tests)) == list(range(20))
        assert [sum(y[test] == 0) for test in tests] == [2] * 5
    assert not all(
        np.array_equal(a[1], b[1]) for a, b in zip(folds.splits[:5], folds.splits[5:], strict=True)
    )

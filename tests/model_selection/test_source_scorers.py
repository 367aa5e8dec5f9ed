"""Scorers on weighted source samples: unbiased, by the formulas, and on samples of the source."""

import numpy as np
import pytest
from sklearn.base import BaseEstimator
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.ensemble import VotingClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import log_loss, make_scorer, max_error, roc_auc_score
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import StandardScaler

from skltransfer import (
    CORAL,
    TCA,
    DiscriminativeReweighter,
    FeatureAugmenter,
    FineTunedClassifier,
    GaussianReweighter,
    KMMReweighter,
    WithSource,
    WithTarget,
    deep_embedded_validation_scorer,
    importance_weighted_scorer,
)
from skltransfer.model_selection._source_samples import as_source, last_features

SHIFT, WIDTH = 1.0, 0.7  # the target is N(SHIFT, WIDTH^2), the source N(0, 1)


def exact_ratio(X):
    x = np.asarray(X)[:, 0]
    return np.exp(x**2 / 2 - ((x - SHIFT) / WIDTH) ** 2 / 2) / WIDTH


class ExactReweighter(BaseEstimator):
    """A reweighter of the user's own, with the weights that are right."""

    def fit(self, X, y=None, *, X_target):
        self.sample_weight_ = exact_ratio(X)
        return self


def labels(x, rng):
    return x**2 / 2 + rng.normal(scale=0.3, size=x.shape)


@pytest.fixture(scope="module")
def simulated():
    """Return a model, its risk on the target, and draws of source samples."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=200)
    model = Ridge().fit(x[:, None], labels(x, rng))
    far = rng.normal(SHIFT, WIDTH, size=400_000)
    risk = np.mean((labels(far, rng) - model.predict(far[:, None])) ** 2)
    draws = [(x[:, None], labels(x, rng)) for x in rng.normal(size=(300, 150))]
    return model, risk, draws


def scores_of(scorer, simulated):
    return -np.array([scorer(simulated[0], X, y) for X, y in simulated[2]])


def test_the_weighted_error_is_that_on_the_target(simulated):
    """Mean over the draws within its standard error; the plain error is far from it."""
    model, risk, draws = simulated
    X_target = np.zeros((1, 1))
    plain = np.array([np.mean((y - model.predict(X)) ** 2) for X, y in draws])
    by_hand = np.array([np.mean(exact_ratio(X) * (y - model.predict(X)) ** 2) for X, y in draws])
    found = {"by hand": by_hand}
    for control_variate in (False, True):
        scorer = importance_weighted_scorer(
            X_target=X_target, reweighter=exact_ratio, control_variate=control_variate
        )
        found[control_variate] = scores_of(scorer, simulated)
    for values in found.values():
        error = values.std(ddof=1) / np.sqrt(len(values))
        assert abs(values.mean() - risk) < 2 * error
        assert abs(plain.mean() - risk) > 10 * error
    assert found[True].var() < 0.9 * found["by hand"].var()


def test_a_reweighter_of_the_users_own(simulated):
    arguments = {"X_target": np.zeros((1, 1))}
    own = importance_weighted_scorer(reweighter=ExactReweighter(), **arguments)
    known = importance_weighted_scorer(reweighter=exact_ratio, **arguments)
    X, y = simulated[2][0]
    assert own(simulated[0], X, y) == known(simulated[0], X, y)


def test_the_control_variate_is_that_of_the_paper(simulated):
    """You et al. 2019, algorithm 1."""
    model, _, draws = simulated
    X, y = draws[0]
    W, L = exact_ratio(X), (y - model.predict(X)) ** 2
    eta = -np.cov(W * L, W)[0, 1] / np.var(W, ddof=1)
    expected = np.mean(W * L) + eta * np.mean(W) - eta
    scorer = importance_weighted_scorer(X_target=X, reweighter=exact_ratio)
    assert scorer(model, X, y) == pytest.approx(-expected)
    labels = (y > 0).astype(int)
    classifier = LogisticRegression().fit(X, labels)
    hits = classifier.predict(X) == labels
    eta = -np.cov(W * hits, W)[0, 1] / np.var(W, ddof=1)
    expected = np.mean(W * hits) + eta * (np.mean(W) - 1)
    assert scorer(classifier, X, labels) == pytest.approx(expected)
    losses = -np.log(classifier.predict_proba(X)[np.arange(len(X)), labels])
    eta = -np.cov(W * losses, W)[0, 1] / np.var(W, ddof=1)
    expected = np.mean(W * losses) + eta * (np.mean(W) - 1)
    scorer = importance_weighted_scorer("neg_log_loss", X_target=X, reweighter=exact_ratio)
    assert scorer(classifier, X, labels) == pytest.approx(-expected)


def test_a_ratio_of_another_scale_gets_no_control_variate(simulated):
    """Its mean is not 1 by chance, so that the difference is no noise to correct."""
    model, _, draws = simulated
    X, y = draws[0]
    tripled = importance_weighted_scorer(X_target=X, reweighter=lambda X: 3 * exact_ratio(X))
    plain = importance_weighted_scorer(X_target=X, reweighter=exact_ratio, control_variate=False)
    assert tripled(model, X, y) == pytest.approx(plain(model, X, y))


def test_metrics_that_are_no_means_are_weighted_too(simulated):
    X, y = simulated[2][0]
    labels = (y > 0).astype(int)
    model = LogisticRegression().fit(X[:, :1] ** 2, labels)
    plain = importance_weighted_scorer(
        "roc_auc", X_target=X, reweighter=exact_ratio, control_variate=False
    )
    area = roc_auc_score(labels, model.decision_function(X), sample_weight=exact_ratio(X))
    assert plain(model, X, labels) == area != roc_auc_score(labels, model.decision_function(X))


def test_equal_weights_leave_the_metric_as_it_is(simulated):
    model, _, draws = simulated
    X, y = draws[0]
    for weight in (0.3, 1.0):
        scorer = importance_weighted_scorer(
            "r2", X_target=X, reweighter=lambda X, weight=weight: np.full(len(X), weight)
        )
        assert scorer(model, X, y) == pytest.approx(model.score(X, y), rel=1e-12)


def test_weights_of_a_reweighter_are_those_of_its_fit(simulated):
    model, _, draws = simulated
    X, y = draws[0]
    X_target = np.random.default_rng(1).normal(SHIFT, WIDTH, size=(80, 1))
    scorers = {
        reweighter: importance_weighted_scorer(X_target=X_target, reweighter=reweighter)
        for reweighter in (None, GaussianReweighter(), KMMReweighter(tol=1e-3))
    }
    for reweighter, scorer in scorers.items():
        fitted = (reweighter or DiscriminativeReweighter()).fit(X, X_target=X_target)
        error = np.average((y - model.predict(X)) ** 2, weights=fitted.sample_weight_)
        assert scorer(model, X, y) == pytest.approx(-error, rel=1e-2)
        scorer.control_variate = False
        assert scorer(model, X, y) == pytest.approx(-error, rel=1e-9)
    assert len({scorer(model, X, y) for scorer in scorers.values()}) == 3


class Counting(GaussianReweighter):
    """Counts its fits."""

    fits = []

    def fit(self, X, y=None, **keywords):
        self.fits.append(X.shape)
        return super().fit(X, y, **keywords)


def test_weights_are_learned_once_for_the_candidates_of_a_fold(simulated):
    class Local(Counting):
        """Cannot be pickled, so that nothing tells what it would learn."""

        fits = []

    X, y = simulated[2][1]
    X_target = np.random.default_rng(2).normal(0.5, WIDTH, size=(60, 1))
    model = WithTarget(KMMReweighter(Ridge(), tol=1e-3), X_target)
    grid = {"estimator__max_weight": [2.0, 5.0, 10.0]}
    scores = []
    for kind in (Counting, Local):
        scorer = importance_weighted_scorer(reweighter=kind())
        search = GridSearchCV(model, grid, scoring=scorer, cv=2, refit=False).fit(X, y)
        scores.append(search.cv_results_["mean_test_score"])
    np.testing.assert_array_equal(*scores)
    assert (len(Counting.fits), len(Local.fits)) == (2, 6)


# --- samples of the source as such ---------------------------------------------------------


@pytest.fixture(scope="module")
def domains():
    rng = np.random.default_rng(0)
    y = np.arange(80) % 2
    X = rng.normal(size=(80, 2)) + 2 * y[:, None]
    return X, y, (X[:50] + rng.normal(size=(50, 2))) * [2.0, 0.5] + 3


def test_source_samples_are_mapped_as_such(domains):
    """FeatureAugmenter and CORAL map a sample in one way as source and in another as target."""
    X, y, X_target = domains
    for aligner in (CORAL(), FeatureAugmenter()):
        model = WithTarget(
            make_pipeline(StandardScaler(), aligner, LogisticRegression()), X_target
        ).fit(X, y)
        scaler, fitted, last = (step for _, step in model.estimator_.steps)
        mapped = fitted.transform_source(scaler.transform(X))
        twin = as_source(model)
        np.testing.assert_array_equal(twin.predict_proba(X), last.predict_proba(mapped))
        assert not np.allclose(twin.predict_proba(X), model.predict_proba(X))
        np.testing.assert_array_equal(last_features(twin, X), mapped)
        target = fitted.transform(scaler.transform(X_target))
        np.testing.assert_array_equal(last_features(model, X_target), target)
        scorer = importance_weighted_scorer("neg_log_loss", reweighter=lambda X: np.ones(len(X)))
        assert scorer(model, X, y) == pytest.approx(-log_loss(y, last.predict_proba(mapped)))


def test_source_samples_are_followed_through_compositions(domains):
    X, y, X_target = domains
    pipeline = make_pipeline(CORAL(), LogisticRegression())
    model = WithTarget(pipeline, X_target).fit(X, y)
    expected = as_source(model).predict_proba(X)
    inside = {
        "search": GridSearchCV(WithTarget(pipeline, X_target), {}, cv=2),
        "frozen": FrozenEstimator(model),
        "search inside": WithTarget(
            make_pipeline(CORAL(), GridSearchCV(LogisticRegression(), {}, cv=2)), X_target
        ),
        "voting": VotingClassifier([("a", WithTarget(pipeline, X_target))], voting="soft"),
        "union": WithTarget(
            make_pipeline(FeatureUnion([("a", CORAL())]), LogisticRegression()), X_target
        ),
    }
    for name, estimator in inside.items():
        before = estimator.fit(X, y).predict_proba(X_target)
        twin = as_source(estimator)
        np.testing.assert_allclose(twin.predict_proba(X), expected, atol=1e-3, err_msg=name)
        np.testing.assert_array_equal(estimator.predict_proba(X_target), before)
    logarithm = TransformedTargetRegressor(Ridge(), func=np.exp, inverse_func=np.log)
    for last in (logarithm, GaussianReweighter(Ridge())):
        regression = WithTarget(make_pipeline(CORAL(), last), X_target).fit(X, y)
        mapped = regression.estimator_[0].transform_source(X)
        expected = regression.estimator_[-1].predict(mapped)
        np.testing.assert_array_equal(as_source(regression).predict(X), expected)


def test_without_an_aligner_nothing_is_copied(domains):
    X, y, _ = domains
    model = WithTarget(KMMReweighter(LogisticRegression(), tol=1e-3), X + 0.5).fit(X, y)
    assert as_source(model) is model


def test_an_aligner_out_of_reach_is_named(domains):
    X, y, X_target = domains
    pipeline = make_pipeline(CORAL(), LogisticRegression())
    calibrated = CalibratedClassifierCV(WithTarget(pipeline, X_target))
    with pytest.raises(TypeError, match="CalibratedClassifierCV holds CORAL"):
        importance_weighted_scorer()(calibrated.fit(X, y), X, y)


# --- deep embedded validation --------------------------------------------------------------


def test_deep_embedded_validation_weighs_by_the_features_of_the_last_step(domains):
    X, y, X_target = domains
    aligned = make_pipeline(StandardScaler(), TCA(1), LogisticRegression())
    model = WithTarget(aligned, X_target).fit(X, y)
    *before, last = (step for _, step in model.estimator_.steps)
    features = before[1].transform_source(before[0].transform(X))
    target = before[1].transform(before[0].transform(X_target))
    weights = DiscriminativeReweighter().fit(features, X_target=target).sample_weight_
    expected = np.average(last.predict(features) == y, weights=weights)
    assert deep_embedded_validation_scorer()(model, X, y) == pytest.approx(expected)
    assert importance_weighted_scorer()(model, X, y) != pytest.approx(expected)


def test_features_of_a_network_are_those_of_its_output_layer(domains):
    X, y, X_target = domains
    network = FineTunedClassifier(hidden_layer_sizes=(3,), max_epochs=2)
    model = WithSource(make_pipeline(StandardScaler(), network), X, y).fit(X_target)
    features = last_features(model, X)
    assert features.shape == (80, 3)
    scaled = model.estimator_[0].transform(X)
    np.testing.assert_array_equal(features, model.estimator_[1].transform(scaled))
    scorer = deep_embedded_validation_scorer(X_source=X, y_source=y)
    assert 0 <= scorer(model, X_target) <= 1


def test_texts_are_weighed_by_their_features():
    words = np.random.default_rng(0).choice(["good", "bad", "fine", "poor"], size=(60, 3))
    texts, y = [" ".join(row) for row in words], (words == "good").any(axis=1).astype(int)
    target = [f"{text} new" if i % 2 else text for i, text in enumerate(texts[:40])]
    model = WithSource(make_pipeline(TfidfVectorizer(), LogisticRegression()), texts, y)
    ratio = DiscriminativeReweighter(classifier=LogisticRegression())
    scorer = deep_embedded_validation_scorer(X_source=texts, y_source=y, reweighter=ratio)
    assert scorer(model.fit(target), target) > 0.8
    with pytest.raises(ValueError, match="could not convert|words|Encode"):
        importance_weighted_scorer(X_source=texts, y_source=y)(model, target)


def test_folds_of_a_column_transformer(domains):
    X, y, X_target = domains
    columns = ColumnTransformer([("a", StandardScaler(), [0, 1])])
    last = KMMReweighter(LogisticRegression(), tol=1e-3)
    model = WithTarget(make_pipeline(columns, last), X[:50] + 0.5)
    scorer = deep_embedded_validation_scorer(reweighter=GaussianReweighter())
    assert cross_val_score(model, X, y, cv=3, scoring=scorer).min() > 0.7


# --- errors --------------------------------------------------------------------------------


def test_metrics_without_weights_are_refused():
    with pytest.raises(ValueError, match=r"metric='neg_max_error' takes no sample_weight"):
        importance_weighted_scorer("neg_max_error")
    with pytest.raises(ValueError, match="takes no sample_weight"):
        deep_embedded_validation_scorer(make_scorer(max_error))
    with pytest.raises(ValueError, match="takes no sample_weight"):
        importance_weighted_scorer(lambda model, X, y: 0.0)


@pytest.mark.parametrize(
    ("ratio", "message"),
    [
        (lambda X: np.ones(3), r"array of shape \(3,\)"),
        (lambda X: -np.ones(len(X)), "at least 0"),
        (lambda X: np.full(len(X), np.nan), "finite"),
        (lambda X: np.zeros(len(X)), "weight 0 to all 150 samples.*fewer folds"),
        (FrozenEstimator(GaussianReweighter().fit([[0.0], [1.0]], X_target=[[0.5], [1]])), "shape"),
    ],
)
def test_weights_that_make_no_sense_are_refused(simulated, ratio, message):
    model, _, draws = simulated
    scorer = importance_weighted_scorer(X_target=np.zeros((1, 1)), reweighter=ratio)
    with pytest.raises(ValueError, match=message):
        scorer(model, *draws[0])

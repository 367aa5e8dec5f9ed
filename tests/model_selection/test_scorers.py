"""Scorers for targets without labels: formulas by hand, and their place in scikit-learn."""

import copy
import pickle
from functools import partial

import numpy as np
import pandas
import pytest
from scipy import sparse
from sklearn import config_context
from sklearn.base import clone
from sklearn.ensemble import VotingClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import accuracy_score, balanced_accuracy_score
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score, cross_validate
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

import skltransfer
from skltransfer import (
    CORAL,
    GaussianReweighter,
    KMMReweighter,
    WithSource,
    WithTarget,
    circular_validation_scorer,
    deep_embedded_validation_scorer,
    importance_weighted_scorer,
    prediction_entropy_scorer,
    soft_neighborhood_density_scorer,
    target_scorer,
)
from skltransfer._persisted import LeftOut
from skltransfer.model_selection import _prediction_scorers

# The Gaussian ratio is quick, and depends on no folds.
WITHOUT_LABELS = {
    "entropy": prediction_entropy_scorer,
    "density": soft_neighborhood_density_scorer,
    "weighted": partial(importance_weighted_scorer, reweighter=GaussianReweighter()),
    "embedded": partial(deep_embedded_validation_scorer, reweighter=GaussianReweighter()),
    "circular": circular_validation_scorer,
}


@pytest.fixture(scope="module")
def domains():
    """Return source rows and labels, target rows and labels: three classes, turned and moved."""
    rng = np.random.default_rng(0)
    y, y_target = np.arange(90) % 3, np.arange(60) % 3
    centers = np.array([[0.0, 0.0], [2.5, 0.0], [0.0, 2.5]])
    turn = np.array([[0.8, 0.6], [-0.6, 0.8]])
    X = centers[y] + rng.normal(size=(90, 2))
    X_target = (centers[y_target] + rng.normal(size=(60, 2))) @ turn * [1.3, 0.7] + [1.0, 0.5]
    return X, y, X_target, y_target


def aligned():
    return make_pipeline(StandardScaler(), CORAL(), LogisticRegression())


def fitted(domains, estimator=None):
    X, y, X_target, _ = domains
    return WithTarget(aligned() if estimator is None else estimator, X_target).fit(X, y)


def new_source(domains):
    """Return source samples that no fit has seen, and their labels."""
    X, y, *_ = domains
    rng = np.random.default_rng(1)
    return X + rng.normal(scale=0.5, size=X.shape), y


# --- formulas ------------------------------------------------------------------------------


def test_entropy_is_that_of_the_formula(domains):
    model = fitted(domains)
    total = 0.0
    for row in model.predict_proba(domains[2]):
        for p in row:
            total += p * np.log(p)
    assert prediction_entropy_scorer()(model, domains[0]) == pytest.approx(total / 60)


@pytest.mark.parametrize("temperature", [0.05, 0.7])
@pytest.mark.parametrize("block_size", [2**22, 7 * 60])
def test_density_is_that_of_the_formula(domains, temperature, block_size, monkeypatch):
    monkeypatch.setattr(_prediction_scorers, "_BLOCK_SIZE", block_size)
    model = fitted(domains)
    F = [p / np.sqrt(sum(p**2)) for p in model.predict_proba(domains[2])]
    entropies = []
    for i in range(60):
        e = np.array([np.exp(F[i] @ F[j] / temperature) for j in range(60) if j != i])
        entropies.append(-sum(q * np.log(q) for q in e / e.sum()))
    scorer = soft_neighborhood_density_scorer(temperature=temperature)
    assert scorer(model, domains[0]) == pytest.approx(np.mean(entropies), rel=1e-9)


def test_the_traps_of_the_docstrings_are_true(domains):
    """A constant prediction has the largest density, and a certain one the smallest entropy."""

    class Constant(LogisticRegression):
        def predict_proba(self, X):
            return np.tile([1.0, 0.0, 0.0], (len(X), 1))

    constant = WithSource(Constant(), *domains[:2]).fit(domains[2])
    assert prediction_entropy_scorer()(constant, domains[2]) == 0
    assert soft_neighborhood_density_scorer()(constant, domains[2]) == pytest.approx(np.log(59))


def test_circular_validation_by_hand():
    """One nearest neighbour: 1 is taken for 0's class and 9 for 10's; back, 4 is nearer to 1."""
    model = WithSource(KNeighborsClassifier(1), [[0.0], [4.0], [10.0]], ["a", "b", "b"])
    target = np.array([[1.0], [9.0]])
    scorer = circular_validation_scorer()
    assert scorer(model.fit(target), target) == pytest.approx(2 / 3)
    # Both target samples are nearest to 10: the way back predicts "b" throughout.
    near = np.array([[9.0], [11.0]])
    assert scorer(model.fit(near), near) == pytest.approx(2 / 3)
    balanced = circular_validation_scorer("balanced_accuracy")
    assert balanced(model.fit(near), near) == pytest.approx(1 / 2)


def test_circular_validation_adapts_to_the_source_on_the_way_back(domains):
    X, y, X_target, _ = domains
    guessed = fitted(domains).predict(X_target)
    back = WithTarget(aligned(), X_target=X).fit(X_target, guessed)
    assert circular_validation_scorer()(fitted(domains), X, y) == back.score(X, y)
    held = WithSource(aligned(), X, y).fit(X_target)
    assert circular_validation_scorer()(held, X_target) == back.score(X, y)
    assert back.score(X, y) != LogisticRegression().fit(X_target, guessed).score(X, y)


def test_circular_validation_of_exchanged_classes_is_blind():
    """The trap of the docstring: two errors that cancel are not seen."""
    X, y = np.array([[0.0], [1.0], [10.0], [11.0]]), np.array([0, 0, 1, 1])
    X_target, y_target = np.array([[0.5], [10.5]]), np.array([1, 0])
    model = WithSource(KNeighborsClassifier(1), X, y).fit(X_target)
    assert model.score(X_target, y_target) == 0
    assert circular_validation_scorer()(model, X_target) == 1


def test_target_scorer_scores_labelled_target_samples(domains):
    X, y, X_target, y_target = domains
    model = fitted(domains)
    score = accuracy_score(y_target[:20], model.predict(X_target[:20]))
    partly = np.where(np.arange(60) < 20, y_target, np.nan)
    for metric in ("accuracy", None):
        assert target_scorer(metric, X_target, partly)(model, X, y) == score
    expected = balanced_accuracy_score(y_target[:20], model.predict(X_target[:20]))
    assert target_scorer("balanced_accuracy", X_target[:20], y_target[:20])(model, X) == expected
    ridge = Ridge().fit(X, y)
    assert target_scorer("r2", X_target, y_target)(ridge, X) == ridge.score(X_target, y_target)


@pytest.mark.parametrize("name", WITHOUT_LABELS)
def test_scores_see_the_adaptation(domains, name):
    """Each is another, and by more than rounding, where the model is left as it is."""
    metric = {} if name in ("entropy", "density") else {"metric": "neg_log_loss"}
    scorer = WITHOUT_LABELS[name](X_target=domains[2], **metric)
    adapted = fitted(domains, KMMReweighter(LogisticRegression(), tol=1e-3))
    plain = LogisticRegression().fit(*domains[:2])
    scores = [scorer(model, *new_source(domains)) for model in (adapted, plain)]
    assert abs(scores[0] - scores[1]) > 1e-3


# --- which samples are scored --------------------------------------------------------------


@pytest.mark.parametrize("name", WITHOUT_LABELS)
def test_labels_of_the_target_are_not_looked_at(domains, name):
    X, y, X_target, y_target = domains
    source = {} if name in ("entropy", "density") else {"X_source": X, "y_source": y}
    scorer = WITHOUT_LABELS[name](**source)
    model = WithSource(aligned(), X[:45], y[:45], use_y=False)
    grid = {"estimator__coral__reg_covar": [0.01, 10.0]}
    search = GridSearchCV(model, grid, scoring=scorer, cv=KFold(2), error_score="raise")
    outer = target_scorer(None, X_target[:9], y_target[:9])  # which of the two was chosen
    found = [
        cross_validate(search, X_target, labels, cv=KFold(2), scoring={"inner": scorer, "o": outer})
        for labels in (None, y_target, np.full(60, np.nan))
    ]
    for other in found[1:]:
        assert np.isfinite(other["test_inner"]).all()
        np.testing.assert_array_equal(found[0]["test_inner"], other["test_inner"])
        np.testing.assert_array_equal(found[0]["test_o"], other["test_o"])


@pytest.mark.parametrize("name", ["entropy", "density"])
def test_without_a_wrapper_the_given_samples_are_the_target(domains, name):
    X, y, X_target, _ = domains
    bare, scorer = LogisticRegression().fit(X, y), WITHOUT_LABELS[name]
    assert scorer()(bare, X_target) == scorer(X_target)(bare, X)
    assert scorer()(bare, X_target) != scorer()(bare, X)
    wrapped = fitted(domains)
    assert scorer()(wrapped, X) == scorer(X_target)(wrapped, X) == scorer()(wrapped, X[:5])
    assert scorer(X_target[:30])(wrapped, X) != scorer()(wrapped, X)


def test_the_target_is_found_in_compositions(domains):
    X, y, X_target, _ = domains
    model = WithTarget(aligned(), X_target)
    search = GridSearchCV(model, {"estimator__coral__reg_covar": [1.0]}, cv=2).fit(X, y)
    scorer = prediction_entropy_scorer()
    assert scorer(search, X) == scorer(model.fit(X, y), X)
    voting = VotingClassifier([("a", model), ("b", clone(model))], voting="soft").fit(X, y)
    assert scorer(voting, X) == scorer(voting, X[:7])
    voting.set_params(b__X_target=X_target[:20])
    with pytest.raises(ValueError, match=r"several WithTarget.*X_target=\.\.\."):
        scorer(voting.fit(X, y), X)
    assert np.isfinite(prediction_entropy_scorer(X_target)(voting, X))


def test_frames_in_another_order_and_sparse_rows(domains):
    X, y, X_target, _ = domains
    frame = pandas.DataFrame(X, columns=["a", "b"])
    target = pandas.DataFrame({"b": X_target[:, 1], "c": 0.0, "a": X_target[:, 0]})
    model = WithTarget(aligned(), target)
    with pytest.warns(UserWarning, match="'c'"):
        model.fit(frame, y)
    for maker in WITHOUT_LABELS.values():
        expected = maker()(fitted(domains), *new_source(domains))
        new = pandas.DataFrame(new_source(domains)[0], columns=["a", "b"])
        assert maker()(model, new, y) == pytest.approx(expected)
    known = target_scorer("accuracy", target.iloc[:, ::-1], domains[3])
    assert known(model, new) == model.score(target[["a", "b"]], domains[3])
    rows = sparse.csr_array(np.abs(X).round()), sparse.csr_array(np.abs(X_target).round())
    counts = LogisticRegression().fit(rows[0], y)
    dense = LogisticRegression().fit(rows[0].toarray(), y)
    scorer = soft_neighborhood_density_scorer(rows[1])
    expected = soft_neighborhood_density_scorer(rows[1].toarray())(dense, rows[0].toarray())
    assert scorer(counts, rows[0]) == pytest.approx(expected)


# --- as scoring= ---------------------------------------------------------------------------


@pytest.mark.parametrize("routing", [False, True])
def test_all_scorers_in_one_search(domains, routing):
    X, y, X_target, y_target = domains
    scoring = {name: make() for name, make in WITHOUT_LABELS.items()}
    scoring["weighted"] = WITHOUT_LABELS["weighted"]("neg_log_loss")
    scoring["circular"] = circular_validation_scorer("neg_log_loss")
    scoring["embedded"] = WITHOUT_LABELS["embedded"]("neg_log_loss")
    scoring["target"] = target_scorer("neg_log_loss", X_target[:30], y_target[:30])
    with config_context(enable_metadata_routing=routing):
        search = GridSearchCV(
            WithTarget(aligned(), X_target),
            {"estimator__coral__reg_covar": [0.1, 100.0]},
            scoring=scoring,
            refit="weighted",
            cv=2,
            n_jobs=None if routing else 2,
            error_score="raise",
        ).fit(X, y)
        assert search.score(X, y) == scoring["weighted"](search, X, y)
    for name in scoring:
        assert len(set(search.cv_results_[f"mean_test_{name}"])) == 2, name
    assert search.best_index_ == np.argmax(search.cv_results_["mean_test_weighted"])


def test_weights_of_samples_in_a_search_with_several_scorers(domains):
    """scikit-learn asks each scorer whether it takes them."""
    X, y, X_target, _ = domains
    scoring = {"entropy": prediction_entropy_scorer(), "accuracy": "accuracy"}
    model = WithTarget(KMMReweighter(LogisticRegression(), tol=1e-3), X_target)
    search = GridSearchCV(model, {"estimator__max_weight": [2.0]}, scoring=scoring, refit=False)
    search.set_params(cv=2, error_score="raise")
    with pytest.warns(UserWarning, match="does not support sample_weight"):
        search.fit(X, y, sample_weight=np.ones(90))
    assert np.isfinite(search.cv_results_["mean_test_entropy"]).all()


@pytest.mark.parametrize("name", WITHOUT_LABELS)
def test_copies_share_the_data_and_pickles_score_alike(domains, name):
    X_target = domains[2]
    scorer = WITHOUT_LABELS[name](X_target=X_target)
    assert copy.deepcopy(scorer).X_target is X_target
    search = clone(GridSearchCV(fitted(domains), {}, scoring=scorer))
    assert search.scoring.X_target is X_target
    model, rows = fitted(domains), new_source(domains)
    assert pickle.loads(pickle.dumps(scorer))(model, *rows) == scorer(model, *rows)
    assert repr(scorer).partition("(")[0] in skltransfer.__all__
    assert "X_target=<ndarray (60, 2)>" in repr(scorer)


def test_representations():
    assert repr(prediction_entropy_scorer()) == "prediction_entropy_scorer()"
    scorer = target_scorer("accuracy", np.zeros((4, 2)), [0, 1, 0, 1])
    expected = "target_scorer(metric='accuracy', X_val=<ndarray (4, 2)>, y_val=<list of 4>)"
    assert repr(scorer) == expected
    scorer = importance_weighted_scorer("r2", reweighter=KMMReweighter())
    assert "metric='r2', reweighter=KMMReweighter(), control_variate=True" in repr(scorer)


# --- errors --------------------------------------------------------------------------------


def test_errors_of_the_makers_name_the_argument(domains):
    X, y, X_target, _ = domains
    with pytest.raises(ValueError, match="temperature=0 "):
        soft_neighborhood_density_scorer(temperature=0)
    with pytest.raises(ValueError, match="X_target has 0 rows"):
        prediction_entropy_scorer(X_target[:0])
    with pytest.raises(ValueError, match="y_val has 3 entries, but X_val has 60 rows"):
        target_scorer("accuracy", X_target, [0, 1, 2])
    with pytest.raises(ValueError, match=r"y_val holds no known label.*importance_weighted"):
        target_scorer("accuracy", X_target[:2], [np.nan, np.nan])
    with pytest.raises(ValueError, match="make_scorer"):
        target_scorer(accuracy_score, X_target, y[:60])
    for maker in (
        importance_weighted_scorer,
        deep_embedded_validation_scorer,
        circular_validation_scorer,
    ):
        with pytest.raises(ValueError, match="X_source was given without y_source"):
            maker(X_source=X)
        with pytest.raises(ValueError, match="y_source was given without X_source"):
            maker(y_source=y)
        with pytest.raises(ValueError, match="y_source has 90 entries, but X_source has 80 rows"):
            maker(X_source=X[:80], y_source=y)
        with pytest.raises(ValueError, match="labels of the source have to be known"):
            maker(X_source=X[:2], y_source=[0, np.nan])
        with pytest.raises(ValueError, match="make_scorer"):
            maker(accuracy_score)


def test_errors_of_the_scorers_name_the_remedy(domains):
    X, y, X_target, _ = domains
    svm, ridge = LinearSVC().fit(X, y), Ridge().fit(X, y)
    for maker in (prediction_entropy_scorer, soft_neighborhood_density_scorer):
        with pytest.raises(TypeError, match="CalibratedClassifierCV"):
            maker(X_target)(svm, X)
        with pytest.raises(TypeError, match="importance_weighted_scorer, or target_scorer"):
            maker(X_target)(ridge, X)
    with pytest.raises(TypeError, match="importance_weighted_scorer, or target_scorer"):
        circular_validation_scorer(X_target=X_target)(ridge, X, y)
    with pytest.raises(ValueError, match="at least 3 samples of the target; it was given 2"):
        soft_neighborhood_density_scorer(X_target[:2])(fitted(domains), X)
    for maker in (importance_weighted_scorer, circular_validation_scorer):
        with pytest.raises(ValueError, match=r"X_target=\.\.\.\) if scikit-learn splits the s"):
            maker()(svm, X, y)
        with pytest.raises(ValueError, match="needs the labels of the source. Pass y"):
            maker()(fitted(domains), X)
    held = WithSource(aligned(), X, y).fit(X_target)
    with pytest.raises(ValueError, match=r"importance_weighted_scorer\(X_source=\.\.\., y_source"):
        importance_weighted_scorer()(held, X_target)
    voting = VotingClassifier([("a", WithTarget(aligned(), X_target))]).fit(X, y)
    with pytest.raises(TypeError, match="Put the wrapper outermost"):
        circular_validation_scorer()(voting, X, y)


def test_a_wrapper_without_its_target_is_named(domains):
    X, y, *_ = domains
    with pytest.warns(UserWarning, match="given no X_target"):
        model = WithTarget(LogisticRegression()).fit(X, y)
    with pytest.raises(ValueError, match=r"holds no X_target.*prediction_entropy_scorer\(X_tar"):
        prediction_entropy_scorer()(model, X)


def test_samples_that_were_not_saved_are_asked_for(domains):
    X, y, X_target, _ = domains
    model = fitted(domains).set_params(X_target=LeftOut("X_target"))
    with pytest.raises(ValueError, match=r"left out when it was saved.*_scorer\(X_target=\.\.\.\)"):
        prediction_entropy_scorer()(model, X)
    held = WithSource(aligned(), X, y).fit(X_target).set_params(X_source=LeftOut("X_source"))
    with pytest.raises(ValueError, match=r"holds no labelled source.*X_source=\.\.\., y_source"):
        circular_validation_scorer()(held, X_target)


def test_scores_of_source_folds_are_those_of_the_target(domains):
    """Around WithTarget, cross-validation scores the held target, fold by fold."""
    X, y, X_target, _ = domains
    folds, scorer = KFold(3), prediction_entropy_scorer()
    scores = cross_val_score(WithTarget(aligned(), X_target), X, y, cv=folds, scoring=scorer)
    by_hand = [
        prediction_entropy_scorer(X_target)(fitted((X[train], y[train], X_target, None)), X)
        for train, _ in folds.split(X)
    ]
    np.testing.assert_allclose(scores, by_hand, rtol=1e-12)

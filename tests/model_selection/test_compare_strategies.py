"""compare_strategies: paired folds, nothing leaks, and what is interrupted goes on."""

import json
import os
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.datasets import load_digits
from sklearn.dummy import DummyClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GroupKFold, RepeatedStratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from skltransfer import DomainDataWarning, FeatureStore, PretrainedFeatureTransformer
from skltransfer.model_selection import Strategy, _menu, compare_strategies, table_strategies
from skltransfer.model_selection._folds import target_folds

MODEL = make_pipeline(StandardScaler(), LogisticRegression())
FEW = ["no transfer", "source only", "pooled", "balanced"]


def make_domains(n=40, n_source=60, *, kind="classification", seed=0):
    """Return target and source, whose labels follow rules that are alike."""
    rng = np.random.default_rng(seed)
    X, X_source = rng.normal(size=(n, 3)), rng.normal(0.5, 1, size=(n_source, 3))
    values = X @ [1, 0.5, 0], X_source @ [1, 0.6, 0.2]
    noisy = [v + 0.5 * rng.normal(size=len(v)) for v in values]
    if kind == "classification":
        noisy = [np.where(v > np.median(v), "yes", "no") for v in noisy]
    return X, noisy[0], X_source, noisy[1]


def compare(X, y, X_source, y_source, estimator=MODEL, strategies=FEW, *, cv=3, **options):
    source = {"X_source": X_source, "y_source": y_source}
    return compare_strategies(estimator, X, y, **source, strategies=strategies, cv=cv, **options)


def scores_of(comparison):
    return {name: result.fold_scores for name, result in comparison.results.items()}


def assert_equal(first, second):
    """Check that two comparisons are equal but for the time."""
    frames = [c.to_frame().drop(columns="seconds") for c in (first, second)]
    assert frames[0].equals(frames[1])
    np.testing.assert_equal(scores_of(first), scores_of(second))
    assert (first.verdict, first.notes, first.curve) == (second.verdict, second.notes, second.curve)


def test_the_scores_are_those_of_scikit_learn_on_the_same_folds():
    X, y, *source = make_domains()
    cv = RepeatedStratifiedKFold(n_splits=4, n_repeats=3, random_state=1)
    comparison = compare(X, y, *source, cv=cv)
    assert (comparison.n_folds, comparison.n_repeats) == (4, 3)
    for name in FEW:
        expected = cross_val_score(comparison.estimators[name], X, y, cv=cv)
        np.testing.assert_allclose(comparison.results[name].fold_scores, expected, err_msg=name)


@pytest.mark.parametrize("kind", ["classification", "regression"])
def test_the_mixture_is_that_of_the_transfer_estimator(kind):
    """Its folds are those of the first repetition."""
    X, y, X_source, y_source = make_domains(kind=kind)
    model = MODEL if kind == "classification" else make_pipeline(StandardScaler(), Ridge())
    splits = target_folds(y, None, None, kind == "classification", 3, np.arange(40), X).splits
    comparison = compare(X, y, X_source, y_source, model, "cheap", cv=splits[:5], random_state=3)
    transfer = comparison.estimators["mixture"].fit(X, y).estimator_
    assert comparison.weights == pytest.approx(transfer.weights_)
    assert comparison.results["mixture"].score == pytest.approx(transfer.score_.value)
    assert list(comparison.results)[:-1] == list(transfer.comparison_.results)[:-1]


@pytest.mark.parametrize("scoring", ["roc_auc", "balanced_accuracy", "neg_log_loss", "r2"])
def test_metrics(scoring):
    kind = "regression" if scoring == "r2" else "classification"
    data = make_domains(kind=kind)
    model = make_pipeline(StandardScaler(), Ridge()) if scoring == "r2" else MODEL
    comparison = compare(*data, model, ["source only", "pooled"], scoring=scoring, cv=3)
    assert comparison.metric == scoring
    assert all(np.isfinite(r.fold_scores).all() for r in comparison.results.values())
    assert comparison.results["mixture"].difference is not None
    if scoring in ("roc_auc", "balanced_accuracy"):
        scores = cross_val_score(model, *data[:2], cv=3, scoring=scoring)
        assert comparison.results["no transfer"].fold_scores == pytest.approx(scores)


def test_the_first_sentence_is_about_the_users_own_model():
    X, y, *source = make_domains(60, 300)
    comparison = compare(X, y, *source, estimator=DummyClassifier(), strategies=["balanced"])
    assert comparison.baseline == "no transfer"
    assert comparison.results["no transfer"].score == pytest.approx(0.5, abs=0.1)


def test_random_labels_give_chance_for_each_strategy():
    scores = {}
    for seed in range(5):
        X, y, *source = make_domains(40, seed=seed)
        y = np.random.default_rng(seed).permutation(y)
        comparison = compare(X, y, *source, strategies=[*FEW, "augmented", "KMM", "CORAL"])
        for name, result in comparison.results.items():
            scores.setdefault(name, []).append(result.score)
    for name, values in scores.items():
        assert np.mean(values) == pytest.approx(0.5, abs=0.13), name


def test_copies_of_target_samples_in_the_source_are_left_out():
    X, y, X_source, y_source = make_domains()
    clean = compare(X, y, X_source, y_source)
    with pytest.warns(DomainDataWarning, match="30 of 90 source samples equal a labelled"):
        copied = compare(X, y, np.r_[X_source, X[:30]], np.r_[y_source, y[:30]])
    assert copied.n_source == 60
    assert copied.weights == pytest.approx(clean.weights)
    assert "30 source samples equal a labelled target sample" in copied.notes[0]


def test_unlabelled_samples_join_every_training_fold_of_those_that_use_them():
    X, y, *source = make_domains(50)
    seen = {}

    class Recorder(ClassifierMixin, BaseEstimator):
        def __init__(self, name=None):
            self.name = name

        def fit(self, X, y):
            known = np.array([isinstance(label, str) for label in y])
            seen.setdefault(self.name, []).append((len(X), known.sum()))
            self.classes_ = np.unique(np.asarray(y)[known].astype(str))
            return self

        def predict_proba(self, X):
            return np.full((len(X), 2), 0.5)

        def predict(self, X):
            return np.full(len(X), "no")

    partly = y.astype(object)
    partly[40:] = np.nan
    strategies = [
        "no transfer",
        Strategy("with", lambda task: Recorder("with"), "instance", uses_unlabelled=True),
        Strategy("without", lambda task: Recorder("without"), "instance"),
    ]
    more = {"X_unlabelled": X[:7] + 1, "strategies": strategies}
    comparison = compare(X, partly, *source, cv=5, **more)
    assert (comparison.n_labelled, comparison.n_unlabelled) == (40, 17)
    assert seen == {"with": [(49, 32)] * 5, "without": [(32, 32)] * 5}


def test_no_group_is_cut():
    X, y, *source = make_domains(48)
    groups = np.repeat(np.arange(12), 4)
    seen = []

    def scorer(model, X_test, y_test):
        seen.append({tuple(row) for row in X_test})
        return model.score(X_test, y_test)

    compare(X, y, *source, groups=groups, scoring=scorer, strategies=["pooled"], cv=None)
    assert len(seen) == 3 * 10  # of both and of their mixture
    members = [{tuple(row) for row in X[groups == group]} for group in range(12)]
    for tested in seen:
        assert all(part <= tested or not part & tested for part in members)
    by_cv = compare(X, y, *source, groups=groups, cv=GroupKFold(4))
    assert (by_cv.n_folds, by_cv.n_repeats) == (4, 1)


def test_unlabelled_samples_of_a_tested_group_stay_out():
    X, y, *source = make_domains(40)
    partly = y.astype(object)
    partly[::2] = np.nan
    groups, seen = np.repeat(np.arange(10), 4), []

    class Recorder(DummyClassifier):
        def fit(self, X, y):
            seen.append(X[:, 0])
            known = np.array([isinstance(label, str) for label in y])
            return super().fit(X[known], np.asarray(y)[known].astype(str))

        def predict(self, X):
            trained = np.isin(groups, groups[np.isin(globals_of["X"][:, 0], seen[-1])])
            assert not trained[np.isin(globals_of["X"][:, 0], X[:, 0])].any()
            return super().predict(X)

    globals_of = {"X": X}
    recorder = Strategy("all", lambda task: Recorder(), "instance", uses_unlabelled=True)
    result = compare(X, partly, *source, groups=groups, strategies=["no transfer", recorder])
    assert result.results["all"].failure is None
    assert len(seen) == 3


def test_a_killed_comparison_goes_on_and_equals_an_unbroken_one(tmp_path):
    data, options = make_domains(30), {"learning_curve": [10], "cv": 4}
    whole = compare(*data, **options)

    def stop(progress):
        if progress.done == 13:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compare(*data, checkpoint=tmp_path, progress=stop, **options)
    assert len(list(tmp_path.glob("*.npz"))) == 13
    made = []
    resumed = compare(*data, checkpoint=tmp_path, progress=made.append, **options)
    assert len(made) == 2 * 4 * 4 - 13
    assert_equal(whole, resumed)
    assert_equal(whole, compare(*data, checkpoint=tmp_path, **options))


def test_a_checkpoint_of_another_comparison_is_refused(tmp_path):
    X, y, *source = make_domains(20)
    compare(X, y, *source, checkpoint=tmp_path)
    others = [
        ({}, (X + 1, y, *source), "samples and labels"),
        ({"cv": 4}, (X, y, *source), "folds"),
        ({"scoring": "roc_auc"}, (X, y, *source), "scoring"),
        ({"estimator": LogisticRegression(C=0.1)}, (X, y, *source), "strategies"),
    ]
    for options, data, name in others:
        with pytest.raises(ValueError, match=f"holds a comparison with other values of {name}"):
            compare(*data, checkpoint=tmp_path, **options)
    (tmp_path / "comparison.json").write_text("{")
    with pytest.raises(ValueError, match=r"comparison.json cannot be read"):
        compare(X, y, *source, checkpoint=tmp_path)


def test_a_damaged_fit_is_made_again(tmp_path):
    data = make_domains(20)
    first = compare(*data, checkpoint=tmp_path)
    next(tmp_path.glob("*.npz")).write_bytes(b"damaged")
    with pytest.warns(RuntimeWarning, match="cannot be read"):
        assert_equal(first, compare(*data, checkpoint=tmp_path))


def test_a_comparison_whose_checkpoint_cannot_be_written_goes_on(tmp_path, monkeypatch):
    data = make_domains(20)

    def fails(*args, **arrays):
        raise OSError("no space left")

    monkeypatch.setattr(np, "savez", fails)
    with pytest.warns(RuntimeWarning, match="cannot be written") as caught:
        comparison = compare(*data, strategies=["pooled"], checkpoint=tmp_path)
    assert len(caught) == 1
    assert comparison.results["mixture"].failure is None
    assert [path.name for path in tmp_path.iterdir()] == ["comparison.json"]


def test_the_number_of_processes_changes_nothing():
    data = make_domains()
    assert_equal(compare(*data), compare(*data, n_jobs=2))


def accuracy_there(fitted, X, y, process):
    """Return the accuracy; 10 more where another process fitted, 100 more on several threads."""
    is_elsewhere, n_threads = os.getpid() != process, torch.get_num_threads()
    return fitted.score(X, y) + 10 * is_elsewhere + 100 * (n_threads > 1)


def test_networks_train_in_several_processes_with_equal_scores():
    data, names = make_domains(20), ["no transfer", "network, no transfer"]
    torch.set_num_threads(2)
    scoring = partial(accuracy_there, process=os.getpid())
    one, two = (
        scores_of(compare(*data, strategies=names, scoring=scoring, n_jobs=n))[names[1]]
        for n in (1, 2)
    )
    assert torch.get_num_threads() == 2
    assert one.max() <= 1
    np.testing.assert_array_equal(two, one + 10)


def test_strategies_that_take_long_are_left_out_unless_they_are_named(monkeypatch):
    data = make_domains(20)
    known = [
        replace(s, max_rows=79) if s.name == "TCA" else s
        for s in table_strategies("classification")
        if s.name in ("no transfer", "pooled", "TCA")
    ]
    monkeypatch.setattr(_menu, "table_strategies", lambda kind, n_rows: known)
    found = compare(*data, strategies="auto")  # 20 + 60 rows
    assert "TCA" not in found.results and "pooled" in found.results
    assert found.notes[0].startswith("TCA: left out, because a fit on 80 samples")
    assert "TCA" in compare(*data, strategies=["TCA"]).results
    assert "TCA" in compare(*make_domains(19), strategies="auto").results


class Fails(LogisticRegression):
    def fit(self, X, y):
        raise ValueError("it cannot be.")


def test_a_strategy_that_fails_is_reported():
    X, y, *source = make_domains(30)
    strategies = [
        Strategy("fails", lambda task: Fails(), "instance"),
        Strategy("cannot be built", lambda task: 1 / 0, "instance"),
        Strategy("is missing", lambda task: None, "instance", needs="no_such_module"),
        "pooled",
    ]
    comparison = compare(X, y, *source, strategies=strategies)
    results = comparison.results
    assert results["fails"].failure == "failed in 3 of 3 folds (ValueError: it cannot be)"
    assert results["cannot be built"].failure == "ZeroDivisionError: division by zero"
    assert 'pip install "skltransfer[no_such_module]"' in results["is missing"].failure
    assert np.isnan(results["fails"].score)
    assert results["pooled"].failure is None
    assert "fails: failed in 3 of 3 folds" in comparison.summary()


def test_a_baseline_that_fails_is_an_error():
    data = make_domains(20)
    with pytest.raises(ValueError, match="'no transfer', the baseline, cannot be fitted or scored"):
        compare(*data, estimator=Fails(), strategies=["no transfer"])


def test_an_error_of_the_users_own_callback_is_no_failure_of_the_baseline():
    def stop(progress):
        raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        compare(*make_domains(20), progress=stop)


def test_a_model_without_probabilities_is_compared_by_its_scores():
    X, y, *source = make_domains(60, 200)
    comparison = compare(X, y, *source, make_pipeline(StandardScaler(), LinearSVC()), ["pooled"])
    assert list(comparison.results) == ["no transfer", "pooled"]
    result = comparison.results["pooled"]
    assert (result.loss, comparison.outcome) == (None, "unknown")
    assert result.difference is not None
    assert comparison.verdict.startswith("No strategy is better than no transfer beyond chance.")


def test_texts():
    rng = np.random.default_rng(0)
    y = np.repeat(["bad", "good"], 20)
    words = {"bad": ["awful", "poor", "sad", "film"], "good": ["great", "fine", "glad", "film"]}
    X = [" ".join([*rng.choice(words[label], 3), f"n{i}"]) for i, label in enumerate(y)]
    model = make_pipeline(TfidfVectorizer(), LogisticRegression())
    comparison = compare(X[::2], y[::2], X[1::2], y[1::2], model, "cheap")
    assert {r.name: r.failure for r in comparison.results.values() if r.failure} == {}
    assert comparison.results["mixture"].score > 0.9


def test_what_the_budget_leaves_no_time_for_is_reported(monkeypatch):
    now = [0.0]
    clock = SimpleNamespace(time=lambda: now[0], perf_counter=lambda: now[0])
    for module in ("_compare", "_fits", "_schedule"):
        monkeypatch.setattr(f"skltransfer.model_selection.{module}.time", clock)

    class Slow(LogisticRegression):
        def fit(self, X, y):
            now[0] += 10
            return super().fit(X, y)

    strategies = [*FEW, *(Strategy(f"slow {i}", lambda task: Slow(), "network") for i in range(3))]
    comparison = compare(*make_domains(30), strategies=strategies, budget=55, cv=None)
    assert now[0] == 50
    results = comparison.results
    assert all(results[name].n_fits == 10 for name in FEW)
    assert [results[f"slow {i}"].n_fits for i in range(3)] == [3, 1, 1]
    assert results["slow 0"].failure == "the budget was spent after 3 of 10 folds"
    assert results["slow 1"].failure == "left out after 1 of 10 folds: not among the better half"
    assert results["mixture"].failure is None


def test_a_strategy_that_is_clearly_behind_is_dropped_within_a_budget():
    X, y, *source = make_domains(80)

    class Wrong(LogisticRegression):
        def fit(self, X, y):
            return super().fit(X, np.where(y == "yes", "no", "yes"))

    strategies = [*FEW, Strategy("wrong", lambda task: Wrong(), "network")]
    comparison = compare(X, y, *source, strategies=strategies, budget=600, cv=None)
    result = comparison.results["wrong"]
    assert result.failure.endswith("clearly behind")
    assert 1 <= result.n_fits < 10


def test_a_learning_curve_has_nested_training_samples_and_the_same_test_samples():
    X, y, *source = make_domains(50)
    seen = {}

    class Recorder(DummyClassifier):
        def fit(self, X, y):
            self.trained_ = set(X[:, 0])
            return super().fit(X, y)

        def predict_proba(self, X):
            seen.setdefault(tuple(X[:, 0]), []).append(self.trained_)
            return super().predict_proba(X)

    strategies = ["no transfer", Strategy("recorder", lambda task: Recorder(), "instance")]
    comparison = compare(X, y, *source, strategies=strategies, learning_curve=[20, 5], cv=4)
    assert list(comparison.curve) == [5, 20, 38]
    assert len(seen) == 4
    for parts in seen.values():
        small, middle, large = sorted(parts, key=len)
        assert small < middle < large
        assert (len(small), len(middle)) == (5, 20)
    assert set(comparison.curve[5]) == {"no transfer", "recorder"}
    with pytest.raises(ValueError, match="learning_curve holds 100"):
        compare(X, y, *source, learning_curve=[100])


def test_ten_labels_of_ten_classes_are_no_error():
    X, y = load_digits(return_X_y=True)
    rows = [np.flatnonzero(y == label)[0] for label in range(10)]
    comparison = compare(X[rows], y[rows], X[500:700], y[500:700], cv=None)
    assert np.isfinite(comparison.results["mixture"].score)
    assert any("10 of 10 classes have a single labelled sample" in n for n in comparison.notes)


def test_a_fold_of_one_class_is_no_error():
    X, _, *source = make_domains(10)
    y = np.array(["no"] * 9 + ["yes"])
    comparison = compare(X, y, *source, cv=None)
    assert comparison.results["no transfer"].failure is None
    assert comparison.outcome == "unknown"


def test_labels_that_mean_the_opposite_are_noted():
    X, y, X_source, y_source = make_domains(60, 200)
    flipped = np.where(y_source == "yes", "no", "yes")
    notes = compare(X, y, X_source, flipped).notes
    assert any("less than chance" in note for note in notes)
    assert not any("less than chance" in note for note in compare(X, y, X_source, y_source).notes)


def test_the_whole_menu_can_be_fitted():
    pytest.importorskip("ot")
    comparison = compare(*make_domains(12, 16), strategies="auto", cv=2)
    assert {r.name: r.failure for r in comparison.results.values() if r.failure} == {}
    assert len(comparison.results) > 25
    for name in comparison.estimators:
        assert comparison.code(name).endswith("model.fit(X, y)")


def test_the_files_hold_what_the_comparison_holds(tmp_path):
    pytest.importorskip("matplotlib")
    pandas = pytest.importorskip("pandas")
    comparison = compare(*make_domains(30))
    comparison.save(tmp_path / "new" / "folder")
    files = {path.name: path for path in (tmp_path / "new" / "folder").iterdir()}
    assert set(files) == {"comparison.png", "report.html", "scores.csv", "summary.json"}
    frame = pandas.read_csv(files["scores.csv"])
    pandas.testing.assert_frame_equal(frame, comparison.fold_frame(), rtol=1e-15)
    summary = json.loads(files["summary.json"].read_text(encoding="utf-8"))
    assert summary["verdict"] == comparison.verdict
    for entry in summary["strategies"]:
        result = comparison.results[entry["name"]]
        assert entry["score"] == result.score
        assert entry["loss_difference_low"] == result.loss_difference_low


def test_either_all_files_are_written_or_none(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    comparison = compare(*make_domains(20))
    (tmp_path / "scores.csv").write_text("earlier")

    def fails(comparison, path):
        raise OSError("no space left")

    monkeypatch.setattr("skltransfer.model_selection._report.write_report", fails)
    with pytest.raises(OSError, match="no space left"):
        comparison.save(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["scores.csv"]
    assert (tmp_path / "scores.csv").read_text() == "earlier"


def test_the_code_makes_the_strategy():
    X, y, X_source, y_source = make_domains(30)
    names = "recalibrated source", "source score", "anchored strongly", "augmented"
    others = "KMM without target labels", "RuLSIF", "CORAL", "TrAdaBoost"
    comparison = compare(X, y, X_source, y_source, strategies=[*FEW, *names, *others], cv=2)
    for name in comparison.estimators:
        names = {"X": X, "y": y, "X_source": X_source, "y_source": y_source}
        exec(comparison.code(name), names)
        expected = comparison.fitted(name).predict_proba(X)
        np.testing.assert_allclose(names["model"].predict_proba(X), expected, err_msg=name)


def test_the_best_estimator_is_fitted_on_all_samples():
    X, y, X_source, y_source = make_domains(30)
    comparison = compare(X, y, X_source, y_source)
    assert comparison.best_estimator_ is comparison.best_estimator_
    assert comparison.best_estimator_.score(X, y) > 0.7


@pytest.mark.parametrize("is_control", [False, True])
def test_a_control_is_compared_but_never_the_one_to_use(is_control):
    X, y, *_ = make_domains(60)
    blind = Strategy("blind", lambda task: DummyClassifier(), "baseline")
    good = Strategy("good", lambda task: task.estimator, "network", is_control=is_control)
    comparison = compare_strategies(MODEL, X, y, strategies=[blind, good], cv=3)
    assert comparison.ranking[0].name == "good"
    assert comparison.best_ == ("blind" if is_control else "good")


def test_each_sample_passes_a_frozen_network_once():
    X, y = load_digits(return_X_y=True)
    X, X_source, y, y_source = X[:40], 16 - X[40:100], y[:40] % 2, y[40:100] % 2
    store = FeatureStore()
    features = PretrainedFeatureTransformer(
        "tiny", image_shape=(8, 8), value_range=(0, 16), store=store
    )
    model = make_pipeline(features, StandardScaler(), LogisticRegression())
    probe = Strategy("probe", lambda task: model, "feature", backbone="tiny")
    strategies = [*FEW, "source score", "KMM", probe]
    comparison = compare(X, y, X_source, y_source, model, strategies)
    assert store.misses == len(np.unique(np.r_[X, X_source], axis=0))
    assert comparison.results["probe"].fold_scores == pytest.approx(
        comparison.results["no transfer"].fold_scores
    )
    for name in ("pooled", "source score"):
        plain = cross_val_score(comparison.estimators[name], X, y, cv=3)
        assert comparison.results[name].fold_scores == pytest.approx(plain)


def test_the_source_is_fitted_once():
    n_fits = []

    class Counted(LogisticRegression):
        def fit(self, X, y, sample_weight=None):
            n_fits.append(len(X))
            return super().fit(X, y, sample_weight)

    X, y, *source = make_domains(30, 57)
    compare(X, y, *source, make_pipeline(StandardScaler(), Counted()))
    assert n_fits.count(57) == 1
    assert len(n_fits) == 1 + 3 * 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y_source": None}, "X_source was given without y_source"),
        ({"y_source": ["ja", "nein"] * 30}, "no class in common"),
        ({"X_source": np.zeros((60, 2))}, "X_source has 2 features"),
        ({"strategies": ["poled"]}, "'poled', which is no strategy. Did you mean 'pooled'"),
        ({"strategies": []}, "strategies is empty"),
        ({"scoring": "acuracy"}, "scoring='acuracy' is no scorer. Did you mean 'accuracy'"),
        ({"groups": [1, 2]}, "groups has 2"),
        ({"groups": [1] * 40}, "groups has 1 distinct values"),
        ({"budget": 0}, "budget=0 is no positive number"),
        ({"y": [None] * 39 + ["yes"]}, "y holds 1 known labels"),
        ({"X_unlabelled": np.zeros((5, 2))}, "X_unlabelled has 2 features"),
    ],
)
def test_bad_input_is_named(change, message):
    X, y, X_source, y_source = make_domains()
    data = {"X": X, "y": y, "X_source": X_source, "y_source": y_source, **change}
    with pytest.raises(ValueError, match=message):
        compare(**data)


def test_strategies_for_a_source_need_one():
    X, y, *_ = make_domains()
    with pytest.raises(ValueError, match="'pooled' needs another domain"):
        compare_strategies(MODEL, X, y, strategies=["pooled"])
    alone = compare_strategies(MODEL, X, y, strategies={"weaker": LogisticRegression(C=0.01)})
    assert list(alone.results) == ["no transfer", "weaker"]
    assert alone.verdict == "No strategy is better than no transfer beyond chance."


def test_frames_are_matched_by_name():
    pandas = pytest.importorskip("pandas")
    X, y, X_source, y_source = make_domains()
    frames = (pandas.DataFrame(rows, columns=list("abc")) for rows in (X, X_source))
    target, source = frames
    mixed_up = compare(target, y, source[["c", "a", "b"]], y_source)
    np.testing.assert_equal(scores_of(mixed_up), scores_of(compare(X, y, X_source, y_source)))


def test_several_sources_are_stacked():
    X, y, X_source, y_source = make_domains(24, 40)
    parts = [X_source[:15], X_source[15:]], [y_source[:15], y_source[15:]]
    options = {"strategies": ["pooled"], "cv": 2}
    assert_equal(compare(X, y, *parts, **options), compare(X, y, X_source, y_source, **options))


def test_labels_of_each_type_may_be_missing():
    X, y, X_source, y_source = make_domains(24, 40)
    for labels in (y == "yes", (y == "yes").astype(int), y):
        source_labels = (y_source == "yes").astype(labels.dtype) if labels is not y else y_source
        options = {"strategies": ["KMM"], "cv": 2, "X_unlabelled": X + 1}
        comparison = compare(X, labels, X_source, source_labels, **options)
        assert comparison.n_unlabelled == 24
        assert comparison.results["KMM"].failure is None

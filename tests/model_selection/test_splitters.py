"""Splitters whose test samples are labelled."""

import numpy as np
import pandas
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import (
    GridSearchCV,
    KFold,
    StratifiedKFold,
    cross_val_score,
    cross_validate,
)

from skltransfer import (
    KMMReweighter,
    LabelledKFold,
    LabelledStratifiedKFold,
    PooledEstimator,
    WithSource,
)

PLAIN = {LabelledKFold: KFold, LabelledStratifiedKFold: StratifiedKFold}


@pytest.mark.parametrize("kind", PLAIN)
@settings(deadline=None, max_examples=40)
@given(
    labels=st.lists(st.sampled_from([0.0, 1.0, np.nan]), min_size=4, max_size=60),
    n_splits=st.integers(2, 6),
    shuffle=st.booleans(),
)
def test_folds_are_those_of_the_labelled_samples_alone(kind, labels, n_splits, shuffle):
    labels = [0.0] * n_splits + [1.0] * n_splits + labels  # every fold has some of each class
    labels = np.random.default_rng(0).permutation(labels)
    X = np.arange(len(labels))[:, None]
    seed = 0 if shuffle else None
    known = np.flatnonzero(~np.isnan(labels))
    unlabelled = set(np.flatnonzero(np.isnan(labels)))
    made = kind(n_splits, shuffle=shuffle, random_state=seed)
    plain = PLAIN[kind](n_splits, shuffle=shuffle, random_state=seed)
    splits = list(made.split(X, labels))
    assert len(splits) == made.get_n_splits() == made.get_n_splits(X, labels) == n_splits
    expected = plain.split(known[:, None], labels[known])
    for (train, test), (plain_train, plain_test) in zip(splits, expected, strict=True):
        np.testing.assert_array_equal(test, known[plain_test])
        assert set(train) == set(known[plain_train]) | unlabelled
        assert (np.diff(train) > 0).all()
    tests = np.concatenate([test for _, test in splits])
    np.testing.assert_array_equal(np.sort(tests), known)


@pytest.mark.parametrize("kind", PLAIN)
def test_without_a_missing_label_they_are_scikit_learns(kind):
    X, y = np.zeros((20, 1)), np.arange(20) % 3
    for ours, theirs in zip(kind(4).split(X, y), PLAIN[kind](4).split(X, y), strict=True):
        np.testing.assert_array_equal(ours[0], theirs[0])
        np.testing.assert_array_equal(ours[1], theirs[1])


@pytest.mark.parametrize("kind", PLAIN)
@pytest.mark.parametrize(
    "labels",
    [
        [0, 1, np.nan, 0, 1, np.nan],
        ["a", "b", None, "a", "b", None],
        np.array(["a", "b", None, "a", "b", np.nan], dtype=object),
        pandas.Series([0, 1, pandas.NA, 0, 1, pandas.NA], dtype="Int64"),
        pandas.Series(["a", "b", None, "a", "b", None]),
        pandas.Categorical(["a", "b", None, "a", "b", None]),
    ],
    ids=["floats", "list", "objects", "Int64", "Series", "Categorical"],
)
def test_marks_of_missing_labels(kind, labels):
    for train, test in kind(2).split(np.zeros((6, 1)), labels):
        assert {2, 5} <= set(train)
        assert set(test) in ({0, 1}, {3, 4})


def test_several_outputs_are_labelled_if_all_are():
    y = np.array([[0.0, 1.0], [np.nan, 1.0], [2.0, 3.0], [4.0, 5.0]])
    tests = [test.tolist() for _, test in LabelledKFold(3).split(np.zeros((4, 1)), y)]
    assert tests == [[0], [2], [3]]


@pytest.mark.parametrize("kind", PLAIN)
def test_conventions_of_scikit_learn(kind):
    made = kind(3, shuffle=True, random_state=1)
    name = kind.__name__
    assert repr(made) == f"{name}(n_splits=3, random_state=1, shuffle=True)"
    assert isinstance(made, PLAIN[kind])
    X, y = np.zeros((9, 1)), np.arange(9) % 2
    assert str(list(made.split(X, y))) == str(list(made.split(X, y)))
    with pytest.warns(UserWarning, match=f"groups parameter is ignored by {name}"):
        list(kind(2).split(X, y, groups=np.arange(9)))
    with pytest.raises(ValueError, match="n_splits=1"):
        kind(1)
    with pytest.raises(ValueError, match=f"{name} needs y"):
        list(kind(2).split(X))
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        list(kind(2).split(X, y[:3]))
    with pytest.raises(ValueError, match=r"3 known labels.*n_splits=5 folds.*Choose fewer folds"):
        list(kind(5).split(X, np.where(np.arange(9) < 3, y, np.nan)))
    assert clone(GridSearchCV(Ridge(), {}, cv=made)).cv is not None


@pytest.fixture(scope="module")
def domains():
    rng = np.random.default_rng(0)
    X_old, X = rng.normal(size=(60, 2)), rng.normal(0.5, 0.8, size=(50, 2))
    return X_old, (X_old[:, 0] > 0).astype(int), X, (X[:, 0] > 0).astype(float)


def test_partly_labelled_targets_are_cross_validated(domains):
    X_old, y_old, X, y = domains
    partly = np.where(np.arange(50) % 3 > 0, y, np.nan)
    seen = []

    class Counting(KMMReweighter):
        def fit(self, X, y=None, sample_weight=None, *, X_target=None, y_target=None):
            seen.append((len(X_target[0]), np.isnan(np.asarray(y_target[0])).sum()))
            return super().fit(X, y, sample_weight, X_target=X_target, y_target=y_target)

    model = WithSource(Counting(LogisticRegression(), tol=1e-3), X_old, y_old)
    for cv in (LabelledKFold(3), LabelledStratifiedKFold(3)):
        found = cross_validate(
            model, X, partly, cv=cv, scoring=["accuracy", "neg_log_loss"], error_score="raise"
        )
        assert np.isfinite(found["test_accuracy"]).all()
        own = cross_val_score(model, X, partly, cv=cv, error_score="raise")
        np.testing.assert_array_equal(own, found["test_accuracy"])
    assert {n_missing for _, n_missing in seen} == {17}
    assert {n for n, _ in seen} == {39}


def test_partly_labelled_regressions_and_words(domains):
    X_old, y_old, X, y = domains
    late = np.where(np.arange(50) < 30, np.nan, X[:, 0])
    model = WithSource(PooledEstimator(Ridge()), X_old, X_old[:, 0])
    assert cross_val_score(model, X, late, cv=LabelledKFold(4), scoring="r2").min() > 0.9
    words = np.array(["no", "yes"], dtype=object)[y.astype(int)]
    words[::3] = None
    model = WithSource(PooledEstimator(LogisticRegression()), X_old, np.array(["no", "yes"])[y_old])
    scores = cross_val_score(model, X, words, cv=LabelledStratifiedKFold(3), scoring="accuracy")
    assert scores.min() > 0.6


def test_the_error_of_a_fold_without_labels_names_the_splitters(domains):
    X_old, _, X, _ = domains
    late = np.where(np.arange(50) < 30, np.nan, X[:, 0])
    model = WithSource(PooledEstimator(Ridge()), X_old, X_old[:, 0])
    with pytest.raises(ValueError, match=r"no known label.*cv=LabelledKFold\(\)"):
        cross_val_score(model, X, late, cv=5, error_score="raise")

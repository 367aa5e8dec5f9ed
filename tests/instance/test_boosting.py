"""What all boosting on two domains shares: texts, sparse samples, a round that is the last."""

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.naive_bayes import MultinomialNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from skltransfer import (
    KMMReweighter,
    PooledEstimator,
    TrAdaBoostClassifier,
    TrAdaBoostRegressor,
    TwoStageTrAdaBoostRegressor,
    WithSource,
)

rng = np.random.default_rng(0)
WORDS = np.array(["good", "fine", "bad", "poor", "film", "plot", "long", "short"])
# The fourth word means the opposite in the target.
MEANING, MEANING_OF_TARGET = np.array([2, 1, -2, -1.0]), np.array([2, 1, -2, 3.0])


def reviews(n, meaning):
    counts = rng.poisson(1, (n, len(WORDS)))
    counts[:, 4] += 1
    texts = [" ".join(np.repeat(WORDS, row)) for row in counts]
    return texts, counts, counts[:, :4] @ meaning + rng.normal(size=n)


TEXTS, COUNTS, VALUES = reviews(80, MEANING)
TEXTS_OF_TARGET, COUNTS_OF_TARGET, VALUES_OF_TARGET = reviews(40, MEANING_OF_TARGET)
BOOSTING = [
    (TrAdaBoostClassifier, MultinomialNB(), VALUES > 0, VALUES_OF_TARGET > 0),
    (TrAdaBoostRegressor, Ridge(), VALUES, VALUES_OF_TARGET),
    (TwoStageTrAdaBoostRegressor, Ridge(), VALUES, VALUES_OF_TARGET),
]
SETTINGS = {"n_estimators": 4}


def as_object_array(texts):
    return np.array(texts, dtype=object)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize(("boosting", "base", "y", "y_target"), BOOSTING)
@pytest.mark.parametrize("form", [list, np.array, as_object_array, pd.Series, tuple])
def test_texts_are_boosted_as_their_counts_are(boosting, base, y, y_target, form):
    folds = {"cv": 2, "n_steps": 2} if boosting is TwoStageTrAdaBoostRegressor else {}
    model = boosting(make_pipeline(CountVectorizer(), base), **SETTINGS)
    source, target = form(TEXTS), form(TEXTS_OF_TARGET)
    weights = rng.uniform(0.5, 2, len(y))
    weights[3] = 0
    if not folds:
        model.fit(source, y, weights, X_target=target, y_target=y_target)
        expected = boosting(base, **SETTINGS).fit(
            COUNTS[:, np.argsort(WORDS)],
            y,
            weights,
            X_target=COUNTS_OF_TARGET[:, np.argsort(WORDS)],
            y_target=y_target,
        )
        np.testing.assert_allclose(model.estimator_errors_, expected.estimator_errors_, rtol=1e-3)
    else:
        model.set_params(**folds).fit(source, y, X_target=target, y_target=y_target)
        assert np.isfinite(model.cv_errors_).all()
    assert model.predict(target).shape == y_target.shape
    assert len(list(model.staged_predict(target))) == len(model.estimators_)


def test_texts_in_a_wrapper_and_what_is_refused():
    text_model = make_pipeline(TfidfVectorizer(), LogisticRegression())
    boosted = TrAdaBoostClassifier(text_model, n_estimators=3)
    y, y_target = VALUES > 0, VALUES_OF_TARGET > 0
    model = WithSource(boosted, pd.Series(TEXTS), y).fit(pd.Series(TEXTS_OF_TARGET), y_target)
    assert model.score(TEXTS_OF_TARGET, y_target) > 0.7
    pooled = WithSource(PooledEstimator(text_model), TEXTS, y).fit(TEXTS_OF_TARGET, y_target)
    assert pooled.score(TEXTS_OF_TARGET, y_target) > 0.7
    known = {"X_target": TEXTS_OF_TARGET, "y_target": y_target}
    with pytest.raises(ValueError, match="X: Row 1 is missing"):
        boosted.fit([TEXTS[0], None, *TEXTS[2:]], y, **known)
    with pytest.raises(ValueError, match="X_target: X has shape"):
        boosted.fit(TEXTS, y, X_target=COUNTS_OF_TARGET, y_target=y_target)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        boosted.fit(TEXTS[1:], y, **known)
    boosted.fit(TEXTS, y, **known)
    with pytest.raises(ValueError, match="X: X has shape"):
        boosted.predict(COUNTS)
    with pytest.raises(ValueError, match="Encode them in a step before it"):
        KMMReweighter(text_model).fit(TEXTS, y, X_target=TEXTS_OF_TARGET)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("form", ["coo", "dia", "bsr", "lil", "dok", "csc"])
def test_sparse_samples_of_any_form_equal_those_by_row(form):
    y, y_target = VALUES > 0, VALUES_OF_TARGET > 0
    y_target = np.where(np.arange(40) % 3 == 0, np.nan, y_target)

    def rows(kind):
        make = getattr(sparse, f"{kind}_array")
        return make(COUNTS * 1.0), make(COUNTS_OF_TARGET * 1.0)

    for model in (
        TrAdaBoostClassifier(DecisionTreeClassifier(max_depth=2, random_state=0), n_estimators=3),
        TrAdaBoostClassifier(LogisticRegression(), n_estimators=3),
        TwoStageTrAdaBoostRegressor(Ridge(), n_estimators=2, n_steps=2, cv=2),
        PooledEstimator(LogisticRegression()),
    ):
        predicted = []
        for kind in (form, "csr"):
            X, X_target = rows(kind)
            model.fit(X, y * 1, X_target=X_target, y_target=y_target)
            predicted.append(model.predict(X_target))
        np.testing.assert_allclose(*predicted)


# --- frames --------------------------------------------------------------------------------


def towns(n, codes, seed, yes):
    """Return a frame with a category that decides, and whether it is one of `yes`."""
    rng = np.random.default_rng(seed)
    town = rng.choice(codes, n)
    frame = pd.DataFrame({"age": rng.normal(size=n), "town": pd.Categorical(town)})
    return frame, np.isin(town, yes)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("codes", [[10, 40, 20, 30], ["a", "d", "b", "c"]], ids=["ints", "texts"])
@pytest.mark.parametrize("form", ["pandas", "polars"])
def test_categories_reach_the_base_estimator_as_categories(codes, form):
    if form == "polars":
        polars = pytest.importorskip("polars")
        if isinstance(codes[0], int):
            pytest.skip("polars has categories of texts alone")
    yes = codes[:2]  # the first and the last in order
    (X, y), (X_target, y_target) = towns(160, codes[:3], 0, yes), towns(60, codes[1:], 1, yes)
    settings = {"max_iter": 4, "min_samples_leaf": 5, "learning_rate": 0.5}
    folds = {"n_estimators": 2, "n_steps": 2, "cv": 2}
    for model, kind in (
        (TrAdaBoostClassifier(HistGradientBoostingClassifier(**settings), n_estimators=3), bool),
        (TrAdaBoostRegressor(HistGradientBoostingRegressor(**settings), n_estimators=2), float),
        (TwoStageTrAdaBoostRegressor(HistGradientBoostingRegressor(**settings), **folds), float),
    ):
        source, target = X, X_target
        if form == "polars":
            source, target = polars.from_pandas(X), polars.from_pandas(X_target)
        model.fit(source, y.astype(kind), X_target=target, y_target=y_target.astype(kind))
        assert model.estimators_[0].is_categorical_.tolist() == [False, True]
        assert model.feature_names_in_.tolist() == ["age", "town"]
        (trees, *_), *_ = model.estimators_[0]._predictors
        assert trees.nodes["is_categorical"].any()
        assert model.score(target, y_target.astype(kind)) > 0.5


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_codes_of_categories_are_those_of_the_fit():
    (X, y), (X_target, y_target) = towns(80, [3, 1, 2], 0, [3]), towns(40, [1, 2, 9], 1, [9])
    codes = FunctionTransformer(lambda X: X.assign(town=X["town"].cat.codes))
    model = TrAdaBoostClassifier(
        make_pipeline(codes, DecisionTreeClassifier(max_depth=3)), n_estimators=2
    )
    weights = np.ones(80)
    weights[5] = 0  # left out
    model.fit(X, y, weights, X_target=X_target, y_target=y_target)
    few = X_target.iloc[:7].assign(town=X_target["town"].iloc[:7].cat.remove_unused_categories())
    np.testing.assert_array_equal(model.predict(few), model.predict(X_target)[:7])


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_columns_are_selected_by_name_and_those_of_one_domain_are_named():
    yes = ["a", "b"]
    (X, y), (X_target, y_target) = towns(80, list("abc"), 0, yes), towns(40, list("bcd"), 1, yes)
    encode = make_column_transformer((OneHotEncoder(handle_unknown="ignore"), ["town"]))
    named = make_pipeline(encode, LogisticRegression())
    more = X_target[["town", "age"]].assign(extra=1.0)
    TrAdaBoostClassifier(named, n_estimators=2).fit(X, y, X_target=more, y_target=y_target)
    model = TrAdaBoostClassifier(LogisticRegression(), n_estimators=2)
    with pytest.raises(ValueError, match="column 'town' is float64 in X .* and str in X_t"):
        model.fit(X.assign(town=1.0), y, X_target=X_target.astype({"town": str}), y_target=y_target)
    spoiled = X_target[["age"]].assign(age=np.nan)
    with pytest.raises(ValueError, match="Input X_target contains NaN"):
        model.fit(X[["age"]], y, X_target=spoiled, y_target=y_target)


# --- one round -----------------------------------------------------------------------------


@pytest.mark.parametrize("boosting", [TrAdaBoostRegressor, TwoStageTrAdaBoostRegressor])
def test_one_round_without_an_error_is_said_of_numbers(boosting):
    X, X_target = np.arange(8.0)[:, None], np.arange(8.0, 12)[:, None]
    known = {"X_target": X_target, "y_target": X_target[:, 0]}
    model = boosting(DecisionTreeRegressor(), n_estimators=4)
    with pytest.warns(ConvergenceWarning, match="stops after one round.*no error") as caught:
        model.fit(X, X[:, 0], **known)
    assert caught[0].filename == __file__
    assert "weaker base estimator" in str(caught[0].message)
    assert len(model.estimators_) == 1
    model.set_params(n_estimators=1).fit(X, X[:, 0], **known)  # no more were asked for


def test_one_round_is_said_of_classes():
    rng = np.random.default_rng(0)
    X, X_target = rng.normal(size=(60, 2)), rng.normal(size=(12, 2))
    known = {"X_target": X_target, "y_target": X_target[:, 0] > 0}
    deep = TrAdaBoostClassifier(DecisionTreeClassifier(), n_estimators=4)
    with pytest.warns(ConvergenceWarning, match="no error on the target rows.*weaker"):
        deep.fit(X, X[:, 0] > 0, **known)
    source = rng.normal(size=(4000, 2))
    labels = source[:, 0] > 0
    flipped = np.where(np.arange(12) < 3, ~known["y_target"], known["y_target"])
    with pytest.warns(ConvergenceWarning, match="second learner is no better.*larger target_wei"):
        TrAdaBoostClassifier().fit(source, labels, X_target=X_target, y_target=flipped)


@pytest.mark.parametrize(("n_classes", "depth"), [(2, 1), (3, 2), (4, 2), (5, 3)])
def test_the_default_tree_has_a_leaf_for_each_class(n_classes, depth):
    rng = np.random.default_rng(0)
    y = np.arange(200) % n_classes
    X = y[:, None] + rng.normal(0, 0.4, (200, 2))
    known = {"X_target": X[:40] + 0.1, "y_target": y[:40]}
    model = TrAdaBoostClassifier(n_estimators=5).fit(X, y, **known)
    assert {tree.max_depth for tree in model.estimators_} == {depth}
    assert model.score(X, y) > 0.6

"""DiscriminativeReweighter against explicit folds, and what it takes."""

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression, Perceptron, Ridge
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV, StratifiedGroupKFold, StratifiedKFold
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from sklearn.utils import get_tags

from skltransfer import (
    DiscriminativeReweighter,
    LabelShiftReweighter,
    WithSource,
)
from skltransfer.instance._cross_fitting import stratified_folds
from skltransfer.instance._rows import row_groups


@pytest.fixture(scope="module")
def domains():
    rng = np.random.default_rng(0)
    X, X_target = rng.normal(size=(150, 3)), rng.normal([0.8, 0, 0], 0.7, size=(80, 3))
    y, y_target = ((Z**2)[:, 0] - Z[:, 1] for Z in (X, X_target))
    return X, y, X_target, y_target


def by_hand(X, X_target, classifier, n_folds=5, random_state=0):
    """Return held-out log-odds by explicit folds, corrected by each fold's numbers of rows."""
    rows = np.vstack([X, X_target])
    domain = np.repeat([0, 1], [len(X), len(X_target)])
    fold = stratified_folds(row_groups(rows), domain, n_folds, random_state)
    scores = np.empty(len(rows))
    for number in range(n_folds):
        train = fold != number
        fitted = clone(classifier).fit(rows[train], domain[train])
        p = fitted.predict_proba(rows[~train])[:, 1]
        prior = (domain[train] == 0).sum() / (domain[train] == 1).sum()
        scores[~train] = np.log(prior * p / (1 - p))
    return scores, domain


def test_the_odds_by_hand(domains):
    X, X_target = domains[0][:147], domains[2][:78]  # folds of unequal shares
    classifier = LogisticRegression(tol=1e-10)
    scores, domain = by_hand(X, X_target, classifier)
    plain = DiscriminativeReweighter(classifier=classifier, calibration=None)
    plain.fit(X, X_target=X_target)
    weights = np.exp(scores[: len(X)])
    np.testing.assert_allclose(plain.sample_weight_, weights * len(X) / weights.sum(), rtol=1e-6)
    assert plain.domain_auc_ == pytest.approx(roc_auc_score(domain, scores))
    fitted = classifier.fit(np.vstack([X, X_target]), domain)
    p = fitted.predict_proba(X_target)[:, 1]
    np.testing.assert_allclose(
        plain.density_ratio(X_target), len(X) / len(X_target) * p / (1 - p), rtol=1e-6
    )


def test_calibrations_by_hand(domains):
    X, _, X_target, _ = domains
    classifier = LogisticRegression(tol=1e-10, C=1e-3)  # far too cautious
    scores, domain = by_hand(X, X_target, classifier)
    sigmoid = DiscriminativeReweighter(classifier=classifier).fit(X, X_target=X_target)
    # One pseudo-row of penalty hardly matters against this logistic regression without any.
    platt = LogisticRegression(C=1e6, tol=1e-10).fit(scores[:, None], domain)
    weights = np.exp(platt.decision_function(scores[: len(X), None]))
    weights *= len(X) / weights.sum()
    assert np.corrcoef(np.log(sigmoid.sample_weight_), np.log(weights))[0, 1] > 1 - 1e-9
    spread = np.log(sigmoid.sample_weight_).std()
    assert spread == pytest.approx(np.log(weights).std(), rel=0.02)
    assert spread > 5 * scores[: len(X)].std()
    isotonic = DiscriminativeReweighter(classifier=classifier, calibration="isotonic")
    isotonic.fit(X, X_target=X_target)
    p = IsotonicRegression(y_min=0, y_max=1).fit_transform(scores, domain)[: len(X)]
    weights = np.minimum(p / (1 - p) * len(X) / len(X_target), 1000)
    np.testing.assert_allclose(isotonic.sample_weight_, weights * len(X) / weights.sum())


def test_no_row_is_judged_by_a_model_that_has_seen_it():
    """A classifier that learns by heart finds the domains apart in what it has seen alone."""
    rng = np.random.default_rng(0)
    X, X_target = rng.normal(size=(200, 2)), rng.normal(size=(200, 2))
    nearest = KNeighborsClassifier(1)
    model = DiscriminativeReweighter(classifier=nearest).fit(X, X_target=X_target)
    assert 0.4 < model.domain_auc_ < 0.6
    both = np.vstack([X, X])  # copies lie in one fold
    model = DiscriminativeReweighter(classifier=nearest).fit(both, X_target=X_target)
    assert 0.4 < model.domain_auc_ < 0.6
    assert model.effective_sample_size_ > 300


def test_folds_hold_equal_rows_together_and_every_label():
    rng = np.random.default_rng(0)
    rows = rng.integers(0, 4, size=(300, 2))
    labels = rng.integers(0, 3, size=300)
    groups = row_groups(rows)
    fold = stratified_folds(groups, labels, 5, 0)
    for group in np.unique(groups):
        assert len(np.unique(fold[groups == group])) == 1
    assert set(fold) == set(range(5))
    rows = rng.normal(size=(300, 2))
    fold = stratified_folds(row_groups(rows), labels, 5, 0)
    for label in range(3):
        sizes = np.bincount(fold[labels == label])
        assert sizes.max() - sizes.min() <= 1
    order = rng.permutation(300)
    shuffled = stratified_folds(row_groups(rows[order]), labels[order], 5, 0)
    np.testing.assert_array_equal(fold[order], shuffled)
    assert (stratified_folds(row_groups(rows), labels, 5, 1) != fold).any()
    assert stratified_folds(np.array([0, 0, 1]), np.array([0, 0, 1]), 5, 0) is None


def test_a_splitter_deals_the_rows_as_they_are_given(domains):
    X, _, X_target, _ = domains
    settings = {"classifier": LogisticRegression(tol=1e-10), "calibration": None}
    rows, domain = np.vstack([X, X_target]), np.repeat([0, 1], [len(X), len(X_target)])
    splitter = StratifiedKFold(3, shuffle=True, random_state=1)
    scores = np.empty(len(rows))
    for train, test in splitter.split(rows, domain):
        p = LogisticRegression(tol=1e-10).fit(rows[train], domain[train]).predict_proba(rows[test])
        prior = (domain[train] == 0).sum() / (domain[train] == 1).sum()
        scores[test] = np.log(prior * p[:, 1] / p[:, 0])
    for cv in (splitter, list(splitter.split(rows, domain))):
        model = DiscriminativeReweighter(cv=cv, **settings).fit(X, X_target=X_target)
        weights = np.exp(scores[domain == 0])
        np.testing.assert_allclose(
            model.sample_weight_, weights * len(X) / weights.sum(), rtol=1e-6
        )


@pytest.mark.parametrize("kind", [DiscriminativeReweighter, LabelShiftReweighter])
def test_a_splitter_keeps_equal_rows_in_one_fold_or_is_refused(domains, kind):
    X, _, X_target, _ = domains
    twice, y = np.repeat(X, 2, axis=0), np.repeat(X[:, 0] > 0, 2)
    kind(cv=StratifiedGroupKFold(3)).fit(twice, y, X_target=X_target)
    n = len(twice) + (len(X_target) if kind is DiscriminativeReweighter else 0)
    every = np.arange(n)
    for cv, message in [
        (StratifiedKFold(3, shuffle=True, random_state=0), "equal samples together"),
        ([(every[10:], every[:10])], "each of the .* samples exactly once"),
        ([(every, every), (every, every)], "each of the .* samples exactly once"),
        ([(every[:0], every)], "leaves no sample of some class outside of fold 0"),
    ]:
        with pytest.raises(ValueError, match=message):
            kind(cv=cv).fit(twice, y, X_target=X_target)


@pytest.mark.parametrize(
    "rows",
    [
        np.array([[1.0, np.nan], [0.0, 2.0], [1.0, np.nan], [-0.0, 2.0], [3.0, 3.0]]),
        np.array([["a", 1], ["b", 2], ["a", 1], ["b", 2], ["c", None]], dtype=object),
        ["red", "green", "red", "green", "blue"],
        sparse.csr_array([[1.0, 0.0], [0.0, 2.0], [1.0, 0.0], [0.0, 2.0], [0.0, 0.0]]),
        np.array([[[1], [2]], [[0], [5]], [[1], [2]], [[0], [5]], [[9], [9]]]),
    ],
)
def test_equal_rows_of_any_kind_are_found(rows):
    groups = row_groups(rows)
    assert groups[0] == groups[2]
    assert groups[1] == groups[3]
    assert sorted(set(groups)) == [0, 1, 2]
    order = [4, 3, 0, 1, 2]
    moved = [rows[i] for i in order] if isinstance(rows, list) else rows[order]
    np.testing.assert_array_equal(row_groups(moved), groups[order])


def test_entries_of_sparse_rows_stay_as_they_are():
    X = sparse.csr_array((np.array([1.0, 0.0, 2.0]), np.array([1, 0, 0]), np.array([0, 2, 3])))
    indices = X.indices.copy()
    row_groups(X)
    np.testing.assert_array_equal(X.indices, indices)
    assert X.nnz == 3


def test_missing_values_and_sparse_rows_follow_the_classifier(domains):
    X, y, X_target, _ = domains
    trees = HistGradientBoostingClassifier(max_iter=10)
    model = DiscriminativeReweighter(trees, classifier=trees)
    assert get_tags(model).input_tags.allow_nan
    assert not get_tags(DiscriminativeReweighter(Ridge(), classifier=trees)).input_tags.allow_nan
    holes = np.where(X > 1.5, np.nan, X)
    target_holes = np.where(X_target > 1.5, np.nan, X_target)
    model.fit(holes, y > 0, X_target=target_holes)
    assert np.isfinite(model.sample_weight_).all()
    assert model.sample_weight_.std() > 0.1
    with pytest.raises(ValueError, match="NaN"):
        DiscriminativeReweighter(Ridge(), classifier=trees).fit(holes, y, X_target=X_target)
    linear = DiscriminativeReweighter(Ridge(), classifier=LogisticRegression(tol=1e-10))
    assert get_tags(linear).input_tags.sparse
    assert not get_tags(DiscriminativeReweighter()).input_tags.sparse
    dense = linear.fit(X, y, X_target=X_target).sample_weight_
    for kind in (sparse.csr_array, sparse.csr_matrix, sparse.coo_array):
        linear.fit(kind(X), y, X_target=kind(X_target))
        assert np.corrcoef(linear.sample_weight_, dense)[0, 1] > 0.99  # other folds
        assert linear.density_ratio(kind(X_target)).shape == (80,)


def test_a_certain_classifier_gives_bounded_weights(domains):
    X, _, X_target, _ = domains
    forest = RandomForestClassifier(5, random_state=0)
    model = DiscriminativeReweighter(classifier=forest, calibration=None, max_weight=20)
    model.fit(X, X_target=X_target)
    assert model.density_ratio(X_target).max() == pytest.approx(20)
    assert np.isfinite(model.sample_weight_).all()


def test_a_classifier_without_weights_sees_rows_repeated(domains):
    X, _, X_target, _ = domains
    model = DiscriminativeReweighter(classifier=KNeighborsClassifier(9))
    counts = np.arange(len(X)) % 3
    weighted = clone(model).fit(X, sample_weight=counts, X_target=X_target)
    repeated = clone(model).fit(np.repeat(X, counts, axis=0), X_target=X_target)
    np.testing.assert_allclose(weighted.density_ratio(X), repeated.density_ratio(X))
    with pytest.raises(TypeError, match="KNeighborsClassifier does not support sample_weight"):
        model.fit(X, sample_weight=counts / 2, X_target=X_target)


def test_a_classifier_without_probabilities_is_refused(domains):
    X, _, X_target, _ = domains
    with pytest.raises(TypeError, match="has no predict_proba.*CalibratedClassifierCV"):
        DiscriminativeReweighter(classifier=Perceptron()).fit(X, X_target=X_target)
    wrapped = CalibratedClassifierCV(Perceptron(), cv=3)
    weights = DiscriminativeReweighter(classifier=wrapped).fit(X, X_target=X_target).sample_weight_
    assert weights.std() > 0.1


def test_the_domain_classifier_tells_how_far_apart_the_domains_are():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 2))
    aucs = [
        DiscriminativeReweighter().fit(X, X_target=rng.normal(s, 1, size=(300, 2))).domain_auc_
        for s in (0.0, 0.5, 1.0, 1.4)
    ]
    assert np.all(np.diff(aucs) > 0.05)
    assert aucs[0] < 0.6
    assert aucs[-1] > 0.9


def test_a_search_reaches_the_domain_classifier(domains):
    X, y, X_target, y_target = domains
    model = WithSource(
        DiscriminativeReweighter(Ridge(), classifier=LogisticRegression()), X_source=X, y_source=y
    )
    grid = {
        "estimator__classifier__C": [1e-3, 1.0],
        "estimator__estimator__alpha": [0.1, 1.0],
    }
    search = GridSearchCV(model, grid, cv=3, error_score="raise").fit(X_target, y_target)
    scores = search.cv_results_["mean_test_score"]
    assert np.isfinite(scores).all()
    assert len(np.unique(scores.round(6))) == 4


def people(n, shift, shares, seed):
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "age": rng.normal(shift, 1, n),
            "city": pd.Categorical(rng.choice(list("abc"), n, p=shares), categories=list("abc")),
        }
    )
    frame.loc[2, "age"] = np.nan
    return frame, (frame["city"] == "a").to_numpy().astype(int)


TREES = HistGradientBoostingClassifier(categorical_features="from_dtype", max_iter=10)
ENCODED = make_pipeline(
    make_column_transformer((OneHotEncoder(), ["city"]), remainder="passthrough"), TREES
)


@pytest.mark.parametrize("classifier", [TREES, ENCODED], ids=["dtype", "pipeline"])
def test_frames_with_categories_go_to_the_classifier(classifier):
    X, y = people(150, 0.0, [0.6, 0.3, 0.1], 0)
    X_target, y_target = people(100, 0.0, [0.1, 0.3, 0.6], 1)
    if classifier is ENCODED:  # texts
        X, X_target = (rows.assign(city=rows["city"].astype(str)) for rows in (X, X_target))
    model = DiscriminativeReweighter(classifier, classifier=classifier)
    model.fit(X, y, X_target=X_target[["city", "age"]])
    weights = pd.Series(model.sample_weight_).groupby(X["city"].astype(str)).mean()
    assert weights["a"] < 0.6 < 1.6 < weights["c"]
    assert model.score(X_target, y_target) == 1
    ratio = pd.Series(model.density_ratio(X_target)).groupby(X_target["city"].astype(str)).mean()
    assert ratio["a"] < 0.6 < 1.6 < ratio["c"]
    order = np.random.default_rng(0).permutation(150)
    again = clone(model).fit(X.iloc[order], y[order], X_target=X_target)
    np.testing.assert_allclose(again.sample_weight_, model.sample_weight_[order])


def test_texts_and_words_go_to_a_classifier_that_reads_them():
    rng = np.random.default_rng(0)
    words = [np.array([f"w{i}", f"v{j}"], dtype=object) for i, j in rng.integers(0, 4, (60, 2))]
    target = [np.array([f"w{i}", f"v{j}"], dtype=object) for i, j in rng.integers(2, 6, (40, 2))]
    encoder = OneHotEncoder(handle_unknown="ignore")
    of_words = DiscriminativeReweighter(classifier=make_pipeline(encoder, LogisticRegression()))
    of_words.fit(np.array(words), X_target=np.array(target))
    texts, target_texts = ([" ".join(row) for row in rows] for rows in (words, target))
    reader = make_pipeline(CountVectorizer(), LogisticRegression())
    of_texts = DiscriminativeReweighter(reader, classifier=reader)
    of_texts.fit(texts, np.arange(60) % 2, X_target=target_texts)
    assert of_texts.domain_auc_ > 0.8
    np.testing.assert_allclose(of_texts.sample_weight_, of_words.sample_weight_, rtol=0.1)
    np.testing.assert_array_equal(
        of_texts.density_ratio(texts), of_texts.density_ratio(pd.Series(texts))
    )


def test_words_without_an_encoder_are_refused_with_the_remedy():
    X, _ = people(60, 0.0, [0.6, 0.3, 0.1], 0)
    X = X.fillna(0.0)
    with pytest.raises(ValueError, match="compares rows as numbers.* Or pass a classifier="):
        DiscriminativeReweighter().fit(X, X_target=X)
    with pytest.raises(ValueError, match="LogisticRegression takes numbers alone. Encode"):
        DiscriminativeReweighter(classifier=LogisticRegression()).fit(X, X_target=X)


def test_a_frame_of_numbers_gives_the_weights_of_its_array(domains):
    X, _, X_target, _ = domains
    model = DiscriminativeReweighter(classifier=LogisticRegression())
    of_array = model.fit(X, X_target=X_target).sample_weight_
    frame, target = (pd.DataFrame(rows, columns=list("abc")) for rows in (X, X_target))
    of_frame = model.fit(frame, X_target=target).sample_weight_
    np.testing.assert_allclose(of_frame, of_array, rtol=1e-6)

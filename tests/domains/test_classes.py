"""Labels of two domains: one way of writing the classes, wherever they meet."""

import warnings

import numpy as np
import pytest
from scipy import sparse
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import BaggingClassifier, StackingClassifier, VotingClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score
from sklearn.multiclass import OneVsRestClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline

from skltransfer import (
    CORAL,
    JDA,
    DomainDataWarning,
    KMMReweighter,
    LabelShiftReweighter,
    PooledEstimator,
    TrAdaBoostClassifier,
    TrAdaBoostRegressor,
    TransferLogisticRegression,
    TransferRidge,
    WithSource,
    WithTarget,
)
from skltransfer.domains._classes import compare_classes
from skltransfer.domains._data import missing_labels

rng = np.random.default_rng(0)
X, X_TARGET = rng.normal(size=(40, 2)), rng.normal(0.3, 1, size=(20, 2))
CODE, CODE_TARGET = (rows[:, 0] > 0 for rows in (X, X_TARGET))
LOGISTIC = LogisticRegression()

CLASSIFIERS = {
    "pooled": PooledEstimator(LOGISTIC),
    "kmm": KMMReweighter(LOGISTIC),
    "label shift": LabelShiftReweighter(LOGISTIC),
    "boosting": TrAdaBoostClassifier(n_estimators=2),
    "linear": TransferLogisticRegression(),
    "aligner": JDA(n_components=1, max_iter=1),
}


def written(classes, target_classes):
    return (
        np.array(names)[code.astype(int)]
        for names, code in ((classes, CODE), (target_classes, CODE_TARGET))
    )


@pytest.mark.parametrize(
    ("classes", "target_classes", "message"),
    [
        (["ill", "well"], ["Ill", "Well"],
         r"y \(source\) holds \['ill', 'well'\] and y_target \(target\) holds \['Ill', 'Well'\]"),
        (["ill", "well"], ["ill ", "well "], "no class in common"),
        ([1, 2], ["1", "2"], r"holds \[1, 2\] and y_target \(target\) holds \['1', '2'\]"),
        ([False, True], ["False", "True"], r"\[False, True\].*\['False', 'True'\]"),
        ([0, 1], ["ill", "well"], "by one LabelEncoder"),
    ],
)  # fmt: skip
def test_domains_without_a_common_class_are_refused(classes, target_classes, message):
    y, y_target = written(classes, target_classes)
    with pytest.raises(ValueError, match=message):
        compare_classes(y, y_target)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_every_estimator_compares_the_classes(name):
    model = CLASSIFIERS[name]
    y, y_target = written(["ill", "well"], ["Ill", "Well"])
    with pytest.raises(ValueError, match="no class in common"):
        model.fit(X, y, X_target=X_TARGET, y_target=y_target)
    y, y_target = written(["ill", "well"], ["Ill", "well"])
    with pytest.warns(DomainDataWarning, match=r"\['Ill'\], which y \(source\) lacks") as caught:
        model.fit(X, y, X_target=X_TARGET, y_target=y_target)
    assert len(caught) == 1
    assert caught[0].filename == __file__


@pytest.mark.parametrize("use_y", [True, False])
def test_wrappers_compare_them_once_under_their_own_names(use_y):
    pooled = make_pipeline(JDA(n_components=1, max_iter=1), PooledEstimator(LOGISTIC))
    y, y_target = written(["ill", "well"], ["Ill", "well"])
    for estimator in (pooled, LOGISTIC) if use_y else (LOGISTIC,):
        with pytest.warns(DomainDataWarning, match=r"^y \(target\).*which y_source") as caught:
            WithSource(estimator, X, y, use_y=use_y).fit(X_TARGET, y_target)
        assert len(caught) == 1
    with pytest.warns(DomainDataWarning, match=r"^y_target \(target\).*which y \(s") as caught:
        WithTarget(pooled, X_TARGET, y_target).fit(X, y)
    assert len(caught) == 1
    with pytest.raises(ValueError, match=r"y_source \(source\).*y \(target\) holds \['1', '2'\]"):
        WithSource(LOGISTIC, X, y).fit(X_TARGET, np.array(["1", "2"] * 10))


def test_what_deserves_no_word():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        compare_classes([0, 1, 2], [1.0, np.nan, 0.0])  # a target that lacks classes, and floats
        compare_classes([True, False], [1, 0])
        compare_classes([0, 1], [None, None])
        compare_classes([[0, 1], [1, 0]], [[1, 1]])
        y, y_target = X[:, 0] + 5, X_TARGET[:, 0]
        PooledEstimator(Ridge()).fit(X, y, X_target=X_TARGET, y_target=y_target)
        WithSource(PooledEstimator(Ridge()), X, y.astype(int)).fit(X_TARGET, np.full(20, 99))


# --- folds and ensembles ---------------------------------------------------------------


def digits(classes, n_source=4, n_target=3):
    """Return both domains of classes that lie side by side, sorted by class."""
    centers = np.arange(len(classes))[:, None] * [3.0, 0.0]
    return [
        (np.repeat(centers, n, axis=0) + 0.1 * rng.normal(size=(n * len(classes), 2)),
         np.repeat(np.array(classes), n))
        for n in (n_source, n_target)
    ]  # fmt: skip


@pytest.mark.parametrize("classes", [range(10), [0, 1, 5]])
def test_a_fold_may_lack_the_last_class(classes):
    (X, y), (X_target, y_target) = digits(list(classes))
    folds = KFold(len(y_target) // 3)  # each leaves one class out
    model = WithSource(PooledEstimator(KNeighborsClassifier(1)), X, y)
    assert cross_val_score(model, X_target, y_target, cv=folds, error_score="raise").min() > 0.9
    search = GridSearchCV(
        model, {"estimator__estimator__n_neighbors": [1]}, cv=folds, error_score="raise"
    )
    assert search.fit(X_target, y_target).best_score_ > 0.9
    with pytest.warns(DomainDataWarning, match="y_target .* which y "):  # the source's fold, here
        WithTarget(model.estimator, X, y).fit(X_target[:6], y_target[:6])


@pytest.mark.parametrize("n_jobs", [None, 2])
def test_an_ensemble_that_numbers_the_classes_is_recognised(n_jobs):
    (X, y), (X_target, y_target) = digits([0, 1, 3, 4])
    model = WithSource(PooledEstimator(LogisticRegression(max_iter=1000)), X, y)
    members = [("a", model), ("b", model)]
    ensembles = [VotingClassifier(members, n_jobs=n_jobs)]
    if n_jobs is None:
        bagging = BaggingClassifier(model, 2, random_state=0)  # draws every class
        ensembles += [StackingClassifier(members, cv=2), bagging]
    for ensemble in ensembles:
        with pytest.raises(ValueError, match=r"y_source also holds \[4\].*LabelEncoder"):
            ensemble.fit(X_target, y_target)


def test_labels_changed_by_a_meta_estimator_around_a_wrapper_are_refused():
    (X, y), (X_target, y_target) = digits([0, 1, 2])
    with pytest.raises(TypeError, match="around WithSource.*changes y, but not y_source"):
        OneVsRestClassifier(WithSource(LOGISTIC, X, y)).fit(X_target, y_target)
    pooled = WithTarget(PooledEstimator(Ridge()), X_target, y_target)
    with pytest.raises(TypeError, match="around WithTarget.*changes y, but not y_target"):
        TransformedTargetRegressor(pooled, func=np.log1p, inverse_func=np.expm1).fit(X, y)
    # without labels there is nothing to change
    OneVsRestClassifier(WithTarget(KMMReweighter(LOGISTIC), X_target)).fit(X, y)


# --- labels that are no labels ---------------------------------------------------------


def test_arrays_of_strings_hold_nan_as_a_string():
    y_target = np.array(["ill", np.nan, "well"])
    assert missing_labels(y_target).tolist() == [False, True, False]
    assert not missing_labels(["ill", "nan", "well"]).any()  # a class of that name
    y, _ = written(["ill", "well"], [0, 0])
    with pytest.warns(DomainDataWarning, match="array of strings and holds 'nan'"):
        model = PooledEstimator(LOGISTIC).fit(X, y, X_target=X_TARGET[:3], y_target=y_target)
    assert model.classes_.tolist() == ["ill", "well"]
    with pytest.raises(ValueError, match="array of strings as 'nan'"):
        KMMReweighter(LOGISTIC).fit(X[:3], y_target, X_target=X_TARGET[:3])


REGRESSORS = {
    "pooled": PooledEstimator(Ridge()),
    "boosting": TrAdaBoostRegressor(n_estimators=2),
    "linear": TransferRidge(),
}


@pytest.mark.parametrize("name", REGRESSORS)
@pytest.mark.parametrize("kind", [float, object])
def test_infinite_labels_are_refused_by_name(name, kind):
    y_target = np.array([np.inf, np.nan, *X_TARGET[2:, 0]], dtype=kind)
    with pytest.raises(ValueError, match="Input y_target contains infinity"):
        REGRESSORS[name].fit(X, X[:, 0], X_target=X_TARGET, y_target=y_target)
    with pytest.raises(ValueError, match="Input y contains infinity"):
        WithSource(REGRESSORS[name], X, X[:, 0]).fit(X_TARGET, y_target)
    with pytest.raises(ValueError, match="Input y_source contains infinity"):
        WithSource(REGRESSORS[name], X_TARGET[:1], [np.inf]).fit(X, X[:, 0])


PLAIN = {
    "pooled": PooledEstimator(LOGISTIC),
    "label shift": LabelShiftReweighter(LOGISTIC),
    "kmm": KMMReweighter(LOGISTIC),
    "boosting": TrAdaBoostClassifier(n_estimators=2),
    "linear": TransferLogisticRegression(),
    "aligner": CORAL(),
}


@pytest.mark.parametrize("name", PLAIN)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_is_reported_by_the_name_of_its_domain(name, value):
    model = PLAIN[name]
    spoiled = X_TARGET.copy()
    spoiled[3, 1] = value
    labels = {} if name == "aligner" else {"y_target": CODE_TARGET}
    if name == "boosting":
        model = TrAdaBoostClassifier(LOGISTIC, n_estimators=2)  # trees take missing values
    with pytest.raises(ValueError, match="Input X_target contains"):
        model.fit(X, CODE, X_target=spoiled, **labels)
    if name != "aligner":
        with pytest.raises(ValueError, match="Input X contains"):
            WithSource(model, X, CODE).fit(spoiled, CODE_TARGET)
        with pytest.raises(ValueError, match="Input X_source contains"):
            WithSource(model, spoiled, CODE_TARGET).fit(X, CODE)


def test_sparse_samples_are_reported_by_the_name_of_their_domain():
    thin = sparse.csr_matrix(X_TARGET)
    with pytest.raises(TypeError, match="^X_target is sparse, and CORAL needs.*X_target.toarray"):
        CORAL().fit(X, X_target=thin)
    with pytest.raises(TypeError, match="^X_source is sparse, and CORAL needs.*X_source.toarray"):
        WithSource(CORAL(), thin).fit(X)
    with pytest.raises(TypeError, match="^X is sparse, and CORAL needs.*X.toarray"):
        WithSource(CORAL(), X).fit(thin)

"""LabelShiftReweighter: its ratios, its contract, and what it refuses."""

import pickle

import numpy as np
import pytest
from scipy import sparse
from scipy.linalg import LinAlgWarning
from scipy.optimize import minimize
from sklearn.base import clone
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression, Ridge, RidgeClassifier
from sklearn.metrics import confusion_matrix
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skltransfer import DomainDataWarning, LabelShiftReweighter, WithSource, WithTarget, load, save
from skltransfer.instance._cross_fitting import stratified_folds
from skltransfer.instance._rows import row_groups

MEANS = np.array([[0.0, 0.0], [1.8, 0.0], [0.0, 1.8]])
METHODS = ["bbse", "rlls", "em"]
every = pytest.mark.parametrize("method", METHODS)


def draw(rng, prior, n):
    y = rng.choice(len(prior), size=n, p=prior)
    return rng.normal(MEANS[y]), y


@pytest.fixture(scope="module")
def domains():
    rng = np.random.default_rng(0)
    return *draw(rng, [0.6, 0.3, 0.1], 400), *draw(rng, [0.1, 0.3, 0.6], 300)


# --- the ratios ------------------------------------------------------------------------


@every
def test_the_prior_ratio_of_a_simulation(method):
    """Over 40 draws the mean error is within three standard errors of nothing."""
    prior, target_prior = np.array([0.5, 0.3, 0.2]), np.array([0.2, 0.3, 0.5])
    truth = target_prior / prior
    errors, z = [], []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        X, y = draw(rng, prior, 1000)
        X_target, _ = draw(rng, target_prior, 1000)
        model = LabelShiftReweighter(classifier=LogisticRegression(), method=method)
        model.fit(X, y, X_target=X_target)
        errors.append(model.class_prior_ratio_ - truth)
        z.append(errors[-1] / model.class_prior_ratio_std_err_)
    errors = np.array(errors)
    std_err = errors.std(axis=0, ddof=1) / np.sqrt(40)
    assert (np.abs(errors.mean(axis=0)) < 3 * std_err).all()
    assert (np.sqrt((errors**2).mean(axis=0)) < 0.3).all()  # the shift is -0.6, 0, 1.5
    if method == "em":
        assert np.isnan(z).all()
    else:
        assert 0.88 <= (np.abs(z) < 1.96).mean() <= 0.99
        assert 0.8 < np.std(z) < 1.25


def test_em_is_at_least_as_exact_as_the_others():
    errors = dict.fromkeys(METHODS, 0.0)
    for seed in range(20):
        rng = np.random.default_rng(seed)
        X, y = draw(rng, [0.5, 0.3, 0.2], 500)
        X_target, _ = draw(rng, [0.2, 0.3, 0.5], 500)
        for method in METHODS:
            model = LabelShiftReweighter(method=method).fit(X, y, X_target=X_target)
            errors[method] += ((model.class_prior_ratio_ - [0.4, 1, 2.5]) ** 2).sum()
    assert errors["em"] < errors["bbse"]


@pytest.mark.filterwarnings("ignore::scipy.linalg.LinAlgWarning")
@pytest.mark.filterwarnings("ignore:.*a share of 0:skltransfer.EffectiveSampleSizeWarning")
def test_the_penalty_helps_where_rows_are_few():
    """Six classes, 33 rows of each, hardly apart: plain inversion multiplies the noise."""
    means = np.random.default_rng(1).normal(size=(6, 3)) * 1.2
    errors = {"plain": 0.0, "penalised": 0.0, "no weights": 0.0}
    for seed in range(20):
        rng = np.random.default_rng(seed)
        prior = rng.dirichlet(np.full(6, 2.0))
        y, y_target = rng.choice(6, 200), rng.choice(6, 200, p=prior)
        X, X_target = rng.normal(means[y]), rng.normal(means[y_target])
        for name, model in (
            ("plain", LabelShiftReweighter(method="bbse")),
            ("penalised", LabelShiftReweighter(method="rlls", regularization=0.1)),
        ):
            ratio = model.fit(X, y, X_target=X_target).class_prior_ratio_
            errors[name] += ((ratio - 6 * prior) ** 2).sum()
        errors["no weights"] += ((1 - 6 * prior) ** 2).sum()
    assert errors["penalised"] < errors["no weights"] < errors["plain"]


def test_bbse_by_hand(domains):
    """Explicit folds, scikit-learn's confusion matrix, and a linear system."""
    X, y, X_target, _ = domains
    classifier = GaussianNB()
    model = LabelShiftReweighter(classifier=classifier, method="bbse")
    model.fit(X, y, X_target=X_target)
    fold = stratified_folds(row_groups(X), y, 5, 0)
    predicted, shares = np.empty_like(y), []
    for number in range(5):
        fitted = clone(classifier).fit(X[fold != number], y[fold != number])
        predicted[fold == number] = fitted.predict(X[fold == number])
        shares.append(np.bincount(fitted.predict(X_target), minlength=3) / len(X_target))
    C = confusion_matrix(y, predicted).T / len(y)
    np.testing.assert_allclose(model.confusion_matrix_, C)
    ratio = np.linalg.solve(C, np.mean(shares, axis=0))
    assert (ratio > 0).all()
    np.testing.assert_allclose(model.class_prior_ratio_, ratio)
    np.testing.assert_allclose(model.sample_weight_, ratio[y])
    np.testing.assert_allclose(
        model.target_class_prior_, ratio * np.bincount(y) / len(y), rtol=1e-12
    )
    assert model.n_iter_ == 1


def test_em_by_hand(domains):
    """The likelihood of the target, maximised by a general method over its simplex."""
    X, y, X_target, _ = domains
    classifier = GaussianNB()
    model = LabelShiftReweighter(classifier=classifier, method="em", calibration=None)
    model.fit(X, y, X_target=X_target)
    fold = stratified_folds(row_groups(X), y, 5, 0)
    held_out, target = np.empty((len(X), 3)), []
    for number in range(5):
        fitted = clone(classifier).fit(X[fold != number], y[fold != number])
        held_out[fold == number] = fitted.predict_proba(X[fold == number])
        target.append(fitted.predict_proba(X_target))
    p_source, target = held_out.mean(axis=0), np.concatenate(target)

    def loss(scores):
        prior = np.exp(scores - scores.max())
        return -np.log(target @ (prior / prior.sum() / p_source)).mean()

    scores = minimize(loss, np.log(p_source), options={"gtol": 1e-9}).x
    prior = np.exp(scores) / np.exp(scores).sum()
    ratio = prior / p_source
    ratio /= np.bincount(y) @ ratio / len(y)
    np.testing.assert_allclose(model.class_prior_ratio_, ratio, rtol=2e-3)
    assert model.n_iter_ > 1


def test_calibration_mends_overconfidence(domains):
    """Trees that know their leaves by heart are sure of everything."""
    errors = {"bcts": 0.0, None: 0.0}
    for seed in range(5):
        rng = np.random.default_rng(seed)
        X, y = draw(rng, [0.5, 0.3, 0.2], 400)
        X_target, _ = draw(rng, [0.2, 0.3, 0.5], 400)
        for calibration in errors:
            model = LabelShiftReweighter(
                classifier=RandomForestClassifier(10, random_state=0),
                method="em",
                calibration=calibration,
            ).fit(X, y, X_target=X_target)
            errors[calibration] += ((model.class_prior_ratio_ - [0.4, 1, 2.5]) ** 2).sum()
    assert errors["bcts"] < 0.7 * errors[None]


@every
def test_equal_domains_need_no_weights(domains, method):
    X, y, _, _ = domains
    model = LabelShiftReweighter(method=method).fit(X, y, X_target=X)
    np.testing.assert_allclose(model.class_prior_ratio_, 1, atol=0.15)


@every
def test_a_class_that_the_target_lacks_weighs_next_to_nothing(domains, method):
    X, y, X_target, y_target = domains
    model = LabelShiftReweighter(method=method).fit(X, y, X_target=X_target[y_target != 1])
    assert 0 <= model.class_prior_ratio_[1] < 0.15
    assert model.target_class_prior_.sum() == pytest.approx(1)
    assert (model.class_prior_ratio_ >= 0).all()


@every
def test_the_weights_keep_their_sum_and_follow_the_labels(domains, method):
    X, y, X_target, _ = domains
    names = np.array(["one", "two", "three"])[y]
    weights = np.linspace(0.5, 1.5, len(X))
    model = LabelShiftReweighter(LogisticRegression(), method=method)
    model.fit(X, names, weights, X_target=X_target)
    assert list(model.source_classes_) == ["one", "three", "two"]
    assert model.sample_weight_.sum() == pytest.approx(weights.sum())
    for name, ratio in zip(model.source_classes_, model.class_prior_ratio_, strict=True):
        np.testing.assert_allclose((model.sample_weight_ / weights)[names == name], ratio)
    ratio = dict(zip(model.source_classes_, model.class_prior_ratio_, strict=True))
    assert ratio["one"] < 0.5 < 2 < ratio["three"]


# --- the contract ----------------------------------------------------------------------


@every
def test_row_order_is_irrelevant(domains, method):
    X, y, X_target, _ = domains
    X, y = np.vstack([X, X[:30]]), np.append(y, (y[:30] + 1) % 3)  # equal rows, other labels
    rng = np.random.default_rng(3)
    order, target_order = rng.permutation(len(X)), rng.permutation(len(X_target))
    first, second = LabelShiftReweighter(method=method), LabelShiftReweighter(method=method)
    first.fit(X, y, X_target=X_target)
    second.fit(X[order], y[order], X_target=X_target[target_order])
    np.testing.assert_array_equal(first.sample_weight_[order], second.sample_weight_)
    np.testing.assert_array_equal(first.class_prior_ratio_, second.class_prior_ratio_)


@every
def test_a_weight_of_two_is_a_repeated_row(domains, method):
    X, y, X_target, _ = domains
    counts = np.arange(len(X)) % 3
    scaled = make_pipeline(StandardScaler(), LogisticRegression(tol=1e-10))
    model = LabelShiftReweighter(classifier=scaled, method=method)
    weighted = clone(model).fit(X, y, counts, X_target=X_target)
    repeated = clone(model).fit(
        np.repeat(X, counts, axis=0), np.repeat(y, counts), X_target=X_target
    )
    for name in ("class_prior_ratio_", "class_prior_ratio_std_err_", "confusion_matrix_"):
        np.testing.assert_allclose(getattr(weighted, name), getattr(repeated, name), rtol=1e-5)
    plain = clone(model).fit(X, y, X_target=X_target)
    assert np.abs(plain.class_prior_ratio_ - weighted.class_prior_ratio_).max() > 1e-3


def test_a_class_of_weight_zero_is_absent(domains):
    X, y, X_target, _ = domains
    weighted = LabelShiftReweighter().fit(X, y, (y != 1).astype(float), X_target=X_target)
    without = LabelShiftReweighter().fit(X[y != 1], y[y != 1], X_target=X_target)
    assert list(weighted.source_classes_) == [0, 2]
    np.testing.assert_array_equal(weighted.class_prior_ratio_, without.class_prior_ratio_)
    np.testing.assert_array_equal(weighted.sample_weight_[y == 1], 0)


@every
def test_around_an_estimator_in_a_pipeline(domains, method):
    X, y, X_target, y_target = domains
    pipeline = make_pipeline(
        StandardScaler(), LabelShiftReweighter(LogisticRegression(), method=method)
    )
    model = WithTarget(pipeline, X_target=X_target).fit(X, y)
    scaler = StandardScaler().fit(X)
    scaled, scaled_target = scaler.transform(X), scaler.transform(X_target)
    inner = LabelShiftReweighter(LogisticRegression(), method=method)
    inner.fit(scaled, y, X_target=scaled_target)
    np.testing.assert_array_equal(model.predict(X_target), inner.predict(scaled_target))
    plain = LogisticRegression().fit(scaled, y)
    weighted = clone(plain).fit(scaled, y, sample_weight=inner.sample_weight_)
    np.testing.assert_array_equal(inner.estimator_.coef_, weighted.coef_)
    gain = model.score(X_target, y_target) - plain.score(scaled_target, y_target)
    assert gain > 0.04
    partial = np.where(np.arange(len(y_target)) % 4 == 0, y_target, np.nan)
    with_source = WithSource(pipeline, X_source=X, y_source=y).fit(X_target, partial)
    inner.fit(scaled, y, X_target=scaled_target, y_target=partial)
    np.testing.assert_array_equal(with_source.predict(X_target), inner.predict(scaled_target))
    known = ~np.isnan(partial)
    joined = clone(plain).fit(
        np.vstack([scaled, scaled_target[known]]),
        np.concatenate([y, y_target[known]]),
        sample_weight=np.concatenate([inner.sample_weight_, np.ones(known.sum())]),
    )
    np.testing.assert_array_equal(inner.estimator_.coef_, joined.coef_)


def test_a_label_that_the_source_lacks_becomes_a_class_without_a_ratio(domains):
    X, y, X_target, _ = domains
    names = np.array(["a", "b", "c"])[y]
    labels = np.array(["new", "a"] + [None] * (len(X_target) - 2), dtype=object)
    model = LabelShiftReweighter(LogisticRegression())
    with pytest.warns(DomainDataWarning, match=r"holds the classes \['new'\], which y"):
        model.fit(X, names, X_target=X_target, y_target=labels)
    assert list(model.classes_) == ["a", "b", "c", "new"]
    assert list(model.source_classes_) == ["a", "b", "c"]
    assert model.class_prior_ratio_.shape == (3,)


@pytest.mark.filterwarnings("ignore:LabelShiftReweighter estimates a share of 0")
def test_any_classifier_makes_the_predictions(domains):
    X, y, X_target, _ = domains
    for classifier in (KNeighborsClassifier(15), RidgeClassifier(), RandomForestClassifier(20)):
        model = LabelShiftReweighter(LogisticRegression(), classifier=classifier, method="bbse")
        ratio = model.fit(X, y, X_target=X_target).class_prior_ratio_
        assert ratio[0] < 0.5 < 2 < ratio[2]


def test_rows_of_any_kind():
    """Texts, and columns that are no numbers."""
    rng = np.random.default_rng(0)
    words = {0: ["cheap", "offer", "now"], 1: ["meeting", "report", "now"]}
    y, y_target = np.repeat([0, 1], [60, 20]), np.repeat([0, 1], [20, 60])
    texts, target = (
        [" ".join(rng.choice(words[label], 4)) for label in labels] for labels in (y, y_target)
    )
    spam = make_pipeline(CountVectorizer(), LogisticRegression())
    model = LabelShiftReweighter(spam).fit(texts, y, X_target=target)
    np.testing.assert_allclose(model.class_prior_ratio_, [1 / 3, 3], rtol=0.25)
    alone = LabelShiftReweighter(classifier=spam).fit(texts, y, X_target=target)
    np.testing.assert_array_equal(alone.sample_weight_, model.sample_weight_)
    assert not hasattr(alone, "predict")


def test_frames_are_matched_by_name(domains):
    pandas = pytest.importorskip("pandas")
    polars = pytest.importorskip("polars")
    X, y, X_target, _ = domains
    plain = LabelShiftReweighter(LogisticRegression()).fit(X, y, X_target=X_target)
    for library in (pandas, polars):
        frame = library.DataFrame({"a": X[:, 0], "b": X[:, 1]})
        target = library.DataFrame({"b": X_target[:, 1], "a": X_target[:, 0]})
        for estimator in (LogisticRegression(), None):
            classifier = None if estimator else LogisticRegression()
            model = LabelShiftReweighter(estimator, classifier=classifier)
            model.fit(frame, library.Series(y), X_target=target)
            assert list(model.feature_names_in_) == ["a", "b"]
            np.testing.assert_array_equal(model.sample_weight_, plain.sample_weight_)


def test_sparse_rows(domains):
    X, y, X_target, _ = domains
    model = LabelShiftReweighter(LogisticRegression())
    dense = model.fit(X, y, X_target=X_target).class_prior_ratio_
    for kind in (sparse.csr_array, sparse.coo_array, sparse.csc_matrix):
        thin = model.fit(kind(X), y, X_target=kind(X_target))
        np.testing.assert_allclose(thin.class_prior_ratio_, dense, atol=0.3)  # other folds


@every
def test_it_survives_pickle_and_files(domains, method, tmp_path):
    X, y, X_target, _ = domains
    model = LabelShiftReweighter(LogisticRegression(), method=method)
    model.fit(X, y, X_target=X_target)
    save(model, tmp_path / "model.skops")
    for copy in (pickle.loads(pickle.dumps(model)), load(tmp_path / "model.skops")):
        np.testing.assert_array_equal(copy.predict(X_target), model.predict(X_target))
        np.testing.assert_array_equal(copy.class_prior_ratio_, model.class_prior_ratio_)


@every
def test_nothing_given_is_changed(domains, method):
    arrays = [array.copy() for array in domains]
    for array in arrays:
        array.flags.writeable = False
    X, y, X_target, y_target = arrays
    model = LabelShiftReweighter(LogisticRegression(), method=method)
    parameters = model.get_params()
    model.fit(X, y, np.ones(len(X)), X_target=X_target, y_target=y_target)
    assert {name: model.get_params()[name] for name in parameters} == parameters
    assert not hasattr(model.estimator, "coef_")


def test_a_search_reaches_the_classifier(domains):
    X, y, X_target, y_target = domains
    model = WithSource(
        LabelShiftReweighter(LogisticRegression(), classifier=LogisticRegression()),
        X_source=X,
        y_source=y,
        use_y=False,
    )
    grid = {
        "estimator__classifier__C": [1e-4, 1.0],
        "estimator__method": ["bbse", "em"],
    }
    with pytest.warns(LinAlgWarning):  # at C=1e-4 it hardly tells classes apart
        search = GridSearchCV(model, grid, cv=3, error_score="raise").fit(X_target, y_target)
    assert search.best_params_["estimator__classifier__C"] == 1.0 or search.best_params_[
        "estimator__method"
    ] == ("em")


def test_without_a_target_it_warns_and_fits_the_base(domains):
    X, y, X_target, _ = domains
    model = LabelShiftReweighter(LogisticRegression()).fit(X, y, X_target=X_target)
    assert hasattr(model, "class_prior_ratio_")
    with pytest.warns(DomainDataWarning, match="LabelShiftReweighter was given no X_target"):
        model.fit(X, y)
    np.testing.assert_array_equal(model.sample_weight_, 1)
    assert not hasattr(model, "class_prior_ratio_")
    np.testing.assert_array_equal(model.estimator_.coef_, LogisticRegression().fit(X, y).coef_)


# --- refusals --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"method": "bbsl"}, "method='bbsl' is not one of 'em', 'bbse', 'rlls'"),
        ({"cv": 1}, "cv=1 is not an integer of at least 2"),
        ({"calibration": "sigmoid"}, "calibration='sigmoid' is not one of 'bcts', None"),
        ({"regularization": -1}, "regularization=-1 is not a number of at least 0"),
        ({"max_iter": 0}, "max_iter=0 is not an integer"),
        ({"tol": 0}, "tol=0 is not a number greater than 0"),
    ],
)
def test_bad_parameters_are_refused_by_name(domains, parameters, message):
    X, y, X_target, _ = domains
    with pytest.raises(ValueError, match=message):
        LabelShiftReweighter(**parameters).fit(X, y, X_target=X_target)


def test_labels_are_needed(domains):
    X, y, X_target, _ = domains
    with pytest.raises(ValueError, match="needs the labels of the source.*Pass y"):
        LabelShiftReweighter().fit(X, X_target=X_target)
    with pytest.raises(ValueError, match="needs classes, and y is continuous.*KMMReweighter"):
        LabelShiftReweighter().fit(X, X[:, 0], X_target=X_target)
    with pytest.raises(ValueError, match="y should be a 1d array"):
        LabelShiftReweighter().fit(X, np.column_stack([y, y]), X_target=X_target)


def test_classifiers_that_do_not_fit_are_refused(domains):
    X, y, X_target, _ = domains
    with pytest.raises(TypeError, match="'em' needs a classifier with predict_proba.*RidgeClass"):
        LabelShiftReweighter(RidgeClassifier(), method="em").fit(X, y, X_target=X_target)
    with pytest.raises(TypeError, match="Ridge is not a classifier.*classifier=..."):
        LabelShiftReweighter(Ridge()).fit(X, y, X_target=X_target)
    with pytest.raises(TypeError, match="KNeighborsClassifier does not support sample_weight"):
        LabelShiftReweighter(KNeighborsClassifier()).fit(X, y, X_target=X_target)


def test_a_class_of_one_row_is_refused_and_of_two_takes_two_folds(domains):
    X, y, X_target, _ = domains
    y = np.where(np.arange(len(y)) == 5, 7, y)
    with pytest.raises(ValueError, match=r"Class 7 has too few distinct source rows \(1\)"):
        LabelShiftReweighter().fit(X, y, X_target=X_target)
    both = np.vstack([X, X[5:6]]), np.append(y, 7)
    with pytest.raises(ValueError, match=r"Class 7 has too few distinct source rows \(1\)"):
        LabelShiftReweighter().fit(*both, X_target=X_target)
    y = np.where(np.arange(len(y)) == 6, 7, y)
    with pytest.warns(LinAlgWarning):
        model = LabelShiftReweighter(method="bbse").fit(X, y, X_target=X_target)
    assert np.isfinite(model.sample_weight_).all()


def test_one_class_needs_no_weights(domains):
    X, y, X_target, _ = domains
    with pytest.raises(ValueError, match="y holds one class alone.*KMMReweighter"):
        LabelShiftReweighter().fit(X, np.zeros(len(X), dtype=int), X_target=X_target)


def test_a_classifier_that_guesses_is_reported(domains):
    X, y, X_target, _ = domains
    rng = np.random.default_rng(0)
    with pytest.warns(LinAlgWarning, match="hardly tells some classes apart") as caught:
        LabelShiftReweighter(method="bbse").fit(rng.normal(size=X.shape), y, X_target=X_target)
    assert caught[0].filename == __file__
    rare = np.where(y == 2, rng.random(len(y)) < 0.5, 0)
    far = np.where(y == 0, 0, np.where(rare, 1, y))
    with pytest.warns(LinAlgWarning, match=r"it never predicts .*method='rlls'"):
        model = LabelShiftReweighter(classifier=LogisticRegression(C=1e-4), method="bbse")
        model.fit(X, far, X_target=X_target)


def test_a_likelihood_short_of_its_maximum_warns(domains):
    X, y, X_target, _ = domains
    with pytest.warns(ConvergenceWarning, match="certified to .* Raise max_iter or tol") as caught:
        model = LabelShiftReweighter(method="em", max_iter=2).fit(X, y, X_target=X_target)
    assert model.n_iter_ == 2
    assert caught[0].filename == __file__


@pytest.mark.parametrize(
    ("X_target", "message"),
    [
        (np.ones((4, 3)), "X_target has 3 features.*2.*WithTarget"),
        (np.ones((0, 2)), "X_target has 0 rows"),
        (np.full((4, 2), np.nan), "NaN"),
    ],
)
def test_bad_target_rows_are_refused(domains, X_target, message):
    X, y, _, _ = domains
    for model in (LabelShiftReweighter(), LabelShiftReweighter(LogisticRegression())):
        with pytest.raises(ValueError, match=message):
            model.fit(X, y, X_target=X_target)


@pytest.mark.parametrize(
    "cv",
    [
        [([0, 1], [400])],
        [([0, 1], [2.5])],
        [(np.zeros(5, bool), np.ones(5, bool))],
        [3],
        iter([([0], [1], [2])]),
    ],
    ids=["range", "fraction", "mask", "number", "triple"],
)
def test_splits_of_other_rows_are_refused(domains, cv):
    X, y, X_target, _ = domains
    with pytest.raises(ValueError, match="cv splits other rows than the 400 of X .*integer"):
        LabelShiftReweighter(cv=cv).fit(X, y, X_target=X_target)

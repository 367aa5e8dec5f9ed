"""A wrapper at the wrong place is recognised where it can be."""

import warnings

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.ensemble import BaggingClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.feature_selection import SequentialFeatureSelector
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from skltransfer import (
    DomainDataWarning,
    EffectiveSampleSizeWarning,
    KMMReweighter,
    PooledEstimator,
    WithSource,
    WithTarget,
)
from skltransfer.domains._place import _moments

rng = np.random.default_rng(0)
SCALES = np.array([1.0, 50.0, 1000.0])
X = SCALES * rng.normal([1.0, 5.0, 9.0], 1.0, size=(60, 3))
X_TARGET = SCALES * rng.normal([1.5, 5.5, 9.5], 1.0, size=(50, 3))
Y, Y_TARGET = ((rows[:, 0] > 1).astype(int) for rows in (X, X_TARGET))
ADAPTER = KMMReweighter(LogisticRegression(), max_weight=10)


def frame(rows):
    return pytest.importorskip("pandas").DataFrame(rows, columns=["a", "b", "c"])


@pytest.mark.parametrize("scaler", [StandardScaler(), MinMaxScaler()])
@pytest.mark.parametrize("form", [np.asarray, frame])
def test_behind_a_scaler(scaler, form):
    scaler.set_output(transform="default" if form is np.asarray else "pandas")
    for wrapper, rows in (
        (WithTarget(ADAPTER, form(X_TARGET)), (form(X), Y)),
        (WithSource(ADAPTER, form(X), Y), (form(X_TARGET), Y_TARGET)),
    ):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            make_pipeline(scaler, wrapper).fit(*rows)
        found = [each for each in caught if issubclass(each.category, DomainDataWarning)]
        assert len(found) == 1
        assert f"{type(wrapper).__name__} belongs outermost" in str(found[0].message)
        assert found[0].filename == __file__


def test_an_array_beside_a_named_frame_is_certain():
    with pytest.raises(ValueError, match="X is an array and X_target a data frame.*outermost"):
        make_pipeline(StandardScaler(), WithTarget(ADAPTER, frame(X_TARGET))).fit(frame(X), Y)
    with pytest.raises(ValueError, match="X is an array and X_source a data frame.*outermost"):
        make_pipeline(StandardScaler(), WithSource(ADAPTER, frame(X), Y)).fit(X_TARGET, Y_TARGET)


def test_a_named_frame_beside_an_array_cannot_be_matched():
    for wrapper, held in (
        (WithTarget(ADAPTER, X_TARGET), "X_target"),
        (WithSource(ADAPTER, X_TARGET, Y_TARGET), "X_source"),
    ):
        with pytest.raises(ValueError, match=f"X has column names and {held} has none"):
            wrapper.fit(frame(X), Y)


def test_another_width_or_texts_are_certain():
    with pytest.raises(ValueError, match="X_target has 3 features, but X has 2.*outermost"):
        make_pipeline(PCA(2), WithTarget(ADAPTER, X_TARGET)).fit(X, Y)
    with pytest.raises(ValueError, match=r"0 feature\(s\)"):
        WithSource(LogisticRegression(), np.empty((4, 0)), [0, 1, 0, 1]).fit(np.empty((4, 0)))
    texts = ["good", "bad", "good day", "bad day"]
    inner = PooledEstimator(LogisticRegression())
    with pytest.raises(ValueError, match="X is a matrix and X_source holds texts.*outermost"):
        make_pipeline(TfidfVectorizer(), WithSource(inner, texts, [1, 0, 1, 0])).fit(
            texts, [1, 0, 1, 0]
        )


def test_selectors_go_inside():
    selector = SequentialFeatureSelector(LogisticRegression(), n_features_to_select=1, cv=2)
    around = SequentialFeatureSelector(WithTarget(ADAPTER, X_TARGET), cv=2)
    with pytest.raises(ValueError, match="put the selector inside"):
        around.fit(X, Y)
    WithTarget(make_pipeline(StandardScaler(), selector, ADAPTER), X_TARGET).fit(X, Y)


def test_domains_that_differ_are_no_sign():
    with warnings.catch_warnings():
        warnings.simplefilter("error", DomainDataWarning)
        warnings.simplefilter("ignore", EffectiveSampleSizeWarning)
        outermost = make_pipeline(StandardScaler(), ADAPTER)
        for form in (np.asarray, frame):
            WithTarget(outermost, form(X_TARGET)).fit(form(X), Y)
        far = X_TARGET.copy()
        far[:, 0] = 1e3  # one column of three
        WithTarget(outermost, far).fit(X, Y)
        bagging = BaggingClassifier(WithTarget(outermost, frame(X_TARGET)), 2, random_state=0)
        bagging.fit(frame(X), Y)  # hands its members arrays


@pytest.mark.parametrize("form", ["array", "frame"])
def test_moments_are_those_of_the_known_numbers_of_each_column(form):
    values = np.random.default_rng(1).normal(3, 2, (60, 1003))
    values[np.random.default_rng(2).random(values.shape) < 0.2] = np.nan
    values[0, 5], values[1, 6] = np.inf, -np.inf
    values[:, 7], values[1:, 8] = np.nan, np.nan
    finite = [column[np.isfinite(column)] for column in values.T]
    expected = np.array(
        [(known.mean(), known.std(), 1) if len(known) > 1 else (0, 0, 0) for known in finite]
    )
    if form == "array":
        found = _moments(values, None)
    else:
        names = [f"x{i}" for i in range(20)] + ["text"]
        rows = pytest.importorskip("pandas").DataFrame(values[:, :20], columns=names[:-1])
        found = _moments(rows.assign(text="a"), names)
        expected = np.vstack([expected[:20], np.zeros(3)])
    np.testing.assert_allclose(found, expected.T, rtol=1e-12)


def test_a_constant_that_is_rounded_is_one_stage():
    """The mean of 0.1 depends on the number of samples, by a rounding error."""
    wide = np.full((len(X), 6), 0.1), np.full((3 * len(X_TARGET), 6), 0.1)
    X_wide, target = np.hstack([X, wide[0]]), np.hstack([np.tile(X_TARGET, (3, 1)), wide[1]])
    deviations = _moments(X_wide, None)[1]
    assert (deviations[:3] > 0).all()
    assert (deviations[3:] == 0).all()
    with warnings.catch_warnings():
        warnings.simplefilter("error", DomainDataWarning)
        warnings.simplefilter("ignore", EffectiveSampleSizeWarning)
        WithTarget(make_pipeline(StandardScaler(), ADAPTER), target).fit(X_wide, Y)

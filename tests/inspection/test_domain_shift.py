"""The picture of both domains: what is drawn, which map moved it, and what is refused."""

import builtins
import sys

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.manifold import TSNE
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from skltransfer import (
    DomainShiftDisplay,
    OptimalTransportMapper,
    PooledEstimator,
    WithSource,
    WithTarget,
)
from skltransfer._solvers._kernel_choice import median_gamma
from skltransfer._solvers._mmd import squared_mmd
from skltransfer.inspection import _domain_shift

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 4))
X_TARGET = RNG.normal(size=(40, 4)) * 0.5 + [3.0, 0.0, 0.0, 0.0]
Y, Y_TARGET = (Z[:, 1] > 0 for Z in (X, X_TARGET))
MAPPER = OptimalTransportMapper("linear").fit(X, X_target=X_TARGET)


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def drawn(display, side):
    """Return the places of source and target rows in one picture."""
    return [np.asarray(part.get_offsets()) for part in display.axes_[side].collections]


def embedded(source, target):
    places = PCA(2).fit_transform(np.vstack([source, target]))
    return places[: len(source)], places[len(source) :]


def test_source_rows_are_mapped_as_source_and_target_rows_as_target():
    display = DomainShiftDisplay.from_estimator(MAPPER, X, X_TARGET)
    mapped = OptimalTransportMapper("linear").fit_transform(X, X_target=X_TARGET)
    expected = embedded(X, X_TARGET), embedded(mapped, X_TARGET)
    for side in (0, 1):
        for places, wanted in zip(drawn(display, side), expected[side], strict=True):
            np.testing.assert_allclose(places, wanted, atol=1e-9)
    # The map of target rows, which is the identity here, would leave both where they were.
    assert np.abs(drawn(display, 1)[0] - drawn(display, 0)[0]).max() > 1
    assert display.figure_ is display.axes_[0].figure is display.axes_[1].figure


def test_titles_hold_the_discrepancy_of_all_columns():
    display = DomainShiftDisplay.from_estimator(MAPPER, X, X_TARGET)
    mapped = MAPPER.transform_source(X)
    expected = [squared_mmd(rows, X_TARGET, median_gamma(rows, X_TARGET)) for rows in (X, mapped)]
    assert display.mmd == pytest.approx(expected)
    assert expected[0] > 0.3 > 0.01 > expected[1]
    titles = [ax.get_title() for ax in display.axes_]
    assert titles[0] == f"before: MMD² {expected[0]:.3f}"
    assert titles[1].startswith("after OptimalTransportMapper: MMD² ")
    assert "-0.000" not in titles[1]


def test_the_discrepancy_of_many_rows_is_that_of_some(monkeypatch):
    monkeypatch.setattr(_domain_shift, "_MOST_SAMPLES", 30)
    display = DomainShiftDisplay.from_domains(X, X_TARGET, 2 * X, X_TARGET, gamma=0.3)
    some = X[np.linspace(0, 59, 30).astype(int)], X_TARGET[np.linspace(0, 39, 30).astype(int)]
    expected = [squared_mmd(scale * some[0], some[1], 0.3) for scale in (1, 2)]
    assert display.mmd == pytest.approx(expected)
    assert len(display.before[0]) == 60  # all are drawn


def test_a_map_that_shrinks_both_domains_does_not_look_aligned():
    display = DomainShiftDisplay.from_domains(X, X_TARGET, X * 1e-6, X_TARGET * 1e-6)
    assert display.mmd[1] == pytest.approx(display.mmd[0])
    fixed = DomainShiftDisplay.from_domains(X, X_TARGET, X * 1e-6, X_TARGET * 1e-6, gamma=0.5)
    assert abs(fixed.mmd[1]) < 1e-6 < fixed.mmd[0]
    scale = DomainShiftDisplay.from_domains(X, X_TARGET, X, X_TARGET, gamma="scale")
    gamma = 1 / np.vstack([X, X_TARGET]).var(axis=0).sum()
    assert scale.mmd == pytest.approx([squared_mmd(X, X_TARGET, gamma)] * 2)


@pytest.mark.parametrize("kind", ["pipeline", "nested", "target", "source", "search"])
def test_the_aligner_is_found_behind_other_steps(kind):
    mapper = OptimalTransportMapper("linear")
    steps = (StandardScaler(), mapper, PCA(3), LogisticRegression())
    pipeline = make_pipeline(*steps)
    if kind == "nested":
        pipeline = make_pipeline(make_pipeline(*steps[:3]), FunctionTransformer(), steps[3])
    model = WithTarget(pipeline, X_TARGET)
    if kind in ("target", "nested"):
        model = model.fit(X, Y)
    elif kind == "source":
        model = WithSource(pipeline, X, Y).fit(X_TARGET, Y_TARGET)
    elif kind == "search":
        grid = {"estimator__logisticregression__C": [0.1, 1.0]}
        model = GridSearchCV(WithSource(pipeline, X, Y), grid, cv=2).fit(X_TARGET, Y_TARGET)
    else:
        model = model.fit(X, Y).estimator_
    display = DomainShiftDisplay.from_estimator(model, X, X_TARGET)
    scaler = StandardScaler().fit(X)
    before = scaler.transform(X), scaler.transform(X_TARGET)
    mapped = mapper.fit_transform(before[0], X_target=before[1])
    reduced = PCA(3).fit(mapped)
    after = reduced.transform(mapped), reduced.transform(before[1])
    assert display.mmd == pytest.approx(
        [squared_mmd(*rows, median_gamma(*rows)) for rows in (before, after)], abs=1e-9
    )


def test_other_source_rows_than_the_fitted_ones():
    new = RNG.normal(size=(30, 4))
    display = DomainShiftDisplay.from_estimator(MAPPER, new, X_TARGET)
    assert len(drawn(display, 1)[0]) == 30
    assert display.mmd[1] < 0.1 < display.mmd[0]


def test_classes_colour_the_rows():
    names, known = np.where(Y, "b", "a"), np.where(Y_TARGET, "b", "a").astype(object)
    known[:10] = None
    display = DomainShiftDisplay.from_estimator(MAPPER, X, X_TARGET, y_source=names, y_target=known)
    for ax in display.axes_:
        source, target = (part.get_facecolors()[:, :3] for part in ax.collections)
        assert len(np.unique(source[Y], axis=0)) == len(np.unique(source[~Y], axis=0)) == 1
        assert (source[Y][0] != source[~Y][0]).any()
        np.testing.assert_array_equal(target[10:][Y_TARGET[10:]][0], source[Y][0])
        assert len(np.unique(target[:10], axis=0)) == 1  # unknown
        assert len(np.unique(target, axis=0)) == 3
    labels = [text.get_text() for text in display.axes_[1].get_legend().get_texts()]
    assert labels == ["source", "target", "a", "b"]
    plain = DomainShiftDisplay.from_estimator(MAPPER, X, X_TARGET)
    assert len(plain.axes_[1].get_legend().get_texts()) == 2
    # Labels colour, and change nothing else.
    np.testing.assert_array_equal(drawn(plain, 1)[0], drawn(display, 1)[0])


@pytest.mark.parametrize("n_classes", [11, 40])
def test_many_classes_and_labels_of_one_domain(n_classes):
    y = np.arange(60) % n_classes
    display = DomainShiftDisplay.from_estimator(MAPPER, X, X_TARGET, y_source=y)
    assert len(np.unique(display.axes_[0].collections[0].get_facecolors(), axis=0)) == n_classes
    assert len(display.axes_[1].get_legend().get_texts()) == 2
    mixed = np.array([1, "a"] * 30, dtype=object)
    DomainShiftDisplay.from_estimator(MAPPER, X, X_TARGET, y_source=mixed)


def test_another_embedding():
    display = DomainShiftDisplay.from_estimator(
        MAPPER, X, X_TARGET, embedding=TSNE(perplexity=5, max_iter=250, init="pca", random_state=0)
    )
    assert display.axes_[0].get_xlabel() == "dimension 1"
    assert all(np.isfinite(places).all() for side in (0, 1) for places in drawn(display, side))
    embedding = PCA(2)
    DomainShiftDisplay.from_estimator(MAPPER, X, X_TARGET, embedding=embedding)
    assert not hasattr(embedding, "components_")


def test_given_rows_frames_and_one_column():
    frame = pd.DataFrame(X, columns=list("abcd"))
    target = pd.DataFrame(X_TARGET, columns=list("abcd"))
    display = DomainShiftDisplay.from_domains(
        frame, target[list("dcba")], X[:, :1], X_TARGET[:, :1]
    )
    whole = DomainShiftDisplay.from_domains(X, X_TARGET, X, X_TARGET)
    assert display.mmd[0] == pytest.approx(whole.mmd[0])
    assert whole.mmd[0] == whole.mmd[1]
    np.testing.assert_allclose(drawn(display, 1)[0][:, 1], 0, atol=1e-12)
    mapper = OptimalTransportMapper("linear").fit(frame, X_target=target)
    named = DomainShiftDisplay.from_estimator(mapper, frame, target[list("dcba")])
    assert named.mmd[1] == pytest.approx(display_of_arrays().mmd[1])


def display_of_arrays():
    return DomainShiftDisplay.from_estimator(MAPPER, X, X_TARGET)


def test_one_row_of_a_domain():
    display = DomainShiftDisplay.from_domains(X[:1], X_TARGET[:1], X_TARGET[:1], X_TARGET[:1])
    assert display.mmd[0] > 0.5
    assert display.mmd[1] == 0


def test_it_draws_into_the_axes_given():
    figure, axes = plt.subplots(2, 1)
    for ax in axes:
        display = DomainShiftDisplay.from_estimator(MAPPER, X, X_TARGET, ax=ax)
        assert display.figure_ is figure
    with pytest.raises(ValueError, match="ax has to be a subplot"):
        display.plot(figure.add_axes([0, 0, 1, 1]))


def test_arguments_stay_as_they_are():
    rows, target = X.copy(), X_TARGET.copy()
    for array in (rows, target):
        array.setflags(write=False)
    DomainShiftDisplay.from_estimator(MAPPER, rows, target, y_source=Y, y_target=Y_TARGET)
    DomainShiftDisplay.from_domains(rows, target, rows, target)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"y_source": [0, 1]}, "y_source has 2 entries, but X_source has 60 rows"),
        ({"y_target": np.zeros((40, 2))}, "y_target has 2 dimensions"),
        ({"embedding": "tsne"}, "embedding='tsne' is neither 'pca' nor a transformer"),
        ({"embedding": PCA(3)}, "returned 3 columns. Choose one that returns 2"),
        ({"gamma": 0}, "gamma=0 is not a number greater than 0 or 'median' or 'scale'"),
        ({"gamma": "auto"}, "gamma='auto' is not"),
        ({"X_target": X_TARGET[:, :2]}, "X_target has 2 features"),
        ({"X_target": X_TARGET[:0]}, "X_target has 0 rows"),
    ],
)
def test_bad_input_is_refused_by_name(settings, message):
    given = {"X_target": X_TARGET, **settings}
    with pytest.raises(ValueError, match=message):
        DomainShiftDisplay.from_estimator(MAPPER, X, given.pop("X_target"), **given)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ((X, X_TARGET, X[:5], X_TARGET), "X_source_mapped has 5 entries, but X_source has 60"),
        ((X, X_TARGET[:, :2], X, X_TARGET), "X_source and X_target have 4 and 2 columns"),
        ((X, X_TARGET, X, X_TARGET[:, :1]), "X_source_mapped and X_target_mapped have 4 and 1"),
        ((X, X_TARGET, X * np.nan, X_TARGET), "X_source_mapped contains NaN"),
    ],
)
def test_bad_rows_are_refused_by_name(rows, message):
    with pytest.raises(ValueError, match=message):
        DomainShiftDisplay.from_domains(*rows)


def test_an_estimator_without_an_aligner_is_refused():
    plain = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, Y)
    with pytest.raises(TypeError, match="Pipeline holds no aligner. Pass a fitted aligner"):
        DomainShiftDisplay.from_estimator(plain, X, X_TARGET)
    pooled = PooledEstimator(LogisticRegression())
    pooled.fit(X, Y, X_target=X_TARGET, y_target=Y_TARGET)
    with pytest.raises(TypeError, match="PooledEstimator holds no aligner"):
        DomainShiftDisplay.from_estimator(pooled, X, X_TARGET)
    inside = ColumnTransformer([("map", OptimalTransportMapper("linear"), [0, 1])])
    inside = WithTarget(inside, X_TARGET[:, :2]).fit(X[:, :2])
    with pytest.raises(TypeError, match="ColumnTransformer holds OptimalTransportMapper, and"):
        DomainShiftDisplay.from_estimator(inside, X[:, :2], X_TARGET[:, :2])


def test_without_matplotlib_the_extra_is_named(monkeypatch):
    display = DomainShiftDisplay(before=(X, X), after=(X, X), mmd=(0.0, 0.0))
    for name in [name for name in sys.modules if name.startswith("matplotlib")]:
        monkeypatch.delitem(sys.modules, name)
    original = builtins.__import__

    def without(name, *args, **kwargs):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return original(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r'pip install "skltransfer\[cli\]"'):
        display.plot()

"""The picture of weights: what is drawn, and what is refused."""

import builtins
import sys

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skltransfer import KMMReweighter, SampleWeightDisplay, WithSource, WithTarget
from skltransfer.inspection._sample_weight import domain_scores

RNG = np.random.default_rng(0)
X = RNG.normal(size=(120, 3))
X_TARGET = RNG.normal(size=(80, 3)) * 0.8 + [1.0, 0.0, 0.0]
KMM = KMMReweighter(max_weight=10).fit(X, X_target=X_TARGET)


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def drawn_weights(display):
    return np.asarray(display.axes_[1].collections[0].get_offsets())


def test_the_points_are_the_weights_over_the_column():
    display = SampleWeightDisplay.from_estimator(KMM, X, X_target=X_TARGET, feature=1)
    np.testing.assert_allclose(
        drawn_weights(display), np.column_stack([X[:, 1], KMM.sample_weight_])
    )
    assert display.effective_sample_size == pytest.approx(KMM.effective_sample_size_)
    assert f"worth {KMM.effective_sample_size_:.0f} " in display.axes_[0].get_title()
    assert display.figure_ is display.axes_[0].figure


def test_densities_are_those_of_source_target_and_weighted_source():
    display = SampleWeightDisplay.from_estimator(KMM, X, X_target=X_TARGET, feature=0)
    labels = [text.get_text() for text in display.axes_[0].get_legend().get_texts()]
    assert labels == ["target", "source", "source, weighted"]
    without = SampleWeightDisplay.from_estimator(KMM, X, feature=0)
    labels = [text.get_text() for text in without.axes_[0].get_legend().get_texts()]
    assert labels == ["source", "source, weighted"]
    assert np.isfinite(without.axes_[0].get_ylim()).all()


def test_the_discriminator_tells_the_domains_apart():
    display = SampleWeightDisplay.from_estimator(KMM, X, X_target=X_TARGET)
    assert display.target_values.mean() > display.values.mean() + 0.5
    assert "AUC 0." in display.axes_[1].get_xlabel()
    # Rows with the odds of the target get more weight.
    assert np.corrcoef(display.values, KMM.sample_weight_)[0, 1] > 0.3
    *_, area = domain_scores(X, X[::-1])
    assert abs(area - 0.5) < 0.15


@pytest.mark.parametrize("wrap", ["target", "source", "pipeline"])
def test_the_reweighter_is_found_inside(wrap):
    pipeline = make_pipeline(StandardScaler(), KMMReweighter(Ridge(), max_weight=10))
    y, y_target = X[:, 0], X_TARGET[:, 0]
    if wrap == "target":
        model = WithTarget(pipeline, X_TARGET).fit(X, y)
        fitted = model.estimator_[-1]
    elif wrap == "source":
        model = WithSource(pipeline, X, y).fit(X_TARGET, y_target)
        fitted = model.estimator_[-1]
    else:
        model = make_pipeline(KMM)
        fitted = KMM
    display = SampleWeightDisplay.from_estimator(model, X, feature=2)
    np.testing.assert_array_equal(drawn_weights(display)[:, 1], fitted.sample_weight_)


def test_columns_by_name_in_frames_of_another_order():
    frame = pd.DataFrame(X, columns=["a", "b", "c"])
    target = pd.DataFrame(X_TARGET, columns=["a", "b", "c"])[["c", "b", "a"]]
    by_name = SampleWeightDisplay.from_estimator(KMM, frame, X_target=target, feature="a")
    np.testing.assert_array_equal(by_name.target_values, X_TARGET[:, 0])
    assert by_name.axes_[1].get_xlabel() == "a"
    by_index = SampleWeightDisplay.from_estimator(KMM, frame, X_target=target, feature=0)
    np.testing.assert_array_equal(by_index.values, by_name.values)


def test_it_draws_into_the_axes_given():
    figure, axes = plt.subplots(1, 2)
    for ax in axes:
        display = SampleWeightDisplay.from_weights(X, np.ones(120), feature=0, ax=ax)
        assert display.figure_ is figure
    with pytest.raises(ValueError, match="ax has to be a subplot"):
        display.plot(figure.add_axes([0, 0, 1, 1]))


def test_the_effective_sample_size_is_that_of_weights_of_any_scale():
    weights = np.array([1.0, 1.0, 0.0])
    for scale in (1e-200, 1.0, 1e200):
        display = SampleWeightDisplay(values=np.arange(3), sample_weight=scale * weights)
        assert display.effective_sample_size == pytest.approx(2)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "feature='domain' tells the domains apart and needs X_target"),
        ({"feature": "a"}, "feature='a' is not a column of X"),
        ({"feature": 3}, "feature=3 is not a column of X, which has 3"),
        ({"feature": None}, "feature=None is not a column of X, which has 3"),
        ({"feature": float("nan")}, "feature=nan is not a column of X, which has 3"),
        ({"feature": 0, "sample_weight": np.ones(5)}, "sample_weight has 5 entries"),
        ({"feature": 0, "sample_weight": -np.ones(120)}, "at least 0 per row"),
        ({"feature": 0, "sample_weight": np.zeros(120)}, "not all 0"),
        ({"feature": 0, "sample_weight": np.full(120, np.nan)}, "sample_weight contains NaN"),
        ({"X_target": np.ones((4, 2))}, "X_target has 2 features"),
        ({"X_target": np.ones((0, 3))}, "X_target has 0 rows"),
        ({"X_target": np.ones((1, 3))}, "at least 2 rows of each domain"),
    ],
)
def test_bad_input_is_refused_by_name(settings, message):
    with pytest.raises(ValueError, match=message):
        SampleWeightDisplay.from_weights(X, **{"sample_weight": np.ones(120), **settings})


def test_an_estimator_without_weights_is_refused():
    with pytest.raises(TypeError, match="Ridge holds no sample_weight_. Pass a fitted reweighter"):
        SampleWeightDisplay.from_estimator(Ridge().fit(X, X[:, 0]), X, feature=0)


def test_without_matplotlib_the_extra_is_named(monkeypatch):
    display = SampleWeightDisplay(values=X[:, 0], sample_weight=np.ones(120))
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

"""The picture of weights: what is drawn, and what is refused."""

import builtins
import sys

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.ensemble import BaggingRegressor, VotingRegressor
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from skltransfer import CORAL, KMMReweighter, SampleWeightDisplay, WithSource, WithTarget
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


# --- mixed tables, searches and ensembles ------------------------------------------------


def mixed(n, share, seed):
    rng = np.random.default_rng(seed)
    sex = rng.choice(["m", "f"], n, p=[share, 1 - share]).astype(object)
    size = pd.Categorical(rng.choice(["S", "M", "L"], n), categories=["S", "M", "L"])
    table = pd.DataFrame({"sex": sex, "age": rng.normal(40 + 20 * share, 10, n), "size": size})
    table.loc[0, "sex"], table.loc[1, "age"] = None, np.nan
    return table


@pytest.fixture(scope="module")
def table_model():
    table, target = mixed(80, 0.3, 0), mixed(60, 0.7, 1)
    encode = make_column_transformer((OneHotEncoder(), ["sex", "size"]), (SimpleImputer(), ["age"]))
    pipeline = make_pipeline(encode, StandardScaler(), KMMReweighter(Ridge(), max_weight=10))
    return table, target, WithTarget(pipeline, target).fit(table, np.arange(80.0))


def test_rows_are_compared_as_they_reach_the_reweighter(table_model):
    table, target, model = table_model
    display = SampleWeightDisplay.from_estimator(model, table, X_target=target)
    before = model.estimator_[:-1]
    expected = domain_scores(before.transform(table), before.transform(target))
    np.testing.assert_array_equal(display.values, expected[0])
    np.testing.assert_array_equal(display.target_values, expected[1])
    weights = model.estimator_[-1].sample_weight_
    np.testing.assert_array_equal(drawn_weights(display)[:, 1], weights)


def test_an_aligner_before_maps_each_domain_as_its_own():
    model = WithTarget(make_pipeline(CORAL(), KMMReweighter(Ridge(), max_weight=10)), X_TARGET)
    model.fit(X, X[:, 0])
    display = SampleWeightDisplay.from_estimator(model, X, X_target=X_TARGET)
    coral = model.estimator_[0]
    expected = domain_scores(coral.transform_source(X), coral.transform(X_TARGET))
    np.testing.assert_array_equal(display.values, expected[0])


def test_texts_are_bars_of_their_shares(table_model):
    table, target, model = table_model
    display = SampleWeightDisplay.from_estimator(model, table, X_target=target, feature="sex")
    upper, lower = display.axes_
    assert [label.get_text() for label in lower.get_xticklabels()] == ["f", "m", "missing"]
    heights = [[bar.get_height() for bar in bars] for bars in upper.containers]
    weights = model.estimator_[-1].sample_weight_
    known = [table["sex"].fillna("missing"), target["sex"].fillna("missing")]
    for shares, texts, w in (
        (heights[0], known[1], np.ones(60)),
        (heights[1], known[0], np.ones(80)),
        (heights[2], known[0], weights),
    ):
        expected = [w[(texts == text).to_numpy()].sum() / w.sum() for text in ("f", "m", "missing")]
        np.testing.assert_allclose(shares, expected)
    places = drawn_weights(display)
    np.testing.assert_array_equal(places[:, 1], weights)
    np.testing.assert_array_equal(np.rint(places[:, 0]) == 0, table["sex"] == "f")


def test_categories_keep_their_order_and_many_texts_become_others(table_model):
    table, target, model = table_model
    by_size = SampleWeightDisplay.from_estimator(model, table, X_target=target, feature="size")
    ticks = [label.get_text() for label in by_size.axes_[1].get_xticklabels()]
    assert ticks == ["S", "M", "L"]
    codes = np.array([[f"c{i % 30:02}"] for i in range(80)], dtype=object)
    many = SampleWeightDisplay.from_weights(codes, np.ones(80), feature=0)
    ticks = [label.get_text() for label in many.axes_[1].get_xticklabels()]
    assert ticks == [f"c{i:02}" for i in range(20)] + ["others"]


def test_missing_numbers_are_left_out_and_said(table_model):
    table, target, model = table_model
    display = SampleWeightDisplay.from_estimator(model, table, X_target=target, feature="age")
    assert display.axes_[1].get_xlabel() == "age (1 source rows have none)"
    assert np.isnan(display.values[1])
    with pytest.raises(ValueError, match="'age' of X holds .* missing ones alone"):
        SampleWeightDisplay.from_weights(table.assign(age=np.nan), np.ones(80), feature="age")


def test_given_weights_of_a_mixed_table_tell_the_domains_apart(table_model):
    table, target, _ = table_model
    for rows, target_rows in ((table, target), (table.to_numpy(), target.to_numpy())):
        display = SampleWeightDisplay.from_weights(rows, np.ones(80), X_target=target_rows)
        assert display.target_values.mean() > display.values.mean() + 0.5


def test_sparse_rows_and_texts_behind_their_steps():
    words = [f"w{i % 5} v{i % 3}" for i in range(60)]
    target = [f"w{i % 7} v{i % 2}" for i in range(50)]
    model = make_pipeline(CountVectorizer(), KMMReweighter(Ridge(), max_weight=10))
    model = WithTarget(model, target).fit(words, np.arange(60.0))
    display = SampleWeightDisplay.from_estimator(model, words, X_target=target)
    assert len(display.values) == 60
    for feature in (0, "a"):
        with pytest.raises(ValueError, match="is not a column of X"):
            SampleWeightDisplay.from_estimator(model, words, X_target=target, feature=feature)
    with pytest.raises(ValueError, match="compares the columns of tables, and X is none"):
        SampleWeightDisplay.from_weights(words, np.ones(60), X_target=target)


def test_the_best_of_a_search_is_drawn():
    model = WithTarget(KMMReweighter(Ridge(), max_weight=10), X_TARGET)
    search = GridSearchCV(model, {"estimator__max_weight": [2, 10]}, cv=2)
    search.fit(X, X[:, 0])
    display = SampleWeightDisplay.from_estimator(search, X, X_target=X_TARGET)
    weights = search.best_estimator_.estimator_.sample_weight_
    np.testing.assert_array_equal(display.sample_weight, weights)
    unfinished = clone(search).set_params(refit=False).fit(X, X[:, 0])
    with pytest.raises(TypeError, match="GridSearchCV holds no .* A search needs refit=True"):
        SampleWeightDisplay.from_estimator(unfinished, X, X_target=X_TARGET)


@pytest.mark.parametrize("kind", ["voting", "bagging"])
def test_ensembles_of_reweighters_are_refused(kind):
    model = WithTarget(KMMReweighter(Ridge(), max_weight=10), X_TARGET)
    if kind == "voting":
        ensemble = VotingRegressor([("a", model), ("b", model)])
    else:
        ensemble = BaggingRegressor(model, n_estimators=2)
    ensemble.fit(X, X[:, 0])
    with pytest.raises(TypeError, match="holds 2 fitted estimators, .* such as estimators_"):
        SampleWeightDisplay.from_estimator(ensemble, X, X_target=X_TARGET)


def test_other_rows_than_those_of_the_fit_are_refused():
    with pytest.raises(ValueError, match="X has 5 rows, and KMMReweighter weighed 120. Pass the"):
        SampleWeightDisplay.from_estimator(KMM, X[:5], X_target=X_TARGET)


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

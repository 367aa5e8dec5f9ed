"""Backbones ranked by scores of their features."""

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from skltransfer import (
    BackboneFailureWarning,
    FeatureStore,
    FineTunedClassifier,
    PretrainedFeatureTransformer,
    load_backbone,
    rank_backbones,
)
from skltransfer.metrics import h_score, logme_score
from skltransfer.model_selection import BackboneRanking, RankedBackbone

X, Y = load_digits(return_X_y=True)
X, Y = X[:60], Y[:60]
DIGITS = PretrainedFeatureTransformer(image_shape=(8, 8), value_range=(0, 16), store=None)


@pytest.fixture(scope="module")
def ranking():
    backbones = {"pixels": None, "random": ("tiny", None), "tiny": "tiny"}
    return rank_backbones(X, Y, backbones, transformer=DIGITS)


def test_scores_are_those_of_the_features(ranking):
    features = {
        "pixels": X,
        "random": DIGITS.set_params(backbone="tiny", weights=None).fit_transform(X),
        "tiny": DIGITS.set_params(backbone="tiny", weights="default").fit_transform(X),
    }
    for result in ranking.results:
        expected = logme_score(features[result.name], Y)
        assert result.score == pytest.approx(expected, abs=1e-6)
        assert result.n_features == features[result.name].shape[1]
    scores = [result.score for result in ranking.results]
    assert scores == sorted(scores, reverse=True)
    assert ranking.best == "tiny"


def test_time_and_size(ranking):
    by_name = {result.name: result for result in ranking.results}
    module = load_backbone("tiny").module
    tensors = [*module.parameters(), *module.buffers()]
    size = sum(tensor.numpy().nbytes for tensor in tensors) / 1e6
    assert by_name["tiny"].megabytes == pytest.approx(size)
    assert by_name["pixels"].megabytes == 0
    assert by_name["tiny"].seconds > by_name["pixels"].seconds > 0


def test_each_sample_passes_a_network_once_and_stays_in_the_store():
    store = FeatureStore()
    settings = {"image_shape": (8, 8), "value_range": (0, 16), "store": store}
    transformer = PretrainedFeatureTransformer(**settings)
    first = rank_backbones(X[:20], Y[:20], ["tiny"], transformer=transformer)
    assert store.misses == 20
    again = rank_backbones(X[:20], Y[:20], ["tiny"], transformer=transformer, score="h_score")
    assert store.misses == 20
    assert np.isnan(again.results[0].seconds)  # nothing to measure
    assert first.results[0].seconds > 0
    assert transformer.backbone is None


def test_transformers_fitted_networks_and_functions_of_scores():
    table = StandardScaler().fit_transform(X)
    network = FineTunedClassifier(hidden_layer_sizes=(5,), max_epochs=2).fit(table, Y)
    ranking = rank_backbones(
        table, Y, [PCA(3, random_state=0), network, None], score=lambda F, y: F.shape[1]
    )
    assert [result.name for result in ranking.results] == [
        "no network",
        "FineTunedClassifier",
        "PCA",
    ]
    assert [result.n_features for result in ranking.results] == [64, 5, 3]
    named = rank_backbones(table, Y, [PCA(3, random_state=0)], score=h_score)
    assert named.score_name == "h_score"


def test_a_regression():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(50, 4))
    y = rows[:, 0] + 0.1 * rng.normal(size=50)
    backbones = {"first": PCA(4), "noise": PCA(1, svd_solver="full")}
    ranking = rank_backbones(rows, y, backbones)
    assert ranking.best == "first"
    assert ranking.results[0].score == pytest.approx(logme_score(rows - rows.mean(0), y))


def test_one_failure_leaves_the_others():
    with pytest.warns(BackboneFailureWarning, match="1 of 2 backbones have no score. 'resnt18'"):
        ranking = rank_backbones(X, Y, ["resnt18", None])
    assert [result.name for result in ranking.results] == ["no network", "resnt18"]
    assert np.isnan(ranking.results[1].score)
    assert "Unknown backbone 'resnt18'" in ranking.results[1].failure
    assert "failed: Unknown backbone 'resnt18'" in str(ranking)
    with pytest.raises(ValueError, match="No backbone can be scored; 'resnt18'"):
        rank_backbones(X, Y, ["resnt18"])


def test_bad_input_is_named_before_any_network_runs():
    store = FeatureStore()
    transformer = PretrainedFeatureTransformer(image_shape=(8, 8), value_range=(0, 16), store=store)
    bad = [
        ({"score": "logmee"}, "score='logmee'.*Did you mean 'logme'"),
        ({"backbones": ["tiny", "tiny"]}, "Two backbones are called 'tiny'"),
        ({"backbones": []}, "backbones is empty"),
        ({"y": Y[1:]}, "y has 59 entries, but X has 60 rows"),
        ({"y": np.zeros(60)}, "y has one class"),
        ({"y": np.linspace(0, 1, 60), "score": "h_score"}, "no classes"),
    ]
    for change, message in bad:
        arguments = {"X": X, "y": Y, "backbones": ["tiny"], "transformer": transformer} | change
        with pytest.raises(ValueError, match=message):
            rank_backbones(**arguments)
    with pytest.raises(TypeError, match=r"Pass a list: \['tiny'\]"):
        rank_backbones(X, Y, "tiny", transformer=transformer)
    assert store.misses == 0


def test_the_frame_and_the_picture(ranking, tmp_path):
    pytest.importorskip("pandas")
    pytest.importorskip("matplotlib")
    frame = ranking.to_frame()
    assert frame.index.tolist() == [result.name for result in ranking.results]
    assert frame.columns.tolist() == ["score", "seconds", "megabytes", "n_features", "failure"]
    assert frame.loc["tiny", "n_features"] == 768
    display = ranking.plot()
    scores = display.axes_[0].lines[0].get_xdata()
    assert scores.tolist() == frame["score"].tolist()
    labels = [label.get_text() for label in display.axes_[0].get_yticklabels()]
    assert labels == frame.index.tolist()
    heights = display.axes_[0].lines[0].get_ydata()
    assert heights[0] == max(heights)  # the best is on top
    assert display._repr_png_().startswith(b"\x89PNG")
    from matplotlib.figure import Figure

    other = ranking.plot(ax=Figure().subplots(1, 2)[0])
    assert other._repr_png_() is None
    failed = BackboneRanking("logme", [*ranking.results, RankedBackbone("x", np.nan, failure="no")])
    texts = [text.get_text() for text in failed.plot().axes_[0].texts]
    assert texts == ["failed: no"]
    assert failed.to_frame().loc["x", "failure"] == "no"

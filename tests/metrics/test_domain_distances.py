"""Distances of two domains, against other implementations and closed forms."""

import numpy as np
import pytest
from scipy.stats import wasserstein_distance
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import MultinomialNB
from sklearn.pipeline import make_pipeline

from skltransfer import CORAL, WordVectorTransformer
from skltransfer._solvers import _sums
from skltransfer.metrics import (
    coral_distance,
    effective_sample_size,
    proxy_a_distance,
    sliced_wasserstein_distance,
    word_domain_similarity,
)

RNG = np.random.default_rng(0)
X, T = RNG.normal(size=(60, 3)), RNG.normal(1.0, 2.0, size=(45, 3))


def test_coral_distance_is_the_loss_of_deep_coral():
    difference = np.cov(X.T, bias=True) - np.cov(T.T, bias=True)
    expected = np.linalg.norm(difference) ** 2 / (4 * 3**2)
    assert coral_distance(X, T) == pytest.approx(expected, rel=1e-12)
    assert coral_distance(X, X + 5) == pytest.approx(0, abs=1e-20)
    mapped = CORAL(reg_covar=0).fit_transform(X, X_target=T)
    assert coral_distance(mapped, T) < 1e-3 * coral_distance(X, T)


@pytest.mark.parametrize("p", [1, 2])
def test_sliced_wasserstein_is_that_of_pot(p):
    ot = pytest.importorskip("ot")
    directions = np.random.RandomState(0).standard_normal((3, 50))
    directions /= np.linalg.norm(directions, axis=0)
    expected = ot.sliced_wasserstein_distance(X, T, projections=directions, p=p)
    ours = sliced_wasserstein_distance(X, T, n_projections=50, p=p)
    assert ours == pytest.approx(expected, rel=1e-10)


def test_in_one_dimension_it_is_the_wasserstein_distance(monkeypatch):
    x, t = X[:, :1], T[:, :1]
    expected = wasserstein_distance(x.ravel(), t.ravel())
    assert sliced_wasserstein_distance(x, t, p=1) == pytest.approx(expected)
    whole = sliced_wasserstein_distance(X, T)
    from skltransfer.metrics import _domain_distances

    monkeypatch.setattr(_domain_distances, "_BLOCK_SIZE", 300)  # in blocks of two directions
    assert sliced_wasserstein_distance(X, T) == pytest.approx(whole, rel=1e-12)


def test_a_shift_has_a_known_sliced_distance():
    shift = np.array([3.0, 0.0, 4.0])
    distance = sliced_wasserstein_distance(X, X + shift, n_projections=4000)
    assert distance == pytest.approx(5 / np.sqrt(3), rel=0.03)
    assert sliced_wasserstein_distance(X, X[::-1]) == 0


def test_proxy_a_distance_of_equal_and_of_separate_domains():
    rng = np.random.default_rng(1)
    assert proxy_a_distance(X, T + 50) == 2.0
    equal = proxy_a_distance(rng.normal(size=(900, 2)), rng.normal(size=(300, 2)))
    assert equal < 0.2  # of domains whose sizes differ, which a plain error would tell apart
    # One feature, means 2 apart: the best classifier errs with probability Phi(-1) = 0.1587.
    far = proxy_a_distance(rng.normal(size=(3000, 1)), rng.normal(2.0, size=(1000, 1)))
    assert far == pytest.approx(2 * (1 - 2 * 0.1587), abs=0.12)


def test_any_classifier_tells_domains_apart_in_their_own_form():
    sports, politics = ["goal match"] * 10, ["tax law"] * 12
    model = make_pipeline(CountVectorizer(), MultinomialNB())
    assert proxy_a_distance(sports, politics, estimator=model) == 2.0
    assert not hasattr(model[-1], "classes_")  # a clone was fitted
    given = LogisticRegression()
    assert proxy_a_distance(X, T, estimator=given, cv=3) > 0


def test_bad_input_of_distances():
    with pytest.raises(ValueError, match="X_target has 3 samples, too few for cv=5"):
        proxy_a_distance(X, T[:3])
    with pytest.raises(ValueError, match="X has 3 features and X_target has 2"):
        coral_distance(X, T[:, :2])
    with pytest.raises(ValueError, match="X_target has 0 rows"):
        proxy_a_distance(X, T[:0])
    with pytest.raises(ValueError, match="p=0.5"):
        sliced_wasserstein_distance(X, T, p=0.5)
    with pytest.raises(ValueError, match="n_projections=0"):
        sliced_wasserstein_distance(X, T, n_projections=0)


VECTORS = {
    "goal": [1.0, 0.2],
    "match": [1.8, 0.8],
    "tax": [0.1, 1.0],
    "law": [0.3, 0.9],
    "zero": [0.0, 0.0],
}
SPORT, POLITICS = ["goal match goal", "match zero unknown"], ["tax law", "law law goal"]


def of_pairs(source, target, distinct):
    """The loop over all pairs of words."""
    words = [
        [w for text in texts for w in text.split() if w in VECTORS and w != "zero"]
        for texts in (source, target)
    ]
    if distinct:
        words = [sorted(set(part)) for part in words]
    unit = {w: np.array(v) / np.linalg.norm(v) for w, v in VECTORS.items() if w != "zero"}
    return np.mean([unit[w] @ unit[v] for w in words[0] for v in words[1]])


@pytest.mark.parametrize("distinct", [False, True])
def test_the_similarity_of_words_is_the_mean_over_pairs(distinct):
    def ours(a, b, **settings):
        return word_domain_similarity(a, b, VECTORS, distinct=distinct, **settings)

    pairs = of_pairs(SPORT, POLITICS, distinct)
    assert ours(SPORT, POLITICS, normalize=False) == pytest.approx(pairs, rel=1e-12)
    lengths = of_pairs(SPORT, SPORT, distinct) * of_pairs(POLITICS, POLITICS, distinct)
    assert ours(SPORT, POLITICS) == pytest.approx(pairs / np.sqrt(lengths), rel=1e-12)
    assert ours(SPORT, SPORT) == pytest.approx(1)


def test_a_transformer_says_how_texts_are_split():
    transformer = WordVectorTransformer({"A B": [1.0], "c": [-1.0]}, tokenizer=r"A B|c")
    cased = transformer.set_params(lowercase=False)
    assert word_domain_similarity(["A B"], ["c c"], cased) == -1
    words, counts, vectors = cased.word_vectors(["c A B c"])
    assert dict(zip(words, counts, strict=True)) == {"c": 2, "A B": 1}
    assert vectors[words.index("c")] == [-1.0]


def test_words_without_vectors_are_named():
    with pytest.raises(ValueError, match="No word of X_target has a vector"):
        word_domain_similarity(SPORT, ["zero unknown"], VECTORS)
    with pytest.raises(ValueError, match="sum to 0.*normalize=False"):
        word_domain_similarity(["a b"], ["a"], {"a": [1.0], "b": [-1.0]})
    with pytest.raises(ValueError, match="vectors=None"):
        word_domain_similarity(SPORT, POLITICS, None)


def test_effective_sample_size():
    weights = RNG.exponential(size=50)
    expected = weights.sum() ** 2 / (weights**2).sum()
    assert effective_sample_size(weights) == pytest.approx(expected)
    assert effective_sample_size(weights) == _sums.effective_sample_size(weights)
    assert effective_sample_size([0, 3, 0]) == 1
    for bad in ([-1.0, 2.0], [0.0, 0.0], [[1.0]], [np.nan, 1.0]):
        with pytest.raises(ValueError, match="sample_weight"):
            effective_sample_size(bad)

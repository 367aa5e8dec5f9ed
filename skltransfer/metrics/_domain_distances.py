"""Distances between domains, from covariances, a classifier, projections or words."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_random_state
from sklearn.utils.validation import _num_samples, check_array

import skltransfer
from skltransfer._parameters import Count, Folds, Number
from skltransfer._solvers import _sums
from skltransfer.domains._data import check_not_empty, check_same_width, concatenate_rows
from skltransfer.metrics._inputs import two_domains

_FOLDS = Folds()
_POWER = Number(1, np.inf, high_open=True)
# Numbers that are projected at a time.
_BLOCK_SIZE = 2**22


def coral_distance(X, X_target):
    r"""Return the distance between the covariances of two domains.

    It is :math:`\frac{1}{4 d^2} \lVert C_S - C_T \rVert_F^2` for `d` features, the loss of Deep
    CORAL. The means do not matter.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Source samples.
    X_target : array-like of shape (n_target_samples, n_features)
        Target samples.

    Returns
    -------
    distance : float
        Distance in units of the features to the fourth power.

    Raises
    ------
    ValueError
        If the domains differ in width or hold a missing value.

    See Also
    --------
    CORAL : Aligner that makes the distance 0.
    DeepCORALClassifier : Network that is trained with the distance as a term of its loss.

    Notes
    -----
    Covariances are divided by the number of samples. A domain of one sample has covariance 0.

    References
    ----------
    B. Sun and K. Saenko. Deep CORAL: correlation alignment for deep domain adaptation. ECCV
    Workshops 2016: equation 1.

    Examples
    --------
    >>> from skltransfer.metrics import coral_distance
    >>> coral_distance([[0.0, 0.0], [2.0, 0.0]], [[5.0, 5.0], [5.0, 9.0]])
    1.0625
    """
    X, X_target = two_domains(X, X_target)
    difference = _covariance(X) - _covariance(X_target)
    return float(np.sum(difference**2) / (4 * X.shape[1] ** 2))


def _covariance(rows: np.ndarray) -> np.ndarray:
    centred = rows - rows.mean(axis=0)
    return centred.T @ centred / len(rows)


def proxy_a_distance(
    X,
    X_target,
    *,
    estimator=None,
    cv: Any = 5,
    random_state: int | np.random.RandomState | None = 0,
):
    r"""Return how well a classifier tells two domains apart.

    It is :math:`2 (1 - 2 \varepsilon)` for the error :math:`\varepsilon` of the classifier on
    samples that it has not seen: 0 for domains that cannot be told apart and 2 for domains that
    are always told apart.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Source samples.
    X_target : array-like of shape (n_target_samples, n_features)
        Target samples.
    estimator : classifier, default=None
        Classifier of the domains, which is cloned. ``None`` is a logistic regression on
        standardised features, with balanced weights. Any other takes the samples in the form given;
        if the domains differ in size, its classes should weigh the same.
    cv : int, splitter or iterable of splits, default=5
        Folds. A whole number makes shuffled folds with equal shares of both domains.
    random_state : int, RandomState or None, default=0
        Shuffling of the folds.

    Returns
    -------
    distance : float
        Distance from 0 to 2.

    Raises
    ------
    ValueError
        If a domain has less samples than folds.

    See Also
    --------
    mmd : Distance without a classifier.

    Notes
    -----
    The error is the mean of the errors in both domains, so that their sizes do not matter. An error
    above one half counts as one half.

    References
    ----------
    S. Ben-David, J. Blitzer, K. Crammer and F. Pereira. Analysis of representations for domain
    adaptation. NIPS 2006.

    Examples
    --------
    >>> import numpy as np
    >>> from skltransfer.metrics import proxy_a_distance
    >>> rng = np.random.default_rng(0)
    >>> X, X_target = rng.normal(size=(100, 2)), rng.normal(1.0, size=(60, 2))
    >>> round(proxy_a_distance(X, X_target), 2)
    0.88
    >>> proxy_a_distance(X, X_target + 100)
    2.0
    """
    _FOLDS.check("cv", cv)
    for rows, name in ((X, "X"), (X_target, "X_target")):
        check_not_empty(rows, name)
    if estimator is None:
        X, X_target = two_domains(X, X_target)
        classifier = LogisticRegression(class_weight="balanced", max_iter=1000)
        estimator = make_pipeline(StandardScaler(), classifier)
    check_same_width(X_target, X, "X_target")
    counts = _num_samples(X), _num_samples(X_target)
    if isinstance(cv, int | np.integer):
        if min(counts) < cv:
            name = "X" if counts[0] < cv else "X_target"
            raise ValueError(
                f"{name} has {min(counts)} samples, too few for cv={cv} folds. Pass more samples, "
                f"or a smaller cv."
            )
        cv = StratifiedKFold(cv, shuffle=True, random_state=check_random_state(random_state))
    is_target = np.repeat([0, 1], counts)
    rows = concatenate_rows(X, X_target)
    is_wrong = cross_val_predict(clone(estimator), rows, is_target, cv=cv) != is_target
    error = (is_wrong[is_target == 0].mean() + is_wrong[is_target == 1].mean()) / 2
    return float(max(0.0, 2 * (1 - 2 * error)))


def sliced_wasserstein_distance(
    X,
    X_target,
    *,
    n_projections: int = 100,
    p: float = 2,
    random_state: int | np.random.RandomState | None = 0,
):
    r"""Return the Wasserstein distance of two domains along random directions.

    The samples are projected onto each direction, where the distance is exact. The result is the
    mean of its power `p` over the directions, to the power 1 / `p`.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Source samples.
    X_target : array-like of shape (n_target_samples, n_features)
        Target samples.
    n_projections : int, default=100
        Number of directions, drawn evenly from the unit sphere.
    p : float, default=2
        Order of the distance, at least 1.
    random_state : int, RandomState or None, default=0
        Directions.

    Returns
    -------
    distance : float
        Distance in units of the features.

    Raises
    ------
    ValueError
        If the domains differ in width or hold a missing value.

    See Also
    --------
    OptimalTransportMapper : Aligner by transport of all features at once.

    Notes
    -----
    A shift of all samples by a vector of length `s` gives about `s` / sqrt(n_features) for
    ``p=2``. The error by the choice of directions falls as 1 / sqrt(`n_projections`).

    References
    ----------
    N. Bonneel, J. Rabin, G. Peyré and H. Pfister. Sliced and Radon Wasserstein barycenters of
    measures. Journal of Mathematical Imaging and Vision 51, 2015.

    Examples
    --------
    >>> from skltransfer.metrics import sliced_wasserstein_distance
    >>> sliced_wasserstein_distance([[0.0], [1.0]], [[3.0], [4.0]])
    3.0
    """
    Count().check("n_projections", n_projections)
    _POWER.check("p", p)
    X, X_target = two_domains(X, X_target)
    n, m = len(X), len(X_target)
    directions = check_random_state(random_state).standard_normal((X.shape[1], n_projections))
    directions /= np.linalg.norm(directions, axis=0)
    # Both quantile functions are constant between these places, in units of 1 / (n m).
    places = np.union1d(np.arange(n + 1) * m, np.arange(m + 1) * n)
    shares, ranks, target_ranks = np.diff(places) / (n * m), places[:-1] // m, places[:-1] // n
    n_block = max(1, _BLOCK_SIZE // (n + m))
    total = 0.0
    for start in range(0, n_projections, n_block):
        block = directions[:, start : start + n_block]
        source, target = (np.sort(block.T @ rows.T, axis=1) for rows in (X, X_target))
        total += (np.abs(source[:, ranks] - target[:, target_ranks]) ** p @ shares).sum()
    return float((total / n_projections) ** (1 / p))


def word_domain_similarity(X, X_target, vectors, *, distinct: bool = False, normalize: bool = True):
    r"""Return how similar the words of two collections of texts are.

    Each word is a vector of length 1, and each collection the mean vector of its words. The
    similarity is the cosine between the two means.

    Parameters
    ----------
    X : array-like of shape (n_samples,)
        Source texts.
    X_target : array-like of shape (n_target_samples,)
        Target texts.
    vectors : WordVectorTransformer, or what it takes as `vectors`
        Word vectors: a file, a mapping, a pair (words, array) or gensim's KeyedVectors. A
        :class:`~skltransfer.WordVectorTransformer` also says how texts are split into words.
    distinct : bool, default=False
        Whether a word counts once in each collection. By default each occurrence counts.
    normalize : bool, default=True
        Whether to divide by the lengths of both means. ``False`` gives the mean cosine over all
        pairs of a source word and a target word, which is far below 1 for equal collections too.

    Returns
    -------
    similarity : float
        Similarity of at most 1. It is 1 for equal collections if `normalize` is true.

    Raises
    ------
    ValueError
        If no word of a collection has a vector, or the words' vectors sum to 0.

    See Also
    --------
    WordVectorTransformer : Texts as the pooled vectors of their words.

    Notes
    -----
    The mean cosine over all pairs of words equals the product of the two mean vectors, so that time
    is linear in the number of words. Words without a vector, or with a zero vector, do not count.

    Examples
    --------
    >>> from skltransfer.metrics import word_domain_similarity
    >>> vectors = {"goal": [1.0, 0.2], "match": [0.9, 0.4], "tax": [0.1, 1.0], "law": [0.3, 0.9]}
    >>> sport, hockey, politics = ["goal match"], ["match match"], ["tax law"]
    >>> round(word_domain_similarity(sport, hockey, vectors), 2)
    0.99
    >>> round(word_domain_similarity(sport, politics, vectors), 2)
    0.5
    """
    if not hasattr(vectors, "word_vectors"):
        vectors = skltransfer.WordVectorTransformer(vectors)
    mean, target_mean = (
        _mean_word_vector(vectors, texts, distinct, name)
        for texts, name in ((X, "X"), (X_target, "X_target"))
    )
    similarity = mean @ target_mean
    if normalize:
        lengths = np.linalg.norm(mean) * np.linalg.norm(target_mean)
        if not lengths > 0:
            raise ValueError(
                "The vectors of the words of a collection sum to 0, which has no direction. Pass "
                "normalize=False."
            )
        similarity = np.clip(similarity / lengths, -1.0, 1.0)
    return float(similarity)


def _mean_word_vector(transformer, texts, distinct: bool, name: str) -> np.ndarray:
    words, counts, found = transformer.word_vectors(texts)
    lengths = np.linalg.norm(found := found.astype(np.float64), axis=1)
    counts = (np.ones(len(words)) if distinct else counts) * (lengths > 0)
    if not counts.any():
        raise ValueError(
            f"No word of {name} has a vector. Check the language of the vectors, and lowercase= "
            "and tokenizer= of a WordVectorTransformer."
        )
    return (counts / np.where(lengths > 0, lengths, 1.0)) @ found / counts.sum()


def effective_sample_size(sample_weight):
    r"""Return the number of equally weighted samples that weighted samples are worth.

    It is Kish's :math:`(\sum w)^2 / \sum w^2`: the number of samples for equal weights, and 1 if
    one sample has all the weight.

    Parameters
    ----------
    sample_weight : array-like of shape (n_samples,)
        Weights of at least 0, such as ``sample_weight_`` of a reweighter. Their scale does not
        matter.

    Returns
    -------
    size : float
        Size from 1 to `n_samples`.

    Raises
    ------
    ValueError
        If a weight is negative or not finite, or none is above 0.

    See Also
    --------
    SampleWeightDisplay : Plot of weights, with their effective sample size.

    References
    ----------
    L. Kish. Survey Sampling. Wiley, 1965.

    Examples
    --------
    >>> from skltransfer.metrics import effective_sample_size
    >>> effective_sample_size([2.0, 2.0, 0.0, 0.0])
    2.0
    """
    weights = check_array(
        sample_weight, dtype=np.float64, ensure_2d=False, input_name="sample_weight"
    )
    if weights.ndim != 1:
        raise ValueError(
            f"sample_weight has shape {weights.shape}. Pass one weight for each sample."
        )
    if (weights < 0).any() or not (weights > 0).any():
        raise ValueError(
            "sample_weight holds negative weights, or nothing but zeros. Pass weights of at least "
            "0, some above 0."
        )
    return _sums.effective_sample_size(weights)

"""Scores that tell, without training, how well features or a source model suit a task."""

from __future__ import annotations

from numbers import Real

import numpy as np
from scipy import sparse
from sklearn.covariance import ledoit_wolf_shrinkage

from skltransfer._parameters import Choice, Number
from skltransfer._solvers._evidence import log_evidence, spectrum_of
from skltransfer.domains._data import check_same_length
from skltransfer.metrics._inputs import (
    class_codes,
    features_of,
    is_continuous,
    numbers_to_predict,
    probabilities_of,
)

_TASK = Choice("auto", "classification", "regression")
_SHRINKAGE = Number(0, 1, unset=("ledoit_wolf",))
_DISTORTION = Number(0, low_open=True)


def leep_score(X, y, *, source=None):
    r"""Return the log expected empirical prediction (LEEP) of a source classifier for a task.

    The classes of the source predict those of the task by their empirical joint distribution. The
    score is the mean log probability of the labels, at most 0. The larger, the better the source
    suits the task.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_source_classes)
        Probabilities of the source's classes for each sample of the task; its samples in any form
        if `source` is given.
    y : array-like of shape (n_samples,)
        Classes of the task: numbers, truth values or strings.
    source : fitted classifier, default=None
        Classifier of the source, whose ``predict_proba`` is called.

    Returns
    -------
    score : float
        Mean log probability, at most 0.

    Raises
    ------
    ValueError
        If rows of probabilities do not sum to 1, or `y` has one class.

    See Also
    --------
    nce_score : The same for predicted classes instead of probabilities.
    logme_score : Score of features, for classification and regression.

    Notes
    -----
    A source class that has probability 0 for every sample takes no part.

    References
    ----------
    C. V. Nguyen, T. Hassner, M. Seeger and C. Archambeau. LEEP: a new measure to evaluate
    transferability of learned representations. ICML 2020.

    Examples
    --------
    >>> from skltransfer.metrics import leep_score
    >>> certain = [[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]
    >>> leep_score(certain, ["cat", "cat", "dog", "dog"])
    0.0
    >>> round(leep_score(certain, ["cat", "dog", "cat", "dog"]), 3)
    -0.693
    """
    p = probabilities_of(X, source)
    _, codes = class_codes(y, p)
    p = p[:, p.any(axis=0)]
    joint = _one_hot(codes).T @ p  # (n_classes, n_source_classes)
    given_source = joint / joint.sum(axis=0)
    expected = np.einsum("ik,ik->i", p, given_source[codes])
    return float(np.minimum(np.log(expected), 0.0).mean())


def nce_score(y_source, y):
    r"""Return the negative conditional entropy (NCE) of the classes given the source's classes.

    It is :math:`-H(y \mid y_{source})`, at most 0, and 0 if the source's class tells the class of
    the task.

    Parameters
    ----------
    y_source : array-like of shape (n_samples,)
        Source class of each sample of the task, such as ``source.predict(X)``.
    y : array-like of shape (n_samples,)
        Class of the task.

    Returns
    -------
    score : float
        Negative entropy in nats.

    Raises
    ------
    ValueError
        If the lengths differ, a label is missing, or `y` has one class.

    See Also
    --------
    leep_score : The same from probabilities.

    Notes
    -----
    A source that predicts a single class is allowed: it tells nothing, and the score is the
    negative entropy of `y`.

    References
    ----------
    A. T. Tran, C. V. Nguyen and T. Hassner. Transferability and hardness of supervised
    classification tasks. ICCV 2019.

    Examples
    --------
    >>> from skltransfer.metrics import nce_score
    >>> nce_score(["a", "a", "b", "b"], [0, 0, 1, 1])
    0.0
    >>> round(nce_score(["a", "b", "a", "b"], [0, 0, 1, 1]), 3)
    -0.693
    """
    sources, source_codes = class_codes(y_source, None, name="y_source", at_least=1)
    classes, codes = class_codes(y, None)
    check_same_length(codes, source_codes, "y", "y_source")
    joint = np.zeros((len(sources), len(classes)))
    np.add.at(joint, (source_codes, codes), 1 / len(codes))
    given_source = joint / joint.sum(axis=1, keepdims=True)
    is_there = joint > 0
    return float((joint[is_there] * np.log(given_source[is_there])).sum() + 0.0)


def logme_score(X, y, *, transformer=None, task: str = "auto"):
    """Return the log of the maximum evidence (LogME) of features for a task.

    It is the largest marginal likelihood of a Bayesian linear model that predicts the labels from
    the features, per sample. It measures how well a linear model fits and how simple it is, without
    a split of the samples. The larger, the better the features suit the task.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Features; samples in any form if `transformer` is given.
    y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        Classes or numbers.
    transformer : fitted transformer, default=None
        Transformer whose ``transform`` gives the features, such as a
        :class:`~skltransfer.PretrainedFeatureTransformer` or a fitted
        :class:`~skltransfer.FineTunedClassifier`.
    task : {"auto", "classification", "regression"}, default="auto"
        Kind of the labels. ``"auto"`` is a regression if `y` holds fractions or several outputs.
        Say ``"regression"`` for whole numbers that are no classes.

    Returns
    -------
    score : float
        Mean over the classes, each against the others, or over the outputs.

    Raises
    ------
    ValueError
        If `y` has one class or a constant output, or `X` holds NaN.

    See Also
    --------
    rank_backbones : Table of backbones with their scores.
    h_score : Score of features for classification.

    Notes
    -----
    Scores of one `y` can be compared, whatever the number of features and their scale. In a
    regression the score also depends on the scale of `y`. There is no intercept, as in the paper:
    a constant feature is one. Other constant features do no harm. For labels that the features
    predict without an error, the evidence has no bound; an error of 1e-12 of the labels' mean
    square is then assumed.

    All classes share one decomposition, which takes O(n_samples n_features^2) time. The maximum is
    found by Newton's method to rounding, and not by the paper's fixed-point iteration.

    References
    ----------
    K. You, Y. Liu, J. Wang and M. Long. LogME: practical assessment of pre-trained models for
    transfer learning. ICML 2021.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skltransfer.metrics import logme_score
    >>> X, y = load_iris(return_X_y=True)
    >>> logme_score(X, y) > logme_score(X[:, :2], y)
    True
    """
    _TASK.check("task", task)
    F = features_of(X, transformer)
    if task == "regression" or (task == "auto" and is_continuous(y)):
        Y = numbers_to_predict(y, F)
        squares = np.einsum("ij,ij->j", Y, Y)
    else:
        _, codes = class_codes(y, F)
        Y = _one_hot(codes)
        squares = np.bincount(codes).astype(np.float64)
    return float(log_evidence(spectrum_of(F, Y), squares, len(F)).mean())


def h_score(X, y, *, transformer=None, shrinkage: str | float = "ledoit_wolf"):
    r"""Return the H-score of features for a classification.

    It is the trace of :math:`\Sigma^{-1} \Sigma_z`, for the covariance :math:`\Sigma` of the
    features and the covariance :math:`\Sigma_z` of the means of their classes. The larger, the
    farther the classes lie apart, relative to the spread of the features.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Features; samples in any form if `transformer` is given.
    y : array-like of shape (n_samples,)
        Classes: numbers, truth values or strings.
    transformer : fitted transformer, default=None
        Transformer whose ``transform`` gives the features.
    shrinkage : "ledoit_wolf" or float, default="ledoit_wolf"
        Shrinkage :math:`\alpha` of the covariance towards a multiple of the identity, from 0 to 1.
        ``"ledoit_wolf"`` computes it from the features. The paper's score has 0, and is misled by
        more features than samples.

    Returns
    -------
    score : float
        Score from 0 to the number of classes minus 1.

    Raises
    ------
    ValueError
        If `y` has one class, or no feature varies.

    See Also
    --------
    logme_score : Score for classification and regression.

    Notes
    -----
    With shrinkage the score is the trace of
    :math:`((1 - \alpha) \Sigma + \alpha \sigma I)^{-1} (1 - \alpha) \Sigma_z`, where
    :math:`\sigma` is the mean variance of the features (Ibrahim et al.). Covariances are divided by
    the number of samples. Without shrinkage the inverse is the pseudoinverse; constant features
    never count.

    References
    ----------
    Y. Bao et al. An information-theoretic approach to transferability in task transfer learning.
    ICIP 2019.

    S. Ibrahim, N. Ponomareva and R. Mazumder. Newer is not always better: rethinking
    transferability metrics, their peculiarities, stability and performance. ECML PKDD 2022.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skltransfer.metrics import h_score
    >>> X, y = load_iris(return_X_y=True)
    >>> round(h_score(X, y, shrinkage=0), 3)
    1.192
    """
    _SHRINKAGE.check("shrinkage", shrinkage)
    F = features_of(X, transformer)
    _, codes = class_codes(y, F)
    n, d = F.shape
    F = F - F.mean(axis=0)
    scale = np.einsum("ij,ij->", F, F) / (n * d)  # sigma
    if not scale > 0:
        raise ValueError("No feature of X varies, so that the classes cannot lie apart.")
    alpha = shrinkage if isinstance(shrinkage, Real) else ledoit_wolf_shrinkage(F)
    e, squares = spectrum_of(F, _one_hot(codes))
    is_there = e > e.max() * max(n, d) * np.finfo(float).eps
    inverse = 1 / ((1 - alpha) * e[is_there] / n + alpha * scale)
    between = squares[is_there] @ (1 / np.bincount(codes)) / n  # in the eigenvectors' directions
    return float((1 - alpha) * inverse @ between)


def transrate_score(X, y, *, transformer=None, distortion: float = 1e-4):
    r"""Return the TransRate of features for a classification.

    It is an estimate of the mutual information of features and classes: the number of nats that
    describe the features within a distortion, less the number that describes them if the class is
    known. The larger, the better the features suit the task.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Features; samples in any form if `transformer` is given.
    y : array-like of shape (n_samples,)
        Classes: numbers, truth values or strings.
    transformer : fitted transformer, default=None
        Transformer whose ``transform`` gives the features.
    distortion : float, default=1e-4
        Squared error :math:`\epsilon` of the description, in units of the squared features.

    Returns
    -------
    score : float
        Score of at least 0.

    Raises
    ------
    ValueError
        If `y` has one class.

    See Also
    --------
    logme_score : Score that does not depend on the features' scale.

    Notes
    -----
    The score is :math:`R(Z) - \sum_c \frac{n_c}{n} R(Z_c)` with
    :math:`R(Z) = \frac12 \log\det(I + \frac{1}{n \epsilon} Z^\top Z)`, for centred features `Z`.
    It grows with the number of features and with their scale. Compare features of one width, or
    prefer :func:`logme_score`.

    References
    ----------
    L.-K. Huang, J. Huang, Y. Rong, Q. Yang and Y. Wei. Frustratingly easy transferability
    estimation. ICML 2022.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skltransfer.metrics import transrate_score
    >>> X, y = load_iris(return_X_y=True)
    >>> transrate_score(X, y) > transrate_score(X, y[::-1] % 2)
    True
    """
    _DISTORTION.check("distortion", distortion)
    Z = features_of(X, transformer)
    classes, codes = class_codes(y, Z)
    Z = Z - Z.mean(axis=0)
    within = 0.0
    for code in range(len(classes)):
        part = Z[codes == code]
        within += len(part) / len(Z) * _coding_rate(part, distortion)
    return float(max(0.0, _coding_rate(Z, distortion) - within))


def _coding_rate(Z: np.ndarray, distortion: float) -> float:
    """Return ``1/2 log det(I + Z'Z / (n distortion))``, from the smaller of both products."""
    gram = Z.T @ Z if Z.shape[1] <= len(Z) else Z @ Z.T
    gram /= len(Z) * distortion
    gram[np.diag_indices_from(gram)] += 1.0
    return 0.5 * np.linalg.slogdet(gram)[1]


def _one_hot(codes: np.ndarray) -> sparse.csr_array:
    """Return a column of 0 and 1 for each class."""
    n = len(codes)
    return sparse.csr_array((np.ones(n), codes, np.arange(n + 1)), shape=(n, codes.max() + 1))

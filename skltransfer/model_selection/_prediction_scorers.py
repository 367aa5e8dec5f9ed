"""Scorers by the predictions on the target alone: nothing is known of its labels."""

from __future__ import annotations

import numpy as np
from scipy.special import entr
from sklearn.preprocessing import normalize
from sklearn.utils import gen_batches

from skltransfer._parameters import Number
from skltransfer.model_selection._scorers import DomainScorer

# Numbers in one block of a matrix of similarities.
_BLOCK_SIZE = 2**22


class _PredictionEntropyScorer(DomainScorer):
    _maker = "prediction_entropy_scorer"

    def __call__(self, estimator, X, y=None) -> float:
        p = self._probabilities(estimator, self._target_samples(estimator, X))
        return -float(entr(p).sum(axis=1).mean())


def prediction_entropy_scorer(X_target=None):
    """Make a scorer by the mean entropy of predictions on the target, with its sign changed.

    A classifier that separates the classes of the target well predicts with confidence [1]_. The
    score is ``mean_i sum_k p_ik log p_ik``, in nats: at most 0, and at least minus the logarithm of
    the number of classes.

    Parameters
    ----------
    X_target : array-like of shape (n_target_samples, n_features), default=None
        Samples of the target. ``None`` takes those that a :class:`~skltransfer.WithTarget` holds,
        and without one the samples that scikit-learn holds out, which are the target's in a
        :class:`~skltransfer.WithSource`. Held by reference.

    Returns
    -------
    scorer : callable
        ``scorer(estimator, X, y=None)`` for classifiers with ``predict_proba``. Labels are not
        looked at.

    See Also
    --------
    soft_neighborhood_density_scorer : Asks for dense neighbourhoods of predictions.

    Notes
    -----
    The score knows nothing of the labels, and confidence is not correctness. A classifier that
    predicts one class throughout, with certainty, has the best score there is. So has one with
    little regularization: do not choose the strength of a penalty of the classifier by it, nor
    between different classifiers.

    References
    ----------
    .. [1] P. Morerio, J. Cavazza, V. Murino, "Minimal-Entropy Correlation Alignment for
       Unsupervised Deep Domain Adaptation", ICLR 2018.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skltransfer import CORAL, WithTarget, prediction_entropy_scorer
    >>> from sklearn.pipeline import make_pipeline
    >>> rng = np.random.default_rng(0)
    >>> X_old, y_old = rng.normal(size=(60, 2)), np.arange(60) % 2
    >>> model = WithTarget(make_pipeline(CORAL(), LogisticRegression()), X_target=X_old + 1)
    >>> score = prediction_entropy_scorer()(model.fit(X_old, y_old), X_old)
    >>> bool(-np.log(2) < score < 0)
    True
    """
    return _PredictionEntropyScorer(X_target=X_target)


class _SoftNeighborhoodDensityScorer(DomainScorer):
    _maker = "soft_neighborhood_density_scorer"

    def __call__(self, estimator, X, y=None) -> float:
        p = self._probabilities(estimator, self._target_samples(estimator, X))
        if len(p) < 3:
            raise ValueError(
                f"{self._maker} compares each sample with its neighbours, and needs at least 3 "
                f"samples of the target; it was given {len(p)}."
            )
        return _neighborhood_density(p, self.temperature)


def _neighborhood_density(p, temperature: float) -> float:
    """Return the mean entropy of the similarities of each sample to all others (eq. 1 and 2)."""
    F, total = normalize(p), 0.0
    for batch in gen_batches(len(F), max(1, _BLOCK_SIZE // len(F))):
        S = F[batch] @ F.T / temperature
        own = np.arange(len(S))
        S[own, own + batch.start] = -np.inf
        S -= S.max(axis=1, keepdims=True)
        P = np.exp(S)
        P /= P.sum(axis=1, keepdims=True)
        total += entr(P).sum()
    return float(total / len(F))


def soft_neighborhood_density_scorer(X_target=None, temperature: float = 0.05):
    r"""Make a scorer by the density of neighbourhoods of predictions on the target.

    Predicted probabilities of the target are divided by their norm. The similarities of a sample to
    all others, :math:`S_{ij} = \langle f_i, f_j \rangle`, become a distribution over neighbours,

    .. math::

        P_{ij} = \frac{\exp(S_{ij} / \tau)}{\sum_{l \ne i} \exp(S_{il} / \tau)}, \quad j \ne i,

    and the score is the mean of their entropies [1]_: at most the logarithm of the number of
    neighbours, where all predictions are equal. A classifier that keeps clusters of the target
    together has a large one.

    Parameters
    ----------
    X_target : array-like of shape (n_target_samples, n_features), default=None
        Samples of the target, at least 3. ``None`` takes those that a
        :class:`~skltransfer.WithTarget` holds, and without one the samples that scikit-learn holds
        out, which are the target's in a :class:`~skltransfer.WithSource`. Held by reference.
    temperature : float, default=0.05
        Temperature, above 0: the smaller, the nearer are the neighbours that count.

    Returns
    -------
    scorer : callable
        ``scorer(estimator, X, y=None)`` for classifiers with ``predict_proba``. Labels are not
        looked at.

    See Also
    --------
    prediction_entropy_scorer : Asks for confidence.

    Notes
    -----
    A collapse is rewarded: equal predictions for all samples, right or wrong, certain or not, have
    the best score there is. The authors assume a model that classifies the source well. Reject
    candidates that have lost accuracy on the source, or predict fewer classes than there are. The
    score grows with the number of samples: compare only scores on equally many.

    Time grows with the square of the number of target samples, and memory does not.

    References
    ----------
    .. [1] K. Saito, D. Kim, P. Teterwak, S. Sclaroff, T. Darrell, K. Saenko, "Tune it the Right
       Way: Unsupervised Validation of Domain Adaptation via Soft Neighborhood Density", ICCV 2021.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skltransfer import CORAL, WithTarget, soft_neighborhood_density_scorer
    >>> from sklearn.pipeline import make_pipeline
    >>> rng = np.random.default_rng(0)
    >>> X_old, y_old = rng.normal(size=(60, 2)), np.arange(60) % 2
    >>> model = WithTarget(make_pipeline(CORAL(), LogisticRegression()), X_target=X_old + 1)
    >>> score = soft_neighborhood_density_scorer()(model.fit(X_old, y_old), X_old)
    >>> bool(0 < score < np.log(59))
    True
    """
    Number(0, np.inf, low_open=True, high_open=True).check("temperature", temperature)
    return _SoftNeighborhoodDensityScorer(X_target=X_target, temperature=temperature)

"""What clients and server do with an estimator, whatever kind it is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import _num_samples

from skltransfer.parameter._linear import LinearTransfer, LinearTransferCV

# Keys of what the server sends beside weights.
MU, N_EXAMPLES, CLASSES, NAMES = "proximal-mu", "num-examples", "classes", "feature-names"
ROUND = "server-round"


@dataclass(frozen=True)
class Counts:
    """Sizes of a client's samples, all that it tells before training.

    Parameters
    ----------
    n_examples : int or float
        Number of samples, or the sum of their weights.
    n_features : int
    n_outputs : int
        Columns of the labels.
    """

    n_examples: float
    n_features: int
    n_outputs: int


class Learner(ABC):
    """An estimator in a federation: weights in, trained weights out.

    Parameters
    ----------
    estimator : estimator
        Held by reference and never changed.
    """

    is_convex = False
    # Strength of the proximal term, as ``proximal_mu="auto"``.
    default_mu = 0.0

    def __init__(self, estimator):
        self.estimator = estimator

    # --- at a client -------------------------------------------------------------------

    def counts(self, X, y, sample_weight) -> Counts:
        """Return the sizes of a client's samples."""
        n_examples = _num_samples(X) if sample_weight is None else float(np.sum(sample_weight))
        return Counts(n_examples, _width(X), _width(y))

    @abstractmethod
    def trained(self, weights: dict, config: dict, X, y, sample_weight) -> dict:
        """Return the weights after the training of one round, by name.

        Parameters
        ----------
        weights : dict of str to ndarray
            Those of the server.
        config : dict
            What the server sends beside them.
        X, y : array-like
            Samples and labels of the client.
        sample_weight : array-like or None
        """

    # --- at the server -----------------------------------------------------------------

    @abstractmethod
    def config(self, classes, feature_names) -> dict:
        """Check and return what all clients have to know, in the types that messages hold."""

    @abstractmethod
    def start(self, counts: Counts, config: dict) -> dict:
        """Return the first weights by name."""

    @abstractmethod
    def fitted(self, weights: dict, config: dict):
        """Return a fitted estimator with these weights."""


def learner_of(estimator) -> Learner:
    """Return what a federation does with an estimator.

    Raises
    ------
    TypeError
        If it is of another kind.
    ValueError
        If a parameter needs the samples of all clients at once.
    """
    if isinstance(estimator, Pipeline):
        raise TypeError(
            "estimator is a Pipeline, and each client would fit its first steps to samples of its "
            f"own. Pass its last step, {type(estimator[-1]).__name__}, and let load_data apply "
            "steps that are the same for all clients, such as a scaler with given mean_ and scale_."
        )
    if isinstance(estimator, LinearTransfer) and not isinstance(estimator, LinearTransferCV):
        from skltransfer.federated._linear import LinearLearner

        return LinearLearner(estimator)
    if not isinstance(estimator, LinearTransferCV):
        from skltransfer._networks._estimators import FineTuning

        if isinstance(estimator, FineTuning):
            from skltransfer.federated._network import NetworkLearner

            return NetworkLearner(estimator)
    raise TypeError(
        f"estimator is a {type(estimator).__name__}. Pass a TransferRidge or "
        "TransferLogisticRegression with a number for alpha, or a fitted FineTunedClassifier, "
        "FineTunedRegressor, RegularizedTransferClassifier or RegularizedTransferRegressor."
    )


def _width(values) -> int:
    """Return the number of columns, 1 where there is one value for each sample."""
    if not hasattr(values, "shape"):
        first = values[0]
        return len(first) if isinstance(first, list | tuple) else 1
    return int(values.shape[1]) if len(values.shape) > 1 else 1

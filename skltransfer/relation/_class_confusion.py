"""Networks that confuse no classes on the target."""

from __future__ import annotations

import torch

from skltransfer._networks._objective import Objective
from skltransfer._parameters import Number
from skltransfer.relation._two_domain_network import (
    Adaptation,
    TwoDomainNetworkClassifier,
    check_classes_exclude_each_other,
)


def class_confusion(p: torch.Tensor, weights: torch.Tensor | None = None) -> torch.Tensor:
    r"""Return how much a classifier confuses classes, from its predictions alone.

    The correlation of the classes, :math:`C_{jk} = \sum_i w_i p_{ij} p_{ik}`, weighs confident
    samples more, :math:`w_i \propto 1 + e^{-H(p_i)}`. Its rows are divided by their sums, and the
    mean over the classes of what lies off the diagonal is returned (Jin et al. 2020, equations 3 to
    7): 0 where each prediction is certain.

    Parameters
    ----------
    p : Tensor of shape (n, n_classes)
        Predicted probabilities.
    weights : Tensor of shape (n,), optional
        Weights of the samples.

    Returns
    -------
    confusion : Tensor of shape ()
    """
    with torch.no_grad():  # to any scale, as the rows of C are divided by their sums
        w = 1 + torch.exp(-torch.special.entr(p).sum(1))
        if weights is not None:
            w = w * weights.to(w.dtype)
    C = (w[:, None] * p).T @ p
    return 1 - (C.diagonal() / C.sum(1)).mean()  # each row adds up to 1


class ConfusionLoss(Adaptation):
    """The loss of the source plus the confusion of classes on the target.

    Parameters
    ----------
    of_source : Objective
    trade_off, trade_off_schedule : float and str
    labels : Classes
    temperature : float
    """

    def __init__(self, of_source: Objective, trade_off, trade_off_schedule, labels, temperature):
        super().__init__(of_source, trade_off, trade_off_schedule)
        self.labels, self.temperature = labels, temperature

    def key(self) -> tuple:
        """Return the part of a checkpoint's key for this objective."""
        return (*super().key(), self.temperature)

    def compare(self, network, own, other, own_weights, other_weights):
        """Return the confusion, times its weight."""
        p = self.labels.probabilities(network.outputs(other), self.temperature)
        return {"confusion_loss": self.weight * class_confusion(p, other_weights)}


class MCCClassifier(TwoDomainNetworkClassifier):
    r"""Train a network on the source such that it confuses no classes on the target.

    Minimum class confusion [1]_: the loss of the labels plus :math:`\lambda` times the confusion of
    the classes on each batch of the target is minimised. The features of the domains are not
    compared. No label of the target is needed.

    Parameters
    ----------
    estimator : FineTunedClassifier, RegularizedTransferClassifier or None, default=None
        Estimator that defines the network, its training and the loss of the labels. ``None`` is
        ``FineTunedClassifier()``. It is cloned before it is fitted. Where it trains the output
        layer alone, on features that are kept, the confusion has no effect.
    trade_off : float, default=1.0
        Weight of the confusion, :math:`\lambda`. With 0 the target samples are not used.
    temperature : float, default=2.5
        Divisor of the logits of the target before their probabilities are taken.
    trade_off_schedule : {"constant", "sigmoid"}, default="constant"
        Course of the weight over the steps of the training. ``"sigmoid"`` lets it rise from 0, as
        for :class:`DANNClassifier`. A full batch (L-BFGS) has a constant weight.
    validate_on : {"source", "target"}, default="source"
        What early stopping judges, if the estimator has ``early_stopping=True``: the labels of
        source samples that are set aside, or the predictions on the target, without labels (minus
        the mutual information of samples and predicted classes).

    Attributes
    ----------
    estimator_ : estimator
        The trained estimator.
    classes_ : ndarray of shape (n_classes,)
        Classes of ``y``.
    n_features_in_ : int
        Number of features of ``X``.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, where ``X`` is a data frame with strings as column names.

    Warns
    -----
    DomainDataWarning
        If there is no ``X_target``. The estimator is then trained on the source alone.

    See Also
    --------
    DANNClassifier : Makes the features of the domains alike.
    prediction_entropy_scorer : Judges fitted classifiers by their certainty on the target.

    Notes
    -----
    The confusion asks for certain predictions, which may be wrong: a class that the network
    mistakes for another one throughout is certain as well. Batches hold samples of few classes if
    they are small; use large ones.

    Batches and batch normalisation are those of :class:`DeepCORALClassifier`. ``history_`` has the
    terms ``label_loss`` and ``confusion_loss``, the confusion times its weight.

    References
    ----------
    .. [1] Y. Jin, X. Wang, M. Long, J. Wang, "Minimum Class Confusion for Versatile Domain
       Adaptation", ECCV 2020.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import make_moons
    >>> from skltransfer import FineTunedClassifier, MCCClassifier
    >>> X, y = make_moons(200, noise=0.1, random_state=0)
    >>> angle = np.radians(30)
    >>> turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    >>> network = FineTunedClassifier(hidden_layer_sizes=(32, 32), optimizer="adamw", max_epochs=20)
    >>> model = MCCClassifier(network).fit(X[:100], y[:100], X_target=X[100:] @ turn)
    >>> model.predict(X[100:] @ turn).shape
    (100,)
    """

    _parameters = {"temperature": Number(0, low_open=True)}

    def __init__(
        self,
        estimator=None,
        *,
        trade_off: float = 1.0,
        temperature: float = 2.5,
        trade_off_schedule: str = "constant",
        validate_on: str = "source",
    ):
        super().__init__(
            estimator,
            trade_off=trade_off,
            trade_off_schedule=trade_off_schedule,
            validate_on=validate_on,
        )
        self.temperature = temperature

    def _adaptation(self, of_source, fitting):
        labels = fitting.data.labels
        check_classes_exclude_each_other(labels, "MCCClassifier")
        schedule = self.trade_off, self.trade_off_schedule
        return ConfusionLoss(of_source, *schedule, labels, self.temperature)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = False
        return tags

"""Deep CORAL: networks whose features have the same covariance in both domains."""

from __future__ import annotations

from functools import partial
from math import inf

import torch
from scipy import sparse
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    clone,
    is_classifier,
)
from sklearn.callback import CallbackSupportMixin, with_callbacks
from sklearn.utils.validation import _check_sample_weight, check_is_fitted

import skltransfer
from skltransfer._networks._objective import Objective, TwoDomainObjective
from skltransfer._parameters import Number, check_parameters
from skltransfer.backbones import Backbone
from skltransfer.backbones._record import unfitted_backbone
from skltransfer.domains._callbacks import FitTask
from skltransfer.domains._classes import compare_classes
from skltransfer.domains._data import (
    check_no_missing_labels,
    check_not_empty,
    check_same_width,
    in_one_form,
    named_rows,
)
from skltransfer.domains._delegation import DelegatingMixin
from skltransfer.domains._refit import fits_anew
from skltransfer.domains._two_domains import (
    given_weighted_target,
    join_labelled,
    labelled_rows,
    warn_without_target,
)


def coral_distance(source, target, weights=None, target_weights=None) -> torch.Tensor:
    r"""Return the distance between the covariances of two sets of features.

    :math:`\frac{1}{4 d^2} \lVert C_S - C_T \rVert_F^2` (Sun and Saenko 2016, equation 1). The
    covariances are divided by the number of samples, not by one less, so that a weight of 2 equals
    a sample given twice.

    Parameters
    ----------
    source : Tensor of shape (n_source, d)
    target : Tensor of shape (n_target, d)
    weights : Tensor of shape (n_source,), optional
        Weights of the source samples.
    target_weights : Tensor of shape (n_target,), optional
        Weights of the target samples.

    Returns
    -------
    distance : Tensor of shape ()
    """
    difference = _covariance(source, weights) - _covariance(target, target_weights)
    return (difference**2).sum() / (4 * source.shape[1] ** 2)


def _covariance(features: torch.Tensor, weights: torch.Tensor | None = None) -> torch.Tensor:
    if features.dtype in (torch.bfloat16, torch.float16):
        features = features.float()
    if weights is None:
        weights = features.new_ones(len(features))
    shares = (weights / weights.sum()).to(features.dtype)[:, None]
    centred = features - (shares * features).sum(0)
    return (shares * centred).T @ centred


class CORALLoss(TwoDomainObjective):
    """The loss of the source plus the distance between the covariances of the features.

    Parameters
    ----------
    of_source : Objective
        Loss of the source samples.
    trade_off : float
        Weight of the distance.
    """

    def __init__(self, of_source: Objective, trade_off: float):
        super().__init__(of_source)
        self.trade_off = trade_off

    def key(self) -> tuple:
        """Return the part of a checkpoint's key for this objective."""
        return (*super().key(), self.trade_off)

    def __call__(self, network, batch, features=None):
        """Return the terms of the source, and the distance of the covariances."""
        source, target = batch.source, batch.target
        own = network.embed(source.inputs)
        terms = self.of_source(network, source, own)
        other = network.embed(target.inputs)
        with torch.autocast(own.device.type, enabled=False):
            distance = coral_distance(own, other, source.weights, target.weights)
        return terms | {"coral_loss": self.trade_off * distance}


class DeepCORALClassifier(
    CallbackSupportMixin,
    DelegatingMixin,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    BaseEstimator,
):
    r"""Train a network on the source while its features take on the target's covariance.

    .. math::

        \frac{1}{n} \sum_i \ell(f(x_i), y_i)
        + \lambda \, \frac{1}{4 d^2} \lVert C_S - C_T \rVert_F^2

    is minimised, with the covariances :math:`C_S` and :math:`C_T` of the `d` features of each
    batch of the source and of the target [1]_. No label of the target is needed.

    Parameters
    ----------
    estimator : FineTunedClassifier, RegularizedTransferClassifier or None, default=None
        Estimator that defines the network, its training and the loss of the labels. ``None`` is
        ``FineTunedClassifier()``. It is cloned before it is fitted. If it trains the output layer
        alone, the features stay as they are, and the distance has no effect.
    trade_off : float, default=1.0
        Weight of the distance, :math:`\lambda`. With 0 the target samples are not used. The
        distance is divided by :math:`4 d^2` and is therefore small, so that useful weights are
        often far above 1. Try 1, 10, 100 and 1000.

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
    CORAL : Aligns the covariances of given features, in closed form.
    FineTunedClassifier : Trains a network without a target.

    Notes
    -----
    An epoch is one pass over the source, whatever the size of the target. Each step takes the same
    number of samples from both domains. A full batch holds all samples of both domains. The
    optimizer, its learning rates and steps, and the order of the source samples do not depend on
    the target. ``history_`` has the mean of each term of the loss per epoch. The terms are
    ``label_loss`` and ``coral_loss``, the distance times `trade_off`, and ``train_loss`` is their
    sum.

    References
    ----------
    .. [1] B. Sun, K. Saenko, "Deep CORAL: Correlation Alignment for Deep Domain Adaptation", ECCV
       2016 Workshops.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import make_moons
    >>> from skltransfer import DeepCORALClassifier, FineTunedClassifier
    >>> X, y = make_moons(200, noise=0.1, random_state=0)
    >>> angle = np.radians(30)
    >>> turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    >>> network = FineTunedClassifier(hidden_layer_sizes=(32, 32), optimizer="adamw", max_epochs=20)
    >>> model = DeepCORALClassifier(network, trade_off=1000.0)
    >>> model = model.fit(X[:100], y[:100], X_target=X[100:] @ turn)
    >>> model.predict(X[100:] @ turn).shape
    (100,)
    >>> sorted(name for name in model.history_[-1] if name.endswith("loss"))
    ['coral_loss', 'label_loss', 'train_loss']
    """

    _parameters = {"trade_off": Number(0, inf, high_open=True)}
    __metadata_request__fit = {"X_target": True, "y_target": True, "target_sample_weight": True}

    def __init__(self, estimator=None, *, trade_off=1.0):
        self.estimator = estimator
        self.trade_off = trade_off

    @with_callbacks
    @fits_anew
    def fit(
        self,
        X,
        y,
        sample_weight=None,
        *,
        X_target=None,
        y_target=None,
        target_sample_weight=None,
    ):
        """Train the network on labelled source samples and on target samples.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Source samples, in any of the forms that the estimator takes.
        y : array-like of shape (n_samples,) or (n_samples, n_labels)
            Source labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the source samples, in the loss and in their covariance.
        X_target : array-like of shape (n_target_samples, n_features), default=None
            Target samples. Without them the estimator is trained on the source alone, with a
            :class:`~skltransfer.DomainDataWarning`.
        y_target : array-like of shape (n_target_samples,) or (n_target_samples, n_labels), \
                default=None
            Known labels of the target. A missing label is marked by ``NaN``, or in arrays of
            objects also by ``None`` or ``pandas.NA``. Labelled samples join the source samples.
            ``None`` if no label is known.
        target_sample_weight : array-like of shape (n_target_samples,), default=None
            Weights of the target samples, in the loss and in their covariance. One of weight 0 is
            left out. ``None`` weighs each by 1.

        Returns
        -------
        self : DeepCORALClassifier
        """
        check_parameters(self)
        estimator = clone(self._to_fit())
        if not (is_classifier(estimator) and hasattr(estimator, "_fit_to_target")):
            raise TypeError(
                f"estimator={self.estimator!r} is not a classifier that trains a network. Pass a "
                "FineTunedClassifier or a RegularizedTransferClassifier."
            )
        target = given_weighted_target(X_target, y_target, target_sample_weight)
        X_target, y_target, target_sample_weight = target
        if not sparse.issparse(y):
            check_no_missing_labels(y)
        if sample_weight is not None:
            sample_weight = _check_sample_weight(sample_weight, X, ensure_non_negative=True)
        if X_target is None:
            warn_without_target(self, "is trained without adaptation")
        else:
            check_not_empty(X_target, "X_target")
            check_same_width(X_target, X, "X_target")
            X, X_target = in_one_form(X, X_target, "X_target")
        task = FitTask.begin(self, X, y, sample_weight, max_subtasks=1)
        given = X, X_target
        if X_target is not None:
            compare_classes(y, y_target)
            labelled = labelled_rows(X_target, y_target, y, target_sample_weight)
            X, y, sample_weight = join_labelled(X, y, sample_weight, labelled)
        with task.hand_on(estimator), named_rows(*given):
            if X_target is None or self.trade_off == 0:
                estimator.fit(X, y, sample_weight)
            else:
                adapt = partial(CORALLoss, trade_off=self.trade_off)
                target = X_target, target_sample_weight
                estimator._fit_to_target(X, y, sample_weight, *target, adapt)
        self._adopt(estimator)
        task.end({})
        return self

    def transform(self, X):
        """Return the features, which are the inputs of the output layer.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Samples of either domain.

        Returns
        -------
        features : ndarray of shape (n_samples, n_features_out)
        """
        check_is_fitted(self)
        return self.estimator_.transform(X)

    @property
    def history_(self):
        """Records of the training, one per epoch."""
        check_is_fitted(self)
        return self.estimator_.history_

    def _to_fit(self):
        return skltransfer.FineTunedClassifier() if self.estimator is None else self.estimator

    @property
    def _n_features_out(self) -> int:
        return self.estimator_._n_features_out

    def __skltransfer_backbone__(self) -> Backbone:
        """Return the trained network, without its head, as a start for another estimator."""
        if not hasattr(self, "estimator_"):
            raise unfitted_backbone(self)
        return self.estimator_.__skltransfer_backbone__()

    def __getstate__(self):
        state = super().__getstate__()
        state.pop("_callback_fit_ctx", None)
        return state

"""What the estimators share that train a network on labelled source samples and a target."""

from __future__ import annotations

import math
from abc import abstractmethod
from contextlib import nullcontext
from typing import Self

import torch
from scipy import sparse
from sklearn.base import (
    clone,
    is_classifier,
    is_regressor,
)
from sklearn.utils.validation import _check_sample_weight

from skltransfer._decorators import with_callbacks
from skltransfer._networks._objective import Objective, TwoDomainObjective
from skltransfer._parameters import Choice, Number, check_parameters
from skltransfer._torch._training import Terms
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
from skltransfer.domains._refit import fits_anew
from skltransfer.domains._two_domains import (
    given_weighted_target,
    join_labelled,
    labelled_rows,
    warn_without_target,
)
from skltransfer.relation._held_network import HoldsNetwork

# How fast "sigmoid" rises: Ganin et al. 2016, section 5.2.2.
_STEEPNESS = 10.0


class Adaptation(TwoDomainObjective):
    """The loss of the source, and further terms of the features of both domains.

    Each domain passes through the network by itself, so that batch normalisation in training takes
    the statistics of one domain at a time. Its running averages take both in, in turn.

    Parameters
    ----------
    of_source : Objective
    trade_off : float
        Weight of the further terms, or of what they do to the features.
    trade_off_schedule : {"constant", "sigmoid"}
        Course of the weight over the steps. All samples at once have no steps: it is constant.
    """

    def __init__(self, of_source: Objective, trade_off: float, trade_off_schedule: str):
        super().__init__(of_source)
        self.trade_off, self.trade_off_schedule = trade_off, trade_off_schedule
        self.weight = trade_off  # at this moment

    def key(self) -> tuple:
        """Return the part of a checkpoint's key for this objective."""
        return (*super().key(), self.trade_off, self.trade_off_schedule)

    def advance(self, progress: float) -> None:
        """Set the weight for the part of all steps that are done."""
        super().advance(progress)
        if self.trade_off_schedule == "sigmoid":
            self.weight = self.trade_off * (2 / (1 + math.exp(-_STEEPNESS * progress)) - 1)

    @abstractmethod
    def compare(self, network, own, other, own_weights, other_weights) -> dict[str, torch.Tensor]:
        """Return further terms of the loss, scalars by name.

        Parameters
        ----------
        network : TransferNetwork
        own, other : Tensor of shape (n, n_features) and (n_target, n_features)
            Features of a batch of the source and of the target.
        own_weights, other_weights : Tensor of shape (n,) and (n_target,), or None
            Weights of their samples.
        """

    def __call__(self, network, batch, features=None):
        """Return the terms of the source, and the further ones."""
        source, target = batch.source, batch.target
        own = network.embed(source.inputs)
        terms = self.of_source(network, source, own)
        other = network.embed(target.inputs)
        if own.dtype in (torch.bfloat16, torch.float16):
            own, other = own.float(), other.float()
        with full_precision(own.device.type):
            further = self.compare(network, own, other, source.weights, target.weights)
        return Terms(terms | further, getattr(further, "recorded", {}))


def full_precision(device_type: str):
    """Return a context in which autocast is off."""
    # To enter torch.autocast takes as long as several small kernels.
    if torch.is_autocast_enabled(device_type):
        return torch.autocast(device_type, enabled=False)
    return nullcontext()


def shares(
    features: torch.Tensor, weights: torch.Tensor | None, total: float = 1.0
) -> torch.Tensor:
    """Return the weights of samples, scaled to a sum of `total`; equal ones where they are None."""
    if weights is None:
        return features.new_full((len(features),), total / len(features))
    return (weights * (total / weights.sum())).to(features.dtype)


def check_classes_exclude_each_other(labels, estimator: str) -> None:
    """Raise a ValueError for labels of which a sample has any number."""
    if labels.is_multilabel:
        raise ValueError(
            f"y has several labels for each sample, and {estimator} needs one class for each. Use "
            "DANNClassifier, DANClassifier or DeepCORALClassifier."
        )


class TwoDomainNetwork(HoldsNetwork):
    """Train the network of an estimator on the source, and on target samples without labels.

    A subclass says in `_adaptation` what is minimised beside the loss of the labels.
    """

    _parameters = {
        "trade_off": Number(0, math.inf, high_open=True),
        "trade_off_schedule": Choice("constant", "sigmoid"),
    }
    __metadata_request__fit = {"X_target": True, "y_target": True, "target_sample_weight": True}
    # Whether training is a game of two players, which has no common minimum for L-BFGS to find.
    _is_game = False
    _kind = "classifier"

    def __init__(
        self, estimator=None, *, trade_off: float = 1.0, trade_off_schedule: str = "constant"
    ):
        self.estimator = estimator
        self.trade_off = trade_off
        self.trade_off_schedule = trade_off_schedule

    @abstractmethod
    def _adaptation(self, of_source: Objective, fitting) -> Adaptation:
        """Return the objective of both domains, around that of the source."""

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
    ) -> Self:
        """Train the network on labelled source samples and on target samples.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Source samples, in any of the forms that the estimator takes.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Source labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the source samples, in all terms of the loss.
        X_target : array-like of shape (n_target_samples, n_features), default=None
            Target samples. Without them the estimator is trained on the source alone, with a
            :class:`~skltransfer.DomainDataWarning`.
        y_target : array-like of shape (n_target_samples,) or (n_target_samples, n_outputs), \
                default=None
            Known labels of the target. A missing label is marked by ``NaN``, or in arrays of
            objects also by ``None`` or ``pandas.NA``. Labelled samples join the source samples.
            ``None`` if no label is known.
        target_sample_weight : array-like of shape (n_target_samples,), default=None
            Weights of the target samples, in all terms of the loss. One of weight 0 is left out.
            ``None`` weighs each by 1.

        Returns
        -------
        self : estimator
        """
        check_parameters(self)
        estimator = self._checked_estimator()
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
            if self._kind == "classifier":
                compare_classes(y, y_target)
            labelled = labelled_rows(X_target, y_target, y, target_sample_weight)
            X, y, sample_weight = join_labelled(X, y, sample_weight, labelled)
        with task.hand_on(estimator), named_rows(*given):
            if X_target is None or self.trade_off == 0:
                estimator.fit(X, y, sample_weight)
            else:
                estimator._fit_to_target(
                    X,
                    y,
                    sample_weight,
                    X_target,
                    target_sample_weight,
                    self._adaptation,
                    validates_on_target=getattr(self, "validate_on", "source") == "target",
                )
        self._adopt(estimator)
        task.end({})
        return self

    def _checked_estimator(self):
        """Return a clone of the estimator, which trains in steps if this is a game."""
        estimator = clone(self._to_fit())
        is_right = is_classifier if self._kind == "classifier" else is_regressor
        if not (is_right(estimator) and hasattr(estimator, "_fit_to_target")):
            raise TypeError(
                f"estimator={self.estimator!r} is not a {self._kind} that trains a network. Pass a "
                f"FineTuned{self._kind.title()} or a RegularizedTransfer{self._kind.title()}."
            )
        if self._is_game and estimator.optimizer == "lbfgs":
            raise ValueError(
                f"optimizer='lbfgs' minimises one function, and {type(self).__name__} trains two "
                "networks against each other. Choose optimizer='adamw' or 'sgd'."
            )
        if self._is_game and estimator.optimizer == "auto":
            estimator.set_params(optimizer="adamw")
        return estimator

    def __skltransfer_backbone__(self) -> Backbone:
        """Return the trained network, without its head, as a start for another estimator."""
        if not hasattr(self, "estimator_"):
            raise unfitted_backbone(self)
        return self.estimator_.__skltransfer_backbone__()


class TwoDomainNetworkClassifier(TwoDomainNetwork):
    """The same for classes."""

    _parameters = {"validate_on": Choice("source", "target")}

    def __init__(
        self,
        estimator=None,
        *,
        trade_off: float = 1.0,
        trade_off_schedule: str = "constant",
        validate_on: str = "source",
    ):
        super().__init__(estimator, trade_off=trade_off, trade_off_schedule=trade_off_schedule)
        self.validate_on = validate_on


class TwoDomainNetworkRegressor(TwoDomainNetwork):
    """The same for numbers."""

    _kind, _default = "regressor", "FineTunedRegressor"

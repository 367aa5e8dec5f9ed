"""What meta-learners share: training in episodes of the source, then a support set."""

from __future__ import annotations

import copy
from abc import abstractmethod
from dataclasses import dataclass, replace

import numpy as np
from scipy import sparse
from sklearn.base import (
    clone,
)
from sklearn.utils import _safe_indexing, check_array, column_or_1d
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _num_samples, check_is_fitted

import skltransfer
from skltransfer._networks._fitting import Fitting
from skltransfer._networks._labels import Labels
from skltransfer._networks._objective import Objective
from skltransfer._parameters import Count, check_parameters
from skltransfer._torch._augmentation import MIXES, names_of
from skltransfer._torch._batches import Inputs
from skltransfer.backbones import Backbone
from skltransfer.backbones._record import unfitted_backbone
from skltransfer.domains._callbacks import FitTask
from skltransfer.domains._data import (
    as_labels,
    check_finite_labels,
    check_no_missing_labels,
    check_not_empty,
    check_same_length,
    check_same_width,
    in_one_form,
    missing_labels,
    named_rows,
)
from skltransfer.domains._refit import fits_on
from skltransfer.domains._two_domains import (
    given_weighted_target,
    labelled_rows,
    warn_without_labels,
    warn_without_target,
    weighed_rows,
)
from skltransfer.relation._episodes import EpisodeBatches, EpisodePools
from skltransfer.relation._held_network import HoldsNetwork

# Parameters of a FineTunedClassifier or FineTunedRegressor that mean nothing in episodes.
_WITHOUT_EPISODES = {
    "head": "linear",
    "dropout": 0.0,
    "class_weight": None,
    "label_smoothing": 0.0,
    "balanced_batches": False,
    "n_views": None,
    "early_stopping": False,
    "warm_start": False,
}


@dataclass
class Support:
    """Labelled samples of the task that is to be learned.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
    y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
    weights : ndarray of shape (n_samples,) or None
    """

    X: object
    y: np.ndarray
    weights: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.y)

    def classes(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the classes, and the number of the class of each sample."""
        return np.unique(self.y, return_inverse=True)


class EpisodeTraining:
    """What a network estimator needs in order to be trained in episodes.

    Parameters
    ----------
    learner : MetaLearner
    support : Support or None
    groups : ndarray of shape (n_samples,), int, or None
        Group of each source sample.
    """

    def __init__(self, learner: MetaLearner, support: Support | None, groups: np.ndarray | None):
        self.learner, self.groups = learner, groups
        self.n_episodes, self._counts = learner.episodes_per_epoch, None
        if support is not None:
            codes = np.zeros(len(support), int)
            if learner._has_classes:
                _, codes = support.classes()
            self._counts = np.bincount(codes)

    @property
    def are_drawn(self) -> bool:
        """Tell whether there is anything to train on."""
        return self.n_episodes > 0

    def settings(self, labels: Labels) -> dict:
        """Return the fields of the plan that episodes decide."""
        learner, n_way = self.learner, 0
        if self.are_drawn:
            groups = self.groups
            if labels.codes is None and groups is None:
                groups = np.zeros(len(labels.targets), int)
            pools = EpisodePools(labels.codes, groups)
            given = (getattr(learner, "n_way", 1), learner.n_shot, learner.n_query)
            self.size = pools.size(*given, self._counts)
            self._pools = pools.of_size(self.size)
            n_way = self.size.n_way
        steps = ("training in episodes",)
        head = learner._head_for_episodes(n_way, labels)
        return {"head": head, "asks_for_steps": steps, "head_asks_for_steps": steps}

    def objective(self, fitting: Fitting) -> Objective:
        """Return the loss of a batch of episodes."""
        groups = None if self.groups is None else self.groups.tobytes()
        key = (self.size, self.n_episodes, self.learner.tasks_per_step, groups)
        return self.learner._objective(fitting, self.size, key)

    def batches(self, fitting: Fitting) -> EpisodeBatches:
        """Return batches of episodes."""
        plan, data = fitting.plan, fitting.data
        return EpisodeBatches(
            Inputs(data.rows, fitting.built.network.preprocessing, plan.device, plan.dtype),
            data.tensors(plan.device, plan.dtype)[0] if data.labels.codes is None else None,
            self._pools,
            self.size,
            self.n_episodes,
            self.learner.tasks_per_step,
            plan.generator(),
            plan.device,
            plan.augment,
        )


class MetaLearner(HoldsNetwork):
    """Train a network in episodes of the source, and fit a support set of the target.

    A subclass gives the loss of an episode in `_objective`, and fits a support set in `_adapt`. The
    estimator as it was trained in episodes is `_trained`.
    """

    _parameters = {
        "n_shot": Count(unset=("auto",)),
        "n_query": Count(unset=("auto",)),
        "episodes_per_epoch": Count(0),
        "tasks_per_step": Count(),
    }
    __metadata_request__fit = {
        "X_target": True,
        "y_target": True,
        "target_sample_weight": True,
        "sample_domain": True,
    }
    # The classes of the target are learned from its support set, whatever those of the source are.
    _learns_new_classes = True
    _strategies: tuple[str, ...] = ("finetune",)
    _has_classes = True

    # --- what a subclass says ----------------------------------------------------------

    @abstractmethod
    def _head_for_episodes(self, n_way: int, labels: Labels):
        """Return a function of the numbers of features and outputs that makes the output layer."""

    @abstractmethod
    def _objective(self, fitting: Fitting, size, key: tuple) -> Objective:
        """Return the loss of a batch of episodes."""

    @abstractmethod
    def _adapt(self, trained, support: Support) -> None:
        """Set the fitted attributes for a support set, and leave the trained estimator as it is."""

    def _note(self, trained, X) -> None:
        """Keep what later adaptations need of the source, and of how the network was trained."""

    def _source_as_support(self, X, y) -> Support:
        """Return the samples of the source that stand in for a support set."""
        return Support(X, np.asarray(y))

    # --- fitting -----------------------------------------------------------------------

    def _fit(self, X, y, X_target, y_target, target_sample_weight, groups, sample_domain):
        check_parameters(self)
        estimator = clone(self._to_fit())
        self._check_estimator(estimator)
        X_target, y_target, weights = given_weighted_target(
            X_target, y_target, target_sample_weight
        )
        if y is not None:
            is_sparse = sparse.issparse(y)
            if self._has_classes and (is_sparse or as_labels(y).shape[1:] not in ((), (1,))):
                raise ValueError(
                    "y has several labels per sample, and an episode needs one class of each. Pass "
                    "one column."
                )
            check_no_missing_labels(y)
        if X_target is not None:
            check_not_empty(X_target, "X_target")
            check_same_width(X_target, X, "X_target")
            X, X_target = in_one_form(X, X_target, "X_target")
        support = self._given_support(X_target, y_target, weights)
        groups = self._numbered_groups(X, groups, sample_domain)
        task = FitTask.begin(self, X, y, max_subtasks=1)
        with named_rows(X, X_target):
            with task.hand_on(estimator):
                estimator._fit_in_episodes(X, y, EpisodeTraining(self, support, groups))
            self._note(estimator, X)
            if support is None:
                support = self._source_as_support(X, y)
                self._check_support(support, "y")
            self._adapt(estimator, support)
        task.end({})
        return self

    def adapt(self, X, y, sample_weight=None):
        """Fit another support set, with the network as it was trained in episodes.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Samples of the support set, which takes the place of the one before.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Their labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples. ``None`` weighs each by 1.

        Returns
        -------
        self : estimator
        """
        check_is_fitted(self)
        return self._adapt_anew(X, y, sample_weight)

    @fits_on
    def _adapt_anew(self, X, y, sample_weight):
        support = self._support_of(X, y, sample_weight)
        self._check_support(support, "y")
        trained = self._trained
        for name in ("estimator_", "classes_"):
            vars(self).pop(name, None)
        self._adapt(trained, support)
        return self

    def _given_support(self, X_target, y_target, weights) -> Support | None:
        """Return the labelled samples of the target; warn if there are none."""
        if X_target is None:
            if self.episodes_per_epoch:
                warn_without_target(self, "is fitted to the source samples")
            return None
        rows, labels, weights = labelled_rows(X_target, y_target, None, weights)
        if rows is None:
            warn_without_labels(self, "is fitted to the source samples")
            return None
        if self._has_classes:
            labels = _whole_labels(labels, y_target)
        support = Support(rows, labels, weights)
        self._check_support(support, "y_target")
        return support

    def _support_of(self, X, y, sample_weight) -> Support:
        """Return a support set whose labels are all known."""
        check_same_length(y, X, "y", "X")
        check_no_missing_labels(y)
        check_finite_labels(y, "y")
        if sample_weight is not None:
            X, y, sample_weight = weighed_rows(X, y, sample_weight, ("X", "y", "sample_weight"))
        labels = as_labels(y)
        if labels.dtype.kind == "O":
            labels = np.array(labels.tolist())
        return Support(X, labels, sample_weight)

    def _check_support(self, support: Support, name: str) -> None:
        """Check the labels of a support set, which become an array of classes or of numbers."""
        if not self._has_classes:
            support.y = check_array(support.y, ensure_2d=False, dtype=np.float64, input_name=name)
            return
        check_classification_targets(support.y)
        support.y = column_or_1d(support.y, warn=True)
        classes, _ = support.classes()
        if len(classes) < 2:
            raise ValueError(
                f"{name} holds one class, {classes.tolist()[0]!r}, and a support set needs samples "
                "of at least 2 classes. Add samples of another class."
            )

    def _numbered_groups(self, X, groups, sample_domain) -> np.ndarray | None:
        """Return the number of each source sample's group."""
        name = "groups"
        if groups is None:
            groups, name = sample_domain, "sample_domain"
        elif sample_domain is not None:
            raise ValueError(
                "groups and sample_domain were both given, and either says which samples belong to "
                "one task. Pass one of them."
            )
        if groups is None:
            return None
        check_same_length(groups, X, name, "X")
        groups = as_labels(groups)
        if missing_labels(groups).any():
            raise ValueError(f"{name} has missing entries. Give each source sample a group.")
        return np.unique(column_or_1d(groups), return_inverse=True)[1]

    def _check_estimator(self, estimator) -> None:
        kind = "Classifier" if self._has_classes else "Regressor"
        wanted = getattr(skltransfer, f"FineTuned{kind}")
        if not isinstance(estimator, wanted):
            raise TypeError(
                f"estimator={self.estimator!r} is not a {wanted.__name__}, which "
                f"{type(self).__name__} trains in episodes. Pass one, or None."
            )
        name = type(self).__name__
        for parameter, default in _WITHOUT_EPISODES.items():
            value = getattr(estimator, parameter, default)
            if value != default or type(value) is not type(default):
                raise ValueError(
                    f"estimator has {parameter}={value!r}, which {name} does not use in episodes. "
                    f"Leave it at {default!r}."
                )
        if estimator.strategy not in self._strategies:
            raise ValueError(
                f"estimator has strategy={estimator.strategy!r}, and {name} trains a network in "
                f"episodes by {' or '.join(map(repr, self._strategies))}. Set it to one of these."
            )
        mixes = [each for each in names_of(estimator.augment) if each in MIXES]
        if mixes:
            raise ValueError(
                f"estimator has augment={mixes[0]!r}, which mixes samples of different classes of "
                "an episode. Choose another one."
            )

    # --- the fitted estimator ----------------------------------------------------------

    def __skltransfer_backbone__(self) -> Backbone:
        """Return the network as it was trained in episodes, as a start for another estimator."""
        if not hasattr(self, "estimator_"):
            raise unfitted_backbone(self)
        return self._trained.__skltransfer_backbone__()

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "estimator_")

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        if tags.classifier_tags is not None:
            tags.classifier_tags.multi_label = False
        return tags


def with_network(trained, network, labels: Labels, *, is_frozen: bool):
    """Return a fitted estimator as it would be with another network and other labels.

    Parameters
    ----------
    trained : FineTunedClassifier or FineTunedRegressor
        Fitted. It stays as it is.
    network : TransferNetwork
    labels : Labels
        Without samples.
    is_frozen : bool
        Whether the features of the network are those of the backbone.
    """
    twin, built = copy.copy(trained), replace(trained._built, held=network, is_frozen=is_frozen)
    vars(twin).update({"_built": built, "_labels": labels} | labels.attributes)
    return twin


def some_rows(X, y, rows: np.ndarray) -> Support:
    """Return some of the labelled samples as a support set."""
    return Support(_safe_indexing(X, rows), np.asarray(y)[rows])


def _whole_labels(labels: np.ndarray, y_target) -> np.ndarray:
    """Return whole numbers as integers, if only a NaN beside them has made them floats."""
    given = as_labels(y_target)
    if given.dtype.kind == "f" and len(labels) < _num_samples(given):
        whole = labels.astype(np.int64)
        if np.array_equal(whole, labels):
            return whole
    return labels

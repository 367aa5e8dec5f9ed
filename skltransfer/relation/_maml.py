"""Model-agnostic meta-learning: weights from which a few gradient steps learn a task."""

from __future__ import annotations

import copy
from abc import abstractmethod
from dataclasses import replace
from functools import partial
from math import inf
from typing import Self

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from torch import nn
from torch.func import functional_call
from torch.nn import functional

from skltransfer._decorators import with_callbacks
from skltransfer._networks._built import TransferNetwork
from skltransfer._networks._labels import Classes, Labels
from skltransfer._parameters import Count, Flag, Number
from skltransfer._torch._batches import Inputs
from skltransfer._torch._extraction import network_lock
from skltransfer._warnings import warn
from skltransfer.domains._refit import fits_anew
from skltransfer.relation._inner_loop import (
    MAMLLoss,
    SupportStatistics,
    adapt,
    adapted_parts,
    starting_point,
)
from skltransfer.relation._meta_learning import MetaLearner, Support, some_rows, with_network

# Without a support set the source stands in, of which so many samples are taken at most.
_MOST_SOURCE_SAMPLES = 1000
# Source samples that batch normalisation takes its statistics from, for other estimators.
_ROWS_OF_STATISTICS = 512


class MAML(MetaLearner):
    """What the classifier and the regressor share."""

    _parameters = {
        "inner_lr": Number(0, inf, low_open=True, high_open=True),
        "n_inner_steps": Count(),
        "n_target_steps": Count(unset=(None,)),
        "first_order": Flag(),
    }

    def _head_for_episodes(self, n_way, labels):
        n_outputs = n_way if self._has_classes and n_way else labels.n_outputs
        return lambda n_features, _: nn.Linear(n_features, n_outputs)

    def _objective(self, fitting, size, key):
        plan, labels = fitting.plan, fitting.data.labels
        has_classes = self._has_classes
        # Every task begins with a head of zeros, so that there is none to train.
        fitting.built.network.head.requires_grad_(not has_classes)
        return MAMLLoss(
            fitting.built.network,
            adapted_parts(fitting.built, plan.unfreeze, plan.norm_statistics),
            functional.cross_entropy if has_classes else labels.mean_loss,
            has_classes=has_classes,
            n_steps=self.n_inner_steps,
            lr=self.inner_lr,
            first_order=self.first_order,
            # Convolutions with weights of their own for each task are slower side by side.
            at_once=plan.is_table,
            key=key,
        )

    # --- adaptation --------------------------------------------------------------------

    def _note(self, trained, X):
        built, network = trained._built, trained.network_
        self._parts = adapted_parts(built, trained.unfreeze, trained.norm_statistics)
        norms = [network.get_submodule(name) for name in self._parts[1]]
        if not norms:
            return
        # Episodes leave no statistics behind, and another estimator has no support set.
        rows = trained._rows(X, reset=False)
        drawn = check_random_state(0).permutation(len(rows))[:_ROWS_OF_STATISTICS]
        device = next(network.parameters()).device
        inputs = Inputs(rows.subset(np.sort(drawn)), network.preprocessing, device, network.dtype)
        with network_lock, torch.no_grad(), SupportStatistics(norms) as statistics:
            statistics.are_kept = True
            network.eval().embed(inputs[slice(None)])

    def _adapt(self, trained, support):
        self._trained = trained
        labels, targets = self._encoded(trained, support)
        network, is_frozen = self._adapted(trained, support, targets, labels)
        self._adopt(with_network(trained, network, labels, is_frozen=is_frozen))

    @abstractmethod
    def _encoded(self, trained, support: Support) -> tuple[Labels, torch.Tensor]:
        """Return the labels of the task, without samples, and the targets of its samples."""

    def _adapted(self, trained, support: Support, targets, labels) -> tuple[TransferNetwork, bool]:
        """Return the network after its steps on the support set, and whether its features stay."""
        built = trained._built
        rows = trained._rows(support.X, reset=False)
        network = copy.deepcopy(built.network).eval()
        device = next(network.parameters()).device
        if self._has_classes:
            n_classes = len(labels.attributes["classes_"])
            network.head = nn.Linear(built.n_features, n_classes).to(device, network.dtype)
        names, norms = self._parts
        start = starting_point(network, names, zero_head=self._has_classes)
        start = {name: tensor.detach() for name, tensor in start.items()}
        inputs = Inputs(rows, network.preprocessing, device, network.dtype)[slice(None)]
        targets, weights = targets.to(device), None
        if support.weights is not None:
            weights = torch.tensor(support.weights, dtype=network.dtype, device=device)
        statistics = SupportStatistics([network.get_submodule(name) for name in norms])
        statistics.weights = weights
        with network_lock, torch.no_grad(), statistics:
            adapted = adapt(
                network,
                start,
                inputs,
                partial(self._loss, labels, targets=targets, weights=weights),
                n_steps=self.n_target_steps or self.n_inner_steps,
                lr=self.inner_lr,
                first_order=True,  # there is no outer gradient
            )
            outputs = functional_call(network, adapted, (inputs,))
            if not all(bool(tensor.isfinite().all()) for tensor in (*adapted.values(), outputs)):
                warn(
                    "The steps on the support set diverge: the weights are those before them. "
                    f"Lower inner_lr={self.inner_lr!r}.",
                    ConvergenceWarning,
                )
                adapted = start
            if norms:
                statistics.are_kept = True
                functional_call(network, adapted, (inputs,))
            for name, parameter in network.named_parameters():
                if name in adapted:
                    parameter.copy_(adapted[name])
            if labels.n_outputs == 1 and network.head.out_features == 2:
                network.head = _logit_of_second(network.head)
        is_frozen = built.is_frozen and not any(not name.startswith("head.") for name in names)
        return network, is_frozen

    @staticmethod
    def _loss(labels: Labels, outputs, *, targets, weights):
        if isinstance(labels, Classes):
            losses = functional.cross_entropy(outputs, targets, reduction="none")
        else:
            losses = labels.loss(outputs, targets)
        if weights is None:
            return losses.mean()
        return (weights * losses).sum() / weights.sum()

    def _source_as_support(self, X, y):
        y = np.asarray(y)
        rng = check_random_state(0)
        if len(y) <= _MOST_SOURCE_SAMPLES:
            return super()._source_as_support(X, y)
        codes = np.zeros(len(y), int)
        if self._has_classes:
            _, codes = np.unique(y, return_inverse=True)
        order, n_each = rng.permutation(len(y)), max(1, _MOST_SOURCE_SAMPLES // (codes.max() + 1))
        parts = [order[codes[order] == code][:n_each] for code in range(codes.max() + 1)]
        return some_rows(X, y, np.sort(np.concatenate(parts)))


def _logit_of_second(head: nn.Linear) -> nn.Linear:
    """Return the difference of two outputs as one."""
    one = nn.Linear(head.in_features, 1).to(head.weight)
    one.weight.copy_(head.weight[1:] - head.weight[:1])
    one.bias.copy_(head.bias[1:] - head.bias[:1])
    return one


class MAMLClassifier(MAML):
    r"""Adapt a network to a few samples by gradient steps, from weights that were trained for it.

    Model-agnostic meta-learning [1]_ is trained on episodes, which are small tasks drawn from the
    classes of the source. In each of them the weights :math:`\theta` take `n_inner_steps` steps

    .. math::

        \theta' = \theta - \alpha \nabla_\theta L_{\text{support}}(\theta)

    on the support samples, and :math:`\theta` is trained for the loss
    :math:`L_{\text{query}}(\theta')` of the query samples afterwards, through the steps. Then the
    network takes such steps on the labelled samples of the target, the support set. Its classes
    need not be among those of the source.

    Parameters
    ----------
    estimator : FineTunedClassifier or None, default=None
        Estimator that defines the network and its training. ``None`` is ``FineTunedClassifier()``.
        It is cloned before it is fitted. `unfreeze` and `norm_statistics` also say which weights
        and statistics a task adapts. Its `head`, `dropout`, `batch_size` and what belongs to the
        labels of single samples are not used.
    inner_lr : float, default=0.4
        Rate :math:`\alpha` of the steps on a support set. The best one depends on the size of the
        features, because the output layer starts at zero. Try 0.1 to 10.
    n_inner_steps : int, default=3
        Number of steps on the support samples of an episode.
    n_target_steps : int or None, default=None
        Number of steps on the support set of the target. ``None`` is `n_inner_steps`.
    first_order : bool, default=False
        Whether the gradients of the inner steps are taken for constants, which costs less time and
        memory.
    n_way : int or "auto", default="auto"
        Number of classes of an episode. ``"auto"`` is that of the support set, or the number of
        source classes if it is smaller.
    n_shot : int or "auto", default="auto"
        Number of support samples of each class of an episode. ``"auto"`` is the size of the
        smallest class of the support set, and at most half of the samples of a source class.
    n_query : int or "auto", default="auto"
        Number of query samples of each class of an episode. ``"auto"`` is what the classes of the
        source have left, and at most 15.
    episodes_per_epoch : int, default=50
        Number of episodes of an epoch. The number of epochs is the estimator's. With 0 there is no
        training, and the support set adapts the backbone as it is.
    tasks_per_step : int, default=4
        Number of episodes of one step of the optimizer.

    Attributes
    ----------
    estimator_ : FineTunedClassifier
        The estimator after its steps on the support set.
    classes_ : ndarray of shape (n_classes,)
        Classes of the support set.
    n_features_in_ : int
        Number of features of ``X``.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, where ``X`` is a data frame with strings as column names.

    Warns
    -----
    DomainDataWarning
        If there is no ``X_target``, or no label of a target sample. The support set is then the
        source, of which at most 1000 samples are drawn.
    ConvergenceWarning
        If the steps on the support set diverge. The weights are then those before them.

    See Also
    --------
    MAMLRegressor : The same for numbers.
    PrototypicalClassifier : Learns the classes of the support set without gradients.

    Notes
    -----
    Meta-learning transfers what is common to many tasks. The surveys of transfer learning do not
    count it among their families, and it stands here beside the methods for the relation between
    domains.

    It differs from the paper in two ways. The output layer starts at zero in every task [2]_, so
    that the number and the order of classes do not matter. Batch normalisation takes its
    statistics from the support samples, also for the query samples [3]_, while the paper normalises
    query samples by each other. Tasks of a table are computed side by side (``torch.func.vmap``).

    As a backbone of another estimator it gives the weights before the steps on the support set.
    Batch normalisation then has the statistics of a few hundred source samples.

    References
    ----------
    .. [1] C. Finn, P. Abbeel, S. Levine, "Model-Agnostic Meta-Learning for Fast Adaptation of Deep
       Networks", ICML 2017, algorithm 2.
    .. [2] C.-H. Kao, W.-C. Chiu, P.-Y. Chen, "MAML is a Noisy Contrastive Learner in
       Classification", ICLR 2022.
    .. [3] J. Bronskill et al., "TaskNorm: Rethinking Batch Normalization for Meta-Learning", ICML
       2020.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skltransfer import FineTunedClassifier, MAMLClassifier
    >>> X, y = load_digits(return_X_y=True)
    >>> is_source = y < 7
    >>> X_new, y_new = X[~is_source], y[~is_source]
    >>> network = FineTunedClassifier(max_epochs=10)
    >>> model = MAMLClassifier(network, first_order=True)
    >>> model = model.fit(X[is_source], y[is_source], X_target=X_new[:15], y_target=y_new[:15])
    >>> model.classes_
    array([7, 8, 9])
    """

    _parameters = {"n_way": Count(2, unset=("auto",))}

    def __init__(
        self,
        estimator=None,
        *,
        inner_lr: float = 0.4,
        n_inner_steps: int = 3,
        n_target_steps: int | None = None,
        first_order: bool = False,
        n_way: int | str = "auto",
        n_shot: int | str = "auto",
        n_query: int | str = "auto",
        episodes_per_epoch: int = 50,
        tasks_per_step: int = 4,
    ):
        self.estimator = estimator
        self.inner_lr = inner_lr
        self.n_inner_steps = n_inner_steps
        self.n_target_steps = n_target_steps
        self.first_order = first_order
        self.n_way = n_way
        self.n_shot = n_shot
        self.n_query = n_query
        self.episodes_per_epoch = episodes_per_epoch
        self.tasks_per_step = tasks_per_step

    @with_callbacks
    @fits_anew
    def fit(
        self,
        X,
        y,
        *,
        X_target=None,
        y_target=None,
        target_sample_weight=None,
        groups=None,
        sample_domain=None,
    ) -> Self:
        """Train the starting weights on the source, and take steps on the support set.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Source samples, in any of the forms that the estimator takes.
        y : array-like of shape (n_samples,)
            Source labels.
        X_target : array-like of shape (n_target_samples, n_features), default=None
            Target samples. Those with a known label are the support set. Without them the source
            is the support set, with a :class:`~skltransfer.DomainDataWarning` if there are
            episodes.
        y_target : array-like of shape (n_target_samples,), default=None
            Known labels of the target. A missing label is marked by ``NaN``, or in arrays of
            objects also by ``None`` or ``pandas.NA``. They may be of another type than ``y``.
        target_sample_weight : array-like of shape (n_target_samples,), default=None
            Weights of the target samples in the loss of the support set. ``None`` weighs each by 1.
        groups : array-like of shape (n_samples,), default=None
            Group of each source sample. An episode has classes and samples of one group.
        sample_domain : array-like of shape (n_samples,), int, default=None
            Numbers of several sources, which are then the groups. A list of sources in
            :class:`~skltransfer.WithSource` arrives so.

        Returns
        -------
        self : MAMLClassifier
        """
        return self._fit(X, y, X_target, y_target, target_sample_weight, groups, sample_domain)

    def _encoded(self, trained, support):
        classes, codes = support.classes()
        n_outputs = 1 if len(classes) == 2 else len(classes)
        return Classes(classes[:0], n_outputs, {"classes_": classes}), torch.from_numpy(codes)


class MAMLRegressor(MAML):
    r"""Adapt a network to a few samples by gradient steps, from weights that were trained for it.

    Model-agnostic meta-learning [1]_ is trained on episodes, which are the tasks of the source,
    each with a few support and query samples. In an episode the weights :math:`\theta` take
    `n_inner_steps` steps

    .. math::

        \theta' = \theta - \alpha \nabla_\theta L_{\text{support}}(\theta)

    on the support samples, and :math:`\theta` is trained for the loss
    :math:`L_{\text{query}}(\theta')` of the query samples afterwards, through the steps. Then the
    network takes such steps on the labelled samples of the target, the support set.

    Parameters
    ----------
    estimator : FineTunedRegressor or None, default=None
        Estimator that defines the network and its training. ``None`` is ``FineTunedRegressor()``.
        It is cloned before it is fitted. `unfreeze` and `norm_statistics` also say which weights
        and statistics a task adapts. Its `head`, `dropout` and `batch_size` are not used.
    inner_lr : float, default=0.01
        Rate :math:`\alpha` of the steps on a support set. The loss is half the squared error in
        units of the standard deviation of the source labels.
    n_inner_steps : int, default=5
        Number of steps on the support samples of an episode.
    n_target_steps : int or None, default=None
        Number of steps on the support set of the target. ``None`` is `n_inner_steps`.
    first_order : bool, default=False
        Whether the gradients of the inner steps are taken for constants, which costs less time and
        memory.
    n_shot : int or "auto", default="auto"
        Number of support samples of an episode. ``"auto"`` is the size of the support set, and at
        most half of the samples of a source task.
    n_query : int or "auto", default="auto"
        Number of query samples of an episode. ``"auto"`` is what the tasks of the source have left,
        and at most 15.
    episodes_per_epoch : int, default=50
        Number of episodes of an epoch. The number of epochs is the estimator's. With 0 there is no
        training, and the support set adapts the backbone as it is.
    tasks_per_step : int, default=4
        Number of episodes of one step of the optimizer.

    Attributes
    ----------
    estimator_ : FineTunedRegressor
        The estimator after its steps on the support set.
    n_features_in_ : int
        Number of features of ``X``.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, where ``X`` is a data frame with strings as column names.

    Warns
    -----
    DomainDataWarning
        If there is no ``X_target``, or no label of a target sample. The support set is then the
        source, of which at most 1000 samples are drawn.
    ConvergenceWarning
        If the steps on the support set diverge. The weights are then those before them.

    See Also
    --------
    MAMLClassifier : The same for classes.
    MultiTaskRegressor : Fits all tasks at once, the target among them.

    Notes
    -----
    The tasks are the `groups` of `fit`, or the entries of a list of sources in
    :class:`~skltransfer.WithSource`. Without either the source is one task, of which each episode
    has other samples. The output layer is a part of the starting weights, as in the paper. Tasks of
    a table are computed side by side (``torch.func.vmap``). For the rest see
    :class:`MAMLClassifier`.

    References
    ----------
    .. [1] C. Finn, P. Abbeel, S. Levine, "Model-Agnostic Meta-Learning for Fast Adaptation of Deep
       Networks", ICML 2017, algorithm 2.

    Examples
    --------
    Many lines through the origin, and five samples of a further one:

    >>> import numpy as np
    >>> from skltransfer import FineTunedRegressor, MAMLRegressor
    >>> rng = np.random.default_rng(0)
    >>> slopes = np.repeat(rng.normal(size=50), 20)
    >>> X, tasks = rng.uniform(-1, 1, size=(1000, 1)), np.repeat(np.arange(50), 20)
    >>> y = slopes * X[:, 0]
    >>> X_new = np.linspace(-1, 1, 5)[:, np.newaxis]
    >>> model = MAMLRegressor(FineTunedRegressor(max_epochs=20), inner_lr=0.1)
    >>> model = model.fit(X, y, groups=tasks, X_target=X_new, y_target=2 * X_new[:, 0])
    >>> bool(abs(model.predict([[0.5]])[0] - 1.0) < 0.3)
    True
    """

    def __init__(
        self,
        estimator=None,
        *,
        inner_lr: float = 0.01,
        n_inner_steps: int = 5,
        n_target_steps: int | None = None,
        first_order: bool = False,
        n_shot: int | str = "auto",
        n_query: int | str = "auto",
        episodes_per_epoch: int = 50,
        tasks_per_step: int = 4,
    ):
        self.estimator = estimator
        self.inner_lr = inner_lr
        self.n_inner_steps = n_inner_steps
        self.n_target_steps = n_target_steps
        self.first_order = first_order
        self.n_shot = n_shot
        self.n_query = n_query
        self.episodes_per_epoch = episodes_per_epoch
        self.tasks_per_step = tasks_per_step

    @with_callbacks
    @fits_anew
    def fit(
        self,
        X,
        y,
        *,
        X_target=None,
        y_target=None,
        target_sample_weight=None,
        groups=None,
        sample_domain=None,
    ) -> Self:
        """Train the starting weights on the source, and take steps on the support set.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Source samples, in any of the forms that the estimator takes.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Source labels.
        X_target : array-like of shape (n_target_samples, n_features), default=None
            Target samples. Those with a known label are the support set. Without them the source
            is the support set, with a :class:`~skltransfer.DomainDataWarning` if there are
            episodes.
        y_target : array-like of shape (n_target_samples,) or (n_target_samples, n_outputs), \
                default=None
            Known labels of the target. A missing label is marked by ``NaN``, or in arrays of
            objects also by ``None`` or ``pandas.NA``.
        target_sample_weight : array-like of shape (n_target_samples,), default=None
            Weights of the target samples in the loss of the support set. ``None`` weighs each by 1.
        groups : array-like of shape (n_samples,), default=None
            Task of each source sample.
        sample_domain : array-like of shape (n_samples,), int, default=None
            Numbers of several sources, which are then the tasks. A list of sources in
            :class:`~skltransfer.WithSource` arrives so.

        Returns
        -------
        self : MAMLRegressor
        """
        return self._fit(X, y, X_target, y_target, target_sample_weight, groups, sample_domain)

    _has_classes = False
    _default = "FineTunedRegressor"

    def _encoded(self, trained, support):
        labels = trained._labels
        y = support.y.reshape(len(support), -1)
        if y.shape[1] != labels.n_outputs:
            raise ValueError(
                f"y_target has {y.shape[1]} outputs, and y has {labels.n_outputs}. Give both "
                "domains labels of the same form."
            )
        own = replace(labels, targets=y)
        network = trained.network_
        return labels, own.tensor(next(network.parameters()).device, network.dtype)

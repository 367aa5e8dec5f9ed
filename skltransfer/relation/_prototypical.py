"""Prototypical networks: the nearest class mean, in features that were trained for it."""

from __future__ import annotations

from math import inf
from typing import Self

import numpy as np
import torch
from sklearn.base import clone
from torch import nn
from torch.nn import functional

from skltransfer._decorators import with_callbacks
from skltransfer._networks._built import TransferNetwork
from skltransfer._networks._labels import Classes
from skltransfer._networks._objective import Objective
from skltransfer._parameters import Choice, Count, Number, check_parameters
from skltransfer.domains._refit import fits_anew, fits_on
from skltransfer.relation._distances import METRICS, TEMPERATURES, PrototypeHead
from skltransfer.relation._episodes import EpisodeBatch, EpisodeSize
from skltransfer.relation._meta_learning import (
    EpisodeTraining,
    MetaLearner,
    Support,
    with_network,
)


class PrototypicalLoss(Objective):
    """Cross-entropy of the query samples, by their distances to the means of the support samples.

    Parameters
    ----------
    metric : {"sqeuclidean", "euclidean", "manhattan", "cosine"}
    temperature : float
    size : EpisodeSize
    key : tuple
        Stands for the episodes.
    """

    def __init__(self, metric: str, temperature: float, size: EpisodeSize, key: tuple):
        self.metric, self.temperature, self.size, self._key = metric, temperature, size, key

    def key(self) -> tuple:
        """Return the part of a checkpoint's key for this objective."""
        return (type(self).__name__, self.metric, self.temperature, self._key)

    def __call__(self, network, batch: EpisodeBatch, features=None):
        """Return the mean loss of the query samples."""
        support, query = batch.support, batch.query
        inputs = torch.cat([support.inputs.flatten(0, 1), query.inputs.flatten(0, 1)])
        embedded = network.embed(inputs)
        with torch.autocast(embedded.device.type, enabled=False):
            if embedded.dtype in (torch.bfloat16, torch.float16):
                embedded = embedded.float()
            own, asked = embedded.split([support.targets.numel(), query.targets.numel()])
            n = len(batch)
            prototypes = own.unflatten(0, (n, self.size.n_way, self.size.n_shot)).mean(2)
            distances = METRICS[self.metric](asked.unflatten(0, (n, -1)), prototypes)
            logits = -distances.flatten(0, 1) / self.temperature
            return {"query_loss": functional.cross_entropy(logits, query.targets.flatten())}


class PrototypicalClassifier(MetaLearner):
    r"""Classify by the nearest class mean, in features that were trained for it on other classes.

    This is a prototypical network [1]_. It is trained on episodes, which are small tasks drawn from
    the classes of the source. The prototype of a class is the mean of the features of its support
    samples, and a query sample has the probabilities

    .. math::

        p(y = k \mid x) = \frac{\exp(-d(f(x), c_k) / \tau)}{\sum_j \exp(-d(f(x), c_j) / \tau)}.

    Then the prototypes of the target's classes are the means of the features of its labelled
    samples, the support set. This takes one pass and no training. The classes of the target need
    not be among those of the source.

    Parameters
    ----------
    estimator : FineTunedClassifier or None, default=None
        Estimator that defines the network and its training. ``None`` is ``FineTunedClassifier()``.
        It is cloned before it is fitted. Its `head`, `dropout`, `batch_size` and what belongs to
        the labels of single samples are not used.
    metric : {"sqeuclidean", "euclidean", "manhattan", "cosine"}, default="sqeuclidean"
        Distance :math:`d` to the prototypes. ``"sqeuclidean"`` is the squared Euclidean distance of
        the paper, and ``"cosine"`` is one minus the cosine.
    temperature : float or "auto", default="auto"
        Divisor :math:`\tau` of the distances. ``"auto"`` is 0.1 for the cosine and 1 otherwise.
    n_way : int or "auto", default="auto"
        Number of classes of an episode. ``"auto"`` is that of the support set, or the number of
        source classes if it is smaller. The paper recommends more classes than the target has.
    n_shot : int or "auto", default="auto"
        Number of support samples of each class of an episode. ``"auto"`` is the size of the
        smallest class of the support set, and at most half of the samples of a source class.
    n_query : int or "auto", default="auto"
        Number of query samples of each class of an episode. ``"auto"`` is what the classes of the
        source have left, and at most 15.
    episodes_per_epoch : int, default=50
        Number of episodes of an epoch. The number of epochs is the estimator's. With 0 there is no
        training, and the features are those of the backbone.
    tasks_per_step : int, default=1
        Number of episodes of one step of the optimizer.

    Attributes
    ----------
    estimator_ : FineTunedClassifier
        The trained estimator, with the distances to the prototypes as its output layer.
    prototypes_ : ndarray of shape (n_classes, n_features_out)
        Mean features of each class.
    classes_ : ndarray of shape (n_classes,)
        Classes of the support set.
    n_features_in_ : int
        Number of features of ``X``.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, where ``X`` is a data frame with strings as column names.

    Warns
    -----
    DomainDataWarning
        If there is no ``X_target``, or no label of a target sample. The prototypes are then those
        of the source.

    See Also
    --------
    MAMLClassifier : Adapts all weights to the support set by gradient steps.
    FineTunedClassifier : Trains a network on the target's classes.

    Notes
    -----
    Meta-learning transfers what is common to many tasks. The surveys of transfer learning do not
    count it among their families, and it stands here beside the methods for the relation between
    domains.

    Source classes with fewer than ``n_shot + n_query`` samples are in no episode. An episode has
    samples of one group, where groups are given. ``history_`` has the mean loss per epoch. Two fits
    with the same ``random_state`` of the estimator draw the same episodes.

    References
    ----------
    .. [1] J. Snell, K. Swersky, R. Zemel, "Prototypical Networks for Few-shot Learning", NeurIPS
       2017.

    Examples
    --------
    Learn to tell digits apart on 0 to 4, and then 5 to 9 from one image each:

    >>> import numpy as np
    >>> from sklearn.datasets import load_digits
    >>> from skltransfer import FineTunedClassifier, PrototypicalClassifier
    >>> X, y = load_digits(return_X_y=True)
    >>> is_source, names = y < 5, np.array(["five", "six", "seven", "eight", "nine"])
    >>> X_new, y_new = X[~is_source], names[y[~is_source] - 5]
    >>> _, few = np.unique(y_new, return_index=True)
    >>> network = FineTunedClassifier(hidden_layer_sizes=(128, 64), optimizer="adamw", max_epochs=5)
    >>> model = PrototypicalClassifier(network)
    >>> model = model.fit(X[is_source], y[is_source], X_target=X_new[few], y_target=y_new[few])
    >>> model.predict(X_new[:3])
    array(['five', 'six', 'seven'], dtype='<U5')
    """

    _parameters = {
        "metric": Choice(*METRICS),
        "temperature": Number(0, inf, low_open=True, high_open=True, unset=("auto",)),
        "n_way": Count(2, unset=("auto",)),
    }
    _strategies = ("finetune", "lora", "linear_probe")

    def __init__(
        self,
        estimator=None,
        *,
        metric: str = "sqeuclidean",
        temperature: float | str = "auto",
        n_way: int | str = "auto",
        n_shot: int | str = "auto",
        n_query: int | str = "auto",
        episodes_per_epoch: int = 50,
        tasks_per_step: int = 1,
    ):
        self.estimator = estimator
        self.metric = metric
        self.temperature = temperature
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
        """Train the features on the source, and take the prototypes of the support set.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Source samples, in any of the forms that the estimator takes.
        y : array-like of shape (n_samples,)
            Source labels.
        X_target : array-like of shape (n_target_samples, n_features), default=None
            Target samples. Those with a known label are the support set. Without them the
            prototypes are those of the source, with a :class:`~skltransfer.DomainDataWarning` if
            there are episodes.
        y_target : array-like of shape (n_target_samples,), default=None
            Known labels of the target. A missing label is marked by ``NaN``, or in arrays of
            objects also by ``None`` or ``pandas.NA``. They may be of another type than ``y``.
        target_sample_weight : array-like of shape (n_target_samples,), default=None
            Weights of the target samples in their class mean. ``None`` weighs each by 1.
        groups : array-like of shape (n_samples,), default=None
            Group of each source sample. An episode has classes and samples of one group.
        sample_domain : array-like of shape (n_samples,), int, default=None
            Numbers of several sources, which are then the groups. A list of sources in
            :class:`~skltransfer.WithSource` arrives so.

        Returns
        -------
        self : PrototypicalClassifier
        """
        return self._fit(X, y, X_target, y_target, target_sample_weight, groups, sample_domain)

    @fits_on
    def partial_fit(self, X, y, classes=None, sample_weight=None) -> Self:
        """Add samples to the support set, of classes that may be new, without training.

        An estimator that is not fitted takes the features of the backbone as they are, which is
        the nearest class mean.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Samples of the target.
        y : array-like of shape (n_samples,)
            Their labels.
        classes : array-like of shape (n_classes,), default=None
            All classes that ``y`` may hold. They need not be named, because a class may come with
            any call.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples in their class mean.

        Returns
        -------
        self : PrototypicalClassifier
        """
        check_parameters(self)
        support = self._support_of(X, y, sample_weight)
        if classes is not None and len(odd := np.setdiff1d(support.y, classes)):
            raise ValueError(
                f"y holds {odd.tolist()[:5]}, which is not among classes="
                f"{np.asarray(classes).tolist()[:10]}. Leave classes out: new ones may come with "
                "any call."
            )
        if not hasattr(self, "estimator_"):
            self._check_support(support, "y")
            trained = clone(self._to_fit())
            self._check_estimator(trained)
            untrained = clone(self).set_params(episodes_per_epoch=0)
            trained._fit_in_episodes(support.X, support.y, EpisodeTraining(untrained, None, None))
            self._adapt(trained, support)
            return self
        classes, totals = self.classes_, self._totals
        names, sums, added = self._sums(self.estimator_, support)
        if (names.dtype.kind in "US") != (classes.dtype.kind in "US"):
            raise ValueError(
                f"y holds labels like {names.tolist()[0]!r}, and the classes so far are like "
                f"{classes.tolist()[0]!r}. Write all labels in one way."
            )
        both, codes = np.unique(np.concatenate([classes, names]), return_inverse=True)
        sums = np.concatenate([self.prototypes_ * totals[:, None], sums])
        total, weights = np.zeros((len(both), sums.shape[1])), np.zeros(len(both))
        np.add.at(total, codes, sums)
        np.add.at(weights, codes, np.concatenate([totals, added]))
        trained = self.estimator_
        for name in ("estimator_", "classes_"):
            delattr(self, name)
        self._take(trained, both, total, weights)
        return self

    def _head_for_episodes(self, n_way, labels):
        return lambda n_features, n_outputs: nn.Identity()

    def _objective(self, fitting, size, key):
        return PrototypicalLoss(self.metric, self._temperature, size, key)

    @property
    def _temperature(self) -> float:
        if self.temperature == "auto":
            return TEMPERATURES.get(self.metric, 1.0)
        return float(self.temperature)

    @property
    def _trained(self):
        return self.estimator_

    def _adapt(self, trained, support):
        self._take(trained, *self._sums(trained, support))

    @staticmethod
    def _sums(trained, support: Support) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the classes, their summed features, and the weights of their samples."""
        classes, codes = support.classes()
        weights = np.ones(len(support)) if support.weights is None else support.weights
        features = trained.transform(support.X).astype(np.float64)
        sums = np.zeros((len(classes), features.shape[1]))
        np.add.at(sums, codes, weights[:, None] * features)
        return classes, sums, np.bincount(codes, weights)

    def _take(self, trained, classes, sums, totals) -> None:
        """Set the fitted attributes, with the means as the output layer."""
        self.prototypes_, self._totals = sums / totals[:, None], totals
        built, old = trained._built, trained.network_
        device = next((t.device for t in old.parameters()), torch.device("cpu"))
        head = PrototypeHead(
            torch.tensor(self.prototypes_, device=device), self.metric, self._temperature
        )
        network = TransferNetwork(old.features, head, old.preprocessing, old.dtype).eval()
        n_outputs = 1 if len(classes) == 2 else len(classes)
        labels = Classes(classes[:0], n_outputs, {"classes_": classes})
        self._adopt(with_network(trained, network, labels, is_frozen=built.is_frozen))

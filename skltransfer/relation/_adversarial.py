"""Networks whose features hide the domain from a classifier that is trained to find it."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from skltransfer._networks._objective import Objective
from skltransfer._parameters import Count, Flag, ListOf
from skltransfer._torch._layers import Standardize
from skltransfer._torch._training import Terms
from skltransfer.backbones._random import seeded
from skltransfer.relation._two_domain_network import (
    Adaptation,
    TwoDomainNetworkClassifier,
    TwoDomainNetworkRegressor,
    check_classes_exclude_each_other,
    shares,
)

# Features of pairs beyond this number are mapped at random: Long et al. 2018, section 3.2.
_MOST_PAIRS = 4096


class _GradientReversal(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, factor):
        ctx.factor = factor
        return x.view_as(x)

    @staticmethod
    def backward(ctx, gradient):
        return -ctx.factor * gradient, None


def reverse_gradient(x: torch.Tensor, factor: float) -> torch.Tensor:
    """Return `x`; its gradient is multiplied by ``-factor``."""
    return _GradientReversal.apply(x, factor)


class DomainClassifier(nn.Module):
    """The logit of the source, from features.

    Parameters
    ----------
    n_features : int
    hidden_layer_sizes : tuple of int
    """

    def __init__(self, n_features: int, hidden_layer_sizes: tuple[int, ...]):
        super().__init__()
        layers, width = [], n_features
        for size in hidden_layer_sizes:
            layers += [nn.Linear(width, size), nn.ReLU()]
            width = size
        self.layers = nn.Sequential(*layers, nn.Linear(width, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits, shape (n,)."""
        return self.layers(x)[:, 0]


class PairsOfFeatures(nn.Module):
    """Products of each feature and each probability; if they are many, of random mixtures of both.

    Parameters
    ----------
    n_features, n_classes : int
    """

    def __init__(self, n_features: int, n_classes: int):
        super().__init__()
        self.n_outputs = n_features * n_classes
        self.is_random = self.n_outputs > _MOST_PAIRS
        if self.is_random:
            self.n_outputs = _MOST_PAIRS
            self.register_buffer("of_features", torch.randn(n_features, _MOST_PAIRS))
            self.register_buffer("of_classes", torch.randn(n_classes, _MOST_PAIRS))

    def forward(self, features: torch.Tensor, p: torch.Tensor) -> torch.Tensor:
        """Return the products, shape (n, n_outputs)."""
        if self.is_random:
            mixtures = (features @ self.of_features) * (p @ self.of_classes)
            return mixtures / _MOST_PAIRS**0.5
        return (features[:, :, None] * p[:, None, :]).flatten(1)


class Adversary(Adaptation):
    """The loss of the source plus that of a domain classifier, whose gradient is reversed.

    Parameters
    ----------
    of_source : Objective
    fitting : Fitting
        Its network gives the features.
    model : TwoDomainNetwork
        Its parameters.
    """

    def __init__(self, of_source: Objective, fitting, model):
        super().__init__(of_source, model.trade_off, model.trade_off_schedule)
        self.sizes = tuple(model.domain_hidden_layer_sizes)
        plan = fitting.plan
        with seeded(plan.seed_of_head ^ 1):
            width = self._make_inputs(fitting.built.n_features, fitting)
            classifier = DomainClassifier(width, self.sizes)
        self.classifier = classifier.to(device=plan.device, dtype=plan.dtype)

    def _make_inputs(self, n_features: int, fitting) -> int:
        """Return the number of inputs of the domain classifier."""
        return n_features

    def modules(self) -> tuple[nn.Module, ...]:
        """Return further modules that are trained."""
        return (*super().modules(), self.classifier)

    def key(self) -> tuple:
        """Return the part of a checkpoint's key for this objective."""
        return (*super().key(), self.sizes)

    def seen(self, network, features, of_each, n_own) -> tuple[torch.Tensor, torch.Tensor]:
        """Return what the domain classifier sees of samples of both domains, and their weights."""
        # In the units of the head, so that one learning rate suits all backbones.
        units = getattr(network.head, "features", None)
        return units(features) if isinstance(units, Standardize) else features, of_each

    def compare(self, network, own, other, own_weights, other_weights):
        """Return the loss of the domain classifier, and its accuracy beside it."""
        # Each domain is half of all.
        plain = torch.cat([shares(own, own_weights, 0.5), shares(other, other_weights, 0.5)])
        inputs, of_each = self.seen(network, torch.cat([own, other]), plain, len(own))
        logits = self.classifier(reverse_gradient(inputs, self.weight))
        is_source = torch.zeros_like(logits)
        is_source[: len(own)] = 1
        loss = functional.binary_cross_entropy_with_logits(
            logits, is_source, weight=of_each, reduction="sum"
        )
        with torch.no_grad():
            accuracy = plain @ ((logits > 0) == is_source).to(plain.dtype)
        return Terms({"domain_loss": loss}, {"domain_accuracy": accuracy})


class ConditionalAdversary(Adversary):
    """The same, given the features together with the predicted classes.

    Parameters
    ----------
    of_source : Objective
    fitting : Fitting
    model : CDANClassifier
    """

    def __init__(self, of_source: Objective, fitting, model):
        self.labels, self.by_entropy = fitting.data.labels, model.entropy_conditioning
        super().__init__(of_source, fitting, model)

    def _make_inputs(self, n_features: int, fitting) -> int:
        pairs = PairsOfFeatures(n_features, max(2, self.labels.n_outputs))
        self.pairs = pairs.to(device=fitting.plan.device, dtype=fitting.plan.dtype)
        return pairs.n_outputs

    def key(self) -> tuple:
        """Return the part of a checkpoint's key for this objective."""
        return (*super().key(), self.by_entropy)

    def seen(self, network, features, of_each, n_own) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the products of features and predicted probabilities, and the weights.

        Samples whose predicted class is more certain weigh more among those of their domain.
        """
        with torch.no_grad():
            p = self.labels.probabilities(network.outputs(features)).to(features.dtype)
            if self.by_entropy:
                certain = of_each * (1 + torch.exp(-torch.special.entr(p).sum(1)))
                of_domains = certain[:n_own], certain[n_own:]
                of_each = torch.cat([part * (0.5 / part.sum()) for part in of_domains])
        features, of_each = super().seen(network, features, of_each, n_own)
        return self.pairs(features, p), of_each


class DANNClassifier(TwoDomainNetworkClassifier):
    r"""Train a network on the source such that its features hide the domain.

    Domain-adversarial training [1]_: a second network, the domain classifier, learns to tell the
    features of the source from those of the target. Its gradient enters the network with its sign
    changed and times :math:`\lambda_p`, so that the features become alike in both domains. No label
    of the target is needed.

    Parameters
    ----------
    estimator : FineTunedClassifier, RegularizedTransferClassifier or None, default=None
        Estimator that defines the network, its training and the loss of the labels. ``None`` is
        ``FineTunedClassifier()``. It is cloned before it is fitted. Two networks against each other
        are trained in steps: ``optimizer="auto"`` is ``"adamw"``, with or without a target, and
        ``"lbfgs"`` is an error. If it trains the output layer alone, the features stay as they are.
    trade_off : float, default=1.0
        Factor of the reversed gradient at the end of the training, :math:`\lambda`. With 0 the
        target samples are not used. The domain classifier itself learns at the full rate.
    trade_off_schedule : {"sigmoid", "constant"}, default="sigmoid"
        Course of the factor over the training. ``"sigmoid"`` is the published
        :math:`\lambda_p = \lambda \left( \frac{2}{1 + e^{-10 p}} - 1 \right)`, with the part `p` of
        all steps that are done, so that the domain classifier is not heeded before it has learned.
    domain_hidden_layer_sizes : tuple of int, default=(100,)
        Units of the hidden layers (ReLU) of the domain classifier. It has the learning rate of the
        output layer.
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
    CDANClassifier : Conditions the domain classifier on the predicted classes.
    DANClassifier : Minimises a distance in place of a game.
    TrainingDisplay : Draws the terms of the loss and the accuracy of the domain classifier.

    Notes
    -----
    ``history_`` has the means of ``label_loss``, ``domain_loss`` and ``domain_accuracy`` per epoch.
    The accuracy is the mean of both domains': 1 where the domains are told apart, 0.5 where the
    features hide them. ``lr_objective`` is the learning rate of the domain classifier.

    An epoch is one pass over the source, whatever the size of the target. Each step takes the same
    number of samples from both domains, or the whole target where it is smaller than a batch. The
    domains pass through the network one after the other. Batch normalisation takes the statistics
    of one domain at a time in training (the paper's networks have none); the running averages, by
    which it predicts, take both in. Pretrained statistics are kept (``norm_statistics`` of the
    estimator).

    Features that are alike as a whole may still put a class of the target on another class of the
    source, above all where the shares of the classes differ.

    References
    ----------
    .. [1] Y. Ganin, E. Ustinova, H. Ajakan, P. Germain, H. Larochelle, F. Laviolette, M. Marchand,
       V. Lempitsky, "Domain-Adversarial Training of Neural Networks", JMLR 17, 2016.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import make_moons
    >>> from skltransfer import DANNClassifier, FineTunedClassifier
    >>> X, y = make_moons(200, noise=0.1, random_state=0)
    >>> angle = np.radians(30)
    >>> turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    >>> network = FineTunedClassifier(hidden_layer_sizes=(32, 32), max_epochs=20)
    >>> model = DANNClassifier(network).fit(X[:100], y[:100], X_target=X[100:] @ turn)
    >>> model.predict(X[100:] @ turn).shape
    (100,)
    >>> sorted(name for name in model.history_[-1] if "domain" in name)
    ['domain_accuracy', 'domain_loss']
    """

    _is_game = True
    _parameters = {"domain_hidden_layer_sizes": ListOf(Count(), min_size=0)}

    def __init__(
        self,
        estimator=None,
        *,
        trade_off: float = 1.0,
        trade_off_schedule: str = "sigmoid",
        domain_hidden_layer_sizes: tuple[int, ...] = (100,),
        validate_on: str = "source",
    ):
        super().__init__(
            estimator,
            trade_off=trade_off,
            trade_off_schedule=trade_off_schedule,
            validate_on=validate_on,
        )
        self.domain_hidden_layer_sizes = domain_hidden_layer_sizes

    def _adaptation(self, of_source, fitting):
        return Adversary(of_source, fitting, self)


class CDANClassifier(TwoDomainNetworkClassifier):
    r"""Train a network such that its features hide the domain, class by class.

    Conditional adversarial training [1]_: the domain classifier of :class:`DANNClassifier` sees the
    products of each feature and each predicted probability, so that the features of one class are
    compared with those of the same predicted class. Samples with certain predictions weigh more
    (entropy conditioning). No label of the target is needed.

    Parameters
    ----------
    estimator : FineTunedClassifier, RegularizedTransferClassifier or None, default=None
        Estimator that defines the network, its training and the loss of the labels, as for
        :class:`DANNClassifier`. ``None`` is ``FineTunedClassifier()``; ``optimizer="auto"`` is
        ``"adamw"``.
    trade_off : float, default=1.0
        Factor of the reversed gradient at the end of the training. With 0 the target samples are
        not used.
    entropy_conditioning : bool, default=True
        Whether a sample weighs ``1 + exp(-H)`` in the domain classifier's loss, with the entropy H
        of its predicted probabilities in nats.
    trade_off_schedule : {"sigmoid", "constant"}, default="sigmoid"
        Course of the factor over the training, as for :class:`DANNClassifier`.
    domain_hidden_layer_sizes : tuple of int, default=(100,)
        Units of the hidden layers (ReLU) of the domain classifier.
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
    DANNClassifier : Compares the features alone; has notes on batches, batch normalisation and
        the history.

    Notes
    -----
    No gradient flows through the predicted probabilities and the weights, as in the code of the
    authors. If there are more than 4096 pairs of a feature and a class, the products of 4096 random
    mixtures of features and of probabilities are taken in their place (equation 6).

    References
    ----------
    .. [1] M. Long, Z. Cao, J. Wang, M. I. Jordan, "Conditional Adversarial Domain Adaptation",
       NeurIPS 2018.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import make_moons
    >>> from skltransfer import CDANClassifier, FineTunedClassifier
    >>> X, y = make_moons(200, noise=0.1, random_state=0)
    >>> angle = np.radians(30)
    >>> turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    >>> network = FineTunedClassifier(hidden_layer_sizes=(32, 32), max_epochs=20)
    >>> model = CDANClassifier(network).fit(X[:100], y[:100], X_target=X[100:] @ turn)
    >>> model.predict(X[100:] @ turn).shape
    (100,)
    """

    _is_game = True
    _parameters = {
        "entropy_conditioning": Flag(),
        "domain_hidden_layer_sizes": ListOf(Count(), min_size=0),
    }

    def __init__(
        self,
        estimator=None,
        *,
        trade_off: float = 1.0,
        entropy_conditioning: bool = True,
        trade_off_schedule: str = "sigmoid",
        domain_hidden_layer_sizes: tuple[int, ...] = (100,),
        validate_on: str = "source",
    ):
        super().__init__(
            estimator,
            trade_off=trade_off,
            trade_off_schedule=trade_off_schedule,
            validate_on=validate_on,
        )
        self.entropy_conditioning = entropy_conditioning
        self.domain_hidden_layer_sizes = domain_hidden_layer_sizes

    def _adaptation(self, of_source, fitting):
        check_classes_exclude_each_other(fitting.data.labels, "CDANClassifier")
        return ConditionalAdversary(of_source, fitting, self)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = False
        return tags


class DANNRegressor(TwoDomainNetworkRegressor):
    r"""Train a network for numbers such that its features hide the domain.

    Domain-adversarial training as by :class:`DANNClassifier`, with the loss of standardised numbers
    [1]_.

    Parameters
    ----------
    estimator : FineTunedRegressor, RegularizedTransferRegressor or None, default=None
        Estimator that defines the network, its training and the loss of the labels. ``None`` is
        ``FineTunedRegressor()``. It is cloned before it is fitted. ``optimizer="auto"`` is
        ``"adamw"``, and ``"lbfgs"`` is an error.
    trade_off : float, default=1.0
        Factor of the reversed gradient at the end of the training. With 0 the target samples are
        not used.
    trade_off_schedule : {"sigmoid", "constant"}, default="sigmoid"
        Course of the factor over the training, as for :class:`DANNClassifier`.
    domain_hidden_layer_sizes : tuple of int, default=(100,)
        Units of the hidden layers (ReLU) of the domain classifier.

    Attributes
    ----------
    estimator_ : estimator
        The trained estimator.
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
    DANNClassifier : The same for classes, with notes on batches, batch normalisation and the
        history.
    FineTunedRegressor : Trains a network without a target.

    References
    ----------
    .. [1] Y. Ganin, E. Ustinova, H. Ajakan, P. Germain, H. Larochelle, F. Laviolette, M. Marchand,
       V. Lempitsky, "Domain-Adversarial Training of Neural Networks", JMLR 17, 2016.

    Examples
    --------
    >>> import numpy as np
    >>> from skltransfer import DANNRegressor, FineTunedRegressor
    >>> X = np.random.default_rng(0).normal(size=(100, 3))
    >>> model = DANNRegressor(FineTunedRegressor(max_epochs=20))
    >>> model = model.fit(X, X[:, 0], X_target=X[:50] + 1)
    >>> sorted(name for name in model.history_[-1] if "domain" in name)
    ['domain_accuracy', 'domain_loss']
    """

    _is_game = True
    _parameters = {"domain_hidden_layer_sizes": ListOf(Count(), min_size=0)}

    def __init__(
        self,
        estimator=None,
        *,
        trade_off: float = 1.0,
        trade_off_schedule: str = "sigmoid",
        domain_hidden_layer_sizes: tuple[int, ...] = (100,),
    ):
        super().__init__(estimator, trade_off=trade_off, trade_off_schedule=trade_off_schedule)
        self.domain_hidden_layer_sizes = domain_hidden_layer_sizes

    def _adaptation(self, of_source, fitting):
        return Adversary(of_source, fitting, self)

"""Networks whose features have the same distribution in both domains, by a distance in the loss."""

from __future__ import annotations

import torch
from torch.autograd.function import once_differentiable

from skltransfer._networks._objective import Objective
from skltransfer.relation._two_domain_network import (
    Adaptation,
    TwoDomainNetworkClassifier,
    TwoDomainNetworkRegressor,
    shares,
)

# Widths of the kernels of DAN are the mean squared distance times these powers of two.
_POWERS = (-2, -1, 0, 1, 2)
# Samples of a domain whose pairs make the discrepancy: their number is squared in each step.
MOST_SAMPLES = 2000
# Pairs whose kernels are computed at once: 2 MB in float64.
_PAIRS_OF_A_BLOCK = 2**18


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


def _covariance(features: torch.Tensor, weights: torch.Tensor | None) -> torch.Tensor:
    of_each = shares(features, weights)
    centred = features - of_each @ features
    return (of_each[:, None] * centred).T @ centred


def multi_kernel_mmd(
    source, target, weights=None, target_weights=None, *, width=None
) -> torch.Tensor:
    r"""Return the squared maximum mean discrepancy of two sets of features, by five kernels.

    .. math::

        \sum_{i \ne j} \frac{p_i p_j}{1 - \lVert p \rVert^2} k(s_i, s_j)
        + \sum_{i \ne j} \frac{q_i q_j}{1 - \lVert q \rVert^2} k(t_i, t_j)
        - 2 \sum_{i,j} p_i q_j k(s_i, t_j), \\
        k(x, y) = \frac{1}{5}
        \sum_{m=-2}^{2} \exp \left( -\frac{\lVert x - y \rVert^2}{2^m w} \right)

    with the shares `p` and `q` of the samples of each domain (Long et al. 2015, equations 2 and 4).
    The estimate is unbiased and may be negative. The biased one, with i = j, would reward features
    that cluster, the more the smaller the batches are.

    Parameters
    ----------
    source : Tensor of shape (n_source, d)
    target : Tensor of shape (n_target, d)
    weights, target_weights : Tensor of shape (n_source,) and (n_target,), optional
        Weights of the samples.
    width : float or Tensor, optional
        Width `w` of the kernels. ``None``: the mean squared distance of two samples from the equal
        mixture of both domains, through which no gradient flows.

    Returns
    -------
    distance : Tensor of shape ()
    """
    if source.dtype.itemsize < 4:  # of mixed precision
        source, target = source.float(), target.float()
    p, q = shares(source, weights), shares(target, target_weights)
    both = torch.cat([source, target])
    # No digits are lost to a large mean.
    both = both - both.detach().mean(0)
    if width is None:
        with torch.no_grad():  # twice the variance: the mean squared distance of two samples
            of_each = torch.cat([p, q])[:, None] / 2
            centred = both - (of_each * both).sum(0)
            width = 2 * (of_each * centred**2).sum()
            width = width.clamp_min(torch.finfo(both.dtype).tiny)
    with torch.autocast(both.device.type, enabled=False):  # distances are differences of squares
        return _SumOverPairs.apply(both, p, q, -(2.0 ** -_POWERS[-1]) / width)


class _SumOverPairs(torch.autograd.Function):
    """The sum of :func:`multi_kernel_mmd`, and its gradient with respect to the features.

    Both come from one pass over the pairs, some rows at a time, so that a block stays in the cache
    and no matrix of all pairs is kept. The terms of p and q are constants.
    """

    @staticmethod
    def forward(ctx, both, p, q, rate):
        """Return the sum, for the exponent of the widest kernel per squared distance."""
        signed, squares = torch.cat([p, -q]), (both**2).sum(1)
        n, gradient = len(p), torch.empty_like(both)
        # Pairs of one domain have the sum 1 without those of a sample with itself.
        within = [1 / (1 - share @ share) if len(share) > 1 else 1.0 for share in (p, q)]
        total, step = both.new_zeros(()), max(1, _PAIRS_OF_A_BLOCK // len(both))
        for start in range(0, len(both), step):
            rows, row = slice(start, start + step), both[start : start + step]
            of_pairs = torch.outer(signed[rows], signed)
            of_source = max(n - start, 0)
            of_pairs[:of_source, :n] *= within[0]
            of_pairs[of_source:, n:] *= within[1]
            of_pairs.diagonal(start).zero_()
            if len(p) == 1 and start == 0:  # a sample alone is its own pair
                of_pairs[0, 0] = 1
            if len(q) == 1 and rows.stop >= len(both):
                of_pairs[-1, -1] = 1
            distances = torch.addmm(squares[rows, None] + squares, row, both.T, alpha=-2)
            kernel = distances.clamp_min_(0).mul_(rate).exp_()
            kernels, slopes = kernel.clone(), kernel.clone()
            for power in range(1, len(_POWERS)):  # half the width is the square of the kernel
                kernel.mul_(kernel)
                kernels.add_(kernel)
                slopes.add_(kernel, alpha=2.0**power)
            total += kernels.mul_(of_pairs).sum()
            slopes.mul_(of_pairs)
            gradient[rows] = slopes.sum(1, keepdim=True) * row - slopes @ both
        ctx.save_for_backward(gradient.mul_(4 * rate / len(_POWERS)))
        return total / len(_POWERS)

    @staticmethod
    @once_differentiable
    def backward(ctx, of_sum):
        """Return the gradient with respect to the features alone."""
        (gradient,) = ctx.saved_tensors
        return of_sum * gradient, None, None, None


def mmd_of_some(source, target, weights=None, target_weights=None) -> torch.Tensor:
    """Return `multi_kernel_mmd` of at most `MOST_SAMPLES` of each domain, evenly spread.

    Batches are smaller. A full batch holds all samples, and its kernel all pairs.
    """
    of_source, of_target = _spread(source, weights), _spread(target, target_weights)
    return multi_kernel_mmd(of_source[0], of_target[0], of_source[1], of_target[1])


def _spread(features: torch.Tensor, weights: torch.Tensor | None) -> tuple:
    n = len(features)
    if n <= MOST_SAMPLES:
        return features, weights
    chosen = torch.arange(MOST_SAMPLES, device=features.device) * n // MOST_SAMPLES
    return features[chosen], None if weights is None else weights[chosen]


class Discrepancy(Adaptation):
    """The loss of the source plus a distance between the features of both domains.

    Parameters
    ----------
    of_source : Objective
        Loss of the source samples.
    trade_off : float
        Weight of the distance.
    trade_off_schedule : {"constant", "sigmoid"}
    name : str
        Name of the distance in the history.
    distance : callable
        Function of the features of both domains and their weights.
    """

    def __init__(self, of_source: Objective, trade_off, trade_off_schedule, name, distance):
        super().__init__(of_source, trade_off, trade_off_schedule)
        self.name, self.distance = name, distance

    def key(self) -> tuple:
        """Return the part of a checkpoint's key for this objective."""
        return (*super().key(), self.name)

    def compare(self, network, own, other, own_weights, other_weights):
        """Return the distance, times its weight."""
        return {self.name: self.weight * self.distance(own, other, own_weights, other_weights)}


def _coral_loss(model, of_source: Objective) -> Discrepancy:
    schedule = model.trade_off, model.trade_off_schedule
    return Discrepancy(of_source, *schedule, "coral_loss", coral_distance)


def _mmd_loss(model, of_source: Objective) -> Discrepancy:
    schedule = model.trade_off, model.trade_off_schedule
    return Discrepancy(of_source, *schedule, "mmd_loss", mmd_of_some)


class DeepCORALClassifier(TwoDomainNetworkClassifier):
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
    trade_off_schedule : {"constant", "sigmoid"}, default="constant"
        Course of the weight over the steps of the training. ``"sigmoid"`` lets it rise from 0, as
        for :class:`DANNClassifier`. A full batch (L-BFGS) has a constant weight.
    validate_on : {"source", "target"}, default="source"
        What early stopping judges, if the estimator has ``early_stopping=True``: the labels of
        source samples that are set aside, or the predictions on the target, without labels. For the
        latter ``valid_loss`` is minus the mutual information of samples and predicted classes [2]_.

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
    DANClassifier : Compares the distributions by kernels.
    FineTunedClassifier : Trains a network without a target.

    Notes
    -----
    With a table network this is the family's formula, the loss of the labels plus `trade_off` times
    a distance between source and target.

    An epoch is one pass over the source, whatever the size of the target. Each step takes the same
    number of samples from both domains, or the whole target where it is smaller than a batch. A
    full batch holds all samples of both domains. The optimizer, its learning rates and steps, and
    the order of the source samples do not depend on the target. ``history_`` has the mean of each
    term of the loss per epoch. The terms are ``label_loss`` and ``coral_loss``, the distance times
    its weight, and ``train_loss`` is their sum.

    The domains pass through the network one after the other, as in the original. Batch
    normalisation takes the statistics of one domain at a time in training; the running averages,
    by which it predicts, take both in. Pretrained statistics are kept (``norm_statistics`` of the
    estimator).

    References
    ----------
    .. [1] B. Sun, K. Saenko, "Deep CORAL: Correlation Alignment for Deep Domain Adaptation", ECCV
       2016 Workshops.
    .. [2] Y. Shi, F. Sha, "Information-Theoretical Learning of Discriminative Clusters for
       Unsupervised Domain Adaptation", ICML 2012.

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

    def _adaptation(self, of_source, fitting):
        return _coral_loss(self, of_source)


class DeepCORALRegressor(TwoDomainNetworkRegressor):
    r"""Train a network for numbers while its features take on the target's covariance.

    The loss of the labels plus :math:`\lambda` times the distance of the covariances is minimised,
    as for :class:`DeepCORALClassifier` [1]_.

    Parameters
    ----------
    estimator : FineTunedRegressor, RegularizedTransferRegressor or None, default=None
        Estimator that defines the network, its training and the loss of the labels. ``None`` is
        ``FineTunedRegressor()``. It is cloned before it is fitted.
    trade_off : float, default=1.0
        Weight of the distance, :math:`\lambda`. With 0 the target samples are not used. The labels
        are standardised, and the distance is small: try 1, 10, 100 and 1000.
    trade_off_schedule : {"constant", "sigmoid"}, default="constant"
        Course of the weight over the steps of the training. ``"sigmoid"`` lets it rise from 0. A
        full batch (L-BFGS) has a constant weight.

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
    DeepCORALClassifier : The same for classes, with notes on batches and on batch normalisation.
    FineTunedRegressor : Trains a network without a target.

    References
    ----------
    .. [1] B. Sun, K. Saenko, "Deep CORAL: Correlation Alignment for Deep Domain Adaptation", ECCV
       2016 Workshops.

    Examples
    --------
    >>> import numpy as np
    >>> from skltransfer import DeepCORALRegressor, FineTunedRegressor
    >>> X = np.random.default_rng(0).normal(size=(100, 3))
    >>> network = FineTunedRegressor(max_epochs=20)
    >>> model = DeepCORALRegressor(network, trade_off=100.0).fit(X, X[:, 0], X_target=2 * X)
    >>> sorted(name for name in model.history_[-1] if name.endswith("loss"))
    ['coral_loss', 'label_loss', 'train_loss']
    """

    def _adaptation(self, of_source, fitting):
        return _coral_loss(self, of_source)


class DANClassifier(TwoDomainNetworkClassifier):
    r"""Train a network on the source while its features take on the target's distribution.

    .. math::

        \frac{1}{n} \sum_i \ell(f(x_i), y_i) + \lambda \, \mathrm{MMD}_k^2(S, T)

    is minimised, with the maximum mean discrepancy between the features of a batch of the source
    and one of the target, by the mean of five Gaussian kernels [1]_. No label of the target is
    needed.

    Parameters
    ----------
    estimator : FineTunedClassifier, RegularizedTransferClassifier or None, default=None
        Estimator that defines the network, its training and the loss of the labels. ``None`` is
        ``FineTunedClassifier()``. It is cloned before it is fitted. If it trains the output layer
        alone, the features stay as they are, and the discrepancy has no effect.
    trade_off : float, default=1.0
        Weight of the discrepancy, :math:`\lambda`. With 0 the target samples are not used.
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
    DeepCORALClassifier : Compares covariances alone; has notes on batches and on batch
        normalisation.
    DANNClassifier : Lets a classifier of the domains find what differs.
    KMMReweighter : Weights by which the discrepancy of given features is small.

    Notes
    -----
    With a table network this is the family's formula, the loss of the labels plus `trade_off` times
    a distance between source and target. Batches and batch normalisation are those of
    :class:`DeepCORALClassifier`. ``history_`` has the terms ``label_loss`` and ``mmd_loss``.

    The kernel is the mean of ``exp(-||x - y||^2 / (2^m w))`` for m = -2, ..., 2: the paper's convex
    combination, with equal weights. Code that adds five kernels up has the same loss at a fifth of
    our `trade_off`. ``w`` is the mean squared distance within the batches of both domains.
    The discrepancy is taken of the features, the inputs of the output layer; the paper also takes
    it of two more layers of AlexNet. All pairs of different samples are summed, without bias, in
    place of the paper's estimate in linear time; of a full batch, those of at most 2000 samples of
    each domain, evenly spread in their order. It may be negative. A weight of two equals a
    sample given twice up to terms of one over the number of samples.

    References
    ----------
    .. [1] M. Long, Y. Cao, J. Wang, M. I. Jordan, "Learning Transferable Features with Deep
       Adaptation Networks", ICML 2015.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import make_moons
    >>> from skltransfer import DANClassifier, FineTunedClassifier
    >>> X, y = make_moons(200, noise=0.1, random_state=0)
    >>> angle = np.radians(30)
    >>> turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    >>> network = FineTunedClassifier(hidden_layer_sizes=(32, 32), optimizer="adamw", max_epochs=20)
    >>> model = DANClassifier(network).fit(X[:100], y[:100], X_target=X[100:] @ turn)
    >>> model.predict(X[100:] @ turn).shape
    (100,)
    """

    def _adaptation(self, of_source, fitting):
        return _mmd_loss(self, of_source)


class DANRegressor(TwoDomainNetworkRegressor):
    r"""Train a network for numbers while its features take on the target's distribution.

    The loss of the labels plus :math:`\lambda` times the maximum mean discrepancy of the features
    is minimised, as for :class:`DANClassifier` [1]_.

    Parameters
    ----------
    estimator : FineTunedRegressor, RegularizedTransferRegressor or None, default=None
        Estimator that defines the network, its training and the loss of the labels. ``None`` is
        ``FineTunedRegressor()``. It is cloned before it is fitted.
    trade_off : float, default=1.0
        Weight of the discrepancy, :math:`\lambda`. With 0 the target samples are not used.
    trade_off_schedule : {"constant", "sigmoid"}, default="constant"
        Course of the weight over the steps of the training. ``"sigmoid"`` lets it rise from 0. A
        full batch (L-BFGS) has a constant weight.

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
    DANClassifier : The same for classes, with notes on the kernels.
    FineTunedRegressor : Trains a network without a target.

    References
    ----------
    .. [1] M. Long, Y. Cao, J. Wang, M. I. Jordan, "Learning Transferable Features with Deep
       Adaptation Networks", ICML 2015.

    Examples
    --------
    >>> import numpy as np
    >>> from skltransfer import DANRegressor, FineTunedRegressor
    >>> X = np.random.default_rng(0).normal(size=(100, 3))
    >>> model = DANRegressor(FineTunedRegressor(max_epochs=20))
    >>> model = model.fit(X, X[:, 0], X_target=X[:50] + 1)
    >>> sorted(name for name in model.history_[-1] if name.endswith("loss"))
    ['label_loss', 'mmd_loss', 'train_loss']
    """

    def _adaptation(self, of_source, fitting):
        return _mmd_loss(self, of_source)

"""Ratio of two kernel density estimates."""

from __future__ import annotations

import numpy as np
from scipy.spatial.distance import cdist

from skltransfer._parameters import Choice, Number
from skltransfer._solvers._kernel_density import (
    LOG_KERNELS,
    UNBOUNDED_KERNELS,
    algorithms_for,
    leave_one_out_log_likelihood,
    log_kernel_mean,
)
from skltransfer._solvers._kernel_width import equal_rows, spread_rows, warn_of_values
from skltransfer.instance._density_ratio import (
    DensityRatioReweighter,
    relative_exp,
    within_scale,
)
from skltransfer.instance._rows import counted_rows

# Candidates of "cv", in multiples of Scott's rule.
FACTORS = np.geomspace(0.2, 3.2, 13)
# Pairs of samples, of the source and of both domains, beyond which single precision will do.
MANY_PAIRS = 200_000_000


class KernelDensityReweighter(DensityRatioReweighter):
    r"""Weigh source samples by the ratio of two kernel density estimates.

    The density of each domain is a mean of kernels around its samples, with one bandwidth ``h`` for
    both, and a source sample weighs [1]_

    .. math::

        w(x) = \frac{\frac{1}{m} \sum_j k(|x - t_j| / h)}{\frac{1}{n} \sum_i k(|x - x_i| / h)}

    The estimate assumes nothing about the form of the densities. It suits few features, up to about
    five. It corrects *covariate shift*: the samples are distributed differently in the two domains,
    and labels depend on the features in the same way.

    Parameters
    ----------
    estimator : estimator, default=None
        Classifier or regressor whose ``fit`` takes ``sample_weight``, or a pipeline that ends in
        one. It is cloned before it is fitted. With ``None`` only the weights are computed.
    bandwidth : {"scott", "silverman", "cv"} or float, default="scott"
        Width ``h`` of the kernel in scaled features (see Notes). ``"scott"`` is
        ``n ** (-1 / (d + 4))`` and ``"silverman"`` ``(n (d + 2) / 4) ** (-1 / (d + 4))``, with the
        number of samples ``n`` of the smaller domain and the number of features ``d``. ``"cv"``
        maximises the leave-one-out likelihood of both domains, at up to 2000 samples of each, over
        13 values from 0.2 to 3.2 times Scott's. It needs the gaussian or the exponential kernel.
    kernel : str, default="gaussian"
        Kernel: ``"gaussian"``, ``"tophat"``, ``"epanechnikov"``, ``"exponential"``, ``"linear"`` or
        ``"cosine"``, as in :class:`sklearn.neighbors.KernelDensity`.
    target_weight : float or "balanced", default=1.0
        Weight in the fit of each target sample with a known label, where source samples weigh 1 on
        average. ``"balanced"`` gives both domains the same sum of weights, and keeps the sum over
        both. With few labels beside a large source, no other setting matters as much.

    Attributes
    ----------
    sample_weight_ : ndarray of shape (n_samples,)
        Weights of the source samples: the `sample_weight` given to `fit` (or ones), multiplied by
        the ratio and scaled back to the same sum.
    effective_sample_size_ : float
        Number of equally weighted samples that the weighted source is worth,
        ``sum(w)^2 / sum(w^2)``. A sample with a `sample_weight` of 2 counts once.
    bandwidth_ : float
        Bandwidth in use. Set if target samples are given.
    algorithm_ : {"products", "float32", "kd_tree", "brute"}
        How densities are computed (see Notes). Set if target samples are given.
    relative_error_ : float
        Bound on the relative error that single precision brings into the ratio at the source
        samples. It is 0 in double precision. Set if target samples are given.
    estimator_ : estimator
        The fitted clone. Not set if `estimator` is None.
    classes_ : ndarray of shape (n_classes,)
        The class labels. Set if `estimator` is a classifier.
    n_features_in_ : int
        Number of features seen during `fit`.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features seen during `fit`. Set if all feature names of ``X`` are strings.

    Warns
    -----
    EffectiveSampleSizeWarning
        If a few samples have nearly all of the weight, or a class has lost nearly all of its
        weight.
    DomainDataWarning
        If no target samples are given.
    KernelWidthWarning
        If the kernel is nearly constant over the samples, or an identity.

    See Also
    --------
    NearestNeighborsReweighter : Bandwidths that follow the density.
    KLIEPReweighter : Learns the ratio itself, for more features.
    GaussianReweighter : Ratio of two Gaussians.

    Notes
    -----
    Features are divided by the root of the mean of the variances of the two domains, so that their
    units do not matter. A source sample counts in the density of its own domain: there is no
    leave-one-out in the ratio. The ratio is therefore 1 if both domains are the same sample, and at
    a source sample it is at most ``n``, the sum of the source weights over the smallest of them.
    `density_ratio` keeps to the same bound far from both domains. It is 0 where a kernel of finite
    width reaches no target sample.

    *Time and memory.* Kernels of finite width are summed over the samples that they reach, which a
    tree finds (``algorithm_="kd_tree"``, up to 15 features). The gaussian kernel is summed over all
    pairs of samples, by matrix products, in double precision (``"products"``) or, beyond 10 000
    samples in each domain, in single precision (``"float32"``), whose error `relative_error_`
    bounds. Samples far from all others, whose kernels underflow, are summed in logarithms and
    double precision. Other cases sum in logarithms over all pairs (``"brute"``). The time for all
    pairs grows like ``n ** 2``: 100 000 samples of 10 features in each domain take from half a
    minute to two minutes on one core. Memory is that of the samples and of small blocks.

    References
    ----------
    .. [1] M. Sugiyama, M. Krauledat, K.-R. Mueller, "Covariate Shift Adaptation by Importance
       Weighted Cross Validation", Journal of Machine Learning Research 8, 2007.

    Examples
    --------
    >>> import numpy as np
    >>> from skltransfer import KernelDensityReweighter
    >>> rng = np.random.default_rng(0)
    >>> X, X_target = rng.normal(size=(200, 1)), rng.normal(1.0, 0.5, size=(100, 1))
    >>> kernel_density = KernelDensityReweighter().fit(X, X_target=X_target)
    >>> weighted_mean = np.average(X, axis=0, weights=kernel_density.sample_weight_)
    >>> bool(abs(weighted_mean - X_target.mean(axis=0)) < 0.1)
    True
    """

    _parameters = {
        "bandwidth": Number(0, low_open=True, unset=("scott", "silverman", "cv")),
        "kernel": Choice(*LOG_KERNELS),
    }

    def __init__(
        self,
        estimator=None,
        *,
        bandwidth: str | float = "scott",
        kernel: str = "gaussian",
        target_weight: float | str = 1.0,
    ):
        self.estimator = estimator
        self.bandwidth = bandwidth
        self.kernel = kernel
        self.target_weight = target_weight

    def _check_combinations(self) -> None:
        super()._check_combinations()
        if isinstance(self.bandwidth, str) and self.bandwidth == "cv":
            if self.kernel not in UNBOUNDED_KERNELS:
                raise ValueError(
                    f"bandwidth='cv' needs kernel='gaussian' or 'exponential', and was given "
                    f"kernel={self.kernel!r}. Choose one of these, or bandwidth='scott'."
                )

    def _fit_ratio(self, rows, weights, target_rows, target_weights):
        given = rows, target_rows
        rows, counts, group = counted_rows(rows, weights)
        target_rows, target_counts, _ = counted_rows(target_rows, target_weights)
        self._center, self._scale = within_scale(rows, counts, target_rows, target_counts)
        self._source = self._scaled(rows), counts
        self._target = self._scaled(target_rows), target_counts
        self._log_bound = np.log(counts.sum() / counts.min())
        self.bandwidth_ = self._chosen_bandwidth([self._source, self._target])
        self._warn_of_width(*given)
        few, many = algorithms_for(self.kernel, rows.shape[1])
        n_pairs = len(rows) * (len(rows) + len(target_rows))
        self.algorithm_ = few if n_pairs <= MANY_PAIRS else many
        log_ratio, self.relative_error_ = self._log_ratio(rows)
        return relative_exp(log_ratio)[group]

    def _remedy_of_no_overlap(self):
        return "Raise bandwidth, or choose kernel='gaussian', which reaches all rows."

    def _warn_of_width(self, rows, target_rows) -> None:
        rows = self._scaled(np.concatenate([spread_rows(rows), spread_rows(target_rows)]))
        squared = cdist(rows, rows, "sqeuclidean") / self.bandwidth_**2
        values = np.exp(LOG_KERNELS[self.kernel](squared))
        np.fill_diagonal(values, np.nan)
        remedies = {"narrower": "Lower bandwidth", "wider": "raise bandwidth"}
        warn_of_values(self, values, equal_rows(rows), **remedies)

    def _scaled(self, rows):
        return (rows - self._center) / self._scale

    def _chosen_bandwidth(self, samples) -> float:
        if not isinstance(self.bandwidth, str):
            return float(self.bandwidth)
        n, d = min(counts.sum() for _, counts in samples), samples[0][0].shape[1]
        if self.bandwidth == "silverman":
            return float((n * (d + 2) / 4) ** (-1 / (d + 4)))
        scott = float(n ** (-1 / (d + 4)))
        if self.bandwidth == "scott":
            return scott
        candidates = scott * FACTORS
        scores = sum(
            leave_one_out_log_likelihood(distinct, counts, candidates, self.kernel)
            for distinct, counts in samples
            if len(distinct) > 1
        )
        return float(candidates[np.argmax(scores)]) if np.ndim(scores) else scott

    def _log_ratio(self, rows) -> tuple[np.ndarray, float]:
        """Return the logarithm of the ratio, and a bound on the relative error of the ratio."""
        scaled = self._scaled(rows)
        (source, source_error), (target, target_error) = (
            log_kernel_mean(scaled, *sample, self.bandwidth_, self.kernel, self.algorithm_)
            for sample in (self._source, self._target)
        )
        log_ratio = np.full(len(rows), -np.inf)
        np.subtract(target, source, out=log_ratio, where=target > -np.inf)
        return np.minimum(log_ratio, self._log_bound), source_error + target_error

    def _ratio(self, rows):
        return np.exp(self._log_ratio(rows)[0])

"""Correlation alignment."""

from __future__ import annotations

import numpy as np
from sklearn.base import OneToOneFeatureMixin

from skltransfer._arrays import copy_of
from skltransfer._parameters import Flag, Number
from skltransfer._solvers._alignment import apply_map, centered_rows, coral_map
from skltransfer.feature._aligner import BaseAligner


class CORAL(OneToOneFeatureMixin, BaseAligner):
    """Give the source samples the covariance, and the mean, of the target samples.

    `fit_transform` maps source samples to ``(x - mean_s) A + mean_t`` with
    ``A = (C_s + reg_covar I)^(-1/2) (C_t + reg_covar I)^(1/2)`` [1]_. `transform` returns target
    samples unchanged. Put it behind a scaler and before any estimator.

    Parameters
    ----------
    shrinkage : float or "ledoit_wolf", default=0.0
        Shrinkage of each covariance towards a multiple of the identity of the same trace, from 0
        (none) to 1. ``"ledoit_wolf"`` computes the intensity of Ledoit and Wolf [2]_ for each
        domain.
    reg_covar : float, default=1.0
        Non-negative number added to the diagonal of both covariances, in squared units of the
        features. The default is the paper's choice for standardised features. With 0 and no
        shrinkage, the mapped source samples have exactly the covariance of the target samples.
    match_means : bool, default=True
        Whether source samples move to the mean of the target samples. If False they keep their
        own mean, as in the paper, and a shift of the mean remains. A shift of the mean may also
        come from other class proportions; matching the means then moves the classes apart.

    Attributes
    ----------
    source_mean_ : ndarray of shape (n_features,)
        Mean of the source samples.
    target_mean_ : ndarray of shape (n_features,)
        Mean of the target samples.
    n_features_in_ : int
        Number of features seen in `fit`.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of these features, if `X` has column names that are all strings.

    See Also
    --------
    SubspaceAlignment : Aligns principal axes, and returns fewer features.
    OptimalTransportMapper : Moves single samples instead of moments.

    Notes
    -----
    The paper standardises each domain by itself, so that both means are 0. A scaler fitted on the
    source leaves a difference of means, which `match_means` removes.

    If ``reg_covar=0`` and the source has fewer samples than features, or constant features, the
    inverse root is the pseudo-inverse: source samples only vary in directions in which they
    varied before. If a domain has fewer samples than features, no matrix of shape
    (n_features, n_features) is formed for it.

    Without ``X_target`` all samples are returned unchanged.

    Tensors and other arrays of scikit-learn's array API are mapped in their own library, on
    their device.

    Time grows with the number of samples times the square of the number of features, or with the
    number of features times the square of the number of samples if that is smaller. Memory holds
    the samples about three times.

    References
    ----------
    .. [1] B. Sun, J. Feng, K. Saenko, "Return of Frustratingly Easy Domain Adaptation", AAAI
       2016, Algorithm 1.
    .. [2] O. Ledoit, M. Wolf, "A Well-Conditioned Estimator for Large-Dimensional Covariance
       Matrices", Journal of Multivariate Analysis 88, 2004.

    Examples
    --------
    >>> import numpy as np
    >>> from skltransfer import CORAL
    >>> rng = np.random.default_rng(0)
    >>> X, X_target = rng.normal(size=(100, 2)), rng.normal(size=(80, 2)) @ [[2.0, 1.0], [0.0, 1.0]]
    >>> mapped = CORAL(reg_covar=0).fit_transform(X, X_target=X_target)
    >>> np.allclose(np.cov(mapped.T), np.cov(X_target.T))
    True
    """

    _min_samples = 2
    _fitted_array = "source_mean_"
    _parameters = {
        "shrinkage": Number(0, 1, unset=("ledoit_wolf",)),
        "reg_covar": Number(0, np.inf, high_open=True),
        "match_means": Flag(),
    }

    def __init__(
        self, *, shrinkage: float | str = 0.0, reg_covar: float = 1.0, match_means: bool = True
    ):
        self.shrinkage = shrinkage
        self.reg_covar = reg_covar
        self.match_means = match_means

    def _align(self, X, y, X_target, y_target):
        self.source_mean_, centered = centered_rows(X)
        self.target_mean_, self._factors = self.source_mean_, []
        if X_target is None:
            return copy_of(X)
        self.target_mean_, centered_target = centered_rows(X_target)
        self._factors = coral_map(centered, centered_target, self.shrinkage, self.reg_covar)
        return self._map_centered(centered)

    def _map_source(self, X):
        return self._map_centered(X - self.source_mean_) if self._factors else copy_of(X)

    def _map_centered(self, rows):
        mapped = apply_map(rows, self._factors)
        mapped += self.target_mean_ if self.match_means else self.source_mean_
        return mapped

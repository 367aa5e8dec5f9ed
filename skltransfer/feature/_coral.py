"""Correlation alignment."""

from __future__ import annotations

import numpy as np
from sklearn.base import OneToOneFeatureMixin

from skltransfer._options import check_number
from skltransfer._solvers._alignment import apply_map, centered_rows, coral_map
from skltransfer.feature._aligner import BaseAligner


class CORAL(OneToOneFeatureMixin, BaseAligner):
    """Give the source rows the covariance, and the mean, of the target's.

    `fit_transform` maps source rows, ``(x - mean_s) A + mean`` with
    ``A = (C_s + reg I)^(-1/2) (C_t + reg I)^(1/2)`` [1]_; `transform` leaves target rows as they
    are. Put it behind a scaler and before any estimator.

    Parameters
    ----------
    shrinkage : float or "ledoit_wolf", default=0.0
        From 0 to 1: each covariance is drawn this far towards a multiple of the identity of the
        same trace, whatever the units. ``"ledoit_wolf"`` takes the intensity of Ledoit and Wolf
        [2]_, for each domain its own.
    reg_covar : float, default=1.0
        Added to the diagonal of both covariances, in squared units of the columns. The paper's
        algorithm adds 1 to those of standardised columns. With 0, and no shrinkage, the covariance
        of the mapped source rows is exactly that of the target's.
    match_means : bool, default=True
        Whether source rows move to the mean of the target's. If not, they keep their own mean:
        CORAL itself aligns second moments only, and a shift of the mean survives it. Where the
        classes are not equally frequent in the two domains, part of that shift is not theirs to
        lose.

    Attributes
    ----------
    source_mean_ : ndarray of shape (n_features,)
        The mean of the source rows.
    target_mean_ : ndarray of shape (n_features,)
        The mean of the target rows.
    n_features_in_ : int
        Number of columns of ``X``.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Column names of ``X``, where all are strings.

    See Also
    --------
    SubspaceAlignment : Aligns principal axes, into fewer columns.
    OptimalTransportMapper : Moves rows, not moments.

    Notes
    -----
    The paper standardises each domain by itself, so that its means are equal beforehand. Behind a
    scaler that is fitted on the source they are not, and `match_means` makes up for it.

    Without regularisation, and fewer rows than columns or columns that are constant, the root of
    the source's covariance is inverted on the directions in which source rows vary; in the others
    they end at the mean. Covariances are then equal as far as the source's rows go. Where a domain
    has fewer rows than columns, no matrix of ``n_features x n_features`` is formed for it.

    Without ``X_target`` rows are left as they are.

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

    def __init__(self, *, shrinkage=0.0, reg_covar=1.0, match_means=True):
        self.shrinkage = shrinkage
        self.reg_covar = reg_covar
        self.match_means = match_means

    def _check_parameters(self) -> None:
        check_number(self, "shrinkage", low=0, high=1, unset=("ledoit_wolf",))
        check_number(self, "reg_covar", low=0, high=float("inf"), is_open=True)
        if not isinstance(self.match_means, bool | np.bool_):
            raise ValueError(f"match_means={self.match_means!r} is neither True nor False.")

    def _row_checks(self) -> dict:
        return {"ensure_min_samples": 2}

    def _align(self, X, y, X_target, y_target):
        self.source_mean_, centered = centered_rows(X)
        self.target_mean_, self._factors = self.source_mean_, []
        if X_target is None:
            return X.copy()
        self.target_mean_, centered_target = centered_rows(X_target)
        self._factors = coral_map(centered, centered_target, self.shrinkage, self.reg_covar)
        return self._map_centered(centered)

    def _map_source(self, X):
        return self._map_centered(X - self.source_mean_) if self._factors else X.copy()

    def _map_centered(self, rows):
        mapped = apply_map(rows, self._factors)
        mapped += self.target_mean_ if self.match_means else self.source_mean_
        return mapped

    def _map_target(self, X):
        return X.copy()

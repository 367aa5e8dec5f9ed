"""Ridge regression near a source's coefficients."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Real
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.base import RegressorMixin
from sklearn.utils.validation import validate_data

from skltransfer._arrays import as_numpy, in_float64, moved_to, namespace_of, rows_at
from skltransfer._solvers._design_matrix import SparseRows, column_means, path_scores
from skltransfer._solvers._factors import as_small_problem
from skltransfer._solvers._ridge import (
    ridge_path,
    solve_ridge,
    solve_sparse_ridge,
    sparse_ridge_path,
)
from skltransfer.parameter._linear import (
    LinearTransfer,
    LinearTransferCV,
    Strength,
    check_finite_scores,
    penalty_on_coefficients,
    strength_of_intercepts,
    strength_of_slopes,
)
from skltransfer.parameter._source import LinearModel


class TransferRidge(RegressorMixin, LinearTransfer):
    r"""Linear regression that stays near the coefficients of a source.

    .. math::

        \min_{w, b} \; \sum_i s_i (y_i - x_i^\top w - b)^2
        + \alpha \, \lVert w - w_\text{source} \rVert^2 + \alpha \, (b - b_\text{source})^2

    With ``alpha = 0`` it is least squares on the task alone. As `alpha` grows, it becomes the
    source's model. It is ridge regression with the prior mean moved from zero to the source [1]_,
    [2]_.

    Parameters
    ----------
    source : fitted linear model or array-like, default=None
        Source's model: a fitted estimator with ``coef_``, also inside a search, a
        ``FrozenEstimator``, ``WithTarget`` or ``WithSource``; or coefficients of shape
        (n_features,) or (n_outputs, n_features). Held by reference. ``None`` first learns the model
        from the ``X, y`` given to `fit`, by ridge regression with `source_alpha`, and then fits the
        ``X_target, y_target`` given to `fit`.
    alpha : "auto", float or array-like, default="auto"
        Strength of the pull towards the source, at least 0: a number, an array of shape
        (n_features,) with one for each feature, or of shape (n_outputs, 1) with one for each
        output. Infinity keeps the source's coefficients. ``"auto"`` estimates one number for each
        output from the residuals of the source's model, see Notes.
    source_alpha : float, default=1.0
        Ridge penalty of the source's own model, if `source` is None.
    fit_intercept : bool, default=True
        Whether to fit the intercept. If False, the intercept of the source is kept, or 0 if it has
        none.
    penalize_intercept : bool or "auto", default="auto"
        Whether the intercept is pulled towards the source's as well. ``"auto"`` pulls it by a
        strength of its own, which is estimated like `alpha`, so that a level that has moved is
        learned from few samples. True pulls it by the mean `alpha` of its output, or as
        ``"auto"`` does with ``alpha="auto"``. If the source has no intercept, it is not penalised.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,) or (n_outputs, n_features)
        Coefficients.
    intercept_ : float or ndarray of shape (n_outputs,)
        Intercept.
    source_coef_ : ndarray of the shape of `coef_`
        Coefficients of the source. They are 0 for features that the source lacks.
    source_intercept_ : float or ndarray of shape (n_outputs,)
        Intercept of the source.
    n_features_in_ : int
        Number of features seen in `fit`.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of these features, if `X` has column names that are all strings.

    Warns
    -----
    DomainDataWarning
        If `source` is None and no target sample has a known label.

    See Also
    --------
    TransferRidgeCV : Chooses `alpha` by cross-validation.
    TransferLogisticRegression : Classification near a source.

    Notes
    -----
    The solution is computed in closed form, by a singular value decomposition. If `alpha` differs
    between features, an orthogonal least-squares solver is used. Features are matched by name if
    the inputs of both fits are data frames. Scale the features of both domains alike: behind a
    scaler, put :class:`~skltransfer.WithSource` or :class:`~skltransfer.WithTarget` around the
    pipeline.

    With ``alpha="auto"`` the penalty is the variance of the noise over the variance of the change
    of the coefficients from the source to the task. The latter is estimated from the products of
    the residuals of each pair of samples, and lowered by one standard error [3]_. Where the
    residuals of the source's model show no more than noise, `alpha` is infinite and the result is
    the source's model. With more than 3000 samples, 3000 of them enter the estimate.

    Tensors and other arrays of scikit-learn's array API are multiplied in their own library, on
    their device. Fitted attributes lie there too.

    Time grows with the number of samples times the square of the number of features, and memory
    with the number of samples.

    References
    ----------
    .. [1] T. Evgeniou, M. Pontil, "Regularized Multi-Task Learning", KDD 2004.
    .. [2] X. Li, Y. Grandvalet, F. Davoine, "Explicit Inductive Bias for Transfer Learning with
       Convolutional Networks", ICML 2018, equation (2), for a linear model.
    .. [3] X. Lin, "Variance Component Testing in Generalised Linear Models with Random Effects",
       Biometrika 84, 1997, for the statistic.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import Ridge
    >>> from skltransfer import TransferRidge
    >>> rng = np.random.default_rng(0)
    >>> w = rng.normal(size=30)
    >>> X_old, X_new = rng.normal(size=(500, 30)), rng.normal(size=(10, 30))
    >>> y_old, y_new = X_old @ w, X_new @ (1.1 * w)
    >>> source = Ridge().fit(X_old, y_old)
    >>> model = TransferRidge(source, alpha=1.0).fit(X_new, y_new)
    >>> distance = np.linalg.norm(model.coef_ - 1.1 * w)
    >>> bool(distance < np.linalg.norm(source.coef_ - 1.1 * w))
    True
    >>> bool(distance < np.linalg.norm(Ridge().fit(X_new, y_new).coef_ - 1.1 * w))
    True
    """

    _array_api_support = True

    def __init__(
        self,
        source=None,
        *,
        alpha: Any = "auto",
        source_alpha: float = 1.0,
        fit_intercept: bool = True,
        penalize_intercept: bool | str = "auto",
    ):
        self.source = source
        self.alpha = alpha
        self.source_alpha = source_alpha
        self.fit_intercept = fit_intercept
        self.penalize_intercept = penalize_intercept

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def predict(self, X):
        """Predict by the linear model.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples of the task.

        Returns
        -------
        y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
        """
        X = self._validated(X)
        return X @ (self.coef_ if self.coef_.ndim == 1 else self.coef_.T) + self.intercept_

    def _check_rows(self, X, y):
        checks = {"dtype": self._dtype(X), "multi_output": True, "y_numeric": True}
        return validate_data(self, X, as_numpy(y), accept_sparse="csr", **checks)

    def _set_outputs(self, y, y_target):
        self._is_single = y.ndim == 1

    def _match_outputs(self, coef, carried):
        if carried.classes is not None:
            raise TypeError(
                f"source is a classifier, and {type(self).__name__} needs the model of a "
                "regression, such as Ridge."
            )
        return coef, carried.intercept

    def _fitted_form(self, coef, intercept):
        if intercept is None:
            intercept = np.zeros(len(coef))
        return (coef[0].copy(), float(intercept[0])) if self._is_single else (coef, intercept)

    def _learn_source(self, X, y, sample_weight):
        k = 1 if y.ndim == 1 else y.shape[1]
        nothing = np.zeros((k, X.shape[1]))
        alpha = self._strength_of_source()
        coef, intercept = self._solve(X, y, sample_weight, nothing, None, alpha)
        names = getattr(self, "feature_names_in_", None)
        return LinearModel(coef, intercept, None, names)

    def _solve(self, X, y, sample_weight, coef, intercept, alpha):
        residual = _residual(X, y, coef, intercept)
        if isinstance(alpha, Strength):
            alpha, own = alpha
            if self._intercept_mode(intercept) == "penalized":
                own = np.broadcast_to(np.asarray(own, dtype=np.float64), (len(coef), 1))
            else:
                own = None
        else:
            own = self._penalty_on_intercept(alpha, residual, sample_weight, intercept)
        if isinstance(alpha, str):
            alpha = _strength_of(strength_of_slopes, residual, sample_weight, X)
        penalty = penalty_on_coefficients(alpha, *coef.shape)
        shift, raised = _solved(
            X, residual, sample_weight, self._intercept_mode(intercept), own,
            lambda design, outputs: design.solve(penalty[outputs])[None],
        )  # fmt: skip
        carried = np.zeros(len(coef)) if intercept is None else intercept
        return coef + shift[0], carried + raised[0]

    def _intercept_mode(self, intercept) -> str:
        if not self.fit_intercept:
            return "fixed"
        return "penalized" if self.penalize_intercept and intercept is not None else "free"

    def _penalty_on_intercept(self, alpha, residual, sample_weight, intercept):
        """Return the intercepts' own penalties, shape (k, 1); None if these follow `alpha`."""
        if self._intercept_mode(intercept) != "penalized":
            return None
        if self.penalize_intercept == "auto" or isinstance(alpha, str):
            return _strength_of(strength_of_intercepts, residual, sample_weight)
        return None


def _residual(X, y, coef, intercept):
    """Return the residuals of the carried model, shape (n_samples, k)."""
    y = y.reshape(len(y), -1)
    if y.shape[1] != len(coef):
        raise ValueError(
            f"source has coefficients for {len(coef)} outputs, and y has {y.shape[1]}. Match them."
        )
    predicted = in_float64(X @ moved_to(X, coef.T))
    check_finite_scores(predicted)
    return y - predicted if intercept is None else y - predicted - intercept


def _strength_of(rule, residual, sample_weight, *rows):
    """Return the penalties that a rule finds in the residuals, shape (k, 1)."""
    size = np.abs(residual).max(axis=0, initial=0.0)
    size[size == 0] = 1.0
    residual = residual / size
    noise = residual - np.average(residual, axis=0, weights=sample_weight)
    variance = np.average(noise**2, axis=0, weights=sample_weight)
    return rule(*rows, residual, variance, np.ones(residual.shape), sample_weight)[:, None]


def _solved(X, R, sample_weight, mode, own, solve):
    """Return changes of coefficients (m, k, d) and intercepts (m, k).

    Outputs whose intercepts have penalties of their own are solved one after the other.
    """
    if own is None:
        groups = [slice(None)]
    else:
        groups = [slice(output, output + 1) for output in range(R.shape[1])]
    parts = []
    for outputs in groups:
        penalty = None if own is None else float(own[outputs][0, 0])
        design = _Design(X, R[:, outputs], sample_weight, mode, penalty)
        parts.append(design.unfold(solve(design, outputs)))
    return tuple(np.concatenate(part, axis=1) for part in zip(*parts, strict=True))


class _Design:
    """Rows, weights and intercept as one problem of least squares.

    Parameters
    ----------
    X : array or CSR matrix of shape (n, d)
    R : ndarray of shape (n, k)
    sample_weight : ndarray of shape (n,) or None
    mode : {"free", "penalized", "fixed"}
        Treatment of the intercept.
    own : float or None
        For "penalized", penalty on the intercept. None is that of the features, on average.
    """

    def __init__(self, X, R, sample_weight, mode, own=None):
        self.has_ones = mode == "penalized" and own is None
        self.is_sparse = sparse.issparse(X)
        if sample_weight is not None:
            used = sample_weight > 0
            X, R, sample_weight = rows_at(X, used), R[used], sample_weight[used]
        weights = np.ones(len(R)) if sample_weight is None else sample_weight
        # The best intercept for given slopes is a share of the mean residual. What it leaves is the
        # sum of squares of samples from which a part of their mean is subtracted.
        total = weights.sum()
        self.share = part = 0.0
        if mode == "free":
            self.share = part = 1.0
        elif own is not None and np.isfinite(own):
            self.share = total / (total + own)
            part = 1.0 - np.sqrt(own / (total + own))
        self.x_mean, self.r_mean = np.zeros(X.shape[1]), np.zeros(R.shape[1])
        if part:
            self.r_mean = np.average(R, axis=0, weights=sample_weight)
            if isinstance(X, np.ndarray):
                self.x_mean = np.average(X, axis=0, weights=sample_weight)
            else:
                self.x_mean = column_means(X, weights)
        R = R - part * self.r_mean
        if self.is_sparse:
            center = part * self.x_mean if part else None
            self.Z = SparseRows(X, center, has_ones=self.has_ones)
            self.R, self.weights = R, weights
            return
        Z = X - moved_to(X, part * self.x_mean)
        if self.has_ones:
            Z = namespace_of(Z).concat([Z, moved_to(Z, np.ones((len(R), 1)))], axis=1)
        if sample_weight is not None:
            root = np.sqrt(sample_weight)[:, None]
            Z, R = moved_to(Z, root) * Z, root * R
        self.Z, self.R = as_small_problem(Z, R)

    def solve(self, penalty):
        """Solve for a penalty on each coefficient of a feature, (k, d)."""
        if self.has_ones:
            penalty = np.column_stack([penalty, penalty.mean(axis=1)])
        if self.is_sparse:
            return solve_sparse_ridge(self.Z, self.R, self.weights, penalty)
        return solve_ridge(self.Z, self.R, penalty)

    def path(self, alphas):
        """Solve for each number `alpha`."""
        if self.is_sparse:
            return sparse_ridge_path(self.Z, self.R, self.weights, alphas)
        return ridge_path(self.Z, self.R, alphas)

    def unfold(self, D):
        """Return the change of coefficients (m, k, d) and of intercepts (m, k)."""
        if self.has_ones:
            return D[..., :-1], D[..., -1]
        return D, self.share * (self.r_mean - D @ self.x_mean)


class TransferRidgeCV(LinearTransferCV, TransferRidge):
    r"""Ridge regression near a source's coefficients, with the strength chosen by cross-validation.

    The whole path of `alphas` is solved on each fold by one decomposition. The best candidate is
    then fitted on all samples, see :class:`TransferRidge`.

    Parameters
    ----------
    source : fitted linear model or array-like, default=None
        Source's model, as in :class:`TransferRidge`. If None, the labelled target samples are
        split into folds.
    alphas : array-like, default=None
        Candidates for `alpha`, each as in :class:`TransferRidge`. ``None`` is 15 numbers from 0.01
        to 1e5, and infinity.
    cv : int, splitter or iterable, default=None
        Folds of the task's samples. ``None`` is five, or one for each sample if there are fewer.
    scoring : str or callable, default="neg_mean_squared_error"
        Score that is maximised on the held-out samples. ``None`` is R^2.
    source_alpha : float, default=None
        Ridge penalty of the source's own model. ``None`` chooses it from the finite `alphas` by the
        same `cv` on the source samples.
    fit_intercept : bool, default=True
        Whether to fit the intercept. If False, the intercept of the source is kept, or 0 if it has
        none.
    penalize_intercept : bool or "auto", default="auto"
        Whether the intercept is pulled towards the source's, as in :class:`TransferRidge`.

    Attributes
    ----------
    alpha_ : float or ndarray
        Chosen candidate: the one of the best mean score, the last among equal ones; or infinity,
        which keeps the source, if it is a candidate and within one standard error of the best.
    cv_scores_ : ndarray of shape (n_alphas, n_folds)
        Scores of the candidates.
    coef_ : ndarray of shape (n_features,) or (n_outputs, n_features)
        Coefficients.
    intercept_ : float or ndarray of shape (n_outputs,)
        Intercept.
    source_coef_ : ndarray of the shape of `coef_`
        Coefficients of the source. They are 0 for features that the source lacks.
    source_intercept_ : float or ndarray of shape (n_outputs,)
        Intercept of the source.
    n_features_in_ : int
        Number of features seen in `fit`.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of these features, if `X` has column names that are all strings.

    Warns
    -----
    DomainDataWarning
        If `source` is None and no target sample has a known label.

    See Also
    --------
    TransferRidge : Fits with one `alpha`.

    Notes
    -----
    Without labelled target samples, `alpha_` and `cv_scores_` describe the source's own model.

    Examples
    --------
    >>> import numpy as np
    >>> from skltransfer import TransferRidgeCV
    >>> rng = np.random.default_rng(0)
    >>> w = rng.normal(size=30)
    >>> X_new, noise = rng.normal(size=(20, 30)), rng.normal(size=20)
    >>> right = TransferRidgeCV(w).fit(X_new, X_new @ w + noise)
    >>> wrong = TransferRidgeCV(-w).fit(X_new, X_new @ w + noise)
    >>> right.alpha_ > wrong.alpha_
    True
    """

    def __init__(
        self,
        source=None,
        *,
        alphas=None,
        cv=None,
        scoring: str | Callable = "neg_mean_squared_error",
        source_alpha: float | None = None,
        fit_intercept: bool = True,
        penalize_intercept: bool | str = "auto",
    ):
        self.source = source
        self.alphas = alphas
        self.cv = cv
        self.scoring = scoring
        self.source_alpha = source_alpha
        self.fit_intercept = fit_intercept
        self.penalize_intercept = penalize_intercept

    def _fold_models(self, X, y, sample_weight, folds, coef, intercept, alphas):
        residual = _residual(X, y, coef, intercept)
        carried = np.zeros(len(coef)) if intercept is None else intercept
        mode = self._intercept_mode(intercept)
        for train, _ in folds:
            weights = None if sample_weight is None else sample_weight[train]
            own = self._penalty_on_intercept(0.0, residual[train], weights, intercept)
            if all(isinstance(alpha, Real) for alpha in alphas):
                numbers = np.asarray(alphas, dtype=np.float64)
                shift, raised = _solved(
                    rows_at(X, train), residual[train], weights, mode, own,
                    lambda design, outputs, numbers=numbers: design.path(numbers),
                )  # fmt: skip
            else:
                penalties = [penalty_on_coefficients(alpha, *coef.shape) for alpha in alphas]
                shift, raised = _solved(
                    rows_at(X, train), residual[train], weights, mode, own,
                    lambda design, outputs, penalties=penalties: np.stack(
                        [design.solve(penalty[outputs]) for penalty in penalties]
                    ),
                )  # fmt: skip
            yield coef + shift, carried + raised

    def _quick_scores(self, X, y, sample_weight, coefs, intercepts):
        if self.scoring != "neg_mean_squared_error":
            return None
        y = y.reshape(len(y), -1)
        errors = ((path_scores(X, coefs, intercepts) - y) ** 2).mean(axis=2)
        return -np.average(errors, axis=1, weights=sample_weight)

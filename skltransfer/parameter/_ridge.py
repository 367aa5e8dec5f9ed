"""Ridge regression near a source's coefficients."""

from __future__ import annotations

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.utils.validation import validate_data

from skltransfer._solvers._ridge import ridge_path, solve_ridge
from skltransfer.parameter._linear import (
    LinearTransfer,
    LinearTransferCV,
    is_path_of_numbers,
    penalty_on_coefficients,
)
from skltransfer.parameter._source import LinearModel


class TransferRidge(RegressorMixin, LinearTransfer):
    r"""Linear regression that stays near the coefficients of a source.

    .. math::

        \min_{w, b} \; \sum_i s_i (y_i - x_i^\top w - b)^2
        + \alpha \, \lVert w - w_\text{source} \rVert^2 + \alpha \, (b - b_\text{source})^2

    With ``alpha = 0`` it is least squares on the task alone, and as `alpha` grows it becomes the
    source's model: ridge regression with the prior mean moved from zero to the source [1]_, [2]_.

    Parameters
    ----------
    source : fitted linear model or array-like, default=None
        What is carried over: a fitted estimator with ``coef_`` (also inside a search, a
        ``FrozenEstimator``, ``WithTarget`` or ``WithSource``), or coefficients of shape
        (n_features,) or (n_outputs, n_features). Held by reference. ``None`` learns it first from
        the ``X, y`` given to `fit`, by ridge regression with `source_alpha`, and then fits the
        ``X_target, y_target`` given to `fit`.
    alpha : float or array-like, default=1.0
        Strength of the pull towards the source, at least 0: a number, one for each feature as
        (n_features,), or one for each output as (n_outputs, 1).
    source_alpha : float, default=1.0
        Strength of the ridge penalty of the source's own model, if `source` is None.
    fit_intercept : bool, default=True
        Whether to fit the intercept. Otherwise that of the source is kept, 0 if it has none.
    penalize_intercept : bool, default=True
        Whether the intercept is pulled towards the source's as well, by the mean `alpha` of its
        output. An intercept that the source lacks is always free.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,) or (n_outputs, n_features)
        Coefficients.
    intercept_ : float or ndarray of shape (n_outputs,)
        Intercept.
    source_coef_ : ndarray of the shape of `coef_`
        Coefficients carried over; 0 for columns that the source lacks.
    source_intercept_ : float or ndarray of shape (n_outputs,)
        Intercept carried over.
    n_features_in_ : int
        Number of columns of ``X``.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Column names of ``X``, where all are strings.

    Warns
    -----
    DomainDataWarning
        If `source` is None and there are no target rows with a label.

    See Also
    --------
    TransferRidgeCV : Chooses `alpha` by cross-validation.
    TransferLogisticRegression : The same for classes.

    Notes
    -----
    Solved in closed form, by a singular value decomposition or, if `alpha` differs from feature to
    feature, by an orthogonal least-squares solver. Columns are matched by name if both fits were
    given DataFrames. Scale the columns alike in both domains: behind a scaler, use
    :class:`~skltransfer.WithSource` or :class:`~skltransfer.WithTarget` around the pipeline.

    References
    ----------
    .. [1] T. Evgeniou, M. Pontil, "Regularized Multi-Task Learning", KDD 2004.
    .. [2] X. Li, Y. Grandvalet, F. Davoine, "Explicit Inductive Bias for Transfer Learning with
       Convolutional Networks", ICML 2018, equation (2), for a linear model.

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

    def __init__(
        self,
        source=None,
        *,
        alpha=1.0,
        source_alpha=1.0,
        fit_intercept=True,
        penalize_intercept=True,
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
        X : array-like of shape (n_samples, n_features)
            Rows of the task.

        Returns
        -------
        y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
        """
        return self._validated(X) @ self.coef_.T + self.intercept_

    def _check_rows(self, X, y):
        return validate_data(self, X, y, dtype=np.float64, multi_output=True, y_numeric=True)

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
        coef, intercept = self._solve(X, y, sample_weight, nothing, None, self.source_alpha)
        names = getattr(self, "feature_names_in_", None)
        return LinearModel(coef, intercept, None, names)

    def _solve(self, X, y, sample_weight, coef, intercept, alpha):
        residual = _residual(X, y, coef, intercept)
        penalty = penalty_on_coefficients(alpha, *coef.shape)
        design = _Design(X, residual, sample_weight, self._intercept_mode(intercept))
        shift, raised = design.unfold(
            solve_ridge(design.Z, design.R, design.penalty(penalty))[None]
        )
        carried = np.zeros(len(coef)) if intercept is None else intercept
        return coef + shift[0], carried + raised[0]

    def _intercept_mode(self, intercept) -> str:
        if not self.fit_intercept:
            return "fixed"
        return "penalized" if self.penalize_intercept and intercept is not None else "free"


def _residual(X, y, coef, intercept):
    """Return what the carried model leaves unexplained, shape (n_samples, k)."""
    y = y.reshape(len(y), -1)
    if y.shape[1] != len(coef):
        raise ValueError(
            f"source has coefficients for {len(coef)} outputs, and y has {y.shape[1]}. Pass a "
            "source of the same outputs."
        )
    predicted = X @ coef.T
    return y - predicted if intercept is None else y - predicted - intercept


class _Design:
    """Rows, weights and intercept as one matrix of least squares.

    Parameters
    ----------
    X : ndarray of shape (n, d)
    R : ndarray of shape (n, k)
    sample_weight : ndarray of shape (n,) or None
    mode : {"free", "penalized", "fixed"}
        What may happen to the intercept.
    """

    def __init__(self, X, R, sample_weight, mode):
        self.mode = mode
        if sample_weight is not None:
            used = sample_weight > 0
            X, R, sample_weight = X[used], R[used], sample_weight[used]
        self.x_mean, self.r_mean = np.zeros(X.shape[1]), np.zeros(R.shape[1])
        if mode == "free":
            self.x_mean = np.average(X, axis=0, weights=sample_weight)
            self.r_mean = np.average(R, axis=0, weights=sample_weight)
        Z, R = X - self.x_mean, R - self.r_mean
        if mode == "penalized":
            Z = np.column_stack([Z, np.ones(len(Z))])
        if sample_weight is not None:
            root = np.sqrt(sample_weight)[:, None]
            Z, R = root * Z, root * R
        self.Z, self.R = Z, R

    def penalty(self, penalty):
        """Return the penalty on each column of ``Z``, from that on each feature."""
        if self.mode != "penalized":
            return penalty
        return np.column_stack([penalty, penalty.mean(axis=1)])

    def unfold(self, D):
        """Return the change of coefficients (m, k, d) and of intercepts (m, k)."""
        if self.mode == "penalized":
            return D[..., :-1], D[..., -1]
        return D, self.r_mean - D @ self.x_mean


class TransferRidgeCV(LinearTransferCV, TransferRidge):
    r"""Ridge regression near a source's coefficients, with the strength chosen by cross-validation.

    The whole path of `alphas` is solved on each fold by one decomposition, and the best one is
    fitted on all rows: see :class:`TransferRidge` for what is minimised.

    Parameters
    ----------
    source : fitted linear model or array-like, default=None
        As in :class:`TransferRidge`. If None, folds are made of the target's labelled rows.
    alphas : array-like, default=None
        Candidates, each as in :class:`TransferRidge`. ``None`` is 15 numbers from 0.01 to 1e5.
    cv : int, splitter or iterable, default=None
        Folds of the task's rows. ``None`` is five, or one for each row if there are fewer.
    scoring : str or callable, default="neg_mean_squared_error"
        What is to be largest on the held-out rows. ``None`` is R^2.
    source_alpha : float, default=None
        Strength of the ridge penalty of the source's own model. ``None`` chooses it from `alphas`
        by the same `cv` on the source rows.
    fit_intercept : bool, default=True
        As in :class:`TransferRidge`.
    penalize_intercept : bool, default=True
        As in :class:`TransferRidge`.

    Attributes
    ----------
    alpha_ : float or ndarray
        The candidate chosen; of equal ones the last.
    cv_scores_ : ndarray of shape (n_alphas, n_folds)
        Scores of the candidates.
    coef_ : ndarray of shape (n_features,) or (n_outputs, n_features)
        Coefficients.
    intercept_ : float or ndarray of shape (n_outputs,)
        Intercept.
    source_coef_ : ndarray of the shape of `coef_`
        Coefficients carried over; 0 for columns that the source lacks.
    source_intercept_ : float or ndarray of shape (n_outputs,)
        Intercept carried over.
    n_features_in_ : int
        Number of columns of ``X``.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Column names of ``X``, where all are strings.

    Warns
    -----
    DomainDataWarning
        If `source` is None and there are no target rows with a label.

    See Also
    --------
    TransferRidge : With one `alpha`.

    Notes
    -----
    Without labelled target rows `alpha_` and `cv_scores_` are those of the source's own model.

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
        scoring="neg_mean_squared_error",
        source_alpha=None,
        fit_intercept=True,
        penalize_intercept=True,
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
            design = _Design(X[train], residual[train], weights, mode)
            if is_path_of_numbers(alphas):
                path = ridge_path(design.Z, design.R, np.asarray(alphas, dtype=np.float64))
            else:
                penalties = (penalty_on_coefficients(alpha, *coef.shape) for alpha in alphas)
                path = np.stack(
                    [solve_ridge(design.Z, design.R, design.penalty(p)) for p in penalties]
                )
            shift, raised = design.unfold(path)
            yield coef + shift, carried + raised

    def _quick_scores(self, X, y, sample_weight, coefs, intercepts):
        if self.scoring != "neg_mean_squared_error":
            return None
        y = y.reshape(len(y), -1)
        errors = ((X @ coefs.swapaxes(1, 2) + intercepts[:, None] - y) ** 2).mean(axis=2)
        return -np.average(errors, axis=1, weights=sample_weight)

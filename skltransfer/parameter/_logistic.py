"""Logistic regression near a source's coefficients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.special import log_softmax
from sklearn.base import ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import validate_data

from skltransfer._parameters import Count, Number
from skltransfer._solvers._classes import (
    check_class_weight,
    check_several_classes,
    decisions,
    log_probabilities,
    predicted_codes,
    probabilities,
    weights_by_class,
)
from skltransfer._solvers._design_matrix import column_means, design_rows, path_scores, span
from skltransfer._solvers._logistic import solve_logistic
from skltransfer._warnings import warn_unless_certified
from skltransfer.parameter._linear import (
    LinearTransfer,
    LinearTransferCV,
    Strength,
    check_finite_scores,
    penalty_on_coefficients,
    strength_of_intercepts,
    strength_of_slopes,
)
from skltransfer.parameter._source import LinearModel, match_classes

# Newton's last step squares the gap, so that scores are exact far below this.
_TOL_OF_SCORES = 1e-8
# Stands for a penalty that nothing outweighs.
_INFINITE_PENALTY = 1e300
# Second derivative of the loss of a sample whose class is certain, and largest standard deviation
# of the change of scores, for the strength by default.
_SMALLEST_CURVATURE = 1e-3
_LARGEST_CHANGE = 5.0


class TransferLogisticRegression(ClassifierMixin, LinearTransfer):
    r"""Logistic regression that stays near the coefficients of a source.

    .. math::

        \min_{W, b} \; \sum_i s_i \, \ell(W x_i + b, y_i)
        + \frac{\alpha}{2} \lVert W - W_\text{source} \rVert^2
        + \frac{\alpha}{2} \lVert b - b_\text{source} \rVert^2

    with the logistic loss for two classes, and the softmax loss for more. As `alpha` grows from 0,
    the solution goes from the task alone to the source's model. This is L2-SP [1]_ for a linear
    model, which is a convex problem.

    Parameters
    ----------
    source : fitted linear classifier or array-like, default=None
        Source's model: a fitted estimator with ``coef_``, also inside a search, a
        ``FrozenEstimator``, ``WithTarget`` or ``WithSource``; or coefficients of shape
        (n_classes, n_features), a single row for two classes. Held by reference. ``None`` first
        learns the model from the ``X, y`` given to `fit`, by logistic regression with
        `source_alpha`, and then fits the ``X_target, y_target`` given to `fit`.
    alpha : "auto", float or array-like, default="auto"
        Strength of the pull towards the source, at least 0: a number, an array of shape
        (n_features,) with one for each feature, or of shape (n_classes, 1) with one for each class.
        It is ``1 / C`` of scikit-learn's ``LogisticRegression``. Infinity keeps the source's
        coefficients. ``"auto"`` estimates it from the residuals of the source's model, see Notes.
    source_alpha : float, default=1.0
        Ridge penalty of the source's own model, if `source` is None.
    fit_intercept : bool, default=True
        Whether to fit the intercept. If False, the intercept of the source is kept, or 0 if it has
        none.
    penalize_intercept : bool or "auto", default=True
        Whether the intercept is pulled towards the source's as well, by the mean `alpha` of its
        class. ``"auto"`` pulls it by a strength of its own, which is estimated like `alpha`; so
        does True with ``alpha="auto"``. If the source has no intercept, it is not penalised, unless
        its class has no sample.
    class_weight : dict or "balanced", default=None
        Weights of the classes, as in scikit-learn. ``None`` weighs all classes alike.
    tol : float, default=1e-10
        Largest relative gap between the objective and its optimum. The gap is relative to no less
        than a loss of 1e-6 per sample.
    max_iter : int, default=500
        Largest number of Newton steps.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Classes of ``y``; if `source` is None, of ``y`` and ``y_target`` together.
    coef_ : ndarray of shape (1, n_features) or (n_classes, n_features)
        Coefficients; one row for two classes.
    intercept_ : ndarray of shape (1,) or (n_classes,)
        Intercepts.
    source_coef_ : ndarray of the shape of `coef_`
        Coefficients of the source. They are 0 for features and classes that the source lacks.
    source_intercept_ : ndarray of the shape of `intercept_`
        Intercepts of the source.
    n_iter_ : int
        Number of Newton steps of the last fit.
    n_features_in_ : int
        Number of features seen in `fit`.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of these features, if `X` has column names that are all strings.

    Warns
    -----
    ConvergenceWarning
        If `tol` is not reached in `max_iter` steps.
    DomainDataWarning
        If `source` is None and no target sample has a known label.

    See Also
    --------
    TransferLogisticRegressionCV : Chooses `alpha` by cross-validation.
    TransferRidge : Regression near a source.

    Notes
    -----
    The problem is solved by Newton's method. Coefficients of a class that the source lacks start
    at 0. A class that only the source has is left out. Features are matched by name if the inputs
    of both fits are data frames. Scale the features of both domains alike: behind a scaler, put
    :class:`~skltransfer.WithSource` or :class:`~skltransfer.WithTarget` around the pipeline.

    With ``alpha="auto"`` the penalty is the variance of the noise over the variance of the change
    of the coefficients from the source to the task. The latter is estimated from the products of
    the residuals of each pair of samples, and lowered by one standard error [2]_. Where the
    residuals of the source's model show no more than noise, `alpha` is infinite and the result is
    the source's model. Scores change by a standard deviation of at most 5 a priori. With more than
    3000 samples, 3000 of them enter the estimate.

    A step of Newton's method takes time in proportion to the number of samples, the square of the
    number of features and the square of the number of classes; about ten steps suffice. Memory
    grows with the number of samples.

    References
    ----------
    .. [1] X. Li, Y. Grandvalet, F. Davoine, "Explicit Inductive Bias for Transfer Learning with
       Convolutional Networks", ICML 2018, equation (2), for a linear model.
    .. [2] X. Lin, "Variance Component Testing in Generalised Linear Models with Random Effects",
       Biometrika 84, 1997, for the statistic.

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.preprocessing import StandardScaler
    >>> from skltransfer import TransferLogisticRegression
    >>> from skltransfer.datasets import load_biased_breast_cancer
    >>> data = load_biased_breast_cancer(random_state=0)
    >>> scaler = StandardScaler().fit(data.X_source)
    >>> source = LogisticRegression().fit(scaler.transform(data.X_source), data.y_source)
    >>> X, y = scaler.transform(data.X_target), data.y_target
    >>> model = TransferLogisticRegression(source).fit(X[:10], y[:10])
    >>> model.score(X[10:], y[10:]) > 0.9
    True
    """

    _parameters = {"tol": Number(0), "max_iter": Count()}

    def __init__(
        self,
        source=None,
        *,
        alpha: Any = "auto",
        source_alpha: float = 1.0,
        fit_intercept: bool = True,
        penalize_intercept: bool | str = True,
        class_weight: dict | str | None = None,
        tol: float = 1e-10,
        max_iter: int = 500,
    ):
        self.source = source
        self.alpha = alpha
        self.source_alpha = source_alpha
        self.fit_intercept = fit_intercept
        self.penalize_intercept = penalize_intercept
        self.class_weight = class_weight
        self.tol = tol
        self.max_iter = max_iter

    def decision_function(self, X):
        """Compute the linear scores.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples of the task.

        Returns
        -------
        scores : ndarray of shape (n_samples,) or (n_samples, n_classes)
            Scores of the classes; for two classes, the score of the second.
        """
        return decisions(self._logits(X))

    def predict(self, X):
        """Predict the most probable class.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples of the task.

        Returns
        -------
        y : ndarray of shape (n_samples,)
        """
        codes = predicted_codes(self._logits(X))
        return self.classes_[codes]

    def predict_proba(self, X):
        """Predict the probability of each class.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples of the task.

        Returns
        -------
        p : ndarray of shape (n_samples, n_classes)
            Columns in the order of ``classes_``.
        """
        return probabilities(self._logits(X))

    def predict_log_proba(self, X):
        """Predict the logarithm of the probability of each class.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples of the task.

        Returns
        -------
        log_p : ndarray of shape (n_samples, n_classes)
            Columns in the order of ``classes_``.
        """
        return log_probabilities(self._logits(X))

    def _logits(self, X):
        return self._validated(X) @ self.coef_.T + self.intercept_

    def _check_rows(self, X, y):
        X, y = validate_data(self, X, y, accept_sparse="csr", dtype=np.float64)
        check_classification_targets(y)
        check_several_classes(self, np.unique(y))
        return X, y

    def _set_outputs(self, y, y_target):
        self.classes_ = np.unique(y if y_target is None else np.concatenate([y, y_target]))
        check_class_weight(self.class_weight, self.classes_)

    def _match_outputs(self, coef, carried):
        if carried.intercept is not None and carried.classes is None:
            raise TypeError(
                f"source is a regressor, and {type(self).__name__} needs a linear classifier, such "
                "as LogisticRegression."
            )
        return match_classes(coef, carried.intercept, carried.classes, self.classes_)

    def _fitted_form(self, coef, intercept):
        return coef, np.zeros(len(coef)) if intercept is None else intercept

    def _learn_source(self, X, y, sample_weight):
        classes, codes = np.unique(y, return_inverse=True)
        nothing = np.zeros((1 if len(classes) == 2 else len(classes), X.shape[1]))
        known, self.classes_ = self.classes_, classes
        alpha = self._strength_of_source()
        coef, intercept = self._solve(X, y, sample_weight, nothing, None, alpha)
        self.classes_ = known
        names = getattr(self, "feature_names_in_", None)
        return LinearModel(coef, intercept, classes, names)

    def _solve(self, X, y, sample_weight, coef, intercept, alpha):
        design = _Design(self, X, y, sample_weight, coef, intercept)
        strength = design.strength(alpha, design.weights)
        solution = design.solve([strength], design.weights[None], self.tol)
        self.n_iter_ = solution.n_iter
        remedy = "Raise max_iter, raise alpha, or scale the columns."
        warn_unless_certified("The model", solution.gap[0], self.tol, remedy)
        coefs, intercepts = design.unfold(solution.shift)
        return coefs[0], intercepts[0]


class _Design:
    """Rows and labels of a task around carried coefficients, ready for the solver.

    Parameters
    ----------
    estimator : TransferLogisticRegression
    X, y, sample_weight : rows, labels and weights (or None)
    coef : ndarray of shape (k, d)
    intercept : ndarray of shape (k,) or None
    """

    def __init__(self, estimator, X, y, sample_weight, coef, intercept):
        self.estimator, self.coef = estimator, coef
        self.has_intercept = intercept is not None
        self.intercept = intercept if self.has_intercept else np.zeros(len(coef))
        self.codes = np.searchsorted(estimator.classes_, y)
        self.weights = np.ones(len(y)) if sample_weight is None else sample_weight
        if estimator.class_weight is not None:
            self.weights = self.weights * weights_by_class(estimator.class_weight, y, self.weights)
        self.X = X
        self.offset = X @ coef.T + self.intercept
        check_finite_scores(self.offset)

    def solve(self, strengths, weights, tol):
        """Solve for each strength with the weights of the same index, in one call."""
        k, d = self.coef.shape
        penalties = [penalty_on_coefficients(strength.alpha, k, d) for strength in strengths]
        # Infinity keeps a coefficient. So does this number, which can be reckoned with.
        on_features = np.minimum(np.stack(penalties), _INFINITE_PENALTY)
        on_intercept = None
        if self.estimator.fit_intercept:
            on_intercept = self._penalty_on_intercept(strengths, on_features, weights)
        # A free intercept makes up for any origin of the features: the best one is their mean.
        self.center = None
        if on_intercept is not None and not on_intercept.any():
            self.center = column_means(self.X, self.weights)
        is_uniform = (on_features == on_features[:, :, :1]).all()
        smallest = on_features.min() if is_uniform else None
        self.basis = span(self.X, self.center, smallest, n_outputs=k)
        penalty = on_features
        if self.basis is not None:
            Z = self.basis.Z
            penalty = np.minimum(
                on_features[:, :, :1] * self.basis.unit * self.basis.unit, _INFINITE_PENALTY
            )
            penalty = np.broadcast_to(penalty, (*penalty.shape[:2], Z.shape[1]))
        if on_intercept is not None:
            penalty = np.concatenate([penalty, on_intercept[:, :, None]], axis=2)
        if self.basis is None:
            Z = design_rows(self.X, self.center, has_ones=on_intercept is not None)
        elif on_intercept is not None:
            Z = np.column_stack([Z, np.ones(len(Z))])
        return solve_logistic(
            Z,
            self.offset,
            self.codes,
            weights,
            penalty,
            tol=tol,
            max_iter=self.estimator.max_iter,
        )

    def strength(self, alpha, weights):
        """Return the penalties for the parameters `alpha` and `penalize_intercept`."""
        if isinstance(alpha, Strength):
            return alpha
        is_auto = isinstance(alpha, str)
        on_intercept = None
        if self.has_intercept and (
            self.estimator.penalize_intercept == "auto"
            or (is_auto and self.estimator.penalize_intercept)
        ):
            # A source that is too sure of itself understates the curvature: take the largest.
            largest = np.full(self.offset.shape, 0.25)
            on_intercept = strength_of_intercepts(self._residual(), np.ones(1), largest, weights)[0]
        if is_auto:
            P = probabilities(self.offset)[:, -self.offset.shape[1] :]
            curvature = np.maximum(P * (1 - P), _SMALLEST_CURVATURE)
            alpha = strength_of_slopes(
                self.X, self._residual(), np.ones(1), curvature, weights, _LARGEST_CHANGE
            )[0]
        return Strength(alpha, on_intercept)

    def _residual(self):
        P = probabilities(self.offset)
        labels = self.codes[:, None] == np.arange(P.shape[1])
        return (labels - P)[:, -self.offset.shape[1] :]

    def _penalty_on_intercept(self, strengths, on_features, weights):
        """Return it for each problem and class, shape (b, k)."""
        mean = np.minimum(on_features, _INFINITE_PENALTY / on_features.shape[2]).mean(axis=2)
        for number, strength in enumerate(strengths):
            if strength.on_intercept is not None:
                mean[number] = np.minimum(np.ravel(strength.on_intercept), _INFINITE_PENALTY)
        if self.has_intercept and self.estimator.penalize_intercept:
            return mean
        # Nothing but a penalty keeps the intercept of a class without a row finite.
        n_classes = len(self.estimator.classes_)
        present = np.stack([weights @ (self.codes == c) > 0 for c in range(n_classes)], axis=1)
        if n_classes == 2:
            present = present.all(axis=1, keepdims=True)
        return np.where(present, 0.0, mean)

    def unfold(self, shift):
        """Return coefficients (b, k, d) and intercepts (b, k)."""
        raised = np.zeros(shift.shape[:2])
        if self.estimator.fit_intercept:
            shift, raised = shift[..., :-1], shift[..., -1]
        if self.basis is not None:
            shift = self.basis.unfold(shift)
        if self.center is not None:
            raised = raised - shift @ self.center
        return self.coef + shift, self.intercept + raised


class TransferLogisticRegressionCV(LinearTransferCV, TransferLogisticRegression):
    r"""Logistic regression near a source, with the strength chosen by cross-validation.

    The whole path of `alphas` over all folds is solved at once, as one batch of Newton steps. The
    best candidate is then fitted on all samples, see :class:`TransferLogisticRegression`.

    Parameters
    ----------
    source : fitted linear classifier or array-like, default=None
        Source's model, as in :class:`TransferLogisticRegression`. If None, the labelled target
        samples are split into folds.
    alphas : array-like, default=None
        Candidates for `alpha`, each as in :class:`TransferLogisticRegression`. ``None`` is 15
        numbers from 0.01 to 1e5, and infinity.
    cv : int, splitter or iterable, default=None
        Folds of the task's samples. ``None`` is five stratified folds, or as many as the rarest
        class has samples.
    scoring : str or callable, default="neg_log_loss"
        Score that is maximised on the held-out samples. ``None`` is accuracy.
    source_alpha : float, default=None
        Ridge penalty of the source's own model. ``None`` chooses it from the finite `alphas` by the
        same `cv` on the source samples.
    fit_intercept : bool, default=True
        Whether to fit the intercept. If False, the intercept of the source is kept, or 0 if it has
        none.
    penalize_intercept : bool or "auto", default=True
        Whether the intercept is pulled towards the source's, as in
        :class:`TransferLogisticRegression`.
    class_weight : dict or "balanced", default=None
        Weights of the classes, as in scikit-learn. They do not enter scores. ``None`` weighs all
        classes alike.
    tol : float, default=1e-10
        Largest relative gap between the objective and its optimum. The gap is relative to no less
        than a loss of 1e-6 per sample.
    max_iter : int, default=500
        Largest number of Newton steps.

    Attributes
    ----------
    alpha_ : float or ndarray
        Chosen candidate: the one of the best mean score, the last among equal ones; or infinity,
        which keeps the source, if it is a candidate and within one standard error of the best.
    cv_scores_ : ndarray of shape (n_alphas, n_folds)
        Scores of the candidates.
    classes_ : ndarray of shape (n_classes,)
        Classes of ``y``; if `source` is None, of ``y`` and ``y_target`` together.
    coef_ : ndarray of shape (1, n_features) or (n_classes, n_features)
        Coefficients; one row for two classes.
    intercept_ : ndarray of shape (1,) or (n_classes,)
        Intercepts.
    source_coef_ : ndarray of the shape of `coef_`
        Coefficients of the source. They are 0 for features and classes that the source lacks.
    source_intercept_ : ndarray of the shape of `intercept_`
        Intercepts of the source.
    n_iter_ : int
        Number of Newton steps of the last fit.
    n_features_in_ : int
        Number of features seen in `fit`.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of these features, if `X` has column names that are all strings.

    Warns
    -----
    ConvergenceWarning
        If `tol` is not reached in `max_iter` steps.
    DomainDataWarning
        If `source` is None and no target sample has a known label.

    See Also
    --------
    TransferLogisticRegression : Fits with one `alpha`.

    Notes
    -----
    Without labelled target samples, `alpha_` and `cv_scores_` describe the source's own model.

    Examples
    --------
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from skltransfer import TransferLogisticRegressionCV, WithSource
    >>> from skltransfer.datasets import load_biased_breast_cancer
    >>> data = load_biased_breast_cancer(random_state=0)
    >>> pipeline = make_pipeline(StandardScaler(), TransferLogisticRegressionCV())
    >>> model = WithSource(pipeline, data.X_source, data.y_source)
    >>> model = model.fit(data.X_target[:40], data.y_target[:40])
    >>> model.score(data.X_target[40:], data.y_target[40:]) > 0.9
    True
    """

    def __init__(
        self,
        source=None,
        *,
        alphas=None,
        cv=None,
        scoring: str | Callable = "neg_log_loss",
        source_alpha: float | None = None,
        fit_intercept: bool = True,
        penalize_intercept: bool | str = True,
        class_weight: dict | str | None = None,
        tol: float = 1e-10,
        max_iter: int = 500,
    ):
        self.source = source
        self.alphas = alphas
        self.cv = cv
        self.scoring = scoring
        self.source_alpha = source_alpha
        self.fit_intercept = fit_intercept
        self.penalize_intercept = penalize_intercept
        self.class_weight = class_weight
        self.tol = tol
        self.max_iter = max_iter

    def _fold_models(self, X, y, sample_weight, folds, coef, intercept, alphas):
        design = _Design(self, X, y, sample_weight, coef, intercept)
        held_in = np.zeros((len(folds), len(y)))
        for fold, (train, _) in enumerate(folds):
            np.add.at(held_in[fold], train, 1.0)
        weights = held_in * design.weights
        problems = [design.strength(alpha, held) for held in weights for alpha in alphas]
        tol = max(self.tol, _TOL_OF_SCORES)
        solution = design.solve(problems, np.repeat(weights, len(alphas), axis=0), tol)
        for fold in range(len(folds)):
            of_fold = slice(fold * len(alphas), (fold + 1) * len(alphas))
            yield design.unfold(solution.shift[of_fold])

    def _quick_scores(self, X, y, sample_weight, coefs, intercepts):
        if self.scoring != "neg_log_loss":
            return None
        logits = path_scores(X, coefs, intercepts)  # (m, n, k)
        codes = np.searchsorted(self.classes_, y)
        if logits.shape[2] == 1:
            signed = np.where(codes == 1, logits[..., 0], -logits[..., 0])
            log_p = -np.logaddexp(0.0, -signed)
        else:
            log_p = log_softmax(logits, axis=2)[:, np.arange(len(y)), codes]
        log_p = np.maximum(log_p, np.log(np.finfo(float).eps))  # as scikit-learn's log_loss does
        return np.average(log_p, axis=1, weights=sample_weight)

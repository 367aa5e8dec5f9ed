"""Regression for several tasks at once."""

from __future__ import annotations

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.metrics import r2_score

from skltransfer._solvers._mean_regularized import mean_regularized_ridge
from skltransfer._solvers._multitask import TaskRows
from skltransfer._solvers._trace_norm import trace_norm_ridge
from skltransfer.parameter._multitask import MultiTask
from skltransfer.parameter._tasks import split_wide


class MultiTaskRegressor(RegressorMixin, MultiTask):
    r"""Linear regression, or a network, for several related tasks, each with its own model.

    With ``method="mean_regularized"`` the models stay near a common one [1]_:

    .. math::

        \min_{w_0, v, b} \; \sum_t \sum_{i \in t} s_i \bigl(y_i - (w_0 + v_t)^\top x_i - b_t\bigr)^2
        + \alpha \sum_t \lVert v_t \rVert^2 + \alpha_0 \lVert w_0 \rVert^2

    With ``method="trace_norm"`` they share few directions [2]_, [3]_: the penalty is
    :math:`\alpha \lVert W \rVert_*`, the sum of the singular values of all tasks' coefficients.

    With ``method="network"`` each has a linear head on the features of one network (`backbone`),
    trained together by the weighted mean of half the squared errors. With
    ``task_weight="uncertainty"`` it learns the noise of each task as well [4]_:

    .. math::

        \min \; \frac{1}{\sum_i s_i} \sum_t \sum_{i \in t} s_i \Bigl(
        \frac{(y_i - f_t(x_i))^2}{2 \sigma_t^2} + \log \sigma_t \Bigr),

    so that :math:`\sigma_t^2` is the task's mean squared error, but at least 0.0001 of the variance
    of the labels.

    Parameters
    ----------
    method : {"mean_regularized", "trace_norm", "network"}, default="mean_regularized"
        What the tasks share.
    task_column : int or str, default=None
        Position or name of the column of ``X`` that holds the task of each row (long form, with a
        1-D ``y``); its labels are of any kind that can be sorted, and the other columns are
        numbers. ``None`` takes each column of a 2-D ``y`` as a task (wide form), and a 1-D ``y``
        as the only one.
    alpha : float, default=1.0
        How strongly the tasks are held together: the pull of each task towards the common model, at
        least 0, or the weight of the trace norm, positive. For ``"mean_regularized"`` it goes from
        one ridge regression for each task to a single one with an intercept for each.
    shared_alpha : float, default=1.0
        Ridge penalty of the common model, at least 0; as it grows, the tasks become separate ridge
        regressions with `alpha`. Only for ``"mean_regularized"``; `alpha` is for both linear forms.
    task_weight : {"balanced", "uncertainty"}, dict or array-like of shape (n_tasks,), default=None
        By what the weights of a task's rows are multiplied. ``None`` counts each row alike,
        ``"balanced"`` each task. A dictionary maps tasks to numbers, 1 where it names none; an
        array is in the order of `tasks_`. ``"uncertainty"`` is for ``"network"``.
    fit_intercept : bool, default=True
        Whether each task has an intercept, which is not penalised. Heads of a network always have.
    tol : float, default=1e-6
        Relative distance of the objective from the optimum, at most, for ``"trace_norm"``; the
        other linear form is solved directly. For ``"network"`` the largest entry of the gradient at
        which L-BFGS ends.
    max_iter : int, default=10000
        Largest number of steps. Only for ``"trace_norm"``.
    backbone : str, callable, torch.nn.Module, Backbone, fitted estimator or None, default=None
        The trunk, see :func:`~skltransfer.load_backbone`; held by reference and never changed.
        ``None``: a table network with `hidden_layer_sizes`. This and all that follows is for
        ``"network"`` only, and is explained at :class:`FineTunedRegressor`.
    weights : str, Path, torchvision weights or None, default="default"
        The published weights, those of a file, or ``None`` for random ones.
    unfreeze : {"all", "head"}, str or int, default="all"
        How deep to train the trunk: not at all (``"head"``), from a stage upwards, or that many
        stages from the top.
    hidden_layer_sizes : tuple of int, default=(64,)
        Widths of the table network; empty: the heads see the columns themselves, and the tasks
        share nothing.
    optimizer : {"auto", "adamw", "sgd", "lbfgs"}, default="auto"
        ``"auto"`` takes all rows at once (L-BFGS) on tables of at most 2000 rows, and for heads
        alone, and mini-batches (AdamW) otherwise.
    lr : float or "auto", default="auto"
        Learning rate of the heads.
    weight_decay : float, default=0.01
        Pull of matrices to zero: with L-BFGS the factor of half the squared norm beside the mean
        loss. Weights of rows, classes and tasks are relative to their mean.
    max_epochs : int or "auto", default="auto"
        Passes over the rows; iterations of L-BFGS, at most 500 for ``"auto"``.
    batch_size : int or "auto", default="auto"
        Rows per step.
    image_shape : tuple of int, default=None
        Shape of one image where ``X`` holds flattened images in its rows.
    value_range : (float, float), default=None
        Values of black and of white in arrays of images.
    device : str or torch.device, default="auto"
        ``"auto"`` is a GPU when there is one.
    precision : {"auto", "float32", "float64", "bfloat16", "float16"}, default="auto"
        Arithmetic.
    random_state : int, RandomState instance or None, default=0
        Seed of random weights and of the order of rows. Global generators are not touched.

    Attributes
    ----------
    tasks_ : ndarray of shape (n_tasks,)
        Tasks in sorted order (long), or names or positions of the columns of ``y`` (wide).
    coef_ : ndarray of shape (n_tasks, n_coefficients)
        Coefficients of each task, in the columns of ``X`` without that of the tasks. For a linear
        form only, as all that follow up to `optimality_gap_`.
    intercept_ : ndarray of shape (n_tasks,)
        Intercepts.
    shared_coef_ : ndarray of shape (n_coefficients,)
        The common model ``w_0``, or, for ``"trace_norm"``, the mean of the tasks' coefficients:
        what `predict` uses for a task that was not fitted.
    shared_intercept_ : float
        Its intercept: that which gives a task its mean prediction, on average over the tasks.
    optimality_gap_ : float
        Certified bound on the relative distance of the objective from the optimum; 0 where solved
        directly.
    network_ : torch.nn.Module
        The trained network, in evaluation mode, for ``"network"``, as all that follow.
    stages_ : tuple of str
        Stages of the trunk, shallow to deep.
    history_ : list of dict
        One record an epoch.
    task_variance_ : ndarray of shape (n_tasks,)
        Learned variance of each task, with ``task_weight="uncertainty"``, in the
        squared units of ``y``.
    n_iter_ : int
        Steps of the solver; records of `history_`.
    n_features_in_ : int
        Number of columns of ``X``, with that of the tasks.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Column names of ``X``, where all are strings.

    Warns
    -----
    ConvergenceWarning
        If `max_iter` steps, or `max_epochs` iterations of L-BFGS, do not reach `tol`.

    See Also
    --------
    MultiTaskClassifier : The same for classes.
    TransferRidge : One task, near a model learned before.
    FineTunedRegressor : One task, by a network.

    Notes
    -----
    The linear forms do not scale columns: the penalties weigh all alike, so scale them first. A
    scaler must leave the column of tasks alone: ``make_column_transformer((StandardScaler(),
    columns), remainder="passthrough")`` moves it to the end, ``task_column=-1``.

    A network learns each task's distance to its mean in units of a standard deviation: the task's
    own in the wide form, whose columns may measure different things, and the one within all tasks
    in the long form, whose tasks measure the same.

    For ``"network"`` columns are standardised, and rows may be images or texts: in the wide form as
    :class:`FineTunedRegressor` takes them, in the long form as flattened images beside the column
    of tasks, or as a frame of two columns, tasks and paths or texts. A task that was not fitted is
    given the mean of all heads. A fitted estimator is itself a backbone.

    References
    ----------
    .. [1] T. Evgeniou, M. Pontil, "Regularized Multi-Task Learning", KDD 2004, equation (4), with
       squared errors.
    .. [2] S. Ji, J. Ye, "An Accelerated Gradient Method for Trace Norm Minimization", ICML 2009.
    .. [3] T. K. Pong, P. Tseng, S. Ji, J. Ye, "Trace Norm Regularization: Reformulations,
       Algorithms, and Multi-Task Learning", SIAM Journal on Optimization 20, 2010.
    .. [4] A. Kendall, Y. Gal, R. Cipolla, "Multi-Task Learning Using Uncertainty to Weigh Losses
       for Scene Geometry and Semantics", CVPR 2018, equation (7).

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import Ridge
    >>> from skltransfer import MultiTaskRegressor
    >>> rng = np.random.default_rng(0)
    >>> w = rng.normal(size=10) + 0.3 * rng.normal(size=(20, 10))  # 20 tasks, close to each other
    >>> task = np.repeat(np.arange(20), 8)
    >>> X = rng.normal(size=(160, 10))
    >>> y = (X * w[task]).sum(axis=1) + rng.normal(size=160)
    >>> model = MultiTaskRegressor(task_column=-1).fit(np.column_stack([X, task]), y)
    >>> alone = [Ridge().fit(X[task == t], y[task == t]).coef_ for t in range(20)]
    >>> bool(np.linalg.norm(model.coef_ - w) < 0.75 * np.linalg.norm(alone - w))
    True
    """

    _y_is_numeric = True

    def __init__(
        self,
        method="mean_regularized",
        *,
        task_column=None,
        alpha=1.0,
        shared_alpha=1.0,
        task_weight=None,
        fit_intercept=True,
        tol=1e-6,
        max_iter=10000,
        backbone=None,
        weights="default",
        unfreeze="all",
        hidden_layer_sizes=(64,),
        optimizer="auto",
        lr="auto",
        weight_decay=0.01,
        max_epochs="auto",
        batch_size="auto",
        image_shape=None,
        value_range=None,
        device="auto",
        precision="auto",
        random_state=0,
    ):
        self.method = method
        self.task_column = task_column
        self.alpha = alpha
        self.shared_alpha = shared_alpha
        self.task_weight = task_weight
        self.fit_intercept = fit_intercept
        self.tol = tol
        self.max_iter = max_iter
        self.backbone = backbone
        self.weights = weights
        self.unfreeze = unfreeze
        self.hidden_layer_sizes = hidden_layer_sizes
        self.optimizer = optimizer
        self.lr = lr
        self.weight_decay = weight_decay
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.image_shape = image_shape
        self.value_range = value_range
        self.device = device
        self.precision = precision
        self.random_state = random_state

    def score(self, X, y, sample_weight=None):
        """Compute R^2.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows, as in `predict`.
        y : array-like of shape (n_samples,) or (n_samples, n_tasks)
            True values. In the wide form missing ones are left out.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows.

        Returns
        -------
        score : float
            Long: over all rows. Wide: the mean of the tasks' own, each over its known values;
            tasks with fewer than two of them are left out.
        """
        predicted = self.predict(X)
        if predicted.ndim == 1:
            return r2_score(y, predicted, sample_weight=sample_weight)
        y, known, _ = split_wide(y, len(predicted), predicted.shape[1])
        scores = []
        for t, rows in enumerate(known.T):
            if rows.sum() > 1:
                weights = None if sample_weight is None else np.asarray(sample_weight)[rows]
                values = y[rows, t].astype(np.float64)
                scores.append(r2_score(values, predicted[rows, t], sample_weight=weights))
        return float(np.mean(scores)) if scores else np.nan

    def _tasks_of(self, X, y, known, weights):
        if self._is_wide:
            y = np.where(known, y, np.nan).astype(np.float64)
            if np.isinf(y).any():
                raise ValueError("Input y contains infinity. Pass finite values, or NaN.")
        columns = y.T if self._is_wide else [y] * known.shape[1]
        return [
            TaskRows(X[rows], column[rows], weights[rows])
            for column, rows in zip(columns, known.T, strict=True)
        ]

    def _solve(self, tasks):
        if self.method == "trace_norm":
            return trace_norm_ridge(
                tasks, self.alpha, self.fit_intercept, tol=self.tol, max_iter=self.max_iter
            )
        return mean_regularized_ridge(tasks, self.alpha, self.shared_alpha, self.fit_intercept)

    def _problem_of(self, targets, tasks):
        from skltransfer.parameter._multitask_network import TaskNumbers  # loads torch

        return TaskNumbers(
            targets,
            len(tasks) + len(tasks) * self._is_uncertain,
            n_tasks=len(tasks),
            is_long=not self._is_wide,
            is_uncertain=self._is_uncertain,
        )

    def _set_coefficients(self, coef, intercept, shared_coef, shared_intercept):
        self.coef_, self.intercept_ = coef[:, 0], intercept[:, 0]
        self.shared_coef_, self.shared_intercept_ = shared_coef[0], float(shared_intercept[0])

    def _predicted(self, X, numbers):
        if hasattr(self, "_network"):
            return self._network_scores(X, numbers)[..., 0]
        if numbers is None:
            return X @ self.coef_.T + self.intercept_
        return self._scores(
            X,
            numbers,
            self.coef_[:, None],
            self.intercept_[:, None],
            self.shared_coef_[None],
            self.shared_intercept_,
        )[:, 0]

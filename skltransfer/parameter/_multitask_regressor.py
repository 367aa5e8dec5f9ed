"""Regression for several tasks at once."""

from __future__ import annotations

from typing import Any

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

    With ``method="trace_norm"`` the models share few directions [2]_, [3]_: the penalty is
    :math:`\alpha \lVert W \rVert_*`, the sum of the singular values of all tasks' coefficients.

    With ``method="network"`` each task has a linear head on the features of one network
    (`backbone`), and all are trained together by the weighted mean of half the squared errors. With
    ``task_weight="uncertainty"`` the network also learns the noise of each task [4]_:

    .. math::

        \min \; \frac{1}{\sum_i s_i} \sum_t \sum_{i \in t} s_i \Bigl(
        \frac{(y_i - f_t(x_i))^2}{2 \sigma_t^2} + \log \sigma_t \Bigr),

    so that :math:`\sigma_t^2` is the task's mean squared error, but at least 0.0001 of the variance
    of the labels.

    Parameters
    ----------
    method : {"mean_regularized", "trace_norm", "network"}, default="mean_regularized"
        Knowledge that the tasks share: a common model, directions, or a network.
    task_column : int or str, default=None
        Position or name of the column of ``X`` with the task of each sample (long form, with a 1-D
        ``y``). Task labels can be of any kind that can be sorted; the other columns are numbers.
        ``None`` takes each column of a 2-D ``y`` as a task (wide form), and a 1-D ``y`` as the only
        one.
    alpha : float, default=1.0
        Strength of the ties between tasks: the pull of each task towards the common model, at least
        0, or the weight of the trace norm, positive. For ``"mean_regularized"``, 0 means one ridge
        regression for each task, and a large value a single one with an intercept for each task.
    shared_alpha : float, default=1.0
        Ridge penalty of the common model for ``"mean_regularized"``, at least 0. With a large value
        the tasks become separate ridge regressions with `alpha`.
    task_weight : {"balanced", "uncertainty"}, dict or array-like of shape (n_tasks,), default=None
        Factor of the weights of a task's samples. ``None`` weighs all samples alike,
        ``"balanced"`` all tasks. A dictionary maps tasks to numbers, 1 for tasks that it does not
        name. An array is in the order of `tasks_`. ``"uncertainty"`` needs ``"network"``.
    fit_intercept : bool, default=True
        Whether each task has an intercept, which is not penalised. Heads of a network always have
        one.
    tol : float, default=1e-6
        Largest relative gap between the objective and its optimum for ``"trace_norm"``.
        ``"mean_regularized"`` is solved directly. For ``"network"``, largest entry of the gradient
        at which L-BFGS stops.
    max_iter : int, default=10000
        Largest number of steps of ``"trace_norm"``.
    backbone : str, callable, torch.nn.Module, Backbone, fitted estimator or None, default=None
        Trunk of the network, see :func:`~skltransfer.load_backbone`. It is held by reference and
        never changed. ``None`` is a table network with `hidden_layer_sizes`. This parameter and the
        following ones are for ``"network"``; :class:`FineTunedRegressor` explains them.
    weights : str, Path, torchvision weights or None, default="default"
        Weights of the trunk to start from. ``"default"`` takes the published weights, a path takes
        a file of weights, and ``None`` draws random weights.
    unfreeze : {"all", "head"}, str or int, default="all"
        Stages of the trunk that are trained. ``"all"`` trains every stage, and ``"head"`` trains
        the heads alone. A number trains this many stages from the top, and a name trains the stage
        of that name and all stages above it.
    hidden_layer_sizes : tuple of int, default=(64,)
        Widths of the hidden layers of the table network. With an empty tuple the heads see the
        features themselves, and the tasks share nothing.
    optimizer : {"auto", "adamw", "sgd", "lbfgs"}, default="auto"
        Optimizer. ``"auto"`` is L-BFGS on all samples at once for tables of at most 2000 samples
        and for heads alone on at most 20000 samples, and AdamW on mini-batches otherwise.
    lr : float or "auto", default="auto"
        Learning rate of the heads. ``"auto"`` is 0.001 for AdamW and 0.01 for SGD. L-BFGS does not
        use it.
    weight_decay : float, default=0.01
        Pull of matrices to zero. With L-BFGS, factor of half the squared norm beside the mean loss.
        Weights of samples and tasks are relative to their mean.
    max_epochs : int or "auto", default="auto"
        Number of passes over the samples, or of iterations of L-BFGS. ``"auto"`` makes about 500
        steps in 10 to 100 passes, and at most 500 iterations.
    batch_size : int or "auto", default="auto"
        Number of samples per step. ``"auto"`` is 64 for tables and 32 otherwise.
    image_shape : tuple of int, default=None
        Shape of one image in pixels if each sample of ``X`` is a flattened image. ``None`` takes
        ``X`` as it is.
    value_range : (float, float), default=None
        Values of black and white in images. ``None`` is (0, 255) for integers, (0, 1) for floats
        and bools, and the range of its format for a file.
    device : str or torch.device, default="auto"
        Device of the network. ``"auto"`` is a GPU if there is one, else the CPU.
    precision : {"auto", "float32", "float64", "bfloat16", "float16"}, default="auto"
        Floating-point type of the training. ``"auto"`` is float64 for tables on the CPU and float32
        otherwise. ``"bfloat16"`` and ``"float16"`` mean mixed precision, in which the weights stay
        in float32.
    random_state : int, RandomState instance or None, default=0
        Seed of random weights and of the order of samples. Global generators are not touched.

    Attributes
    ----------
    tasks_ : ndarray of shape (n_tasks,)
        Tasks in sorted order (long form), or names or positions of the columns of ``y`` (wide
        form).
    coef_ : ndarray of shape (n_tasks, n_coefficients)
        Coefficients of each task, without the column of tasks. This attribute and the following
        ones up to `optimality_gap_` are set by the linear methods.
    intercept_ : ndarray of shape (n_tasks,)
        Intercepts.
    shared_coef_ : ndarray of shape (n_coefficients,)
        Coefficients of the common model ``w_0``; for ``"trace_norm"``, the mean of the tasks'
        coefficients. `predict` uses them for a task that was not fitted.
    shared_intercept_ : float
        Intercept of the common model. On average over the tasks, it gives a task its mean
        prediction.
    optimality_gap_ : float
        Certified bound on the relative gap between the objective and its optimum; 0 for
        ``"mean_regularized"``, which is solved directly.
    network_ : torch.nn.Module
        Trained network in evaluation mode. This attribute, `stages_` and `history_` are set by
        ``"network"``.
    stages_ : tuple of str
        Names of the stages of the trunk, from shallow to deep.
    history_ : list of dict
        One record for each epoch.
    task_variance_ : ndarray of shape (n_tasks,)
        Learned variance of each task with ``task_weight="uncertainty"``, in squared units of ``y``.
    n_iter_ : int
        Number of steps of the solver, or of records of `history_`.
    n_features_in_ : int
        Number of features seen in `fit`.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of these features, if `X` has column names that are all strings.

    Warns
    -----
    ConvergenceWarning
        If `tol` is not reached in `max_iter` steps, or in `max_epochs` iterations of L-BFGS.

    See Also
    --------
    MultiTaskClassifier : Classification for several tasks.
    TransferRidge : One task, near a source's model.
    FineTunedRegressor : One task, by a network.

    Notes
    -----
    The linear methods do not scale features. The penalties treat all features alike, so scale them
    first, but not the column of tasks: ``make_column_transformer((StandardScaler(), columns),
    remainder="passthrough")`` moves it to the end, where it is ``task_column=-1``.

    A network learns the distance of each label to its task's mean, in units of a standard
    deviation. In the wide form, whose columns may measure different things, it is the task's own
    standard deviation. In the long form, whose tasks measure the same, it is the standard deviation
    within all tasks.

    A network standardises features, and accepts images and texts. In the wide form they are given
    as to :class:`FineTunedRegressor`. In the long form they are flattened images beside the column
    of tasks, or a frame of two columns: tasks, and paths or texts. A task that was not fitted gets
    the mean of all heads. A fitted estimator is itself a backbone.

    The linear methods take time in proportion to the number of samples and the square of the number
    of features. ``"mean_regularized"`` solves a system of each task, ``"trace_norm"`` a singular
    value decomposition in each iteration. Memory grows with the number of samples.

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
        method: str = "mean_regularized",
        *,
        task_column: int | str | None = None,
        alpha: float = 1.0,
        shared_alpha: float = 1.0,
        task_weight=None,
        fit_intercept: bool = True,
        tol: float = 1e-6,
        max_iter: int = 10000,
        backbone=None,
        weights: Any = "default",
        unfreeze: str | int = "all",
        hidden_layer_sizes: tuple[int, ...] = (64,),
        optimizer: str = "auto",
        lr: float | str = "auto",
        weight_decay: float = 0.01,
        max_epochs: int | str = "auto",
        batch_size: int | str = "auto",
        image_shape: tuple[int, ...] | None = None,
        value_range=None,
        device: Any = "auto",
        precision: str = "auto",
        random_state: int | np.random.RandomState | None = 0,
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
            Samples, as in `predict`.
        y : array-like of shape (n_samples,) or (n_samples, n_tasks)
            True values. In the wide form, missing values are left out.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples.

        Returns
        -------
        score : float
            R^2 over all samples (long form), or the mean over tasks (wide form). Tasks with fewer
            than two known values are left out.
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

    def _solve(self, tasks, unit, label_unit):
        if self.method == "trace_norm":
            return trace_norm_ridge(
                tasks,
                self.alpha * unit * label_unit,
                self.fit_intercept,
                tol=self.tol,
                max_iter=self.max_iter,
            )
        alphas = self.alpha * unit * unit, self.shared_alpha * unit * unit
        return mean_regularized_ridge(tasks, *alphas, self.fit_intercept)

    def _network_labels(self, targets, tasks):
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
        if numbers is None and not hasattr(self, "_network"):
            return X @ self.coef_.T + self.intercept_
        return self._own_scores(X, numbers)[..., 0]

"""Classification for several tasks at once."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import log_softmax, softmax
from sklearn.base import ClassifierMixin
from sklearn.metrics import accuracy_score
from sklearn.utils.multiclass import check_classification_targets

from skltransfer._decorators import available_if
from skltransfer._solvers._classes import (
    check_class_weight,
    check_several_classes,
    decisions,
    log_probabilities,
    predicted_codes,
    probabilities,
    weights_by_class,
)
from skltransfer._solvers._mean_regularized import mean_regularized_logistic
from skltransfer._solvers._multitask import TaskRows
from skltransfer._solvers._trace_norm import trace_norm_logistic
from skltransfer.parameter._multitask import MultiTask
from skltransfer.parameter._tasks import split_wide, union_of_labels, with_own_type


def _is_not_wide(estimator) -> bool:
    return not getattr(estimator, "_is_wide", False)


class MultiTaskClassifier(ClassifierMixin, MultiTask):
    r"""Logistic regression, or a network, for several related tasks, each with its own model.

    With ``method="mean_regularized"`` the models stay near a common one [1]_:

    .. math::

        \min_{W_0, V, b} \; \sum_t \sum_{i \in t} s_i \, \ell\bigl((W_0 + V_t) x_i + b_t, y_i\bigr)
        + \frac{\alpha}{2} \sum_t \lVert V_t \rVert^2 + \frac{\alpha_0}{2} \lVert W_0 \rVert^2

    with the logistic loss for two classes, and the softmax loss for more. With
    ``method="trace_norm"`` the models share few directions [2]_, [3]_: the penalty is
    :math:`\alpha \lVert W \rVert_*`, where ``W`` holds the coefficients of all tasks and classes
    as rows. With ``method="network"`` each task has a linear head on the features of one network
    (`backbone`), and all are trained together by the weighted mean of their losses. With
    ``task_weight="uncertainty"`` the network also learns a divisor of the loss of each task [4]_:

    .. math::

        \min \; \frac{1}{\sum_i s_i} \sum_t \sum_{i \in t} s_i \Bigl(
        \frac{\ell(f_t(x_i), y_i)}{\sigma_t^2} + \log \sigma_t \Bigr),

    so that :math:`\sigma_t^2` is twice the task's mean loss, but at least 0.01.

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
        0, or the weight of the trace norm, positive.
    shared_alpha : float, default=1.0
        Ridge penalty of the common model for ``"mean_regularized"``, at least 0. With a large value
        the tasks become separate logistic regressions with ``C = 1 / alpha``.
    class_weight : dict or "balanced", default=None
        Weights of the classes, as in scikit-learn. ``"balanced"`` counts classes over all tasks
        (long form) or in each task (wide form). ``None`` weighs all classes alike.
    task_weight : {"balanced", "uncertainty"}, dict or array-like of shape (n_tasks,), default=None
        Factor of the weights of a task's samples. ``None`` weighs all samples alike,
        ``"balanced"`` all tasks. A dictionary maps tasks to numbers, 1 for tasks that it does not
        name. An array is in the order of `tasks_`. ``"uncertainty"`` needs ``"network"``.
    fit_intercept : bool, default=True
        Whether each task has an intercept for each class. It is not penalised. If a task of the
        long form lacks a class, `alpha` penalises its intercepts at the mean of its samples. Heads
        of a network always have intercepts, which `weight_decay` then penalises.
    tol : float, default=1e-6
        Largest relative gap between the objective and its optimum. The gap is relative to no less
        than a loss of 1e-6 per sample. ``"mean_regularized"`` takes one more Newton step, which
        squares the gap. For ``"network"``, largest entry of the gradient at which L-BFGS stops.
    max_iter : int, default=10000
        Largest number of steps of a linear method.
    backbone : str, callable, torch.nn.Module, Backbone, fitted estimator or None, default=None
        Trunk of the network, see :func:`~skltransfer.load_backbone`. It is held by reference and
        never changed. ``None`` is a table network with `hidden_layer_sizes`. This parameter and the
        following ones are for ``"network"``; :class:`FineTunedClassifier` explains them.
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
        Weights of samples, classes and tasks are relative to their mean.
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
    classes_ : ndarray of shape (n_classes,) or list of such arrays
        Classes of all tasks together (long form), or of each task (wide form).
    tasks_ : ndarray of shape (n_tasks,)
        Tasks in sorted order (long form), or names or positions of the columns of ``y`` (wide
        form).
    coef_ : ndarray of shape (n_tasks, n_outputs, n_coefficients)
        Coefficients of each task, without the column of tasks. There is one output for two classes,
        and else one for each class; in the wide form, one for each label of any task. This
        attribute and the following ones up to `optimality_gap_` are set by the linear methods.
    intercept_ : ndarray of shape (n_tasks, n_outputs)
        Intercepts.
    shared_coef_ : ndarray of shape (n_outputs, n_coefficients)
        Coefficients of the common model ``W_0``; for ``"trace_norm"``, the mean of the tasks'
        coefficients. `predict` uses them for a task that was not fitted.
    shared_intercept_ : ndarray of shape (n_outputs,)
        Intercepts of the common model. On average over the tasks, they give a task its mean score.
    optimality_gap_ : float
        Relative gap between the objective and its optimum: a certified bound for ``"trace_norm"``,
        Newton's estimate before its last step for ``"mean_regularized"``.
    network_ : torch.nn.Module
        Trained network in evaluation mode. This attribute, `stages_` and `history_` are set by
        ``"network"``.
    stages_ : tuple of str
        Names of the stages of the trunk, from shallow to deep.
    history_ : list of dict
        One record for each epoch.
    task_variance_ : ndarray of shape (n_tasks,)
        Learned variance of each task with ``task_weight="uncertainty"``. It is NaN for a task with
        nothing to learn.
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
    MultiTaskRegressor : Regression for several tasks.
    TransferLogisticRegression : One task, near a source's model.
    FineTunedClassifier : One task, by a network.

    Notes
    -----
    The linear methods do not scale features. The penalties treat all features alike, so scale them
    first, but not the column of tasks: ``make_column_transformer((StandardScaler(), columns),
    remainder="passthrough")`` moves it to the end, where it is ``task_column=-1``.

    In the wide form, classes are matched between tasks by their label. Tasks without a common label
    share nothing under ``"mean_regularized"``. A column with a single class predicts it. To
    cross-validate a wide ``y`` with missing values, pass a splitter such as ``cv=KFold(5)``,
    because scikit-learn would look for classes to stratify by.

    A network standardises features, and accepts images and texts. In the wide form they are given
    as to :class:`FineTunedClassifier`. In the long form they are flattened images beside the column
    of tasks, or a frame of two columns: tasks, and paths or texts. A task that was not fitted gets
    the mean of all heads. A fitted estimator is itself a backbone.

    The linear methods take time in proportion to the number of samples and the square of the number
    of features. ``"mean_regularized"`` solves a system of each task, ``"trace_norm"`` a singular
    value decomposition in each iteration. Memory grows with the number of samples.

    References
    ----------
    .. [1] T. Evgeniou, M. Pontil, "Regularized Multi-Task Learning", KDD 2004, equation (4), with
       the logistic loss.
    .. [2] S. Ji, J. Ye, "An Accelerated Gradient Method for Trace Norm Minimization", ICML 2009.
    .. [3] T. K. Pong, P. Tseng, S. Ji, J. Ye, "Trace Norm Regularization: Reformulations,
       Algorithms, and Multi-Task Learning", SIAM Journal on Optimization 20, 2010.
    .. [4] A. Kendall, Y. Gal, R. Cipolla, "Multi-Task Learning Using Uncertainty to Weigh Losses
       for Scene Geometry and Semantics", CVPR 2018, equation (10).

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skltransfer import MultiTaskClassifier
    >>> rng = np.random.default_rng(0)
    >>> w = rng.normal(size=10) + 0.3 * rng.normal(size=(20, 10))  # 20 tasks, close to each other
    >>> X, X_test = rng.normal(size=(30, 10)), rng.normal(size=(500, 10))
    >>> y, y_test = (X @ w.T > 0).astype(int), (X_test @ w.T > 0).astype(int)
    >>> model = MultiTaskClassifier().fit(X, y)  # a column for each task
    >>> alone = [LogisticRegression().fit(X, column) for column in y.T]
    >>> scores = [one.score(X_test, right) for one, right in zip(alone, y_test.T)]
    >>> bool(model.score(X_test, y_test) > np.mean(scores) + 0.02)
    True
    """

    _y_is_numeric = False

    def __init__(
        self,
        method: str = "mean_regularized",
        *,
        task_column: int | str | None = None,
        alpha: float = 1.0,
        shared_alpha: float = 1.0,
        class_weight: dict | str | None = None,
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
        self.class_weight = class_weight
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

    @available_if(_is_not_wide)
    def decision_function(self, X):
        """Compute the linear scores, in the long form only.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Samples, as in `predict`.

        Returns
        -------
        scores : ndarray of shape (n_samples,) or (n_samples, n_classes)
            Scores of the classes; for two classes, the score of the second.
        """
        return decisions(self._own_scores(*self._read_rows(X)))

    def predict_proba(self, X):
        """Predict the probability of each class.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Samples, as in `predict`.

        Returns
        -------
        p : ndarray of shape (n_samples, n_classes) or list of such arrays
            Probabilities in the order of ``classes_``; in the wide form, an array for each task.
        """
        X, numbers = self._read_rows(X)
        if numbers is None:
            return [softmax(logits, axis=1) for logits in self._wide_logits(X)]
        return probabilities(self._own_scores(X, numbers))

    def predict_log_proba(self, X):
        """Predict the logarithm of the probability of each class.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Samples, as in `predict`.

        Returns
        -------
        log_p : ndarray of shape (n_samples, n_classes) or list of such arrays
            Probabilities in the order of ``classes_``; in the wide form, an array for each task.
        """
        X, numbers = self._read_rows(X)
        if numbers is None:
            return [log_softmax(logits, axis=1) for logits in self._wide_logits(X)]
        return log_probabilities(self._own_scores(X, numbers))

    def score(self, X, y, sample_weight=None):
        """Compute the accuracy.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Samples, as in `predict`.
        y : array-like of shape (n_samples,) or (n_samples, n_tasks)
            True labels. In the wide form, missing labels are left out.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples.

        Returns
        -------
        score : float
            Share of correct labels; in the wide form, of all known labels of all tasks.
        """
        predicted = self.predict(X)
        if predicted.ndim == 1:
            return float(accuracy_score(y, predicted, sample_weight=sample_weight))
        y, known, _ = split_wide(y, len(predicted), predicted.shape[1])
        weights = np.ones(len(y)) if sample_weight is None else np.asarray(sample_weight)
        right = (predicted == y) & known
        return float((weights @ right).sum() / (weights @ known).sum())

    # --- fit ---------------------------------------------------------------------------

    def _check_combinations(self):
        super()._check_combinations()
        if not isinstance(self.class_weight, dict):  # its keys are checked where labels are known
            check_class_weight(self.class_weight, ())

    def _tasks_of(self, X, y, known, weights):
        if self._is_wide:
            return self._wide_tasks(X, y, known, weights)
        check_classification_targets(y)
        self.classes_, codes = np.unique(y, return_inverse=True)
        self._labels = self.classes_
        check_class_weight(self.class_weight, self.classes_)
        check_several_classes(self, self.classes_)
        weights = weights * weights_by_class(self.class_weight, y, weights)
        tasks = []
        for rows in known.T:
            lacks_a_class = len(np.unique(codes[rows])) < len(self.classes_)
            strength = 1.0 if self.method == "network" else float(self.alpha)
            penalty = strength if lacks_a_class else 0.0
            tasks.append(TaskRows(X[rows], codes[rows], weights[rows], None, penalty))
        return tasks

    def _wide_tasks(self, X, y, known, weights):
        columns = [with_own_type(column[rows]) for column, rows in zip(y.T, known.T, strict=True)]
        for column in columns:
            check_classification_targets(column)
        self.classes_ = [np.unique(column) for column in columns]
        self._labels = union_of_labels(self.classes_)
        check_class_weight(self.class_weight, self._labels)
        if all(len(classes) < 2 for classes in self.classes_):
            raise ValueError(f"{type(self).__name__} needs a column of y with at least 2 classes.")
        number_of = {label: i for i, label in enumerate(self._labels)}
        tasks = []
        for column, classes, rows in zip(columns, self.classes_, known.T, strict=True):
            if len(classes) == 1:
                tasks.append(None)
                continue
            own = np.array([number_of[label] for label in classes.tolist()])
            codes = np.searchsorted(classes, column)
            weight = weights[rows] * weights_by_class(self.class_weight, column, weights[rows])
            allowed = None
            if len(classes) < len(self._labels):
                allowed = np.isin(np.arange(len(self._labels)), own)
            tasks.append(TaskRows(X[rows], own[codes], weight, allowed))
        return tasks

    def _solve(self, tasks, unit, label_unit):
        k = 1 if len(self._labels) == 2 else len(self._labels)
        limits = {"tol": self.tol, "max_iter": self.max_iter}
        if self.method == "trace_norm":
            return trace_norm_logistic(tasks, k, self.alpha * unit, self.fit_intercept, **limits)
        alphas = self.alpha * unit * unit, self.shared_alpha * unit * unit
        return mean_regularized_logistic(tasks, k, *alphas, self.fit_intercept, **limits)

    def _network_labels(self, targets, tasks):
        from skltransfer.parameter._multitask_network import TaskClasses  # loads torch

        k = 1 if len(self._labels) == 2 else len(self._labels)
        # Where a task lacks a class, its intercept would fall for ever.
        held = [t for t, task in enumerate(tasks) if task is not None and task.intercept_penalty]
        allowed = None
        if any(task is not None and task.allowed is not None for task in tasks):
            every = np.ones(len(self._labels), dtype=bool)
            allowed = [every if t is None or t.allowed is None else t.allowed for t in tasks]
        return TaskClasses(
            targets,
            k * len(tasks) + len(tasks) * self._is_uncertain,
            n_tasks=len(tasks),
            is_long=not self._is_wide,
            is_uncertain=self._is_uncertain,
            held=tuple(t * k + i for t in held for i in range(k)),
            allowed=None if allowed is None else np.stack(allowed),
        )

    def _set_coefficients(self, coef, intercept, shared_coef, shared_intercept):
        self.coef_, self.intercept_ = coef, intercept
        self.shared_coef_, self.shared_intercept_ = shared_coef, shared_intercept

    # --- predict -----------------------------------------------------------------------

    def _wide_logits(self, X):
        """Yield the logits of each task's own classes."""
        number_of = {label: i for i, label in enumerate(self._labels)}
        if hasattr(self, "_network"):
            by_task = np.moveaxis(self._network_scores(X, None), 1, 0)
        else:
            models = zip(self.coef_, self.intercept_, strict=True)
            by_task = (X @ coef.T + intercept for coef, intercept in models)
        for classes, scores in zip(self.classes_, by_task, strict=True):
            if scores.shape[1] == 1:
                scores = np.column_stack([np.zeros(len(X)), scores])
            yield scores[:, [number_of[label] for label in classes.tolist()]]

    def _predicted(self, X, numbers):
        if numbers is not None:
            return self.classes_[predicted_codes(self._own_scores(X, numbers))]
        columns = [
            classes[logits.argmax(axis=1)]
            for classes, logits in zip(self.classes_, self._wide_logits(X), strict=True)
        ]
        if len({column.dtype.kind for column in columns}) > 1:
            columns = [column.astype(object) for column in columns]
        return np.column_stack(columns)

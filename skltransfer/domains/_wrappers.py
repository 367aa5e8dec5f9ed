"""WithTarget and WithSource: an adapting estimator together with the other domain's data."""

from __future__ import annotations

import numpy as np
from sklearn.base import BaseEstimator, clone, is_classifier
from sklearn.callback import CallbackSupportMixin, with_callbacks
from sklearn.utils import get_tags
from sklearn.utils.metaestimators import available_if

from skltransfer._warnings import warn
from skltransfer.domains._by_reference import HoldsByReference
from skltransfer.domains._callbacks import FitTask
from skltransfer.domains._data import (
    DomainDataWarning,
    check_no_missing_labels,
    check_not_empty,
    check_same_length,
    check_same_width,
    in_order_of,
    known_labels,
)
from skltransfer.domains._delegation import DelegatingTransformerMixin, estimator_has
from skltransfer.domains._refit import forget
from skltransfer.domains._routing import (
    consumed_keywords,
    fit_weighted,
    fit_with_target,
    is_numbered,
    name_steps,
)


class _HoldsDomain(
    HoldsByReference, CallbackSupportMixin, DelegatingTransformerMixin, BaseEstimator
):
    """Holds the other domain's data by reference: a clone shares it and copies nothing."""

    def _warn_without_data(self, missing: str) -> None:
        # A two-domain estimator inside says so itself.
        if not consumed_keywords(self.estimator, "fit", ["X_target"]):
            warn(
                f"{type(self).__name__} was given no {missing}: {name_steps(self.estimator)} is "
                "fitted as it is, without data of the other domain.",
                DomainDataWarning,
            )

    def _check_one_coding(self, y, held_labels, held_name: str) -> None:
        """Refuse labels that an ensemble has numbered beside held labels that it has not."""
        if y is None or not is_classifier(self.estimator):
            return
        if len(held_labels) and np.ndim(held_labels) != np.ndim(y):
            raise ValueError(
                f"{held_name} has shape {np.shape(held_labels)} and y has shape {np.shape(y)}. "
                "Give both domains labels of the same form."
            )
        if not is_numbered(y):
            return
        classes = np.unique(y).tolist()
        outside = sorted(set(np.asarray(held_labels).tolist()) - set(classes), key=str)
        if outside:
            raise ValueError(
                f"y holds exactly the classes 0..{len(classes) - 1}, and {held_name} also holds "
                f"{outside[:5]}. Voting, stacking and bagging number the classes 0..k-1 before "
                f"their members see them, but cannot number those of {held_name}: encode the "
                "labels of both domains by one LabelEncoder, and fit on rows of every class. If "
                "the domains do have different classes, name the classes by strings."
            )


class WithTarget(_HoldsDomain):
    """Fit an adapting estimator on source rows, with the target's rows held here.

    scikit-learn sees source rows: ``fit(X, y)`` calls
    ``estimator.fit(X, y, X_target=X_target, y_target=y_target)``, in which every step that asks
    for the target receives it, mapped by the steps before. Use it when the target has no
    labels; when it has some, :class:`WithSource` scores on what matters.

    Parameters
    ----------
    estimator : estimator
        A two-domain estimator, or a pipeline, search or other composition of such. It is cloned
        before it is fitted.
    X_target : array-like of shape (n_target_samples, n_features), default=None
        Rows of the target, in the same columns as the ``X`` given to `fit`. Held by reference.
    y_target : array-like of shape (n_target_samples,), default=None
        What is known of their labels: ``None`` for nothing; ``NaN`` (or ``None`` or
        ``pandas.NA`` in arrays of objects) marks a missing label. Held by reference.

    Attributes
    ----------
    estimator_ : estimator
        The fitted clone.
    classes_ : ndarray of shape (n_classes,)
        The classes, for a classifier.
    n_features_in_ : int
        Number of columns of ``X``, where the estimator has it.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Column names of ``X``, where all are strings.

    See Also
    --------
    WithSource : The same with the source held and the target given.

    Notes
    -----
    Metadata routing is switched on inside `fit` only, and every request is set on the clone.
    Cloning copies no data. When no step asks for the target, it is dropped with a
    :class:`DomainDataWarning`. It belongs outermost: a step before it would not map the target.

    Inside voting, stacking and bagging, labels are numbered 0..k-1 before members see them;
    encode the labels of both domains by one ``LabelEncoder`` first. Meta-estimators that change
    ``y`` in another way (``TransformedTargetRegressor``, ``OneVsRestClassifier``, multi-output
    ones) cannot change the labels held here: put them inside the reweighter.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from skltransfer import KMMReweighter, WithTarget
    >>> rng = np.random.default_rng(0)
    >>> X_old, X_new = rng.normal(size=(60, 2)), rng.normal(0.7, 0.8, size=(50, 2))
    >>> y_old = (X_old[:, 0] > 0).astype(int)
    >>> adapted = make_pipeline(StandardScaler(), KMMReweighter(LogisticRegression()))
    >>> model = WithTarget(adapted, X_target=X_new).fit(X_old, y_old)
    >>> model.predict([[-1.0, 0.0], [1.0, 0.0]])
    array([0, 1])
    """

    _held = ("X_target", "y_target")

    def __init__(self, estimator, X_target=None, y_target=None):
        self.estimator = estimator
        self.X_target = X_target
        self.y_target = y_target

    def fit(self, X, y=None, sample_weight=None):
        """Fit a clone of the estimator on source rows and the held target rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Source rows.
        y : array-like of shape (n_samples,), default=None
            Source labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the source rows, for the steps that ask for the target and for the last
            step. For a last step that takes no weights, integer weights repeat rows.

        Returns
        -------
        self : WithTarget
        """
        self._fit("fit", X, y, sample_weight)
        return self

    @available_if(estimator_has("transform"))
    def fit_transform(self, X, y=None, sample_weight=None):
        """Fit and return the source rows, mapped as source.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Source rows.
        y : array-like of shape (n_samples,), default=None
            Source labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the source rows.

        Returns
        -------
        X_new : ndarray of shape (n_samples, n_features_out)
            What the estimator's own ``fit_transform`` makes of the source rows. `transform`
            maps target rows.
        """
        if hasattr(self.estimator, "fit_transform"):
            return self._fit("fit_transform", X, y, sample_weight)
        return self.fit(X, y, sample_weight).transform(X)

    @with_callbacks
    def _fit(self, method, X, y, sample_weight):
        task = FitTask.begin(self, X, y, sample_weight, max_subtasks=1)
        self._check_data(X, y)
        forget(self)
        X_target = in_order_of(X, self.X_target, "X_target")
        consumed = consumed_keywords(self.estimator, method) if self.X_target is not None else set()
        estimator = clone(self.estimator)
        with task.hand_on(estimator):
            if "X_target" not in consumed:
                if self.X_target is None:
                    self._warn_without_data("X_target")
                else:
                    self._warn_unused(["X_target"] + ["y_target"] * (self.y_target is not None))
                result = fit_weighted(estimator, X, y, sample_weight, method=method)
            else:
                if self.y_target is not None and "y_target" not in consumed:
                    self._warn_unused(["y_target"])
                result = fit_with_target(
                    estimator,
                    X,
                    y,
                    X_target=X_target,
                    y_target=self.y_target,
                    sample_weight=sample_weight,
                    method=method,
                )
        self._adopt(estimator)
        task.end({})
        return result

    def _check_data(self, X, y) -> None:
        if self.X_target is None:
            if self.y_target is not None:
                raise ValueError("y_target was given without X_target. Pass the target's rows too.")
            return
        check_not_empty(self.X_target, "X_target")
        check_same_width(self.X_target, X, "X_target")
        if self.y_target is not None:
            _, labels = known_labels(self.y_target, self.X_target)
            self._check_one_coding(y, labels, "y_target")

    def _warn_unused(self, names) -> None:
        warn(
            f"No step of {name_steps(self.estimator)} asks for {' or '.join(names)}: it is not "
            "used. Add a two-domain step (such as KMMReweighter or PooledEstimator), or leave "
            "WithTarget out.",
            DomainDataWarning,
        )


class WithSource(_HoldsDomain):
    """Fit an adapting estimator for the rows given to `fit`, with the source's data held here.

    scikit-learn sees target rows, so that folds and scores are the target's: ``fit(X, y)`` calls
    ``estimator.fit(X_source, y_source, X_target=X, y_target=y)``. This is the recommended way
    to compare methods and to choose their settings whenever any target labels exist, because
    scores on source rows rank nothing on the target. Around a plain estimator it is the
    source-only baseline.

    Parameters
    ----------
    estimator : estimator
        A two-domain estimator, or a pipeline, search or other composition of such; or a plain
        one, which is then fitted on the source alone. It is cloned before it is fitted.
    X_source : array-like of shape (n_source_samples, n_features), default=None
        Source rows. Held by reference.
    y_source : array-like of shape (n_source_samples,), default=None
        Source labels, all known. Held by reference.
    source_sample_weight : array-like of shape (n_source_samples,), default=None
        Weights of the source rows. A target row weighs one. Held by reference.
    use_y : bool, default=True
        Whether the target labels given to `fit` may be used. With False they serve only for
        scoring: the honest cross-validation of an unsupervised method.

    Attributes
    ----------
    estimator_ : estimator
        The fitted clone.
    classes_ : ndarray of shape (n_classes,)
        The classes, for a classifier.
    n_features_in_ : int
        Number of columns of ``X``, where the estimator has it.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Column names of ``X_source``, where all are strings.

    See Also
    --------
    WithTarget : The same with the target held and the source given.

    Notes
    -----
    Metadata routing is switched on inside `fit` only, and every request is set on the clone.
    Cloning copies no data. Meta-estimators that change ``y`` (``TransformedTargetRegressor``,
    ``OneVsRestClassifier``, multi-output ones) cannot change the labels held here: put them
    inside the reweighter. Without `X_source` the estimator is fitted on the rows given to
    `fit`, with a :class:`DomainDataWarning`.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.model_selection import cross_val_score
    >>> from skltransfer import KMMReweighter, WithSource
    >>> rng = np.random.default_rng(0)
    >>> X_old, X_new = rng.normal(size=(60, 2)), rng.normal(0.7, 0.8, size=(50, 2))
    >>> y_old, y_new = (X_old[:, 0] > 0).astype(int), (X_new[:, 0] > 0).astype(int)
    >>> model = WithSource(KMMReweighter(LogisticRegression()), X_source=X_old, y_source=y_old)
    >>> bool(cross_val_score(model, X_new, y_new, cv=3).min() > 0.8)
    True
    """

    _held = ("X_source", "y_source", "source_sample_weight")

    def __init__(
        self, estimator, X_source=None, y_source=None, *, source_sample_weight=None, use_y=True
    ):
        self.estimator = estimator
        self.X_source = X_source
        self.y_source = y_source
        self.source_sample_weight = source_sample_weight
        self.use_y = use_y

    @with_callbacks
    def fit(self, X, y=None):
        """Fit a clone of the estimator on the held source and the given target rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Target rows.
        y : array-like of shape (n_samples,), default=None
            What is known of their labels: ``None`` for nothing; ``NaN`` (or ``None`` or
            ``pandas.NA`` in arrays of objects) marks a missing label.

        Returns
        -------
        self : WithSource
        """
        task = FitTask.begin(self, X, y, max_subtasks=1)
        self._check_data(X, y)
        forget(self)
        X_source = in_order_of(X, self.X_source, "X_source")
        estimator = clone(self.estimator)
        with task.hand_on(estimator):
            if self.X_source is None:
                self._warn_without_data("X_source")
                estimator.fit(X, y)
            elif "X_target" not in consumed_keywords(self.estimator, "fit"):
                fit_weighted(estimator, X_source, self.y_source, self.source_sample_weight)
            else:
                fit_with_target(
                    estimator,
                    X_source,
                    self.y_source,
                    X_target=X,
                    y_target=y if self.use_y else None,
                    sample_weight=self.source_sample_weight,
                )
        self._adopt(estimator)
        task.end({})
        return self

    @available_if(estimator_has("transform"))
    def fit_transform(self, X, y=None):
        """Fit and return the target rows, mapped as target.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Target rows.
        y : array-like of shape (n_samples,), default=None
            What is known of their labels.

        Returns
        -------
        X_new : ndarray of shape (n_samples, n_features_out)
        """
        return self.fit(X, y).transform(X)

    def _check_data(self, X, y) -> None:
        if self.X_source is None:
            for name in ("y_source", "source_sample_weight"):
                if getattr(self, name) is not None:
                    raise ValueError(
                        f"{name} was given without X_source. Pass the source's rows too."
                    )
            return
        check_not_empty(self.X_source, "X_source")
        check_same_width(self.X_source, X, "X_source")
        if self.source_sample_weight is not None:
            check_same_length(
                self.source_sample_weight, self.X_source, "source_sample_weight", "X_source"
            )
        if self.y_source is not None:
            check_same_length(self.y_source, self.X_source, "y_source", "X_source")
            check_no_missing_labels(self.y_source)
            self._check_one_coding(y, self.y_source, "y_source")
        elif get_tags(self.estimator).target_tags.required:
            raise ValueError(
                f"X_source was given without y_source, but {name_steps(self.estimator)} requires y "
                "to be passed. Pass the source's labels as y_source."
            )

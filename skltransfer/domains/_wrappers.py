"""WithTarget and WithSource: an adapting estimator together with the other domain's data."""

from __future__ import annotations

import numpy as np
from sklearn.base import BaseEstimator, clone, is_classifier
from sklearn.callback import CallbackSupportMixin, with_callbacks
from sklearn.utils import get_tags, indexable
from sklearn.utils.metaestimators import available_if

from skltransfer._warnings import warn
from skltransfer.domains._by_reference import HoldsByReference
from skltransfer.domains._callbacks import FitTask
from skltransfer.domains._composition import consumed_keywords, name_steps
from skltransfer.domains._data import (
    DomainDataWarning,
    check_no_missing_labels,
    check_not_empty,
    check_same_length,
    check_same_width,
    different_forms,
    in_order_of,
    known_labels,
)
from skltransfer.domains._delegation import DelegatingTransformerMixin, estimator_has
from skltransfer.domains._refit import fits_anew
from skltransfer.domains._routing import check_candidates, fit_with_target, is_numbered
from skltransfer.domains._two_domains import given_target
from skltransfer.domains._weights import fit_weighted


class _HoldsDomain(
    HoldsByReference, CallbackSupportMixin, DelegatingTransformerMixin, BaseEstimator
):
    """Hold the data of the other domain by reference: a clone shares it and copies nothing."""

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
        (y,), (held_labels,) = indexable(y), indexable(held_labels)
        if len(held_labels) and np.ndim(held_labels) != np.ndim(y):
            raise ValueError(different_forms(held_name, held_labels, y))
        if not is_numbered(y):
            return
        classes = np.unique(y).tolist()
        outside = sorted(set(np.asarray(held_labels).tolist()) - set(classes), key=str)
        if outside:
            raise ValueError(
                f"y holds exactly the classes 0..{len(classes) - 1}, as voting, stacking and "
                f"bagging number them, and {held_name} also holds {outside[:5]}. Encode the labels "
                "of both domains by one LabelEncoder, and fit on rows of every class; if the "
                "domains do have different classes, name them by strings."
            )


class WithTarget(_HoldsDomain):
    """Fit a two-domain estimator on source samples, with the target samples held here.

    scikit-learn sees source samples. ``fit(X, y)`` calls ``estimator.fit(X, y, X_target=X_target,
    y_target=y_target)``, and every step that asks for the target receives it, mapped by the steps
    before. Use this wrapper if the target has no labels. If it has some, prefer
    :class:`WithSource`, which scores on the target.

    Parameters
    ----------
    estimator : estimator
        Two-domain estimator, or a pipeline, search or other composition of such. It is cloned
        before it is fitted.
    X_target : array-like of shape (n_target_samples, n_features), default=None
        Target samples, with the features of the ``X`` given to `fit`. Held by reference.
    y_target : array-like of shape (n_target_samples,), default=None
        Known labels of the target. A missing label is marked by ``NaN``, or in arrays of objects
        also by ``None`` or ``pandas.NA``. ``None`` if no label is known. Held by reference.

    Attributes
    ----------
    estimator_ : estimator
        The fitted clone.
    classes_ : ndarray of shape (n_classes,)
        The class labels. Set if `estimator` is a classifier.
    n_features_in_ : int
        Number of features seen during `fit`. Set if the estimator has it.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features seen during `fit`. Set if all feature names are strings.

    See Also
    --------
    WithSource : Holds the source, and is given the target.

    Notes
    -----
    Metadata routing is switched on inside `fit` only, and every request is set on the clone.
    Cloning copies no data. If no step asks for the target, it is dropped with a
    :class:`DomainDataWarning`. Put the wrapper outermost, because a step before it would not map
    the target.

    Source weights reach everything that learns from the labels, through voting, calibration,
    multi-class and multi-output estimators, thresholds, searches and pipelines. What would drop
    them is refused with a ``TypeError``.

    Voting, stacking and bagging number the labels 0..k-1 before their members see them. Encode the
    labels of both domains by one ``LabelEncoder`` first. Meta-estimators that change ``y`` in
    another way (``TransformedTargetRegressor``, ``OneVsRestClassifier``, multi-output ones) cannot
    change the labels held here. Put them inside the reweighter.

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
        """Fit a clone of the estimator on source samples and the held target samples.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Source samples.
        y : array-like of shape (n_samples,), default=None
            Source labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the source samples, for the steps that ask for the target and for the last
            step. If the last step takes no weights, samples are repeated by integer weights.

        Returns
        -------
        self : WithTarget
            The fitted wrapper.
        """
        self._fit("fit", X, y, sample_weight)
        return self

    @available_if(estimator_has("transform"))
    def fit_transform(self, X, y=None, sample_weight=None):
        """Fit and return the source samples, mapped as source.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Source samples.
        y : array-like of shape (n_samples,), default=None
            Source labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the source samples.

        Returns
        -------
        X_new : ndarray of shape (n_samples, n_features_out)
            Source samples, mapped by the estimator's own ``fit_transform``. `transform` maps target
            samples.
        """
        if hasattr(self.estimator, "fit_transform"):
            return self._fit("fit_transform", X, y, sample_weight)
        return self.fit(X, y, sample_weight).transform(X)

    @with_callbacks
    @fits_anew
    def _fit(self, method, X, y, sample_weight):
        task = FitTask.begin(self, X, y, sample_weight, max_subtasks=1)
        self._check_data(X, y)
        X_target = in_order_of(X, self.X_target, "X_target")
        consumed = consumed_keywords(self.estimator, method) if self.X_target is not None else set()
        estimator = clone(self.estimator)
        with task.hand_on(estimator):
            if self.X_target is None:
                self._warn_without_data("X_target")
            else:
                self._warn_of_unused(consumed)
            if "X_target" not in consumed:
                result = fit_weighted(estimator, X, y, sample_weight, method=method)
            else:
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
        given_target(self.X_target, self.y_target)  # refuses labels alone
        if self.X_target is None:
            return
        check_candidates(self.estimator)
        check_not_empty(self.X_target, "X_target")
        check_same_width(self.X_target, X, "X_target")
        if self.y_target is not None:
            _, labels = known_labels(self.y_target, self.X_target)
            self._check_one_coding(y, labels, "y_target")

    def _warn_of_unused(self, consumed) -> None:
        held = [name for name in self._held if getattr(self, name) is not None]
        if unused := [name for name in held if name not in consumed]:
            warn(
                f"No step of {name_steps(self.estimator)} asks for {' or '.join(unused)}, which is "
                "not used. Add a two-domain step (such as KMMReweighter), or leave WithTarget out.",
                DomainDataWarning,
            )


class WithSource(_HoldsDomain):
    """Fit a two-domain estimator for the samples given to `fit`, with the source held here.

    scikit-learn sees target samples, so that folds and scores belong to the target. ``fit(X, y)``
    calls ``estimator.fit(X_source, y_source, X_target=X, y_target=y)``. Prefer this wrapper to
    compare methods and to choose their settings whenever some target labels exist, because scores
    on source samples do not rank methods on the target. Around an ordinary estimator it is the
    source-only baseline.

    Parameters
    ----------
    estimator : estimator
        Two-domain estimator, or a pipeline, search or other composition of such. An ordinary
        estimator is fitted on the source alone. It is cloned before it is fitted.
    X_source : array-like of shape (n_source_samples, n_features), default=None
        Source samples. Held by reference.
    y_source : array-like of shape (n_source_samples,), default=None
        Source labels, all known. Held by reference.
    source_sample_weight : array-like of shape (n_source_samples,), default=None
        Weights of the source samples. A target sample weighs 1. Held by reference.
    use_y : bool, default=True
        Whether the target labels given to `fit` may be used. With False they serve only for
        scoring, which is the honest cross-validation of an unsupervised method.

    Attributes
    ----------
    estimator_ : estimator
        The fitted clone.
    classes_ : ndarray of shape (n_classes,)
        The class labels. Set if `estimator` is a classifier.
    n_features_in_ : int
        Number of features seen during `fit`. Set if the estimator has it.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features seen during `fit`. Set if all feature names are strings.

    See Also
    --------
    WithTarget : Holds the target, and is given the source.

    Notes
    -----
    Metadata routing is switched on inside `fit` only, and every request is set on the clone.
    Cloning copies no data. Meta-estimators that change ``y`` (``TransformedTargetRegressor``,
    ``OneVsRestClassifier``, multi-output ones) cannot change the labels held here. Put them inside
    the reweighter. Without `X_source` the estimator is fitted on the samples given to `fit`, with a
    :class:`DomainDataWarning`.

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
    @fits_anew
    def fit(self, X, y=None):
        """Fit a clone of the estimator on the held source and the given target samples.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Target samples.
        y : array-like of shape (n_samples,), default=None
            Known target labels. A missing label is marked by ``NaN``, or in arrays of objects also
            by ``None`` or ``pandas.NA``. ``None`` if no label is known.

        Returns
        -------
        self : WithSource
            The fitted wrapper.
        """
        task = FitTask.begin(self, X, y, max_subtasks=1)
        self._check_data(X, y)
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
        """Fit and return the target samples, mapped as target.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Target samples.
        y : array-like of shape (n_samples,), default=None
            Known target labels.

        Returns
        -------
        X_new : ndarray of shape (n_samples, n_features_out)
            Transformed target samples.
        """
        return self.fit(X, y).transform(X)

    def _check_data(self, X, y) -> None:
        if self.X_source is None:
            for name in ("y_source", "source_sample_weight"):
                if getattr(self, name) is not None:
                    raise ValueError(f"{name} was given without X_source. Pass X_source too.")
            return
        check_candidates(self.estimator)
        check_not_empty(self.X_source, "X_source")
        check_same_width(self.X_source, X, "X_source")
        if (weights := self.source_sample_weight) is not None:
            check_same_length(weights, self.X_source, "source_sample_weight", "X_source")
        if self.y_source is not None:
            check_same_length(self.y_source, self.X_source, "y_source", "X_source")
            check_no_missing_labels(self.y_source)
            self._check_one_coding(y, self.y_source, "y_source")
        elif get_tags(self.estimator).target_tags.required:
            raise ValueError(
                f"X_source was given without y_source, but {name_steps(self.estimator)} requires y "
                "to be passed. Pass the source's labels as y_source."
            )

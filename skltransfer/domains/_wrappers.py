"""WithTarget and WithSource: an adapting estimator together with the other domain's data."""

from __future__ import annotations

from typing import Self

import numpy as np
from scipy import sparse
from sklearn.base import clone, is_classifier
from sklearn.callback import CallbackSupportMixin
from sklearn.utils import _safe_indexing, get_tags, indexable

from skltransfer._decorators import available_if, with_callbacks
from skltransfer._documentation import DocumentedEstimator
from skltransfer._persisted import SavedWithoutSamples
from skltransfer._warnings import warn
from skltransfer.domains._by_reference import HoldsByReference
from skltransfer.domains._callbacks import FitTask
from skltransfer.domains._classes import classes_compared, compare_classes
from skltransfer.domains._composition import (
    consumed_keywords,
    learns_new_classes,
    name_steps,
)
from skltransfer.domains._data import (
    DomainDataWarning,
    check_finite_labels,
    check_no_missing_labels,
    check_not_empty,
    check_same_length,
    columns_compared,
    different_forms,
    in_one_form,
    known_labels,
    missing_labels,
    named_rows,
)
from skltransfer.domains._delegation import DelegatingTransformerMixin, estimator_has
from skltransfer.domains._place import at_one_stage, warn_of_columns
from skltransfer.domains._printing import is_printing, with_shapes
from skltransfer.domains._refit import fits_anew
from skltransfer.domains._routing import check_candidates, fit_with_target, is_numbered
from skltransfer.domains._sources import Source, one_stack
from skltransfer.domains._surroundings import changes_labels, numbers_classes
from skltransfer.domains._two_domains import given_target, weighed_rows
from skltransfer.domains._weights import fit_weighted


class _HoldsDomain(
    SavedWithoutSamples,
    HoldsByReference,
    CallbackSupportMixin,
    DelegatingTransformerMixin,
    DocumentedEstimator,
):
    """Hold the data of the other domain by reference: a clone shares it and copies nothing."""

    def get_params(self, deep: bool = True):
        """Return the parameters; while scikit-learn prints them, the shapes of the held data.

        Parameters
        ----------
        deep : bool, default=True
            Whether to return the parameters of nested estimators too.

        Returns
        -------
        params : dict of str to object
            Names and values.
        """
        params = super().get_params(deep=deep)
        return with_shapes(params, self._held) if is_printing() else params

    @available_if(estimator_has("score"))
    def score(self, X, y=None, sample_weight=None):
        """Score the fitted estimator on the samples whose label is known.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Target samples.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs), default=None
            True labels. Samples with a missing label (``NaN``, ``None`` or ``pandas.NA``) are left
            out.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples.

        Returns
        -------
        score : float
            Score of the estimator's own ``score`` method, usually accuracy or R^2.

        Raises
        ------
        ValueError
            If no label is known.
        """
        if y is not None and not sparse.issparse(y) and missing_labels(y).any():
            known, y = known_labels(y, X, name="y")
            if not known.any():
                raise ValueError(
                    "y holds no known label, and there is nothing to score on. In cross-validation "
                    "pass cv=LabelledKFold() or cv=LabelledStratifiedKFold(), whose test samples "
                    "are labelled."
                )
            rows = np.flatnonzero(known)
            X = _safe_indexing(X, rows)
            sample_weight = None if sample_weight is None else _safe_indexing(sample_weight, rows)
        return super().score(X, y, sample_weight)

    def _warn_without_data(self, missing: str) -> None:
        # A two-domain estimator inside says so itself.
        if not consumed_keywords(self.estimator, "fit", ["X_target"]):
            warn(
                f"{type(self).__name__} was given no {missing}: {name_steps(self.estimator)} is "
                "fitted as it is, without data of the other domain.",
                DomainDataWarning,
            )

    def _check_one_coding(self, y, held_labels, held_name: str) -> None:
        """Refuse labels that a meta-estimator has changed beside held labels that it has not."""
        if y is None:
            return
        if changes_labels():
            raise TypeError(
                f"A meta-estimator around {type(self).__name__} (one-vs-rest, multi-output, "
                f"TransformedTargetRegressor) changes y, but not {held_name}. Put it inside the "
                "reweighter, as in PooledEstimator(OneVsRestClassifier(...))."
            )
        if not is_classifier(self.estimator):
            return
        (y,), (held_labels,) = indexable(y), indexable(held_labels)
        if len(held_labels) and np.ndim(held_labels) != np.ndim(y):
            raise ValueError(different_forms(held_name, held_labels, y))
        if not (numbers_classes() and is_numbered(y)) or learns_new_classes(self.estimator):
            return
        classes = np.unique(y).tolist()
        outside = sorted(set(np.asarray(held_labels).tolist()) - set(classes), key=str)
        if outside:
            raise ValueError(
                f"{type(self).__name__} is inside of a voting, stacking or bagging, which numbers "
                f"the classes of y 0..{len(classes) - 1}, and {held_name} also holds "
                f"{outside[:5]}. Encode the labels of both domains by one LabelEncoder before, and "
                "fit on rows of every class."
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
    the target. That is a ``ValueError`` if the samples have different forms, and a
    :class:`DomainDataWarning` if many columns lie far apart. Columns of frames are matched by name,
    and have one dtype in both domains.

    Source weights reach everything that learns from the labels, through voting, calibration,
    multi-class and multi-output estimators, thresholds, searches and pipelines. What would drop
    them is refused with a ``TypeError``.

    Voting, stacking and bagging number the labels 0..k-1 before their members see them. Encode the
    labels of both domains by one ``LabelEncoder`` first. Meta-estimators that change ``y`` in
    another way (``TransformedTargetRegressor``, ``OneVsRestClassifier``, multi-output ones) cannot
    change the labels held here, and are refused. Put them inside the reweighter.

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

    def fit(self, X, y=None, sample_weight=None) -> Self:
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
        self._check_held()
        task = FitTask.begin(self, X, y, sample_weight, max_subtasks=1)
        self._check_data(X, y)
        X_target = self.X_target
        if X_target is not None:
            X_target = at_one_stage("WithTarget", X, X_target, "X_target")
            warn_of_columns(X, X_target, ("X", "X_target"), self.estimator)
            with columns_compared():
                X, X_target = in_one_form(X, X_target, "X_target")
        consumed = consumed_keywords(self.estimator, method) if self.X_target is not None else set()
        estimator = clone(self.estimator)
        with (
            task.hand_on(estimator),
            classes_compared(),
            columns_compared(),
            named_rows(X, X_target),
        ):
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
        self._adopt(estimator, X)
        task.end({})
        return result

    def _check_data(self, X, y) -> None:
        given_target(self.X_target, self.y_target)  # refuses labels alone
        if self.X_target is None:
            return
        check_candidates(self.estimator)
        check_not_empty(self.X_target, "X_target")
        if self.y_target is not None:
            _, labels = known_labels(self.y_target, self.X_target)
            self._check_one_coding(y, labels, "y_target")
            if is_classifier(self.estimator) and not learns_new_classes(self.estimator):
                compare_classes(y, self.y_target)

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
    X_source : array-like of shape (n_source_samples, n_features), or list of such, default=None
        Source samples. A list holds the samples of several sources, which are stacked, and
        numbered from 1 for the steps that ask for ``sample_domain``. Held by reference.
    y_source : array-like of shape (n_source_samples,), or list of such, default=None
        Source labels, all known; for several sources a list with an entry for each. Held by
        reference.
    source_sample_weight : array-like of shape (n_source_samples,), or list of such, default=None
        Weights of the source samples. Those of the target samples are given to `fit`. In a list
        for several sources an entry may be ``None``. Held by reference.
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
    Cloning copies no data. Put the wrapper outermost, as :class:`WithTarget`, and meta-estimators
    that change ``y`` (``TransformedTargetRegressor``, ``OneVsRestClassifier``, multi-output ones)
    inside the reweighter. Columns of frames are matched by name, and have one dtype in both
    domains. Labels of the domains without a common class are refused. Without `X_source` the
    estimator is fitted on the samples given to `fit`, with a
    :class:`DomainDataWarning`.

    The `sample_weight` given to `fit` reaches the steps that learn from target samples, as
    ``target_sample_weight``. Aligners in front of them count target samples alike. If no step takes
    weights, target samples are repeated by whole numbers, and others are refused with a
    ``TypeError``. The source-only baseline uses no target sample, and no weight of one.

    If labels are missing, cross-validate with :class:`~skltransfer.LabelledKFold` or
    :class:`~skltransfer.LabelledStratifiedKFold`: scikit-learn refuses to make folds of an integer
    ``cv`` then ("Input y contains NaN"), or cannot score them. Without any label choose one of the
    scorers that need none, such as :func:`~skltransfer.prediction_entropy_scorer`.

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
        self,
        estimator,
        X_source=None,
        y_source=None,
        *,
        source_sample_weight=None,
        use_y: bool = True,
    ):
        self.estimator = estimator
        self.X_source = X_source
        self.y_source = y_source
        self.source_sample_weight = source_sample_weight
        self.use_y = use_y

    @with_callbacks
    @fits_anew
    def fit(self, X, y=None, sample_weight=None) -> Self:
        """Fit a clone of the estimator on the held source and the given target samples.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Target samples.
        y : array-like of shape (n_samples,), default=None
            Known target labels. A missing label is marked by ``NaN``, or in arrays of objects also
            by ``None`` or ``pandas.NA``. ``None`` if no label is known.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the target samples, at least 0, for the steps that learn from them. One of
            weight 0 is left out. ``None`` weighs each by 1.

        Returns
        -------
        self : WithSource
            The fitted wrapper.
        """
        self._check_held()
        task = FitTask.begin(self, X, y, sample_weight, max_subtasks=1)
        source = self._checked_source(X, y)
        X_source = source.X
        if X_source is not None:
            if sample_weight is not None:
                names = ("X", "y", "sample_weight")
                X, y, sample_weight = weighed_rows(X, y, sample_weight, names)
            X_source = at_one_stage("WithSource", X, X_source, "X_source")
            warn_of_columns(X, X_source, ("X_source", "X"), self.estimator)
            with columns_compared():
                X, X_source = in_one_form(X, X_source, "X_source")
        estimator = clone(self.estimator)
        names = ("X_source", "X")
        with (
            task.hand_on(estimator),
            classes_compared(),
            columns_compared(),
            named_rows(X_source, X, names),
        ):
            if X_source is None:
                self._warn_without_data("X_source")
                fit_weighted(estimator, X, y, sample_weight)
            elif "X_target" not in consumed_keywords(self.estimator, "fit"):
                fit_weighted(estimator, X_source, source.y, source.sample_weight)
            else:
                fit_with_target(
                    estimator,
                    X_source,
                    source.y,
                    X_target=X,
                    y_target=y if self.use_y else None,
                    sample_weight=source.sample_weight,
                    target_sample_weight=sample_weight,
                    sample_domain=source.sample_domain,
                )
        self._adopt(estimator, X)
        task.end({})
        return self

    @available_if(estimator_has("transform"))
    def fit_transform(self, X, y=None, sample_weight=None):
        """Fit and return the target samples, mapped as target.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Target samples.
        y : array-like of shape (n_samples,), default=None
            Known target labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the target samples.

        Returns
        -------
        X_new : ndarray of shape (n_samples, n_features_out)
            Transformed target samples.
        """
        return self.fit(X, y, sample_weight).transform(X)

    def _checked_source(self, X, y) -> Source:
        """Return the source, several ones in one stack, after a check against the target."""
        names = ("X_source", "y_source", "source_sample_weight")
        if self.X_source is None:
            for name in names[1:]:
                if getattr(self, name) is not None:
                    raise ValueError(f"{name} was given without X_source. Pass X_source too.")
            return Source(None, None)
        check_candidates(self.estimator)
        check_not_empty(self.X_source, "X_source")
        held = (self.X_source, self.y_source, self.source_sample_weight)
        source = one_stack(*held, like=X, names=names)
        if source.sample_weight is not None:
            check_same_length(source.sample_weight, source.X, names[2], "X_source")
        if source.y is not None:
            check_same_length(source.y, source.X, "y_source", "X_source")
            check_no_missing_labels(source.y)
            check_finite_labels(source.y, "y_source")
            if y is not None:
                known_labels(y, X, name="y")  # refuses what is infinite
            self._check_one_coding(y, source.y, "y_source")
            if is_classifier(self.estimator) and not learns_new_classes(self.estimator):
                compare_classes(source.y, y, names=("y_source", "y"))
        elif get_tags(self.estimator).target_tags.required:
            raise ValueError(
                f"X_source was given without y_source, but {name_steps(self.estimator)} requires y "
                "to be passed. Pass the source's labels as y_source."
            )
        return source

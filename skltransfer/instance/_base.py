"""The base class of reweighters: weigh the source samples, then fit with the weights."""

from __future__ import annotations

from abc import ABCMeta, abstractmethod
from typing import Self

import numpy as np
from scipy import sparse
from sklearn.base import clone, is_classifier
from sklearn.callback import CallbackSupportMixin
from sklearn.utils import indexable
from sklearn.utils.validation import (
    _check_sample_weight,
    _num_samples,
    check_consistent_length,
    validate_data,
)

from skltransfer._decorators import with_callbacks
from skltransfer._documentation import DocumentedEstimator
from skltransfer._parameters import TARGET_WEIGHT, check_parameters
from skltransfer._solvers._sums import effective_sample_size
from skltransfer.domains._callbacks import FitTask
from skltransfer.domains._classes import compare_classes
from skltransfer.domains._data import (
    check_no_missing_labels,
    check_not_empty,
    check_same_width,
    column_names,
    columns_compared,
    in_one_form,
    named_rows,
)
from skltransfer.domains._delegation import DelegatingMixin
from skltransfer.domains._refit import fits_anew
from skltransfer.domains._routing import names_its_columns
from skltransfer.domains._two_domains import (
    given_weighted_target,
    has_known_label,
    join_labelled,
    labelled_rows,
    warn_without_target,
    weights_of_target,
)
from skltransfer.domains._weights import check_takes_weights, fit_weighted
from skltransfer.instance._collapse import warn_of_collapse


class BaseReweighter(CallbackSupportMixin, DelegatingMixin, DocumentedEstimator, metaclass=ABCMeta):
    """Weigh source samples by the target, and fit any estimator with the weights.

    A subclass computes the weights in `_weigh`, and has a parameter ``target_weight``.
    """

    _parameters = {"target_weight": TARGET_WEIGHT}

    __metadata_request__fit = {"X_target": True, "y_target": True, "target_sample_weight": True}

    @with_callbacks
    @fits_anew
    def fit(
        self,
        X,
        y=None,
        sample_weight=None,
        *,
        X_target=None,
        y_target=None,
        target_sample_weight=None,
    ) -> Self:
        """Weigh the source samples and fit the estimator with the weights.

        Minimises ``sum w(x_s) loss(f(x_s), y_s) + sum v_t loss(f(x_t), y_t)`` over the source
        samples and the target samples with a known label. The weights ``v_t`` are
        `target_sample_weight` times the parameter `target_weight`.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Source samples.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs), default=None
            Source labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the source samples, at least 0. A sample of weight 2 counts as two equal
            samples. ``None`` weighs each by 1.
        X_target : array-like of shape (n_target_samples, n_features), default=None
            Target samples. Without them the estimator is fitted unadapted, with a
            :class:`~skltransfer.DomainDataWarning`.
        y_target : array-like of shape (n_target_samples,) or (n_target_samples, n_outputs), \
                default=None
            Known labels of the target. A missing label is marked by ``NaN``, or in arrays of
            objects also by ``None`` or ``pandas.NA``. Target samples with a label join the fit.
        target_sample_weight : array-like of shape (n_target_samples,), default=None
            Weights of the target samples, at least 0. A sample of weight 2 counts as two equal
            samples, where the source is weighed too, and one of weight 0 is left out. ``None``
            weighs each by 1.

        Returns
        -------
        self : estimator
            The fitted reweighter.

        Raises
        ------
        TypeError
            If the estimator takes no ``sample_weight`` and needs it.
        ValueError
            If a parameter is out of range or the data do not fit together. The message names the
            remedy.
        """
        has_estimator = self.estimator is not None
        task = FitTask.begin(self, X, y, sample_weight, max_subtasks=int(has_estimator))
        check_parameters(self)
        estimator = clone(self.estimator) if has_estimator else None  # refused before the work
        X_target, y_target, target_sample_weight = given_weighted_target(
            X_target, y_target, target_sample_weight
        )
        X, y = indexable(X, y)
        if not sparse.issparse(y):
            check_no_missing_labels(y)
        if sample_weight is not None:
            sample_weight = _check_sample_weight(sample_weight, X, ensure_non_negative=True)
        labelled = None, None, None
        if X_target is None:
            warn_without_target(self, "is fitted without adaptation")
        else:
            self._check_target_labels(y_target)
            check_not_empty(X_target, "X_target")
            check_same_width(X_target, X, "X_target")
            with columns_compared(has_estimator and names_its_columns(estimator)):
                X, X_target = in_one_form(X, X_target, "X_target")
            if y is not None:
                if has_estimator and is_classifier(estimator):
                    compare_classes(y, y_target)
                # Bad labels are refused before the work.
                labelled = labelled_rows(X_target, y_target, y, target_sample_weight)
            elif has_estimator and has_known_label(y_target):
                raise ValueError("y_target was given without y. Pass the source's labels too.")
        with named_rows(X, X_target):
            self.sample_weight_ = self._weigh(X, y, sample_weight, X_target, target_sample_weight)
        self.effective_sample_size_ = effective_sample_size(self.sample_weight_)
        if X_target is not None:
            self._warn_of_collapse(y, unit_weights(X, sample_weight), *labelled[1:])
        if has_estimator:
            with task.hand_on(estimator), named_rows(X, X_target):
                if X_target is None:
                    fit_weighted(estimator, X, y, sample_weight)
                else:
                    self._fit_on_both(estimator, X, y, sample_weight, labelled)
            self._adopt(estimator, X)
        task.end({})
        return self

    @abstractmethod
    def _weigh(self, X, y, sample_weight, X_target, target_sample_weight) -> np.ndarray:
        """Return the weights of the source samples, shape (n_samples,).

        Without `X_target` (None) they are `sample_weight`, or 1. The weights of the target samples
        are above 0, or None, if all are 1.
        """

    def _check_target_labels(self, y_target) -> None:
        """Look at the labels of the target (None, if there are none)."""

    def _check_combinations(self) -> None:
        if self._needs_weights():
            check_takes_weights(self.estimator)

    def _hands_on(self, X) -> bool:
        """Tell whether a classifier weighs the samples as they are, not as numbers.

        These are frames, whose columns a classifier may select by name, and words.
        """
        if getattr(self, "classifier", None) is None or sparse.issparse(X):
            return False
        return column_names(X) is not None or holds_words(X)

    def _needs_weights(self) -> bool:
        """Tell whether the estimator has to take ``sample_weight``."""
        return True

    def _warn_of_collapse(self, y, weights, known_labels, known_weights) -> None:
        """Warn if the weights leave too little of `weights`, those before, to the fit.

        Parameters
        ----------
        y : array-like of shape (n_samples,) or (n_samples, n_outputs), or None
        weights : ndarray of shape (n_samples,)
        known_labels : ndarray of shape (n_known,) or (n_known, n_outputs), or None
            Known labels of the target.
        known_weights : ndarray of shape (n_known,), or None
            Weights of these samples. None weighs each by 1.
        """
        if known_labels is None:
            known_labels = known_weights = np.empty(0)
        else:
            known_weights = np.ones(len(known_labels)) if known_weights is None else known_weights
            known_weights = weights_of_target(weights, known_weights, self.target_weight)
        warn_of_collapse(self, y, self.sample_weight_, weights, known_labels, known_weights)

    def _fit_on_both(self, estimator, X, y, sample_weight, labelled):
        check_consistent_length(X, y)
        weights = self._weights_of_fit(sample_weight)
        fit_weighted(estimator, *join_labelled(X, y, weights, labelled, self.target_weight))

    def _weights_of_fit(self, sample_weight):
        """Return the weights for the fit of the estimator; None if all are 1."""
        return self.sample_weight_


def unit_weights(X, sample_weight) -> np.ndarray:
    """Return `sample_weight`, or a weight of 1 for each sample of `X`."""
    return np.ones(_num_samples(X)) if sample_weight is None else sample_weight


def is_whole(target_weight) -> bool:
    """Tell whether samples can be repeated in place of a weight."""
    return not isinstance(target_weight, str) and target_weight == int(target_weight)


def only_numbers(tags):
    """Restrict tags to numeric input, whatever the estimator inside takes."""
    tags.input_tags.allow_nan = False
    tags.input_tags.sparse = False
    tags.input_tags.string = False
    tags.input_tags.categorical = False
    return tags


def numeric_rows(reweighter, X, **checks):
    """Validate samples for a reweighter that compares them as numbers.

    Parameters
    ----------
    reweighter : estimator
    X : array-like of shape (n_samples, n_features)
    **checks : dict
        Settings of scikit-learn's ``validate_data`` beside float64.

    Returns
    -------
    X : ndarray or CSR matrix of shape (n_samples, n_features), float64
    """
    name = type(reweighter).__name__
    if sparse.issparse(X) and not checks.get("accept_sparse"):
        raise TypeError(
            f"Sparse data was passed for X, and {name} needs dense rows. Put TruncatedSVD in "
            "a step before it, pass X.toarray() (and X_target alike), or choose a reweighter that "
            "takes sparse rows, such as KLIEPReweighter."
        )
    try:
        return validate_data(reweighter, X, dtype=np.float64, **checks)
    except ValueError as error:
        if sparse.issparse(X) or not holds_words(X):
            raise
        other = ""
        if hasattr(reweighter, "classifier"):
            other = " Or pass a classifier=... that takes them."
        elif hasattr(reweighter, "reweighter"):
            other = " Or select by reweighter=DiscriminativeReweighter(classifier=...), if the "
            other += "classifier takes them."
        raise ValueError(
            f"{error}. {name} compares rows as numbers. Encode them in a step before it, not "
            f"inside: WithTarget(make_pipeline(encoder, {name}(model)), X_target).{other}"
        ) from error


def holds_words(X) -> bool:
    """Tell whether some entry of dense samples is a text that is no number."""
    X = np.asarray(X, dtype=object) if not hasattr(X, "dtype") else np.asarray(X)
    return X.dtype.kind not in "biufc" and any(map(_is_word, X.ravel()))


def _is_word(value) -> bool:
    if not isinstance(value, str):
        return False
    try:
        float(value)
    except ValueError:
        return True
    return False

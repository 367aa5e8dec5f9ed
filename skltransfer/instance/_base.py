"""The base class of reweighters: weigh the source samples, then fit with the weights."""

from __future__ import annotations

from abc import ABCMeta, abstractmethod

import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator, clone
from sklearn.callback import CallbackSupportMixin, with_callbacks
from sklearn.utils import indexable
from sklearn.utils.validation import (
    _check_sample_weight,
    _num_samples,
    check_consistent_length,
    validate_data,
)

from skltransfer._parameters import check_parameters
from skltransfer._solvers._sums import effective_sample_size
from skltransfer._warnings import warn
from skltransfer.domains._callbacks import FitTask
from skltransfer.domains._data import (
    check_no_missing_labels,
    check_not_empty,
    check_same_width,
    known_labels,
)
from skltransfer.domains._delegation import DelegatingMixin
from skltransfer.domains._refit import fits_anew
from skltransfer.domains._two_domains import given_target, join_labelled, warn_without_target
from skltransfer.domains._weights import check_takes_weights, fit_weighted

# Fewer equal rows than this, and than this part of the source, are a collapse.
SMALLEST_SAMPLE, SMALLEST_SHARE = 10, 0.1


class EffectiveSampleSizeWarning(UserWarning):
    """A few source samples have nearly all of the weight.

    Raised by reweighters if the weighted source is worth fewer than 10 equally weighted samples,
    and less than a tenth of its worth before.

    Examples
    --------
    >>> import warnings
    >>> import numpy as np
    >>> from skltransfer import EffectiveSampleSizeWarning, KMMReweighter
    >>> X, X_target = np.linspace(0.0, 1.0, 50)[:, None], np.full((5, 1), 3.0)
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     _ = KMMReweighter(gamma=1.0).fit(X, X_target=X_target)
    >>> caught[0].category is EffectiveSampleSizeWarning
    True
    """


class BaseReweighter(CallbackSupportMixin, DelegatingMixin, BaseEstimator, metaclass=ABCMeta):
    """Weigh source samples by the target, and fit any estimator with the weights.

    A subclass computes the weights in `_weigh`.
    """

    __metadata_request__fit = {"X_target": True, "y_target": True}

    @with_callbacks
    @fits_anew
    def fit(self, X, y=None, sample_weight=None, *, X_target=None, y_target=None):
        """Weigh the source samples and fit the estimator with the weights.

        Minimises ``sum w(x_s) loss(f(x_s), y_s) + sum loss(f(x_t), y_t)`` over the source samples
        and the target samples with a known label.

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
            objects also by ``None`` or ``pandas.NA``. Target samples with a label join the fit with
            weight 1.

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
        X_target, y_target = given_target(X_target, y_target)
        X, y = indexable(X, y)
        if not sparse.issparse(y):
            check_no_missing_labels(y)
        if sample_weight is not None:
            sample_weight = _check_sample_weight(sample_weight, X, ensure_non_negative=True)
        if X_target is None:
            warn_without_target(self, "is fitted without adaptation")
        else:
            check_not_empty(X_target, "X_target")
            check_same_width(X_target, X, "X_target")
            if y is not None:
                known_labels(y_target, X_target, y)  # refused before the work
        self.sample_weight_ = self._weigh(X, y, sample_weight, X_target)
        self.effective_sample_size_ = effective_sample_size(self.sample_weight_)
        if X_target is not None:
            self._warn_of_collapse(X, sample_weight)
        if has_estimator:
            with task.hand_on(estimator):
                if X_target is None:
                    fit_weighted(estimator, X, y, sample_weight)
                else:
                    self._fit_on_both(estimator, X, y, sample_weight, X_target, y_target)
            self._adopt(estimator)
        task.end({})
        return self

    @abstractmethod
    def _weigh(self, X, y, sample_weight, X_target) -> np.ndarray:
        """Return the weights of the source samples, shape (n_samples,).

        Without `X_target` (None) they are `sample_weight`, or 1.
        """

    def _check_combinations(self) -> None:
        if self._needs_weights():
            check_takes_weights(self.estimator)

    def _needs_weights(self) -> bool:
        """Tell whether the estimator has to take ``sample_weight``."""
        return True

    def _warn_of_collapse(self, X, sample_weight) -> None:
        size = self.effective_sample_size_
        before = effective_sample_size(unit_weights(X, sample_weight))
        if size < SMALLEST_SAMPLE and size < SMALLEST_SHARE * before:
            warn(
                f"The weights of {type(self).__name__} leave an effective sample of {size:.1f} of "
                f"{before:.0f} source rows. Bound the weights (KMMReweighter(max_weight=10)), use "
                "fewer or scaled columns, or check that the domains overlap.",
                EffectiveSampleSizeWarning,
            )

    def _fit_on_both(self, estimator, X, y, sample_weight, X_target, y_target):
        check_consistent_length(X, y)
        weights = self._weights_of_fit(sample_weight)
        fit_weighted(estimator, *join_labelled(X, y, weights, X_target, y_target))

    def _weights_of_fit(self, sample_weight):
        """Return the weights for the fit of the estimator; None if all are 1."""
        return self.sample_weight_


def unit_weights(X, sample_weight) -> np.ndarray:
    """Return `sample_weight`, or a weight of 1 for each sample of `X`."""
    return np.ones(_num_samples(X)) if sample_weight is None else sample_weight


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
    X : ndarray of shape (n_samples, n_features), float64
    """
    try:
        return validate_data(reweighter, X, dtype=np.float64, **checks)
    except ValueError as error:
        if sparse.issparse(X) or not any(map(_is_word, np.asarray(X, dtype=object).ravel())):
            raise
        name = type(reweighter).__name__
        raise ValueError(
            f"{error}. {name} compares rows as numbers. Encode them in a step before it, not "
            f"inside: WithTarget(make_pipeline(encoder, {name}(model)), X_target)."
        ) from error


def _is_word(value) -> bool:
    if not isinstance(value, str):
        return False
    try:
        float(value)
    except ValueError:
        return True
    return False

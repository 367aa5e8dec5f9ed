"""The base class of boosting on two domains: data, base fits, rounds."""

from __future__ import annotations

from abc import ABCMeta, abstractmethod
from typing import Self

import numpy as np
from scipy import sparse
from sklearn import config_context
from sklearn.base import BaseEstimator, MetaEstimatorMixin, is_classifier
from sklearn.callback import CallbackSupportMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.tree import BaseDecisionTree
from sklearn.utils import _safe_indexing, get_tags
from sklearn.utils.validation import (
    _check_sample_weight,
    check_consistent_length,
    check_is_fitted,
    validate_data,
)

from skltransfer._decorators import with_callbacks
from skltransfer._documentation import DocumentedEstimator
from skltransfer._parameters import TARGET_WEIGHT, Count, check_parameters
from skltransfer._texts import as_texts
from skltransfer._warnings import warn
from skltransfer.domains._callbacks import FitTask
from skltransfer.domains._classes import compare_classes
from skltransfer.domains._data import (
    check_no_missing_labels,
    check_not_empty,
    check_target_rows,
    columns_compared,
    in_one_form,
    named_rows,
    select_columns,
)
from skltransfer.domains._frames import (
    fitted_categories,
    frame_library,
    with_fitted_categories,
)
from skltransfer.domains._refit import fits_anew
from skltransfer.domains._routing import names_its_columns
from skltransfer.domains._two_domains import (
    given_weighted_target,
    labelled_rows,
    warn_without_labels,
    warn_without_target,
    weights_of_both,
)
from skltransfer.domains._weights import check_takes_weights
from skltransfer.instance._rounds import BaseFits, BoostingData, PreparedRows, Rounds


class TransferBoosting(
    CallbackSupportMixin, MetaEstimatorMixin, DocumentedEstimator, metaclass=ABCMeta
):
    """Boost a base estimator on source samples and labelled target samples.

    A subclass defines the default base estimator, the checks of labels and the rounds.
    """

    _parameters = {"n_estimators": Count(), "target_weight": TARGET_WEIGHT}
    _default_estimator: BaseEstimator

    __metadata_request__fit = {"X_target": True, "y_target": True, "target_sample_weight": True}

    @with_callbacks
    @fits_anew
    def fit(
        self,
        X,
        y,
        sample_weight=None,
        *,
        X_target=None,
        y_target=None,
        target_sample_weight=None,
    ) -> Self:
        """Boost on source samples and labelled target samples.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Source samples. They may be sparse if the base estimator accepts sparse input, and texts
            (a list, Series or array of strings) if it is a pipeline that takes texts. A frame
            reaches the base estimator as a frame, with its categories, unless this is a tree.
        y : array-like of shape (n_samples,)
            Source labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Initial weights of the source samples, at least 0. A sample of weight 2 counts as two
            equal samples. ``None`` starts each at 1.
        X_target : {array-like, sparse matrix} of shape (n_target_samples, n_features), default=None
            Target samples. Samples without a label are not used.
        y_target : array-like of shape (n_target_samples,), default=None
            Known labels of the target. A missing label is marked by ``NaN``, or in arrays of
            objects also by ``None`` or ``pandas.NA``. If no label is known, the source alone is
            boosted, with a :class:`~skltransfer.DomainDataWarning`.
        target_sample_weight : array-like of shape (n_target_samples,), default=None
            Weights of the target samples, at least 0. They start at these times the parameter
            `target_weight`. A sample of weight 2 counts as two equal samples, and one of weight 0
            is left out. ``None`` is 1 for each.

        Returns
        -------
        self : estimator
            The fitted estimator.

        Raises
        ------
        TypeError
            If the base estimator takes no ``sample_weight``, or is a classifier in place of a
            regressor or the reverse.
        ValueError
            If a parameter is out of range or the data do not fit together. The message names the
            remedy.
        """
        check_parameters(self)
        target = given_weighted_target(X_target, y_target, target_sample_weight)
        X_target, y_target, target_sample_weight = target
        template = self._template()
        self._check_kind(template)
        check_takes_weights(template)
        if X_target is not None:
            with columns_compared(names_its_columns(template)):
                X, X_target = in_one_form(X, X_target, "X_target")
        target = X_target, y_target, target_sample_weight
        data, used = self._prepare(template, X, y, sample_weight, *target)
        fits = BaseFits(self._template_for(data), self.random_state)
        task = FitTask.begin(self, X, y, sample_weight, max_subtasks=self._n_tasks(data))
        # Inner estimators get their weights by keyword, whatever the routing mode.
        with config_context(enable_metadata_routing=False), named_rows(X, X_target):
            rounds = self._boost(fits, data, used, task)
            task.end({})
        is_last = len(rounds.estimators) == 1 < self.n_estimators and rounds.end is not None
        if is_last and (rounds.end == "guess" or (data.y != data.y[0]).any()):
            self._warn_of_one_round(rounds, data.has_target)
        return self

    # --- methods of a subclass ---------------------------------------------------------

    @abstractmethod
    def _check_labels(self, X, y, **checks):
        """Validate samples and source labels."""

    @abstractmethod
    def _boost(self, fits, data, used, task) -> Rounds:
        """Run the rounds, set the fitted attributes, and return the rounds that predict.

        Parameters
        ----------
        fits : BaseFits
        data : BoostingData
        used : ndarray of shape (n_samples + n_labelled_target,), bool
            Mask of the given samples that are in `data`.
        task : FitTask
            Task of the fit, whose parts are the rounds.
        """

    def _n_tasks(self, data) -> int:
        """Return the number of parts of the fit, for callbacks."""
        return self.n_estimators

    def _check_kind(self, template) -> None:
        kind, wanted = get_tags(template).estimator_type, get_tags(self).estimator_type
        if kind not in (None, wanted):
            raise TypeError(
                f"{type(self).__name__} boosts a {wanted}, and estimator={template!r} is a {kind}."
            )

    # --- data --------------------------------------------------------------------------

    def _template(self):
        return self._default_estimator if self.estimator is None else self.estimator

    def _template_for(self, data: BoostingData):
        """Return the base estimator for data that are known."""
        return self._template()

    def _row_checks(self) -> dict:
        tags = get_tags(self).input_tags
        return {
            "accept_sparse": ["csr", "csc"] if tags.sparse else False,
            "ensure_all_finite": "allow-nan" if tags.allow_nan else True,
            "dtype": None,
        }

    def _prepare(self, template, X, y, sample_weight, X_target, y_target, target_sample_weight):
        """Return the samples to boost, and a mask of the given samples that are among them."""
        check_no_missing_labels(y)
        X, y = self._check_labels(X, y, **self._row_checks())
        weights = np.ones(len(y))
        if sample_weight is not None:
            weights = _check_sample_weight(
                sample_weight, X, dtype=np.float64, ensure_non_negative=True
            )
        used = weights > 0
        if not used.all():
            X, y, weights = _safe_indexing(X, np.flatnonzero(used)), y[used], weights[used]
        size = weights.sum()
        rows, labels, of_rows = self._labelled_target(X_target, y_target, y, target_sample_weight)
        if rows is None:
            return BoostingData(PreparedRows.for_estimator(template, X), y, weights, size, 0), used
        of_rows = np.ones(len(labels)) if of_rows is None else of_rows
        data = BoostingData(
            PreparedRows.for_estimator(template, X, rows),
            np.concatenate([y, labels]),
            np.concatenate(weights_of_both(weights, of_rows, self.target_weight)),
            size,
            len(y),
        )
        return data, np.concatenate([used, np.ones(len(labels), dtype=bool)])

    def _labelled_target(self, X_target, y_target, y, target_sample_weight):
        """Return what :func:`labelled_rows` does, of validated target samples."""
        if X_target is None:
            warn_without_target(
                self, "boosts the source alone", keywords="X_target=... and y_target=..."
            )
            return None, None, None
        if self._takes_texts:
            rows = text_array(X_target, self, "X_target")
        elif self._takes_frames and frame_library(X_target) is not None:
            rows = select_columns(X_target, getattr(self, "feature_names_in_", None))
            check_not_empty(rows, "X_target")
        else:
            rows = check_target_rows(self, X_target, **self._row_checks())
        if np.ndim(y_target) == 2 and np.shape(y_target)[1] == 1:  # as y may be
            y_target = np.ravel(y_target)
        if is_classifier(self):
            compare_classes(y, y_target)
        labelled = labelled_rows(rows, y_target, y, target_sample_weight)
        if labelled[0] is None:
            warn_without_labels(self, "boosts the source alone")
        return labelled

    def _validated(self, X, y, **checks) -> tuple:
        """Return validated samples and labels, texts as an array of strings.

        Frames are left to the base estimator, unless this is a tree, which knows numbers alone.
        """
        self._takes_texts = is_texts(X)
        self._takes_frames = frame_library(X) is not None and not isinstance(
            self._template(), BaseDecisionTree
        )
        if not (self._takes_texts or self._takes_frames):
            return validate_data(self, X, y, **checks)
        y = validate_data(self, y=y, y_numeric=checks.get("y_numeric", False))
        if self._takes_texts:
            X = text_array(X, self, "X")
        else:
            check_not_empty(X, "X")
            validate_data(self, X, skip_check_array=True)  # sets the names of the features
            self._categories = fitted_categories(X)
        check_consistent_length(X, y)
        return X, y

    def _check_rows(self, X) -> PreparedRows:
        """Validate samples to predict for."""
        check_is_fitted(self, "estimators_")
        if self._takes_texts:
            X = text_array(X, self, "X")
        elif self._takes_frames and frame_library(X) is not None:
            validate_data(self, X, reset=False, skip_check_array=True)
            X = with_fitted_categories(X, self._categories)
        else:
            X = validate_data(self, X, reset=False, **self._row_checks())
        return PreparedRows.for_estimator(self.estimators_[0], X)

    # --- fitted attributes -------------------------------------------------------------

    def _fitted(self, rounds: Rounds, *, votes_by_half: bool) -> dict:
        """Return the fitted attributes for predictions."""
        return {
            "estimators_": list(rounds.estimators),
            "estimator_weights_": np.array(rounds.votes),
            "estimator_errors_": np.array(rounds.errors),
            "_votes_by_half": votes_by_half,
        }

    def _warn_of_one_round(self, rounds: Rounds, has_target: bool) -> None:
        name, judged = type(self).__name__, "target rows" if has_target else "rows"
        stronger = "Use a stronger base estimator, such as a deeper tree or a linear model"
        weaker = "Use a weaker base estimator, such as a tree of less depth"
        if has_target:
            stronger += ", or a larger target_weight"
            weaker += ", or pass more target rows with a label"
        ends = f"{name} stops after one round, because its"
        alone = "The first one predicts alone, as without boosting."
        if rounds.end == "no error":
            message = f"{ends} first learner makes no error on the {judged}. {alone} {weaker}."
        elif rounds.is_first_guess:
            message = f"{ends} first learner is no better than a guess on the {judged}. {stronger}."
        else:
            message = (
                f"{ends} second learner is no better than a guess on the weighted {judged}. "
                f"{alone} {stronger}."
            )
        warn(message, ConvergenceWarning)

    def _voters(self, n_rounds: int) -> slice:
        """Return the slice of the first `n_rounds` learners that vote."""
        return slice((n_rounds + 1) // 2 - 1 if self._votes_by_half else 0, n_rounds)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        inner = get_tags(self._template())
        tags.input_tags.sparse = inner.input_tags.sparse
        tags.input_tags.allow_nan = inner.input_tags.allow_nan
        if tags.classifier_tags is not None and inner.classifier_tags is not None:
            tags.classifier_tags.multi_class = inner.classifier_tags.multi_class
        return tags


def spread(values: np.ndarray, used: np.ndarray) -> np.ndarray:
    """Return `values` (..., n_used) with zeros for samples that were not used."""
    if used.all():
        return values
    full = np.zeros((*values.shape[:-1], len(used)))
    full[..., used] = values
    return full


def is_texts(X) -> bool:
    """Tell whether samples are texts: one string per sample, without columns."""
    if sparse.issparse(X) or hasattr(X, "columns") or isinstance(X, str | bytes):
        return False
    shape = getattr(X, "shape", None)
    if shape is None and not isinstance(X, list | tuple) or (shape is not None and len(shape) != 1):
        return False
    return any(isinstance(item, str) for item in X)


def text_array(X, estimator, name: str) -> np.ndarray:
    """Return texts as an array of strings; `name` is the argument in messages."""
    try:
        return np.array(as_texts(X, type(estimator).__name__), dtype=object)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{name}: {error}") from error

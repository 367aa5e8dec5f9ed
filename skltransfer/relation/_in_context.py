"""Estimators that have learned to transfer: predictions in the context of both domains."""

from __future__ import annotations

from abc import ABCMeta, abstractmethod
from typing import Any, Self

import numpy as np
from scipy.special import expit, softmax
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from skltransfer._documentation import DocumentedEstimator
from skltransfer._parameters import Count, check_parameters
from skltransfer.domains._classes import compare_classes
from skltransfer.domains._data import check_no_missing_labels, check_target_rows, known_labels
from skltransfer.domains._refit import fits_anew
from skltransfer.domains._two_domains import given_target, warn_without_target
from skltransfer.relation import _in_context_inputs, _in_context_numbers
from skltransfer.relation._in_context_inputs import (
    Standardization,
    canonical_orders,
    fit_scores,
    signs,
)
from skltransfer.relation._in_context_numbers import Units
from skltransfer.relation._in_context_weights import load_network

MAX_CLASSES = 10
# Samples that the network attends to at once, as in its training.
_MAX_SOURCE, _MAX_TARGET, _MAX_ALONE = 64, 200, 300
# Samples that are scored at once, so that memory is bounded.
_CHUNK = 4096


class InContextTransfer(DocumentedEstimator, metaclass=ABCMeta):
    """Read both domains in `fit`, and predict in their context.

    A subclass says what labels are, and by which functions the network reads them.
    """

    _parameters = {"n_members": Count()}
    __metadata_request__fit = {"X_target": True, "y_target": True}

    def __init__(
        self,
        *,
        n_members: int = 1,
        weights: Any = "default",
        random_state: int | np.random.RandomState | None = 0,
    ):
        self.n_members = n_members
        self.weights = weights
        self.random_state = random_state

    @fits_anew
    def fit(self, X, y, *, X_target=None, y_target=None) -> Self:
        """Read the samples of both domains.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Source samples.
        y : array-like of shape (n_samples,)
            Source labels.
        X_target : array-like of shape (n_target_samples, n_features), default=None
            Target samples. Without them the samples of ``X`` are the context of their own domain,
            with a :class:`~skltransfer.DomainDataWarning`.
        y_target : array-like of shape (n_target_samples,), default=None
            Known labels of the target. A missing label is marked by ``NaN``, or in arrays of
            objects also by ``None`` or ``pandas.NA``.

        Returns
        -------
        self : object

        Raises
        ------
        ValueError
            If `weights` is no file of such a network, or the data do not fit together; of classes,
            if there are more than 10, or one.
        """
        check_parameters(self)
        network = load_network(self.weights, self._labels)
        X_target, y_target = given_target(X_target, y_target)
        check_no_missing_labels(y)
        X, y = self._validated(X, y)
        no_rows, no_labels = X[:0], y[:0]
        if X_target is None:
            warn_without_target(self, "predicts in the context of X and y alone")
            # One domain is a target without a source.
            source, target, unlabelled = (no_rows, no_labels), (X, y), no_rows
        else:
            X_target = check_target_rows(self, X_target)
            self._compare(y, y_target)
            known, labels = known_labels(y_target, X_target, y)
            labels = labels if known.any() else no_labels
            source, target, unlabelled = (X, y), (X_target[known], labels), X_target[~known]
        columns = self._columns(source[1], target[1])
        self._read(network, source[0], target[0], columns, unlabelled)
        return self

    @abstractmethod
    def _validated(self, X, y) -> tuple[np.ndarray, np.ndarray]:
        """Return samples and labels of the source."""

    def _compare(self, y, y_target) -> None:
        """Refuse labels of the target that do not fit to those of the source."""

    @abstractmethod
    def _columns(self, y_source, y_target) -> tuple[np.ndarray, np.ndarray]:
        """Return the labels of both domains as what ridge regressions are fitted to, in columns."""

    def _read(self, network, X_source, X_target, columns, X_unlabelled) -> None:
        """Score the samples, and keep what the network needs of them."""
        self._standardize = Standardization.of(X_source, X_target)
        X_source, X_target, X_unlabelled = map(
            self._standardize, (X_source, X_target, X_unlabelled)
        )
        self._directions = _directions(np.concatenate([X_source, X_target]))
        if self._directions is not None:
            X_source, X_target, X_unlabelled = (
                rows @ self._directions for rows in (X_source, X_target, X_unlabelled)
            )
        Y_source, Y_target = columns
        # What is drawn must not depend on the order in which samples and features are given.
        rng = check_random_state(self.random_state)
        for_source, for_target = canonical_orders(X_source, Y_source, X_target, Y_target)
        own, others = rng.permutation(for_source), rng.permutation(for_target)
        X_source, Y_source = X_source[own], Y_source[own]
        X_target, Y_target = X_target[others], Y_target[others]
        scores, self._fits = fit_scores(X_source, Y_source, X_target, Y_target)
        self._summary = self._inputs.summary(
            scores, Y_source, Y_target, self._fits(X_unlabelled), self.n_features_in_
        )
        # Columns of labels are first.
        source, target = (
            self._inputs.context_tokens(part, Y, is_target).swapaxes(0, 1)
            for part, Y, is_target in (
                (scores.source, Y_source, False),
                (scores.target, Y_target, True),
            )
        )
        self._network = network
        self._contexts = [
            network.read(np.concatenate([source[:, own], target[:, others]], axis=1), self._summary)
            for own, others in self._members(len(X_source), len(X_target))
        ]

    def _members(self, *sizes: int) -> list[list[np.ndarray]]:
        """Return the source samples and the target samples of each context."""
        limits = (_MAX_SOURCE, _MAX_TARGET) if sizes[0] else (0, _MAX_ALONE)
        n_members = 1 if np.less_equal(sizes, limits).all() else self.n_members
        return [
            [
                # Samples take turns.
                (member * limit + np.arange(min(size, limit))) % max(size, 1)
                for size, limit in zip(sizes, limits, strict=True)
            ]
            for member in range(n_members)
        ]

    def _outputs(self, X) -> np.ndarray:
        """Return the network's answers, of shape (n_samples, n_columns)."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        chunks = (X[start : start + _CHUNK] for start in range(0, len(X), _CHUNK))
        return np.concatenate([self._outputs_of(chunk) for chunk in chunks])

    def _outputs_of(self, X) -> np.ndarray:
        X = self._standardize(X)
        if self._directions is not None:
            X = X @ self._directions
        tokens = self._inputs.query_tokens(self._fits(X)).swapaxes(0, 1)
        members = [
            self._network.predict(tokens, self._summary, context) for context in self._contexts
        ]
        return np.mean(members, axis=0).T


class InContextTransferClassifier(ClassifierMixin, InContextTransfer):
    r"""Predict in the context of both domains by a network that has learned to transfer.

    No parameter is tuned and no network is trained in `fit`. A small transformer reads both domains
    and predicts in one pass. It was trained on pairs of tables made by formula, which differ in the
    ways in which domains do, so that it has learned how much a source is worth [1]_. It does not
    read the features themselves. For each class against the rest, ridge regressions are fitted in
    closed form to the source, to the target, and to both, and the network reads their
    scores of each sample, from fits without this sample, together with the labels.

    Parameters
    ----------
    n_members : int, default=1
        Contexts over which logits are averaged, if there are more samples than the network attends
        to at once: 64 of the source and 200 of the target. The ridge regressions are fitted to all
        samples, so that more contexts change little.
    weights : "default" or path, default="default"
        Weights of the network: those in the package, or a safetensors file.
    random_state : int, RandomState instance or None, default=0
        Draws the samples of the contexts.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Classes of both domains, 10 at most.
    n_features_in_ : int
        Number of features of ``X``.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, where ``X`` is a data frame with strings as column names.

    Warns
    -----
    DomainDataWarning
        If there is no ``X_target``. The samples of ``X`` are then the context of their own domain.

    See Also
    --------
    InContextTransferRegressor : The same for numbers.
    TransferClassifier : Weighs strategies by cross-validation, with any model.
    PooledEstimator : The baseline, in which all samples count alike.

    Notes
    -----
    *Data.* Features are numbers; encode categories and fill gaps in steps before. They are
    standardized over the labelled samples of both domains and cut at 4 deviations, so that units
    do not matter. A feature that is constant is left out. There may be more features than samples.
    Source or target may hold one class alone. Target samples without a label tell how scores are
    spread in the target; if none has a label, the source's fit is trusted as far as the network has
    learned to.

    *Order.* Neither the order of the samples nor that of the features matters, up to rounding.

    *Cost.* `fit` takes time :math:`O(n p^2 + p^3)` for `n` samples of `p` features (`n` and `p`
    exchanged if there are more features than samples). A prediction takes time in proportion to the
    number of classes and members, whatever `n`.

    References
    ----------
    .. [1] S. Müller, N. Hollmann, S. Pineda Arango, J. Grabocka, F. Hutter, "Transformers Can Do
       Bayesian Inference", ICLR 2022: networks that are trained on tasks made by formula.

    Examples
    --------
    >>> import numpy as np
    >>> from skltransfer import InContextTransferClassifier
    >>> rng = np.random.default_rng(0)
    >>> X, X_target = rng.normal(size=(200, 5)), rng.normal(size=(520, 5))
    >>> y = (X[:, 0] + X[:, 1] > 0).astype(int)
    >>> y_target = (X_target[:, 0] + 0.5 * X_target[:, 1] > 0).astype(int)
    >>> model = InContextTransferClassifier()
    >>> model = model.fit(X, y, X_target=X_target[:20], y_target=y_target[:20])
    >>> bool(model.score(X_target[20:], y_target[20:]) > 0.85)
    True
    """

    _labels, _inputs = "classes", _in_context_inputs

    def _validated(self, X, y):
        X, y = validate_data(self, X, y, dtype=np.float64)
        check_classification_targets(y)
        return X, y

    def _compare(self, y, y_target):
        compare_classes(y, y_target)

    def _columns(self, y_source, y_target):
        self._set_classes(np.unique(np.concatenate([y_source, y_target])))
        return tuple(
            signs(np.searchsorted(self.classes_, y), len(self.classes_))
            for y in (y_source, y_target)
        )

    def _set_classes(self, classes) -> None:
        if len(classes) == 1:
            raise ValueError(
                f"All labels are of one class, {classes.tolist()[0]!r}. "
                f"{type(self).__name__} needs samples of at least 2 classes in both domains "
                "together."
            )
        if len(classes) > MAX_CLASSES:
            raise ValueError(
                f"y and y_target hold {len(classes)} classes, and the network has learned from "
                f"tasks of at most {MAX_CLASSES}. Use TransferClassifier, or join classes."
            )
        self.classes_ = classes

    def predict_proba(self, X):
        """Predict the probabilities of the classes.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Target samples.

        Returns
        -------
        p : ndarray of shape (n_samples, n_classes)
            In the order of ``classes_``.
        """
        logits = self._outputs(X)
        if len(self.classes_) > 2:
            return softmax(logits, axis=1)
        # The network sees each class against the other; both answers count alike.
        second = expit((logits[:, 1] - logits[:, 0]) / 2)
        return np.column_stack([1 - second, second])

    def predict_log_proba(self, X):
        """Predict the logarithms of the probabilities.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Target samples.

        Returns
        -------
        log_p : ndarray of shape (n_samples, n_classes)
            In the order of ``classes_``.
        """
        return np.log(self.predict_proba(X))

    def predict(self, X):
        """Predict the most likely class.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Target samples.

        Returns
        -------
        y : ndarray of shape (n_samples,)
        """
        codes = self.predict_proba(X).argmax(axis=1)
        return self.classes_[codes]


class InContextTransferRegressor(RegressorMixin, InContextTransfer):
    r"""Predict numbers in the context of both domains by a network that has learned to transfer.

    The counterpart of :class:`InContextTransferClassifier`. No parameter is tuned and no network is
    trained in `fit`. Ridge regressions are fitted in closed form to the source, to the target, and
    to both. A small transformer reads their predictions of each labelled sample, from fits without
    this sample, together with the labels, and weighs them for a new sample. It was trained on pairs
    of tables made by formula [1]_.

    Parameters
    ----------
    n_members : int, default=1
        Contexts over which predictions are averaged, if there are more samples than the network
        attends to at once: 64 of the source and 200 of the target. The ridge regressions are fitted
        to all samples, so that more contexts change little.
    weights : "default" or path, default="default"
        Weights of the network: those in the package, or a safetensors file.
    random_state : int, RandomState instance or None, default=0
        Draws the samples of the contexts.

    Attributes
    ----------
    n_features_in_ : int
        Number of features of ``X``.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, where ``X`` is a data frame with strings as column names.

    Warns
    -----
    DomainDataWarning
        If there is no ``X_target``. The samples of ``X`` are then the context of their own domain.

    See Also
    --------
    InContextTransferClassifier : The same for classes.
    TransferRegressor : Weighs strategies by cross-validation, with any model.

    Notes
    -----
    *Data.* Features are numbers; encode categories and fill gaps in steps before. They are
    standardized over the labelled samples of both domains and cut at 4 deviations. Labels are
    standardized too, so that no unit matters. Predictions of the ridge regressions are cut at 4
    deviations of the labels, about the mean of both domains: labels with a heavy tail are better
    transformed, such as by ``TransformedTargetRegressor``. Target samples without a label tell how
    predictions are spread in the target.

    *Order and sign.* Neither the order of the samples nor that of the features matters, up to
    rounding. The network answers for the labels and for their negatives, and half of the difference
    is predicted.

    *Cost.* That of the classifier with two classes.

    References
    ----------
    .. [1] S. Müller, N. Hollmann, S. Pineda Arango, J. Grabocka, F. Hutter, "Transformers Can Do
       Bayesian Inference", ICLR 2022: networks that are trained on tasks made by formula.

    Examples
    --------
    >>> import numpy as np
    >>> from skltransfer import InContextTransferRegressor
    >>> rng = np.random.default_rng(0)
    >>> X, X_target = rng.normal(size=(200, 5)), rng.normal(size=(520, 5))
    >>> y, y_target = X[:, 0] + X[:, 1], 3 + X_target[:, 0] + 0.5 * X_target[:, 1]
    >>> model = InContextTransferRegressor()
    >>> model = model.fit(X, y, X_target=X_target[:20], y_target=y_target[:20])
    >>> bool(model.score(X_target[20:], y_target[20:]) > 0.85)
    True
    """

    _labels, _inputs = "numbers", _in_context_numbers

    def _validated(self, X, y):
        X, y = validate_data(self, X, y, dtype=np.float64, y_numeric=True)
        return X, y.astype(np.float64)

    def _columns(self, y_source, y_target):
        y_target = np.asarray(y_target, dtype=np.float64)
        if len(y_source) + len(y_target) < 2:
            raise ValueError(
                f"There is 1 sample with a label, and {type(self).__name__} needs at least 2 in "
                "both domains together."
            )
        self._units = Units.of(y_source, y_target)
        return self._units.columns(y_source), self._units.columns(y_target)

    def predict(self, X):
        """Predict numbers.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Target samples.

        Returns
        -------
        y : ndarray of shape (n_samples,)
        """
        outputs = self._outputs(X)
        return self._units.mean + self._units.scale * (outputs[:, 0] - outputs[:, 1]) / 2


def _directions(X) -> np.ndarray | None:
    """Return an orthonormal basis of the samples' span, if there are more features than samples.

    Ridge regressions are the same in it, and much faster. None if there are not.
    """
    n, n_features = X.shape
    if n_features <= n:
        return None
    values, vectors = np.linalg.eigh(X @ X.T)
    kept = values > values[-1] * n * np.finfo(float).eps
    if not kept.any():  # all features are constant
        return np.zeros((n_features, 1))
    return X.T @ (vectors[:, kept] / np.sqrt(values[kept]))

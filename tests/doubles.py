"""Small two-domain estimators that show what reached them."""

from functools import wraps
from inspect import signature
from itertools import groupby
from operator import itemgetter
from unittest.mock import patch

import numpy as np
from scipy.sparse import issparse
from sklearn.base import (
    BaseEstimator,
    ClassifierMixin,
    OneToOneFeatureMixin,
    RegressorMixin,
    TransformerMixin,
    is_classifier,
)
from sklearn.utils import _safe_indexing, indexable
from sklearn.utils.validation import check_array, check_is_fitted, validate_data
from torch import nn

from skltransfer import WithSource, WithTarget
from skltransfer._arrays import as_numpy
from skltransfer.domains._data import check_target_rows, unwrap
from skltransfer.domains._routing import consumed_keywords


class Recorder(ClassifierMixin, BaseEstimator):
    """Keeps the arguments of ``fit`` and predicts the most frequent label."""

    __metadata_request__fit = {"X_target": True, "y_target": True}

    def __init__(self, setting=0):
        self.setting = setting

    def fit(self, X, y, sample_weight=None, *, X_target=None, y_target=None):
        self.seen_ = {
            "X": X,
            "y": np.asarray(y),
            "sample_weight": sample_weight,
            "X_target": unwrap(X_target),
            "y_target": unwrap(y_target),
        }
        self.classes_, counts = np.unique(y, return_counts=True)
        self.n_features_in_ = np.shape(X)[1]
        self.majority_ = self.classes_[np.argmax(counts)]
        return self

    def predict(self, X):
        check_is_fitted(self)
        return np.full(len(X), self.majority_)


class MeanAligner(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    """Moves source rows to the target's mean; leaves target rows where they are."""

    __metadata_request__fit = {"X_target": True}

    def fit(self, X, y=None, *, X_target=None):
        X_target = unwrap(X_target)
        X = validate_data(self, X, dtype=np.float64)
        self.source_mean_ = self.target_mean_ = X.mean(axis=0)
        if X_target is not None:
            self.target_rows_ = check_target_rows(self, X_target)
            self.target_mean_ = self.target_rows_.mean(axis=0)
        return self

    def fit_transform(self, X, y=None, *, X_target=None):
        self.fit(X, y, X_target=X_target)
        return (
            validate_data(self, X, dtype=np.float64, reset=False)
            - self.source_mean_
            + self.target_mean_
        )

    def transform(self, X):
        check_is_fitted(self)
        return validate_data(self, X, dtype=np.float64, reset=False)


class TableNetwork(nn.Sequential):
    """A small network for tables of any width; the class is a factory with a stable name."""

    def __init__(self):
        super().__init__(nn.LazyLinear(16), nn.Tanh(), nn.Linear(16, 8))


class SumRegressor(RegressorMixin, BaseEstimator):
    """A source's model, fitted for columns of any number: it predicts their sum."""

    def __sklearn_is_fitted__(self):
        return True

    def fit(self, X, y=None):
        return self

    def predict(self, X):
        return check_array(X, dtype=np.float64, estimator=self).sum(axis=1)


class SignClassifier(ClassifierMixin, SumRegressor):
    """A source's model, fitted for columns of any number: the class is the sign of their sum."""

    classes_ = np.array([0, 1])

    def predict_proba(self, X):
        scores = 1 / (1 + np.exp(-np.clip(super().predict(X), -50, 50)))
        return np.column_stack([1 - scores, scores])

    def predict(self, X):
        return self.predict_proba(X).argmax(axis=1)


class NumbersAsText(TransformerMixin, BaseEstimator):
    """Writes each row of numbers as a text, for what takes texts."""

    def fit(self, X, y=None):
        validate_data(self, X)
        return self

    def transform(self, X):
        check_is_fitted(self)
        X = validate_data(self, X, reset=False)
        letters = np.floor(X * 4).astype(int) % len(WORD_VECTORS)
        return [" ".join(list(WORD_VECTORS)[letter] for letter in row) for row in letters]


WORD_VECTORS = {letter: [np.cos(i), np.sin(i), 1.0] for i, letter in enumerate("abcdefgh")}


def with_two_domains(estimator):
    """Return the same estimator, but for a fit that sees half of its rows as the target.

    scikit-learn's checks call ``fit(X, y)``, by which a two-domain estimator is fitted without
    adaptation. Here `X` and `y` are the source, and half of them the target.
    """
    parent = type(estimator)
    name = f"TwoDomain{parent.__name__}"
    if name not in globals():
        methods = {"fit": _fit_of(parent), "__module__": __name__, "__qualname__": name}
        if hasattr(parent, "transform_source"):
            methods["fit_transform"] = _fit_transform_of(parent)
        globals()[name] = type(parent)(name, (parent,), methods)  # where pickle finds it
    return globals()[name](**estimator.get_params(deep=False))


def _fit_of(parent):
    @wraps(parent.fit)
    def fit(self, X, *args, **kwargs):
        y, target = _y_and_target(parent.fit, self, X, *args, **kwargs)
        if issubclass(parent, WithTarget):
            with patch.multiple(self, X_target=target[0], y_target=target[1]):
                return parent.fit(self, X, *args, **kwargs)
        return parent.fit(self, X, *args, **kwargs, **_keywords(self, target))

    @wraps(parent.fit)
    def fit_with_source(self, X, y=None, *no_weights):
        _, target = _y_and_target(parent.fit, self, X, y)
        if y is None:  # without labels there is no source
            return parent.fit(self, X)
        with patch.multiple(self, X_source=X, y_source=y):
            return parent.fit(self, *target)

    if issubclass(parent, WithSource):
        # The rows of the checks are the source's here, whose weights `fit` does not take.
        fit_with_source.__signature__ = signature(fit_with_source, follow_wrapped=False)
        return fit_with_source
    return fit


def _fit_transform_of(parent):
    """Map the source as ``transform_source`` does, and return how the target is mapped.

    The checks, which know one domain, take ``fit_transform`` for ``fit`` and ``transform``.
    """

    @wraps(parent.fit_transform)
    def fit_transform(self, X, *args, **kwargs):
        _, target = _y_and_target(parent.fit_transform, self, X, *args, **kwargs)
        mapped = parent.fit_transform(self, X, *args, **kwargs, **_keywords(self, target))
        again = np.asarray(as_numpy(self.transform_source(X)))
        np.testing.assert_allclose(
            as_numpy(mapped), again, rtol=1e-7, atol=1e-9 * np.abs(again).max()
        )
        return self.transform(X)

    return fit_transform


def _keywords(estimator, target) -> dict:
    given = dict(zip(("X_target", "y_target"), target, strict=True))
    return {name: given[name] for name in consumed_keywords(estimator, "fit")}


def _y_and_target(method, estimator, *args, **kwargs):
    """Return `y`, and every second row (of each class, for a classifier) with its label.

    Rows that are given twice count once and rows that weigh nothing do not count: the target is
    the same whether rows are repeated or weighted.
    """
    given = signature(method).bind(estimator, *args, **kwargs).arguments
    (X,), y = indexable(given["X"]), given.get("y")
    (labels,) = indexable(y)
    rows = [
        repr(np.ravel(row).tolist())
        for row in (X.toarray() if issparse(X) else np.asarray(as_numpy(X)))
    ]
    classes = [""] * len(rows)
    if is_classifier(estimator) and labels is not None and len(labels) == len(rows):
        classes = [repr(np.ravel(label).tolist()) for label in np.asarray(as_numpy(labels))]
    weight = np.asarray(as_numpy(given.get("sample_weight")))
    if weight.shape != (len(rows),) or not (weight > 0).any():
        weight = np.ones(len(rows))
    distinct = {
        key: number
        for number, key in enumerate(zip(classes, rows, strict=True))
        if weight[number] > 0
    }
    half = [
        distinct[key]
        for _, same_class in groupby(sorted(distinct), key=itemgetter(0))
        for key in list(same_class)[::2]
    ]
    return y, [None if part is None else _safe_indexing(part, half) for part in (X, labels)]

"""Small two-domain estimators that show what reached them."""

from functools import wraps
from inspect import signature
from unittest.mock import patch

import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator, ClassifierMixin, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import nn

from skltransfer import WithSource, WithTarget
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
    """Return the same estimator, but for fits that see half of their rows as the other domain.

    scikit-learn's checks call ``fit(X, y)``, and a two-domain estimator is then fitted without
    adaptation. The class of what is returned adds the other domain and inherits the rest.
    """
    parent = type(estimator)
    name = f"TwoDomain{parent.__name__}"
    if name not in globals():
        methods = {"fit": _two_domain_fit(parent), "__module__": __name__, "__qualname__": name}
        if hasattr(parent, "transform_source"):
            methods["fit_transform"] = _two_domain_fit_transform(parent)
        globals()[name] = type(parent)(name, (parent,), methods)  # where pickle finds it
    return globals()[name](**estimator.get_params(deep=False))


def _two_domain_fit(parent):
    @wraps(parent.fit)
    def fit(self, X, *args, **kwargs):
        rows, labels = _half(parent.fit, self, X, *args, **kwargs)
        if issubclass(parent, WithSource | WithTarget):
            other = "source" if issubclass(parent, WithSource) else "target"
            with patch.multiple(self, **{f"X_{other}": rows, f"y_{other}": labels}):
                return parent.fit(self, X, *args, **kwargs)
        return parent.fit(self, X, *args, **kwargs, **_keywords(self, rows, labels))

    return fit


def _two_domain_fit_transform(parent):
    """The source's rows are mapped as ``transform_source`` maps them; returned is the target's map.

    The checks, which know one domain, take ``fit_transform`` for ``fit`` and ``transform``.
    """

    @wraps(parent.fit_transform)
    def fit_transform(self, X, *args, **kwargs):
        rows, labels = _half(parent.fit_transform, self, X, *args, **kwargs)
        mapped = parent.fit_transform(self, X, *args, **kwargs, **_keywords(self, rows, labels))
        scale = np.abs(mapped).max(axis=None)
        np.testing.assert_allclose(mapped, self.transform_source(X), rtol=1e-9, atol=1e-9 * scale)
        return self.transform(X)

    return fit_transform


def _keywords(estimator, rows, labels) -> dict:
    given = {"X_target": rows, "y_target": labels}
    return {name: given[name] for name in consumed_keywords(estimator, "fit")}


def _half(method, *args, **kwargs):
    """Return every second row, in the order of their texts, and its label.

    Rows that are given twice count once and rows that weigh nothing do not count, so that the
    other domain is the same whether rows are repeated or weighted.
    """
    given = signature(method).bind(*args, **kwargs).arguments
    X, y, weight = (given.get(name) for name in ("X", "y", "sample_weight"))
    X = X.tocsr() if sparse.issparse(X) else X
    texts = [repr(np.ravel(row).tolist()) for row in (X.toarray() if sparse.issparse(X) else np.asarray(X))]
    weight = np.asarray(1 if weight is None else weight)
    weight = weight if weight.shape == (len(texts),) else np.ones(len(texts))
    distinct = {text: row for row, text in enumerate(texts) if weight[row] > 0}
    picked = [distinct[text] for text in sorted(distinct)[::2]]
    return tuple(
        _safe_indexing(value if hasattr(value, "__getitem__") else np.asarray(value), picked)
        if value is not None
        else None
        for value in (X, y)
    )

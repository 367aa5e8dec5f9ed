"""Small two-domain estimators that show what reached them."""

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import nn

from skltransfer.domains._data import check_target_rows, unwrap


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

"""Weights of source samples, drawn against a feature or a component."""

from __future__ import annotations

from numbers import Integral

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import _num_samples, check_array, check_is_fitted

from skltransfer._solvers._sums import effective_sample_size
from skltransfer.domains._data import (
    check_not_empty,
    check_same_length,
    check_same_width,
    column_names,
    concatenate_rows,
    in_order_of,
)
from skltransfer.inspection._matplotlib import divide_axes

_SOURCE, _WEIGHTED, _TARGET = "#9aa5b1", "#c8553d", "#2f6f9f"
_N_BINS = 30


class SampleWeightDisplay:
    """Plot of sample weights against a feature, with the distributions of both domains.

    The upper plot shows the distribution of the source, of the target and of the weighted source,
    which a reweighter brings near the target. The lower plot shows the weight of each source
    sample. Create a display by :meth:`from_estimator` or :meth:`from_weights`.

    Parameters
    ----------
    values : ndarray of shape (n_samples,)
        Horizontal coordinates of the source samples.
    sample_weight : ndarray of shape (n_samples,)
        Weights of the source samples.
    target_values : ndarray of shape (n_target_samples,), default=None
        Horizontal coordinates of the target samples.
    value_name : str, default=None
        Label of the horizontal axis.

    Attributes
    ----------
    axes_ : tuple of matplotlib Axes
        Axes of the distributions and of the weights.
    figure_ : matplotlib Figure
        Figure.
    effective_sample_size : float
        ``sum(w)^2 / sum(w^2)``, the number of equally weighted samples with the same variance.

    See Also
    --------
    KMMReweighter : Sample weights by kernel mean matching.

    Examples
    --------
    >>> import numpy as np
    >>> from skltransfer import KMMReweighter, SampleWeightDisplay
    >>> rng = np.random.default_rng(0)
    >>> X, X_target = rng.normal(size=(200, 2)), rng.normal(0.5, 0.8, size=(100, 2))
    >>> kmm = KMMReweighter().fit(X, X_target=X_target)
    >>> display = SampleWeightDisplay.from_estimator(kmm, X, X_target=X_target, feature=0)
    >>> display.axes_[1].get_xlabel()
    'column 0'
    """

    def __init__(self, *, values, sample_weight, target_values=None, value_name=None):
        self.values = values
        self.sample_weight = sample_weight
        self.target_values = target_values
        self.value_name = value_name

    @property
    def effective_sample_size(self) -> float:
        return effective_sample_size(np.asarray(self.sample_weight, dtype=float))

    @classmethod
    def from_estimator(
        cls, estimator, X, *, X_target=None, feature="domain", ax=None, random_state=0
    ):
        """Plot the weights of a fitted reweighter.

        Parameters
        ----------
        estimator : estimator
            Fitted reweighter, or pipeline, :class:`~skltransfer.WithTarget` or
            :class:`~skltransfer.WithSource` with a reweighter as a step.
        X : array-like of shape (n_samples, n_features)
            Source samples of the fit, in the same order and form.
        X_target : array-like of shape (n_target_samples, n_features), default=None
            Target samples in the form given to `fit`.
        feature : int, str or "domain", default="domain"
            Index or name of the horizontal axis' column. ``"domain"`` is the log-odds of the target
            by a cross-fitted linear classifier of the domains.
        ax : matplotlib Axes, default=None
            Axes, divided into two. ``None`` makes a new figure.
        random_state : int, RandomState instance or None, default=0
            Seed of the classifier's folds.

        Returns
        -------
        display : SampleWeightDisplay
            Display with both plots.
        """
        weights = _fitted_weights(estimator)
        return cls.from_weights(
            X, weights, X_target=X_target, feature=feature, ax=ax, random_state=random_state
        )

    @classmethod
    def from_weights(
        cls, X, sample_weight, *, X_target=None, feature="domain", ax=None, random_state=0
    ):
        """Plot given weights.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Source samples.
        sample_weight : array-like of shape (n_samples,)
            Weights of the source samples, at least 0 and not all 0.
        X_target : array-like of shape (n_target_samples, n_features), default=None
            Target samples.
        feature : int, str or "domain", default="domain"
            As in :meth:`from_estimator`.
        ax : matplotlib Axes, default=None
            As in :meth:`from_estimator`.
        random_state : int, RandomState instance or None, default=0
            Seed of the classifier's folds.

        Returns
        -------
        display : SampleWeightDisplay
            Display with both plots.
        """
        weights = check_array(
            sample_weight, ensure_2d=False, dtype=np.float64, input_name="sample_weight"
        )
        check_same_length(weights, X, "sample_weight", "X")
        if weights.ndim != 1 or weights.min() < 0 or not weights.any():
            raise ValueError(
                "sample_weight has to hold one number of at least 0 per row of X, not all 0."
            )
        if X_target is not None:
            check_not_empty(X_target, "X_target")
            check_same_width(X_target, X, "X_target")
            X_target = in_order_of(X, X_target, "X_target")
        values, target_values, name = _values(X, X_target, feature, random_state)
        display = cls(
            values=values, sample_weight=weights, target_values=target_values, value_name=name
        )
        return display.plot(ax=ax)

    def plot(self, ax=None):
        """Draw the distributions and the weights.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes, divided into two. ``None`` makes a new figure.

        Returns
        -------
        display : SampleWeightDisplay
            Display with both plots.
        """
        parts, self.figure_ = divide_axes(
            type(self).__name__, ax, (7, 5), 2, 1, height_ratios=(1, 1.2), sharex=True
        )
        upper, lower = self.axes_ = tuple(parts)
        self._draw_densities(upper)
        self._draw_weights(lower)
        return self

    def _draw_densities(self, ax) -> None:
        values, target = np.asarray(self.values), self.target_values
        every = values if target is None else np.concatenate([values, target])
        bins = np.histogram_bin_edges(every, min(_N_BINS, 2 + int(np.sqrt(len(every)))))
        if target is not None:
            ax.hist(target, bins, density=True, color=_TARGET, alpha=0.3, label="target")
        weighted = ("source, weighted", _WEIGHTED, np.asarray(self.sample_weight))
        for label, color, w in (("source", _SOURCE, None), weighted):
            ax.hist(
                values, bins, density=True, weights=w, histtype="step", linewidth=1.8,
                color=color, label=label,
            )  # fmt: skip
        ax.set_ylabel("density")
        ax.tick_params(labelbottom=False)
        ax.legend(frameon=False)
        ax.set_title(
            f"{len(values)} source rows, worth {self.effective_sample_size:.0f} equally weighted"
        )

    def _draw_weights(self, ax) -> None:
        weights = np.asarray(self.sample_weight)
        size = 30 * min(1.0, (300 / len(weights)) ** 0.5)
        ax.scatter(self.values, weights, s=size, color=_WEIGHTED, alpha=0.5, linewidths=0)
        ax.axhline(1.0, color=_SOURCE, linewidth=1, linestyle=":")
        ax.set_ylim(bottom=-0.02 * weights.max())
        ax.set_xlabel(self.value_name or "value")
        ax.set_ylabel("weight")


def _fitted_weights(estimator) -> np.ndarray:
    """Return the weights of the reweighter in `estimator`."""
    check_is_fitted(estimator)
    part = estimator
    while not hasattr(part, "sample_weight_"):
        if isinstance(part, Pipeline):
            part = part.steps[-1][1]
        elif hasattr(part, "estimator_"):
            part = part.estimator_
        else:
            raise TypeError(
                f"{type(estimator).__name__} holds no sample_weight_. Pass a fitted reweighter, or "
                "a pipeline, WithTarget or WithSource that ends in one."
            )
    return part.sample_weight_


def _values(X, X_target, feature, random_state):
    """Return what is drawn along the axis, for both domains, and its name."""
    if isinstance(feature, str) and feature == "domain":
        if X_target is None:
            raise ValueError(
                "feature='domain' tells the domains apart and needs X_target. Pass the target's "
                "rows, or the index or name of a column as feature."
            )
        if min(_num_samples(X), _num_samples(X_target)) < 2:
            raise ValueError(
                "feature='domain' needs at least 2 rows of each domain. Pass the index or name of "
                "a column as feature."
            )
        source, target, area = domain_scores(_matrix(X), _matrix(X_target), random_state)
        return source, target, f"log-odds of the target (domains told apart: AUC {area:.2f})"
    names = column_names(X)
    if isinstance(feature, str):
        if names is None or feature not in names:
            raise ValueError(
                f"feature={feature!r} is not a column of X. Pass the index of a column, the name "
                "of a column if X is a data frame, or 'domain'."
            )
        index, name = names.index(feature), feature
    else:
        index = feature
        width = _matrix(X).shape[1]
        is_index = isinstance(index, Integral) and not isinstance(index, bool)
        if not (is_index and -width <= index < width):
            raise ValueError(f"feature={feature!r} is not a column of X, which has {width}.")
        name = f"column {index}" if names is None else str(names[index])
    columns = [
        None if rows is None else _column(rows, index, "X" if rows is X else "X_target")
        for rows in (X, X_target)
    ]
    return *columns, name


def _matrix(X) -> np.ndarray:
    return check_array(X, dtype=np.float64)


def _column(X, index: int, name: str) -> np.ndarray:
    column = _safe_indexing(X, [index], axis=1) if hasattr(X, "shape") else np.array(X)[:, [index]]
    return check_array(column, dtype=np.float64, input_name=name)[:, 0]


def domain_scores(X, X_target, random_state=0) -> tuple[np.ndarray, np.ndarray, float]:
    """Return cross-fitted log-odds that a sample belongs to the target.

    Parameters
    ----------
    X, X_target : array-like of numbers, at least 2 rows each

    Returns
    -------
    source, target : ndarray of shape (n_samples,), (n_target_samples,)
    area : float
        Area under the ROC curve; 0.5 if a linear classifier cannot tell the domains apart.
    """
    rows = concatenate_rows(X, X_target)
    is_target = np.repeat([0, 1], [len(X), len(X_target)])
    folds = StratifiedKFold(min(5, len(X), len(X_target)), shuffle=True, random_state=random_state)
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    scores = cross_val_predict(model, rows, is_target, cv=folds, method="decision_function")
    return scores[: len(X)], scores[len(X) :], float(roc_auc_score(is_target, scores))

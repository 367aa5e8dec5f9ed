"""Weights of source samples, drawn against a feature or a component."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from numbers import Integral
from typing import Self

import numpy as np
from scipy import sparse
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.model_selection._search import BaseSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.validation import _num_samples, check_array, check_is_fitted

from skltransfer._missing import is_missing
from skltransfer._solvers._sums import effective_sample_size
from skltransfer.domains._data import (
    check_not_empty,
    check_same_length,
    check_same_width,
    column_names,
    columns_compared,
    concatenate_rows,
    in_one_form,
    select_columns,
)
from skltransfer.inspection._columns import as_numbers, both_as_texts, column_values, n_columns
from skltransfer.inspection._fitted_steps import fitted_steps, map_both
from skltransfer.inspection._matplotlib import divide_axes

_SOURCE, _WEIGHTED, _TARGET = "#9aa5b1", "#c8553d", "#2f6f9f"
_N_BINS = 30
# Texts with bars of their own.
_MOST_BARS = 20
_MISSING, _OTHERS = "missing", "others"


class SampleWeightDisplay:
    """Plot of sample weights against a feature, with the distributions of both domains.

    The upper plot shows the distribution of the source, of the target and of the weighted source,
    which a reweighter brings near the target. The lower plot shows the weight of each source
    sample. Create a display by :meth:`from_estimator` or :meth:`from_weights`.

    Parameters
    ----------
    values : ndarray of shape (n_samples,)
        Horizontal coordinates of the source samples. Missing ones are ``NaN``, and are not drawn.
        Texts are drawn as bars.
    sample_weight : ndarray of shape (n_samples,)
        Weights of the source samples.
    target_values : ndarray of shape (n_target_samples,), default=None
        Horizontal coordinates of the target samples.
    value_name : str, default=None
        Label of the horizontal axis.
    value_order : list of str, default=None
        Texts in the order in which they are drawn; others follow, sorted. Of more than 20 texts,
        the rarest are drawn as one.

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

    def __init__(
        self,
        *,
        values,
        sample_weight,
        target_values=None,
        value_name: str | None = None,
        value_order: Sequence[str] | None = None,
    ):
        self.values = values
        self.sample_weight = sample_weight
        self.target_values = target_values
        self.value_name = value_name
        self.value_order = value_order

    @property
    def effective_sample_size(self) -> float:
        return effective_sample_size(np.asarray(self.sample_weight, dtype=float))

    @classmethod
    def from_estimator(
        cls,
        estimator,
        X,
        *,
        X_target=None,
        feature: int | str = "domain",
        ax=None,
        random_state: int | np.random.RandomState | None = 0,
    ):
        """Plot the weights of a fitted reweighter.

        Parameters
        ----------
        estimator : estimator
            Fitted reweighter, or pipeline, search, :class:`~skltransfer.WithTarget` or
            :class:`~skltransfer.WithSource` with a reweighter as a step.
        X : array-like of shape (n_samples, n_features)
            Source samples of the fit, in the same order and form.
        X_target : array-like of shape (n_target_samples, n_features), default=None
            Target samples in the form given to `fit`.
        feature : int, str or "domain", default="domain"
            Index or name of the horizontal axis' column in ``X``, of numbers, texts or categories.
            ``"domain"`` is the log-odds of the target by a cross-fitted linear classifier of the
            domains, on samples as they reach the reweighter: mapped by the steps before it.
        ax : matplotlib Axes, default=None
            Axes, divided into two. ``None`` makes a new figure.
        random_state : int, RandomState instance or None, default=0
            Seed of the classifier's folds.

        Returns
        -------
        display : SampleWeightDisplay
            Display with both plots.
        """
        before, weights = _followed(estimator)
        if _num_samples(X) != len(weights):
            raise ValueError(
                f"X has {_num_samples(X)} rows, and {type(estimator).__name__} weighed "
                f"{len(weights)}. Pass the source rows of the fit, all and in the same order."
            )
        return cls._drawn(X, weights, X_target, feature, ax, random_state, before)

    @classmethod
    def from_weights(
        cls,
        X,
        sample_weight,
        *,
        X_target=None,
        feature: int | str = "domain",
        ax=None,
        random_state: int | np.random.RandomState | None = 0,
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
        return cls._drawn(X, weights, X_target, feature, ax, random_state)

    @classmethod
    def _drawn(cls, X, weights, X_target, feature, ax, random_state, before=()):
        """Draw weights, with the steps `before` which samples are compared."""
        if X_target is not None:
            check_not_empty(X_target, "X_target")
            check_same_width(X_target, X, "X_target")
            X, X_target = in_one_form(X, X_target, "X_target")
        if isinstance(feature, str) and feature == "domain":
            values, target_values, name = _domain_values(X, X_target, before, random_state)
            order = []
        else:
            values, target_values, name, order = _column_values(X, X_target, feature)
        display = cls(
            values=values,
            sample_weight=weights,
            target_values=target_values,
            value_name=name,
            value_order=order,
        )
        return display.plot(ax=ax)

    def plot(self, ax=None) -> Self:
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
        values, weights = np.asarray(self.values), np.asarray(self.sample_weight)
        target = None if self.target_values is None else np.asarray(self.target_values)
        if values.dtype.kind in "biuf":
            places = values.astype(np.float64)
            self._draw_densities(upper, places, target)
        else:
            names = self._names(values, target)
            places = self._draw_shares(upper, values, target, names)
            lower.set_xticks(
                range(len(names)), names, rotation=30 * (sum(map(len, names)) > 60), ha="center"
            )
        upper.tick_params(labelbottom=False)
        upper.legend(frameon=False)
        upper.set_title(
            f"{len(values)} source rows, worth {self.effective_sample_size:.0f} equally weighted"
        )
        self._draw_weights(lower, places, weights)
        return self

    def _draw_densities(self, ax, values, target) -> None:
        weights = np.asarray(self.sample_weight)
        known = ~np.isnan(values)
        values, weights = values[known], weights[known]
        target = None if target is None else target[~np.isnan(target)]
        every = values if target is None else np.concatenate([values, target])
        bins = np.histogram_bin_edges(every, min(_N_BINS, 2 + int(np.sqrt(len(every)))))
        if target is not None and len(target):
            ax.hist(target, bins, density=True, color=_TARGET, alpha=0.3, label="target")
        weighted = ("source, weighted", _WEIGHTED, weights)
        for label, color, w in (("source", _SOURCE, None), weighted):
            if len(values) and (w is None or w.any()):
                ax.hist(
                    values, bins, density=True, weights=w, histtype="step", linewidth=1.8,
                    color=color, label=label,
                )  # fmt: skip
        ax.set_ylabel("density")

    def _names(self, values, target) -> list[str]:
        """Return the texts to draw, in order; those left out are drawn as `_OTHERS`."""
        counts = Counter(map(_shown, [*values, *(() if target is None else target)]))
        frequent = {text for text, _ in counts.most_common(_MOST_BARS)}
        names = [text for text in self.value_order or [] if text in frequent]
        names += sorted(frequent - {*names, _MISSING}) + [_MISSING] * (_MISSING in frequent)
        return names + [_OTHERS] * (len(counts) > len(frequent))

    def _draw_shares(self, ax, values, target, names) -> np.ndarray:
        """Draw the share of each text in the domains, and return the places of source samples."""
        place = {text: number for number, text in enumerate(names)}
        codes, target_codes = (
            np.array([place.get(_shown(text), len(names) - 1) for text in texts], dtype=np.intp)
            for texts in (values, () if target is None else target)
        )
        bars = [("source", _SOURCE, codes, None)]
        bars += [("source, weighted", _WEIGHTED, codes, np.asarray(self.sample_weight))]
        if target is not None:
            bars.insert(0, ("target", _TARGET, target_codes, None))
        width = 0.8 / len(bars)
        for number, (label, color, of_bar, w) in enumerate(bars):
            shares = np.bincount(of_bar, weights=w, minlength=len(names)).astype(np.float64)
            left = np.arange(len(names)) + (number - (len(bars) - 1) / 2) * width
            alpha = 0.5 if label == "target" else 1.0
            ax.bar(left, shares / shares.sum(), width, color=color, label=label, alpha=alpha)
        ax.set_ylabel("share")
        # Samples of one text lie side by side.
        rank = np.empty(len(codes))
        order = np.argsort(codes, kind="stable")
        counts = np.bincount(codes, minlength=len(names))
        rank[order] = np.concatenate([(np.arange(n) + 0.5) / n for n in counts])
        return codes + 0.6 * (rank - 0.5)

    def _draw_weights(self, ax, places, weights) -> None:
        size = 30 * min(1.0, (300 / len(weights)) ** 0.5)
        ax.scatter(places, weights, s=size, color=_WEIGHTED, alpha=0.5, linewidths=0)
        ax.axhline(1.0, color=_SOURCE, linewidth=1, linestyle=":")
        ax.set_ylim(bottom=-0.02 * weights.max())
        ax.set_xlabel(self.value_name or "value")
        ax.set_ylabel("weight")


def _shown(text) -> str:
    return _MISSING if is_missing(text) else str(text)


def _followed(estimator) -> tuple[list, np.ndarray]:
    """Return the steps before the reweighter in `estimator`, and the weights of the reweighter."""
    check_is_fitted(estimator)
    steps = list(fitted_steps(estimator))
    if steps and hasattr(steps[-1], "sample_weight_"):
        return steps[:-1], steps[-1].sample_weight_
    last = steps[-1] if steps else estimator
    members = [part for part in np.ravel(getattr(last, "estimators_", [])) if part is not None]
    name = type(last).__name__
    if any(hasattr(step, "sample_weight_") for part in members for step in fitted_steps(part)):
        raise TypeError(
            f"{name} holds {len(members)} fitted estimators, each with weights of its own. Pass "
            "one of them, such as estimators_[0], with the source rows of its fit."
        )
    remedy = " that ends in one."
    if isinstance(last, BaseSearchCV):
        remedy += " A search needs refit=True."
    raise TypeError(
        f"{name} holds no sample_weight_. Pass a fitted reweighter, or a pipeline, search, "
        f"WithTarget or WithSource{remedy}"
    )


def _domain_values(X, X_target, before, random_state):
    """Return the scores of both domains by a classifier of the domains, and their name."""
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
    for step in before:
        X, X_target = map_both(step, X, X_target, "Pass the index or name of a column as feature.")
    source, target, area = domain_scores(*as_numbers(X, X_target), random_state)
    return source, target, f"log-odds of the target (domains told apart: AUC {area:.2f})"


def _column_values(X, X_target, feature):
    """Return a column of both domains, its name, and the order of its texts."""
    names, width = column_names(X), n_columns(X)
    if isinstance(feature, str):
        if names is None or feature not in names:
            raise ValueError(
                f"feature={feature!r} is not a column of X. Pass the index of a column, the name "
                "of a column if X is a data frame, or 'domain'."
            )
        index, name = names.index(feature), feature
    else:
        index = feature
        is_index = isinstance(index, Integral) and not isinstance(index, bool)
        if width is None or not (is_index and -width <= index < width):
            raise ValueError(
                f"feature={feature!r} is not a column of X, which has {width or 'none'}."
            )
        name = f"column {index}" if names is None else str(names[index])
    column = column_values(X, index)
    columns, order, unit = [column.values], list(column.order), column.unit
    if X_target is not None:
        at = index
        if names is not None:  # columns that are not drawn may be missing
            with columns_compared():
                X_target, at = select_columns(X_target, [names[index]]), 0
        target_column = column_values(X_target, at)
        order += [text for text in target_column.order if text not in order]
        columns = both_as_texts(column.values, target_column.values)
    for column, rows_name in zip(columns, ("X", "X_target"), strict=False):
        if column.dtype.kind == "f" and (np.isnan(column).all() or np.isinf(column).any()):
            raise ValueError(
                f"{name!r} of {rows_name} holds infinite values, or missing ones alone. Pass "
                "another column as feature, or replace these."
            )
    values = columns[0]
    n_missing = int(np.isnan(values).sum()) if values.dtype.kind == "f" else 0
    remarks = [unit] * bool(unit) + [f"{n_missing} source rows have none"] * bool(n_missing)
    label = f"{name} ({', '.join(remarks)})" if remarks else name
    return values, columns[1] if len(columns) > 1 else None, label, order


def domain_scores(X, X_target, random_state=0) -> tuple[np.ndarray, np.ndarray, float]:
    """Return cross-fitted log-odds that a sample belongs to the target.

    Parameters
    ----------
    X, X_target : {ndarray, CSR array} of shape (n, n_features) and (m, n_features)
        At least 2 rows each.

    Returns
    -------
    source, target : ndarray of shape (n_samples,), (n_target_samples,)
    area : float
        Area under the ROC curve; 0.5 if a linear classifier cannot tell the domains apart.
    """
    rows = concatenate_rows(X, X_target)
    n, n_target = X.shape[0], X_target.shape[0]
    is_target = np.repeat([0, 1], [n, n_target])
    folds = StratifiedKFold(min(5, n, n_target), shuffle=True, random_state=random_state)
    scaler = StandardScaler(with_mean=not sparse.issparse(rows))
    model = make_pipeline(scaler, LogisticRegression(max_iter=1000))
    scores = cross_val_predict(model, rows, is_target, cv=folds, method="decision_function")
    return scores[:n], scores[n:], float(roc_auc_score(is_target, scores))

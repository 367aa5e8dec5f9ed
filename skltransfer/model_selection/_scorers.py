"""Scorers for a target without labels, and for one with labels that are kept aside.

A maker returns a callable ``scorer(estimator, X, y=None)``, for ``scoring=`` of scikit-learn's
searches and cross-validation. Which domain `X` belongs to depends on the wrapper: source samples
for ``WithTarget``, target samples for ``WithSource``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from inspect import signature

import numpy as np
from sklearn.base import is_classifier
from sklearn.frozen import FrozenEstimator
from sklearn.metrics import check_scoring
from sklearn.model_selection._search import BaseSearchCV
from sklearn.utils import _safe_indexing

from skltransfer._persisted import LeftOut
from skltransfer.domains import WithTarget
from skltransfer.domains._composition import name_steps
from skltransfer.domains._data import (
    check_not_empty,
    check_same_length,
    columns_compared,
    known_labels,
    select_columns,
)
from skltransfer.domains._printing import Shape

_DATA = ("X_target", "X_source", "y_source", "X_val", "y_val")


class DomainScorer(ABC):
    """A scorer that holds samples by reference: clones and copies of a search share it.

    A subclass computes the score in `__call__`. Its attributes are the arguments of the maker.

    Parameters
    ----------
    **arguments : dict
        Arguments of the maker.
    """

    _maker = ""

    def __init__(self, **arguments):
        for name in {"X_target", "X_val"} & arguments.keys():
            if arguments[name] is not None:
                check_not_empty(arguments[name], name)
        vars(self).update(arguments)

    @abstractmethod
    def __call__(self, estimator, X, y=None) -> float:
        """Score a fitted estimator; the larger, the better.

        Parameters
        ----------
        estimator : estimator
            A fitted one.
        X : array-like of shape (n_samples, n_features)
            Samples that scikit-learn holds out: of the source for a ``WithTarget``, else of the
            target.
        y : array-like of shape (n_samples,), default=None
            Their labels. Those of the target are not looked at.
        """

    def __repr__(self):
        held = {
            name: Shape.of(value) if name in _DATA else value
            for name, value in vars(self).items()
            if value is not None
        }
        return f"{self._maker}({', '.join(f'{name}={value!r}' for name, value in held.items())})"

    def __deepcopy__(self, memo):
        return self

    def _accept_sample_weight(self) -> bool:
        # Several metrics at once, in a search that is given weights, ask every scorer.
        return False

    def _target_samples(self, estimator, X):
        """Return samples of the target: the given ones, those of a WithTarget, or `X`."""
        held = self._held_target(estimator)
        return X if held is None else held

    def _held_target(self, estimator):
        """Return samples of the target that do not come from scikit-learn, or None."""
        X_target = self.X_target
        if X_target is None:
            held = [part.X_target for part in wrappers(estimator, WithTarget)]
            if any(other is not held[0] for other in held):
                raise ValueError(
                    f"{type(estimator).__name__} holds several WithTarget with samples of their "
                    f"own. Say which to score on: {self._maker}(X_target=...)."
                )
            if not held:
                return None
            X_target = held[0]
            if X_target is None:
                raise ValueError(
                    "The WithTarget that is scored holds no X_target. Pass it there, or to "
                    f"{self._maker}(X_target=...)."
                )
            if isinstance(X_target, LeftOut):
                raise ValueError(
                    "X_target of the WithTarget was left out when it was saved. Pass "
                    f"{self._maker}(X_target=...)."
                )
        return in_fitted_order(estimator, X_target, "X_target")

    def _check_classifier(self, estimator) -> None:
        if not is_classifier(estimator):
            raise TypeError(
                f"{self._maker} scores classifiers alone, and {name_steps(estimator)} is none. For "
                "a regression choose importance_weighted_scorer, or target_scorer if some labels "
                "of the target are known."
            )

    def _probabilities(self, estimator, X) -> np.ndarray:
        self._check_classifier(estimator)
        if not hasattr(estimator, "predict_proba"):
            raise TypeError(
                f"{self._maker} needs predict_proba, which {name_steps(estimator)} lacks. Put the "
                "classifier into a CalibratedClassifierCV, or choose a probabilistic one."
            )
        p = estimator.predict_proba(X)
        if isinstance(p, list) or np.ndim(p) != 2:
            raise TypeError(f"{self._maker} scores labels of one output, not of several.")
        return np.asarray(p, dtype=np.float64)


def wrappers(estimator, kind) -> list:
    """Return the wrappers of a class in an estimator, itself included."""
    estimator = chosen(estimator)
    return [
        part for part in [estimator, *estimator.get_params().values()] if isinstance(part, kind)
    ]


def chosen(estimator):
    """Return the estimator that a fitted search has chosen, or that is frozen."""
    while isinstance(estimator, FrozenEstimator | BaseSearchCV):
        if isinstance(estimator, FrozenEstimator):
            estimator = estimator.estimator
        elif hasattr(estimator, "best_estimator_"):
            estimator = estimator.best_estimator_
        else:
            return estimator
    return estimator


def in_fitted_order(estimator, rows, name: str):
    """Return samples with the columns of the fit, in its order, if these have names."""
    with columns_compared():
        return select_columns(rows, getattr(estimator, "feature_names_in_", None), name=name)


def check_metric(metric, *, weighted: bool = False) -> None:
    """Refuse what is no scorer, and where weights are needed one that takes none."""
    if metric is None:
        return
    scorer = check_scoring(scoring=metric)
    if weighted and not _takes_weights(scorer):
        raise ValueError(
            f"metric={metric!r} takes no sample_weight, by which the samples of the source stand "
            "for the target. Choose a metric that does, such as 'accuracy', 'neg_log_loss' or "
            "'neg_mean_squared_error'."
        )


def _takes_weights(scorer) -> bool:
    if hasattr(scorer, "_accept_sample_weight"):
        return scorer._accept_sample_weight()
    return "sample_weight" in signature(scorer).parameters


def metric_scorer(metric, estimator):
    """Return a scorer: `metric`, or accuracy and the squared error where it is None."""
    if metric is None:
        metric = "accuracy" if is_classifier(estimator) else "neg_mean_squared_error"
    return check_scoring(scoring=metric)


class _TargetScorer(DomainScorer):
    _maker = "target_scorer"

    def __call__(self, estimator, X=None, y=None) -> float:
        X_val = in_fitted_order(estimator, self.X_val, "X_val")
        return check_scoring(estimator, scoring=self.metric)(estimator, X_val, self.y_val)


def target_scorer(metric, X_val, y_val):
    """Make a scorer on labelled target samples that are kept aside.

    Use it if the target has a few labels, and scikit-learn splits the source: inside of a
    :class:`~skltransfer.WithTarget`, whose folds hold source samples. If most of the target is
    labelled, :class:`~skltransfer.WithSource` makes better use of it.

    Parameters
    ----------
    metric : str, callable or None
        Name of a scikit-learn scorer, or a scorer ``metric(estimator, X, y)``. ``None`` is the
        estimator's own ``score``.
    X_val : array-like of shape (n_val_samples, n_features)
        Samples of the target. Held by reference.
    y_val : array-like of shape (n_val_samples,) or (n_val_samples, n_outputs)
        Their labels. Samples with a missing one (``NaN``, ``None`` or ``pandas.NA``) are left out.

    Returns
    -------
    scorer : callable
        ``scorer(estimator, X, y=None)``. It scores on `X_val`, and ignores ``X`` and ``y``.

    Raises
    ------
    ValueError
        If no label is known, or `metric` is no scorer.

    See Also
    --------
    importance_weighted_scorer : Needs no label of the target.

    Notes
    -----
    All folds and candidates are scored on the same samples. The score of the best candidate is
    therefore an optimistic estimate: keep further labels for an honest one. The estimator must not
    have been given these labels as ``y_target``.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.model_selection import GridSearchCV
    >>> from skltransfer import KMMReweighter, WithTarget, target_scorer
    >>> rng = np.random.default_rng(0)
    >>> X_old, X_new = rng.normal(size=(60, 2)), rng.normal(0.7, 0.8, size=(50, 2))
    >>> y_old, y_new = (X_old[:, 0] > 0).astype(int), (X_new[:, 0] > 0).astype(int)
    >>> search = GridSearchCV(
    ...     WithTarget(KMMReweighter(LogisticRegression()), X_target=X_new),
    ...     {"estimator__max_weight": [2, 10]},
    ...     scoring=target_scorer("accuracy", X_new[:10], y_new[:10]),
    ... ).fit(X_old, y_old)
    >>> sorted(search.best_params_)
    ['estimator__max_weight']
    """
    check_metric(metric)
    check_same_length(y_val, X_val, "y_val", "X_val")
    known, labels = known_labels(y_val, X_val, name="y_val")
    if not known.any():
        raise ValueError(
            "y_val holds no known label. Pass labelled samples of the target, or choose a scorer "
            "that needs none, such as importance_weighted_scorer()."
        )
    if not known.all():
        X_val, y_val = _safe_indexing(X_val, np.flatnonzero(known)), labels
    return _TargetScorer(metric=metric, X_val=X_val, y_val=y_val)

"""The metric that a command names, checked against the labels."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.metrics import get_scorer, get_scorer_names, make_scorer, r2_score

from skltransfer._messages import near_names
from skltransfer.cli._errors import CommandError, list_names, shorten


@dataclass(frozen=True)
class Scoring:
    """A metric of scikit-learn, and its name in reports."""

    name: str
    scorer: Any  # name or scorer


def scoring_of(metric: str | None, positive: str | None, y, is_classification: bool) -> Scoring:
    """Return the metric of a command, or say why it does not suit the labels.

    Parameters
    ----------
    metric, positive : str or None
        Options of the command.
    y : ndarray of shape (n_samples,)
        Labels of the target, or of the source if the target has none.
    is_classification : bool

    Raises
    ------
    CommandError
        If there is no such metric or class, or if it is for labels of another kind.
    """
    name = metric or ("accuracy" if is_classification else "r2")
    if name not in get_scorer_names():
        usual = "balanced_accuracy, f1_macro" if is_classification else "neg_mean_absolute_error"
        raise CommandError(
            f"--metric {name}: there is no such scorer.{near_names(name, get_scorer_names())} "
            f"Choose a scorer of scikit-learn, such as {usual}."
        )
    if is_classification:
        _check_for_classes(name, y)
        return _of_one_class(name, positive, y)
    response = getattr(get_scorer(name), "_response_method", "predict")
    of_classes = "predict" not in np.atleast_1d(response) or f"{name}_macro" in get_scorer_names()
    if of_classes:
        raise CommandError(
            f"--metric {name} is for classes, and the labels are taken for numbers. Choose one "
            "such as r2 or neg_mean_absolute_error, or add --task classification."
        )
    if positive is not None:
        raise CommandError("--positive is for classes, and the labels are taken for numbers.")
    return Scoring(name, name)


def _check_for_classes(name: str, y) -> None:
    function = get_scorer(name)._score_func
    if isinstance(np.unique(y).tolist()[0], str) and function.__module__ == r2_score.__module__:
        raise CommandError(
            f"--metric {name} is for numbers, and the labels are classes. Choose one such as "
            "balanced_accuracy or f1_macro."
        )


def _of_one_class(name: str, positive: str | None, y) -> Scoring:
    """Return a metric that may score one class of two, with this class."""
    classes, scorer = np.unique(y).tolist(), get_scorer(name)
    takes_class = "pos_label" in inspect.signature(scorer._score_func).parameters
    takes_class &= "average" not in scorer._kwargs or scorer._kwargs["average"] == "binary"
    if positive is None:
        if not takes_class:
            return Scoring(name, name)
        if len(classes) == 2 and 1 in classes:
            return Scoring(name, name)
        if len(classes) > 2 and f"{name}_macro" not in get_scorer_names():
            return Scoring(name, name)  # such as average precision, which then is a mean
        advice = f", or choose an averaged metric such as {name}_macro"
        raise CommandError(
            f"--metric {name} scores one class of two, and the classes are {shorten(classes)}. "
            f"Name it by --positive CLASS{advice if f'{name}_macro' in get_scorer_names() else ''}."
        )
    known = {str(label): label for label in classes}
    if positive not in known:
        raise CommandError(
            f"--positive {positive}: there is no such class.{near_names(positive, known)} The "
            f"classes are {list_names(classes)}."
        )
    if len(classes) > 2:
        raise CommandError(
            f"--positive {positive} goes with two classes, and there are {len(classes)}: "
            f"{list_names(classes)}. Choose an averaged metric such as f1_macro."
        )
    if not takes_class:
        raise CommandError(
            f"--positive {positive}: {name} is the same for either class. It goes with a metric of "
            "one class, such as --metric f1, precision, recall or average_precision."
        )
    settings = scorer._kwargs | {"pos_label": known[positive]}
    if scorer._sign < 0:
        settings["greater_is_better"] = False
    made = make_scorer(scorer._score_func, response_method=scorer._response_method, **settings)
    return Scoring(f"{name} of {positive}", made)

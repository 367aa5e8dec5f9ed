"""The comparisons of a command without arguments: bundled tumours and digits."""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skltransfer._table_columns import TableColumns
from skltransfer.cli._errors import import_extra
from skltransfer.cli._plans import Plan, with_images
from skltransfer.cli._scoring import Scoring
from skltransfer.datasets import load_biased_breast_cancer
from skltransfer.model_selection import Strategy, TransferTask, image_strategies, mixture_strategies

# Source rows, and target rows with a label and without, of the tumours.
N_SOURCE, N_LABELLED, N_UNLABELLED = 100, 30, 100
# Digits of each class.
N_DIGITS = 10
_ACCURACY = Scoring("accuracy", "accuracy")


def bundled_plans(seed: int) -> list[Plan]:
    """Return the comparisons on the tumours and on the digits."""
    return [_tumours(seed), _digits(seed)]


def _tumours(seed: int) -> Plan:
    data = load_biased_breast_cancer(n_source=N_SOURCE, random_state=seed)
    names = [str(name) for name in data.feature_names]
    classes = np.array([str(name) for name in data.target_names])
    frame = import_extra("pandas").DataFrame
    rows = np.arange(N_LABELLED, N_LABELLED + N_UNLABELLED)
    estimator = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    return Plan(
        "Tumours, of which the source saw mostly small ones",
        estimator,
        frame(data.X_target[:N_LABELLED], columns=names),
        classes[data.y_target[:N_LABELLED]],
        [strategy.name for strategy in mixture_strategies(TransferTask(estimator))],
        _ACCURACY,
        X_source=frame(data.X_source, columns=names),
        y_source=classes[data.y_source],
        X_unlabelled=frame(data.X_target[rows], columns=names),
        unlabelled_rows=rows + 1,
        columns=TableColumns(names, names),
    )


def _digits(seed: int) -> Plan:
    X, y = load_digits(return_X_y=True)
    rng = np.random.default_rng(seed)
    rows = [rng.permutation(np.flatnonzero(y == label))[:N_DIGITS] for label in np.unique(y)]
    rows = np.sort(np.concatenate(rows))
    images = {"image_shape": (8, 8), "value_range": (0, 16)}
    baseline = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    pixels = Strategy("pixels", lambda task: baseline, "baseline")
    # Frozen networks alone: a fit of a trained one takes seconds.
    probes = [strategy for strategy in image_strategies()[1:] if not strategy.trains_network]
    return Plan(
        "Handwritten digits: does the network tiny, which has never seen one, help?",
        baseline,
        X[rows],
        y[rows],
        [pixels, *with_images(probes, images)],
        _ACCURACY,
        once=True,
        learning_curve=[10, 30, 50],
    )

"""Checks of the parameters of self-supervised training."""

from __future__ import annotations

from numbers import Integral

from skltransfer._messages import near_names
from skltransfer._options import check_choice, check_count, check_number
from skltransfer._torch._extraction import PRECISIONS
from skltransfer._torch._optimizers import SCHEDULES
from skltransfer._torch._store import FeatureStore
from skltransfer.feature._pretraining import CONTRASTIVE, METHODS
from skltransfer.feature._views import checked_policies


def check_options(estimator) -> None:
    """Raise a ValueError or TypeError for the first parameter that makes no sense."""
    e = estimator
    if not isinstance(e.method, str) or e.method not in METHODS:
        raise ValueError(
            f"method={e.method!r} is not one of {', '.join(map(repr, METHODS))}."
            f"{near_names(e.method, METHODS)}"
        )
    check_choice(e, "optimizer", ("adamw", "sgd"))
    check_choice(e, "schedule", SCHEDULES)
    check_choice(e, "noise", ("swap", "gaussian"))
    check_choice(e, "precision", ("auto", *PRECISIONS))
    check_number(e, "strength", low=0)
    check_number(e, "corruption", low=0, unset=("auto",), is_open=True)
    check_number(e, "temperature", low=0, is_open=True)
    check_number(e, "redundancy_weight", low=0)
    check_number(e, "lr", low=0, unset=("auto",), is_open=True)
    check_number(e, "momentum", low=0, high=1, is_open=True)
    check_number(e, "weight_decay", low=0)
    check_number(e, "warmup", low=0, high=1)
    check_number(e, "clip_norm", low=0, unset=(None,), is_open=True)
    check_count(e, "max_epochs", unset=("auto",))
    check_count(e, "batch_size", unset=("auto",))
    check_count(e, "input_size", unset=(None,))
    for name, example, least in (
        ("hidden_layer_sizes", "(64,)", 0),
        ("projection_sizes", "(128, 64)", 1),
    ):
        sizes = getattr(e, name)
        is_sizes = isinstance(sizes, list | tuple) and len(sizes) >= least
        if not is_sizes or not all(isinstance(s, Integral) and s >= 1 for s in sizes):
            raise ValueError(
                f"{name}={sizes!r} is not a tuple of integers of at least 1, such as {example}."
            )
    checked_policies(e.augment)
    if e.method in CONTRASTIVE and e.batch_size == 1:
        raise ValueError(
            f"batch_size=1, and method={e.method!r} compares the rows of a batch. Set "
            "batch_size to at least 2; some hundred are better."
        )
    if not (e.store in ("memory", None) or isinstance(e.store, FeatureStore)):
        raise ValueError(f"store={e.store!r} is not 'memory', a FeatureStore or None.")

"""The classes of two domains: whether they are named in one way."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import numpy as np

from skltransfer._warnings import warn
from skltransfer.domains._data import DomainDataWarning, as_labels, missing_labels

# Whether a wrapper has compared the classes, so that the estimators inside need not say it again.
_compared: ContextVar[bool] = ContextVar("classes_compared", default=False)
_N_SHOWN = 10


@contextmanager
def classes_compared() -> Iterator[None]:
    """Let the comparisons inside of the block be silent."""
    token = _compared.set(True)
    try:
        yield
    finally:
        _compared.reset(token)


def compare_classes(y, y_target, *, names: tuple[str, str] = ("y", "y_target")) -> None:
    """Compare the classes of the source with those of the labelled target samples.

    A target that lacks classes of the source is ordinary. Labels of several outputs are not
    compared.

    Parameters
    ----------
    y : array-like of shape (n_samples,)
        Labels of the source.
    y_target : array-like of shape (n_target_samples,), or None
        Labels of the target, with marks for missing ones.
    names : tuple of two str
        Their names in messages.

    Warns
    -----
    DomainDataWarning
        If the target has classes that the source lacks, or an array of strings holds ``"nan"``.

    Raises
    ------
    ValueError
        If the domains have no class in common.
    """
    if y is None or y_target is None or _compared.get():
        return
    labels = as_labels(y), as_labels(y_target)
    if any(np.ndim(part) != 1 and np.shape(part)[1:] != (1,) for part in labels):
        return
    for part, name in zip(labels, names, strict=True):
        if part.dtype.kind == "U" and (part == "nan").any():
            warn(
                f"{name} is an array of strings and holds 'nan', as numpy writes NaN: these labels "
                "are taken for missing ones. If it is a class, pass a list or an array of objects.",
                DomainDataWarning,
            )
    classes = [
        dict.fromkeys(np.ravel(part)[~missing_labels(part)].tolist())
        for part in labels  # in the order in which they come
    ]
    if not all(classes):
        return
    source, target = (f"{name} ({role})" for name, role in zip(names, _ROLES, strict=True))
    if not classes[0].keys() & classes[1].keys():
        raise ValueError(
            f"The labels of the domains have no class in common: {source} holds "
            f"{_listed(classes[0])} and {target} holds {_listed(classes[1])}. Write the labels of "
            f"both in one way; spelling, case and type count.{_hint(*classes)}"
        )
    new = [label for label in classes[1] if label not in classes[0]]
    if new:
        warn(
            f"{target} holds the classes {_listed(new)}, which {source} lacks: they are learned "
            f"from the target alone, if at all. Are they other spellings? {source} holds "
            f"{_listed(classes[0])}.",
            DomainDataWarning,
        )


_ROLES = "source", "target"


def _listed(classes) -> str:
    try:
        classes = sorted(classes)
    except TypeError:  # of several types
        classes = sorted(classes, key=str)
    more = ", ..." if len(classes) > _N_SHOWN else ""
    return f"[{', '.join(map(repr, classes[:_N_SHOWN]))}{more}]"


def _hint(source, target) -> str:
    texts = [any(isinstance(label, str) for label in classes) for classes in (source, target)]
    if texts[0] != texts[1] and any(isinstance(label, int) for label in [*source, *target]):
        return (
            " (Voting, stacking and bagging number the classes: encode the labels of both domains "
            "by one LabelEncoder before.)"
        )
    return ""

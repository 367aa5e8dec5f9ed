"""Labels of one or two tables: classes or numbers, and whether both write them in one way."""

from __future__ import annotations

import numpy as np

from skltransfer.cli._errors import CommandError, shorten

# A column of whole numbers with at most so many values is taken for classes.
_MAX_CLASSES = 20
# Labels of all tables for each class: with fewer they are rather numbers or names.
_MIN_PER_CLASS = 2


def is_classification(labels, task: str | None) -> bool:
    """Tell whether labels are classes: texts, or few whole numbers, unless `task` says so."""
    if task is not None:
        return task == "classification"
    if any(part.dtype.kind not in "iuf" for part in labels):
        return True
    values = np.unique(np.concatenate([part.astype(float) for part in labels]))
    return len(values) <= _MAX_CLASSES and bool((values == np.round(values)).all())


def as_classes(labels) -> list[np.ndarray]:
    """Write the classes of all files in one way: as whole numbers where they are, else strings."""
    numeric = all(part.dtype.kind in "iufb" for part in labels)
    if numeric and all((part.astype(float) % 1 == 0).all() for part in labels):
        labels = [part.astype(int) for part in labels]
        if set(labels[-1]) <= set(labels[0]):
            return labels
        # Else WithSource might take the numbers for those that an ensemble gave to the classes.
    kind = (lambda label: f"{label:g}") if numeric else str
    return [np.array([kind(label) for label in part]) for part in labels]


def check_classes(labels, paths) -> None:
    """Raise a CommandError unless each table has classes to tell apart."""
    for part, path in zip(labels, paths, strict=True):
        classes = np.unique(part)
        if len(classes) < 2:
            raise CommandError(
                f"all labels in {path!r} are {str(classes[0])!r}, and there is nothing to tell "
                "apart."
            )
    stacked = np.concatenate([part.astype(str) for part in labels])
    n_classes = len(np.unique(stacked))
    if n_classes * _MIN_PER_CLASS > len(stacked):
        raise CommandError(
            f"{paths[0]!r} has {n_classes} classes in {len(stacked)} rows. Is this a number to "
            "predict? Then add --task regression. Is it a name? Then choose another --label."
        )


def compare_classes(y, y_source, target: str, source: str, notes: list[str]) -> None:
    """Refuse labels without a class in common, or spelled otherwise; note those of one table."""
    classes, classes_source = (dict.fromkeys(np.unique(part).tolist()) for part in (y, y_source))
    extra = [label for label in classes if label not in classes_source]
    extra_source = [label for label in classes_source if label not in classes]
    spelled = [
        (label, other) for label in extra for other in extra_source if _bare(label) == _bare(other)
    ]
    if spelled:
        words = ", ".join(f"{own!r} and {other!r}" for own, other in spelled)
        raise CommandError(
            f"labels of {target!r} and {source!r} differ by their spelling alone: {words}. Write "
            "the labels of both in one way."
        )
    if not classes.keys() & classes_source.keys():
        raise CommandError(
            f"no label is in both files: {target!r} has {shorten(classes)}, and {source!r} has "
            f"{shorten(classes_source)}. Write the labels of both in one way."
        )
    for own, path in ((extra, target), (extra_source, source)):
        if own:
            notes.append(f"only {path} has the labels {shorten(own)}")


def _bare(label) -> str:
    """Return a label without case, and words without the signs between them."""
    text = str(label).strip().casefold()
    if any(sign.isalpha() for sign in text):
        return "".join(sign for sign in text if sign.isalnum())
    return text

"""Notes on a comparison: warnings of fits, and data in which scores mislead."""

from __future__ import annotations

import re

import numpy as np
from scipy import stats

from skltransfer.model_selection._compared_data import ComparedData
from skltransfer.model_selection._comparison import MIXTURE
from skltransfer.model_selection._results import Scoring, Track

_SOURCE_ONLY = "source only"
_LEVEL = 0.05
_N_NAMED = 3


def notes_on(
    scoring: Scoring, tracks: dict[str, Track], data: ComparedData, baseline: str
) -> list[str]:
    """Return notes for readers of the scores.

    Parameters
    ----------
    scoring : Scoring
    tracks : dict of str to Track
    data : ComparedData
    baseline : str

    Returns
    -------
    notes : list of str
    """
    notes = []
    if data.n_copies:
        notes.append(
            f"{data.n_copies} source samples equal a labelled target sample and are left out."
        )
    notes += _on_classes(data, scoring, tracks, baseline)
    settings = [f"{t.name} ({t.settings})" for t in tracks.values() if t.settings is not None]
    if settings:
        notes.append(f"Settings that are not the defaults: {', '.join(settings)}.")
    return notes + _on_warnings(tracks)


def _on_classes(data: ComparedData, scoring: Scoring, tracks, baseline: str) -> list[str]:
    notes, outputs = [], [part for part in tracks[baseline].parts("outputs") if part is not None]
    if outputs and all((part == part[0]).all() for part in outputs):
        notes.append(
            f"{baseline} predicts the same for all samples of a fold: its model learns nothing "
            "from so few labels. Lower what it needs, such as min_samples_leaf of a tree."
        )
    if data.classes is None:
        return notes
    classes, counts = np.unique(data.y, return_counts=True)
    if counts.min() == 1:
        rare = classes[counts == 1].tolist()
        notes.append(
            f"{len(rare)} of {len(classes)} classes have a single labelled sample "
            f"({', '.join(map(repr, rare[:_N_NAMED]))}), which {baseline} never sees when it is "
            "tested: its scores are too low, and the gain of transfer is too large."
        )
    if _SOURCE_ONLY in tracks and tracks[_SOURCE_ONLY].is_complete:
        hits = [
            part.argmax(axis=1) == scoring.coded[test]
            for (_, test), part in zip(
                scoring.folds.splits, tracks[_SOURCE_ONLY].parts("outputs"), strict=True
            )
        ]
        n_right = int(round(np.nansum(scoring.folds.by_sample(hits))))
        chance = 1 / len(data.classes)
        if stats.binom.cdf(n_right, len(data.y), chance) < _LEVEL:
            notes.append(
                f"source only is right on {n_right} of {len(data.y)} target labels, which is less "
                "than chance. Do the labels mean the same in both domains?"
            )
    return notes


def _on_warnings(tracks: dict[str, Track]) -> list[str]:
    """Return a note for each kind of warning, with the strategies whose fits gave it."""
    names: dict[tuple, dict[str, int]] = {}
    texts: dict[tuple, str] = {}
    for name, track in tracks.items():
        if name == MIXTURE:
            continue
        for fit in track.done:
            for remark in set(fit.remarks):
                kind = re.sub(r"[\d.,e+-]*\d", "#", remark)  # numbers differ from fit to fit
                texts.setdefault(kind, remark)
                names.setdefault(kind, {}).setdefault(name, 0)
                names[kind][name] += 1
    notes = []
    for kind, counts in names.items():
        first = list(counts)[:_N_NAMED]
        listed = ", ".join(f"{name} ({counts[name]} fits)" for name in first)
        more = f" and {len(counts) - len(first)} others" if len(counts) > len(first) else ""
        notes.append(f"{texts[kind]} [{listed}{more}]")
    return notes

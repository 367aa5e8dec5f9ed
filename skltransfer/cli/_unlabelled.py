"""A target without any label: how far the domains are apart, and what the source's model says."""

from __future__ import annotations

import json
import warnings
from dataclasses import asdict, dataclass

import numpy as np
from scipy import stats
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline

import skltransfer
from skltransfer._messages import first_line
from skltransfer.cli._table_data import TableData
from skltransfer.model_selection import mean_interval

_REWEIGHTERS = {
    "KMM": "KMMReweighter",
    "KLIEP": "KLIEPReweighter",
    "uLSIF": "ULSIFReweighter",
    "discriminative": "DiscriminativeReweighter",
    "nearest neighbours": "NearestNeighborsReweighter",
    "Gaussian": "GaussianReweighter",
    "kernel density": "KernelDensityReweighter",
    "label shift": "LabelShiftReweighter",
}
_N_FOLDS = 5
# A classifier that tells the domains apart more often than this is a reason to doubt.
_FAR = 0.75


@dataclass(frozen=True)
class ColumnShift:
    """How the values of one column differ between the domains.

    The distance is 0 for equal values and 1 for values that do not overlap: the statistic of
    Kolmogorov and Smirnov for numbers, the total variation for categories.
    """

    column: str
    kind: str
    distance: float
    source: str
    target: str
    missing_source: float
    missing_target: float


@dataclass(frozen=True)
class EffectiveSize:
    """Number of equally weighted source samples that the weights of a method leave."""

    method: str
    size: float | None
    failure: str | None = None


@dataclass(frozen=True)
class DomainComparison:
    """Two domains side by side, where no label of the target is known."""

    title: str
    verdict: str
    n_source: int
    n_target: int
    auc: float  # of a classifier that tells the domains apart, on samples it was not fitted on
    auc_low: float
    auc_high: float
    columns: list[ColumnShift]
    sizes: list[EffectiveSize]
    notes: list[str]

    def to_json(self) -> str:
        """Return all numbers and texts as JSON."""
        return json.dumps(asdict(self), indent=1, ensure_ascii=False)


def compare_domains(data: TableData, seed: int) -> DomainComparison:
    """Compare a labelled source with a target without labels."""
    steps = clone(data.steps).fit(data.X_source)
    source, target = steps.transform(data.X_source), steps.transform(data.X_unlabelled)
    auc = _separability(source, target, seed)
    sizes = [
        _effective_size(method, kind, data, source, target)
        for method, kind in _REWEIGHTERS.items()
        if data.is_classification or method != "label shift"
    ]
    shifts = [_shift(data, name) for name in data.X_source.columns]
    shifts.sort(key=lambda shift: -shift.distance)
    return DomainComparison(
        f"{data.name}: no labels, so no scores",
        _verdict(data, auc, shifts),
        len(source),
        len(target),
        *auc,
        shifts,
        sizes,
        list(data.notes),
    )


def source_model(data: TableData):
    """Return the model of the source, fitted."""
    return make_pipeline(clone(data.steps), data.model).fit(data.X_source, data.y_source)


def _separability(source, target, seed: int) -> tuple[float, float, float]:
    X = np.vstack([source, target])
    domain = np.repeat([0, 1], [len(source), len(target)])
    n_folds = min(_N_FOLDS, len(source), len(target))
    if n_folds < 2:
        return np.nan, np.nan, np.nan
    folds = StratifiedKFold(n_folds, shuffle=True, random_state=seed)
    model = LogisticRegression(class_weight="balanced", max_iter=2000)
    scores = cross_val_score(model, X, domain, cv=folds, scoring="roc_auc")
    mean, low, high = mean_interval(scores, test_to_train=1 / (n_folds - 1))
    return mean, max(low, 0.0), min(high, 1.0)


def _effective_size(method, kind, data: TableData, source, target) -> EffectiveSize:
    reweighter = getattr(skltransfer, kind)(data.model)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a small size says the same
            reweighter.fit(source, data.y_source, X_target=target)
    except ValueError as error:
        return EffectiveSize(method, None, first_line(error))
    return EffectiveSize(method, float(reweighter.effective_sample_size_))


def _shift(data: TableData, name: str) -> ColumnShift:
    source, target = data.X_source[name], data.X_unlabelled[name]
    missing = float(source.isna().mean()), float(target.isna().mean())
    source, target = source.dropna(), target.dropna()
    if not len(source) or not len(target):
        distance = float(bool(len(source)) != bool(len(target)))
        return ColumnShift(name, "empty", distance, "", "", *missing)
    if name in data.kinds.numbers:
        distance = float(stats.ks_2samp(source.astype(float), target.astype(float)).statistic)
        shown = [f"{part.mean():.3g} ± {part.std(ddof=0):.3g}" for part in (source, target)]
        return ColumnShift(name, "number", distance, *shown, *missing)
    shares = [part.value_counts(normalize=True) for part in (source, target)]
    both = shares[0].index.union(shares[1].index)
    aligned = [part.reindex(both, fill_value=0.0) for part in shares]
    distance = float(np.abs(aligned[0] - aligned[1]).sum() / 2)
    shown = [f"{part.index[0]} ({part.iloc[0]:.0%})" for part in shares]
    return ColumnShift(name, "category", distance, *shown, *missing)


def _verdict(data: TableData, auc, shifts) -> str:
    mean, low, high = auc
    said = f"No row of {data.name} has a label, so nothing can be scored."
    if np.isnan(mean):
        return f"{said} One row of a domain does not say how far apart the domains are."
    how = "hardly differ" if low <= 0.5 else "differ much" if mean > _FAR else "differ"
    most = ", ".join(f"{shift.column} ({shift.distance:.2f})" for shift in shifts[:3])
    return (
        f"{said} The domains {how}: a classifier tells them apart with an AUC of {mean:.2f} (95 % "
        f"interval: {low:.2f} to {high:.2f}; .5 is chance), and most by {most}. The predictions "
        "are those of the source's model; label some rows to see whether it can be trusted."
    )

"""Pretrained networks for a task, ranked without training by a score of their features."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.utils.validation import _num_samples

import skltransfer
from skltransfer._messages import first_line, near_names, require
from skltransfer._torch._store_parameter import resolve_store
from skltransfer._warnings import warn
from skltransfer.domains._data import check_same_length
from skltransfer.metrics import h_score, logme_score, transrate_score

SCORES = {"logme": logme_score, "h_score": h_score, "transrate": transrate_score}
# Errors of networks, weights and samples, which leave the other networks alone.
_FAILURES = (ValueError, TypeError, ImportError, OSError, RuntimeError)


class BackboneFailureWarning(UserWarning):
    """A backbone has no score, because its weights or its features cannot be had.

    Issued by :func:`rank_backbones`, which ranks the others.

    Examples
    --------
    >>> import warnings
    >>> import numpy as np
    >>> from skltransfer import BackboneFailureWarning, rank_backbones
    >>> X, y = np.random.default_rng(0).random((6, 8, 8)), [0, 1, 0, 1, 0, 1]
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     _ = rank_backbones(X, y, ["tiny", "no such network"])
    >>> caught[0].category is BackboneFailureWarning
    True
    """


@dataclass(frozen=True)
class RankedBackbone:
    """Score and cost of one backbone.

    Parameters
    ----------
    name : str
        Name of the backbone.
    score : float
        Score of its features, greater is better; NaN if it failed.
    seconds : float
        Time in which the samples passed the network. NaN if their features were in the store.
    megabytes : float
        Size of the network's weights in 10^6 bytes.
    n_features : int or None
        Number of features.
    failure : str or None, default=None
        Why there is no score.

    See Also
    --------
    rank_backbones : Function that makes it.

    Examples
    --------
    >>> from skltransfer.model_selection import RankedBackbone
    >>> RankedBackbone("tiny", 0.5, seconds=0.2, megabytes=1.2, n_features=768).score
    0.5
    """

    name: str
    score: float
    seconds: float = np.nan
    megabytes: float = np.nan
    n_features: int | None = None
    failure: str | None = None


@dataclass(frozen=True, repr=False)
class BackboneRanking:
    """Backbones with their scores, the best first.

    :func:`rank_backbones` returns it.

    Parameters
    ----------
    score_name : str
        Name of the score.
    results : list of RankedBackbone
        Result of each backbone. Those that failed come last.

    See Also
    --------
    rank_backbones : Function that makes it.

    Examples
    --------
    >>> from skltransfer.model_selection import BackboneRanking, RankedBackbone
    >>> ranking = BackboneRanking("logme", [RankedBackbone("tiny", 0.5, 0.2, 1.2, 768)])
    >>> ranking.best
    'tiny'
    >>> print(ranking)
    backbone  logme  seconds  megabytes  features
    tiny      0.500      0.2        1.2       768
    """

    score_name: str
    results: list[RankedBackbone]

    @property
    def best(self) -> str:
        """Name of the backbone with the largest score."""
        return self.results[0].name

    def to_frame(self):
        """Return the results as a data frame, a row for each backbone, the best first.

        Returns
        -------
        frame : pandas.DataFrame
            Frame indexed by the backbones' names, whose columns are the other fields of
            :class:`RankedBackbone`.
        """
        pandas = require("pandas", "cli", "BackboneRanking.to_frame")
        frame = pandas.DataFrame([asdict(result) for result in self.results])
        frame["n_features"] = frame["n_features"].astype("Int64")
        return frame.set_index("name").rename_axis("backbone")

    def plot(self, ax=None):
        """Draw scores, times and sizes side by side, the best backbone on top.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            A subplot, which is divided. ``None`` makes a new figure, which notebooks show and
            pyplot does not know.

        Returns
        -------
        display : ComparisonDisplay
            Its figure is ``figure_``, its axes are ``axes_``.
        """
        from skltransfer.model_selection._ranking_plot import plot_ranking

        return plot_ranking(self, ax)

    def cells(self) -> list[list[str]]:
        """Return a table as texts, the header first.

        Returns
        -------
        rows : list of list of str
            Cells of each row.
        """
        rows = [["backbone", self.score_name, "seconds", "megabytes", "features"]]
        for result in self.results:
            if result.failure is not None:
                reason = result.failure.partition(". ")[0]
                rows.append([result.name, f"failed: {reason}", "", "", ""])
                continue
            costs = [
                "" if np.isnan(value) else f"{value:.1f}"
                for value in (result.seconds, result.megabytes)
            ]
            rows.append([result.name, f"{result.score:.3f}", *costs, f"{result.n_features}"])
        return rows

    def __str__(self):
        rows = self.cells()
        widths = [max(len(row[j]) for row in rows if row[2]) for j in range(len(rows[0]))]
        widths[0] = max(len(row[0]) for row in rows)
        lines = [
            "  ".join(
                cell.ljust(width) if j == 0 else cell.rjust(width)
                for j, (cell, width) in enumerate(zip(row, widths, strict=True))
            )
            for row in rows
        ]
        return "\n".join(line.rstrip() for line in lines)

    def __repr__(self):
        return f"<BackboneRanking by {self.score_name}>\n{self}"


def rank_backbones(X, y, backbones, *, score: str | Callable = "logme", transformer=None):
    """Rank pretrained networks for a task by a score of their features, without training.

    Each sample passes each network once. The score is computed from the features in much less time
    than a network is trained in.

    Parameters
    ----------
    X : array-like
        Samples of the task in any form that
        :class:`~skltransfer.PretrainedFeatureTransformer` takes.
    y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        Their classes, or numbers for ``score="logme"``.
    backbones : list or dict
        Backbones, or names and backbones. Each is what `backbone` of
        :class:`~skltransfer.PretrainedFeatureTransformer` takes; a pair of it and weights; or an
        unfitted transformer, which is cloned, such as one with layers of its own. ``None`` is the
        samples' own numbers.
    score : {"logme", "h_score", "transrate"} or callable, default="logme"
        Score of the features, see :mod:`skltransfer.metrics`. A callable takes features and `y`
        and returns a number, greater is better.
    transformer : PretrainedFeatureTransformer, default=None
        Settings of the extraction, such as `image_shape` or `device`. It is cloned for each
        backbone that is no transformer itself. ``None`` is one with its defaults.

    Returns
    -------
    ranking : BackboneRanking
        Scores with time, size and number of features, as a frame (``to_frame()``) and a picture
        (``plot()``).

    Raises
    ------
    ValueError
        If `score` is unknown, two backbones have one name, the labels do not suit the score, or
        every backbone fails.

    Warns
    -----
    BackboneFailureWarning
        If a backbone cannot be loaded or does not take the samples. The others are ranked.

    See Also
    --------
    compare_strategies : Comparison by training and cross-validation.
    skltransfer.metrics.logme_score : The default score.

    Notes
    -----
    The features stay in the store of `transformer`, so that the chosen network need not run again.
    A score is an estimate: confirm the choice among the first few by cross-validation.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skltransfer import PretrainedFeatureTransformer, rank_backbones
    >>> X, y = load_digits(return_X_y=True)
    >>> digits = PretrainedFeatureTransformer(image_shape=(8, 8), value_range=(0, 16))
    >>> backbones = {"tiny": "tiny", "random tiny": ("tiny", None), "pixels": None}
    >>> ranking = rank_backbones(X[:300], y[:300], backbones, transformer=digits)
    >>> ranking.best
    'tiny'
    """
    measure, score_name = _score(score)
    check_same_length(y, X, "y", "X")
    named = _named(backbones)
    if transformer is None:
        transformer = skltransfer.PretrainedFeatureTransformer()
    if score_name in SCORES:  # labels that do not suit the score suit no network
        measure(np.arange(_num_samples(X), dtype=np.float64)[:, None], y)
    results = []
    for name, backbone in named.items():
        try:
            results.append(_ranked(name, _extractor(backbone, transformer), X, y, measure))
        except _FAILURES as error:
            results.append(RankedBackbone(name, np.nan, failure=first_line(error)))
            failed = error
    failures = [result for result in results if result.failure is not None]
    if len(failures) == len(results):
        raise ValueError(
            f"No backbone can be scored; {failures[-1].name!r}, the last one, fails: "
            f"{failures[-1].failure}."
        ) from failed
    if failures:
        warn(
            f"{len(failures)} of {len(results)} backbones have no score. "
            f"{failures[0].name!r}: {failures[0].failure}.",
            BackboneFailureWarning,
        )
    results.sort(key=lambda result: (np.isnan(result.score), -result.score))
    return BackboneRanking(score_name, results)


def _score(score) -> tuple[Callable, str]:
    if callable(score):
        return score, getattr(score, "__name__", type(score).__name__)
    if score not in SCORES:
        raise ValueError(
            f"score={score!r} is not one of {', '.join(map(repr, SCORES))}, nor a callable."
            f"{near_names(score, SCORES)}"
        )
    return SCORES[score], score


def _named(backbones) -> dict[str, Any]:
    if isinstance(backbones, str):
        raise TypeError(f"backbones={backbones!r} is one string. Pass a list: [{backbones!r}].")
    if isinstance(backbones, Mapping):
        named = {str(name): backbone for name, backbone in backbones.items()}
    else:
        backbones = list(backbones)
        names = [_name_of(backbone) for backbone in backbones]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(
                f"Two backbones are called {twice!r}. Pass a dictionary of names and backbones."
            )
        named = dict(zip(names, backbones, strict=True))
    if not named:
        raise ValueError("backbones is empty. Pass at least one.")
    return named


def _name_of(backbone) -> str:
    if isinstance(backbone, tuple):
        weights = "random" if backbone[1] is None else str(backbone[1])
        return _name_of(backbone[0]) + ("" if weights == "default" else f", {weights}")
    if backbone is None:
        return "no network"
    if isinstance(backbone, str):
        return backbone
    return str(getattr(backbone, "name", getattr(backbone, "__name__", type(backbone).__name__)))


def _extractor(backbone, transformer):
    """Return the unfitted transformer that gives the features of a backbone."""
    is_network = hasattr(backbone, "__skltransfer_backbone__")
    is_pretrained = isinstance(backbone, skltransfer.PretrainedFeatureTransformer)
    if is_pretrained or (hasattr(backbone, "transform") and not is_network):
        return clone(backbone)
    settings = {"backbone": backbone}
    if isinstance(backbone, tuple):
        settings = dict(zip(("backbone", "weights"), backbone, strict=True))
    return clone(transformer).set_params(**settings)


def _ranked(name: str, extractor, X, y, measure) -> RankedBackbone:
    extractor.fit(X, y)
    store = resolve_store(getattr(extractor, "store", None))
    n_passed, start = getattr(store, "misses", 0), time.perf_counter()
    features = extractor.transform(X)
    seconds = time.perf_counter() - start
    if store is not None and store.misses == n_passed and _megabytes(extractor):
        seconds = np.nan  # nothing has passed the network
    features = features.numpy(force=True) if hasattr(features, "numpy") else features
    return RankedBackbone(
        name,
        float(measure(features, y)),
        seconds,
        _megabytes(extractor),
        np.shape(features)[1],
    )


def _megabytes(extractor) -> float:
    """Return the size of the weights of a fitted transformer's network, 0 without one."""
    record = getattr(extractor, "__skltransfer_backbone__", None)
    if record is None or getattr(extractor, "backbone", None) is None:
        return 0.0
    module = record().module
    tensors = [*module.parameters(), *module.buffers()]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors) / 1e6

"""Both domains before and after alignment, in two dimensions."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.utils.validation import check_array, check_is_fitted

from skltransfer._parameters import Number
from skltransfer._solvers._kernel_choice import median_gamma, scale_gamma
from skltransfer._solvers._kernel_width import spread_rows
from skltransfer._solvers._mmd import squared_mmd
from skltransfer.domains._data import (
    as_labels,
    check_not_empty,
    check_same_length,
    check_same_width,
    in_one_form,
    missing_labels,
)
from skltransfer.inspection._fitted_steps import fitted_steps, map_both
from skltransfer.inspection._matplotlib import divide_axes

_SOURCE, _TARGET, _UNKNOWN = "#c8553d", "#2f6f9f", "#b8bec6"
_REMEDY = "Map the rows of both domains yourself, and pass them to DomainShiftDisplay.from_domains."
_GAMMA = Number(0, low_open=True, unset=("median", "scale"))
# Samples of a domain that enter the discrepancy, whose time is quadratic.
_MOST_SAMPLES = 10_000
# Number of classes with a colour of their own.
_N_COLORS = 10


class DomainShiftDisplay:
    """Plot of the samples of both domains before and after alignment, in two dimensions.

    The left plot shows the samples that reach the aligner. The right plot shows source samples
    mapped as source, and target samples mapped as target. The title of each plot has the distance
    of the domains, which is the squared maximum mean discrepancy (MMD) of all features. Create a
    display by :meth:`from_estimator` or :meth:`from_domains`.

    Parameters
    ----------
    before, after : tuple of two ndarray of shape (n_samples, 2) and (n_target_samples, 2)
        Coordinates of source and target samples.
    mmd : tuple of two float
        Squared maximum mean discrepancy before and after.
    y_source, y_target : array-like of shape (n_samples,) and (n_target_samples,), default=None
        Classes, which set the colours. Samples without a class are grey.
    aligner_name : str, default="alignment"
        Name of the alignment in the title.
    embedding_name : str, default="dimension"
        Labels of the axes.

    Attributes
    ----------
    axes_ : tuple of two matplotlib Axes
        Axes before and after the alignment.
    figure_ : matplotlib Figure
        Figure.

    See Also
    --------
    SampleWeightDisplay : Plot of the weights of a reweighter.

    Notes
    -----
    The discrepancy is the unbiased estimate of Gretton et al. (2012) with the kernel
    ``exp(-gamma |x - t|^2)``. It is about 0, and sometimes negative, for equal domains. A domain of
    one sample has the biased estimate. Of a domain with more than 10 000 samples, so many enter it,
    evenly spread in their order. Each plot has its own ``gamma``, computed from the distances
    in it: aligners change the scale, and with one ``gamma`` for both plots a map of all samples to
    one point would seem perfect. Equal domains do not imply that equal classes overlap. Pass
    `y_source` and `y_target` to see the classes.

    References
    ----------
    A. Gretton, K. Borgwardt, M. Rasch, B. Schölkopf and A. Smola. A kernel two-sample test.
    Journal of Machine Learning Research 13, 2012: equation 3.

    Examples
    --------
    >>> import numpy as np
    >>> from skltransfer import DomainShiftDisplay, OptimalTransportMapper
    >>> rng = np.random.default_rng(0)
    >>> X, X_target = rng.normal(size=(60, 5)), rng.normal(1.0, 0.5, size=(50, 5))
    >>> mapper = OptimalTransportMapper().fit(X, X_target=X_target)
    >>> display = DomainShiftDisplay.from_estimator(mapper, X, X_target)
    >>> display.mmd[0] > 0.1 > display.mmd[1]
    True
    >>> display.axes_[0].get_title()
    'before: MMD² 0.501'
    """

    def __init__(
        self,
        *,
        before,
        after,
        mmd,
        y_source=None,
        y_target=None,
        aligner_name: str = "alignment",
        embedding_name: str = "dimension",
    ):
        self.before = before
        self.after = after
        self.mmd = mmd
        self.y_source = y_source
        self.y_target = y_target
        self.aligner_name = aligner_name
        self.embedding_name = embedding_name

    @classmethod
    def from_estimator(
        cls,
        estimator,
        X_source,
        X_target,
        *,
        y_source=None,
        y_target=None,
        embedding: Any = "pca",
        gamma: str | float = "median",
        ax=None,
    ):
        """Plot both domains before and after a fitted aligner.

        Nothing is fitted again. The aligner maps source samples by ``transform_source`` and target
        samples by ``transform``. Other steps of a pipeline map both by ``transform``.

        Parameters
        ----------
        estimator : estimator
            Fitted aligner, or pipeline, search, :class:`~skltransfer.WithTarget` or
            :class:`~skltransfer.WithSource` with an aligner as a step. The plots show the input of
            the first aligner and the input of the predictor.
        X_source : array-like of shape (n_samples, n_features)
            Source samples in the form given to `fit`. They may differ from the fitted samples.
        X_target : array-like of shape (n_target_samples, n_features)
            Target samples in the form given to `fit`.
        y_source, y_target : array-like of shape (n_samples,) and (n_target_samples,), default=None
            Classes, used for the colours only.
        embedding : "pca" or transformer, default="pca"
            Map to two dimensions, fitted on both domains for each plot. A transformer such as
            ``TSNE()`` is cloned; its ``fit_transform`` has to return two columns.
        gamma : "median", "scale" or float, default="median"
            Coefficient of the kernel. ``"median"`` is 1 / median squared distance between the
            samples of both domains, ``"scale"`` is 1 over the sum of the variances.
        ax : matplotlib Axes, default=None
            Axes, divided into two. ``None`` makes a new figure.

        Returns
        -------
        display : DomainShiftDisplay
            Display with both plots.

        Raises
        ------
        TypeError
            If `estimator` holds no aligner as a step.
        """
        check_not_empty(X_source, "X_source")
        check_not_empty(X_target, "X_target")
        check_same_width(X_target, X_source, "X_target")
        X_source, X_target = in_one_form(X_source, X_target, "X_target", name="X_source")
        before, after, aligner = _follow(estimator, X_source, X_target)
        return cls._from_rows(before, after, y_source, y_target, embedding, gamma, aligner).plot(
            ax=ax
        )

    @classmethod
    def from_domains(
        cls,
        X_source,
        X_target,
        X_source_mapped,
        X_target_mapped,
        *,
        y_source=None,
        y_target=None,
        embedding: Any = "pca",
        gamma: str | float = "median",
        ax=None,
    ):
        """Plot given samples before and after a map.

        Parameters
        ----------
        X_source : array-like of shape (n_samples, n_features)
            Source samples before the map.
        X_target : array-like of shape (n_target_samples, n_features)
            Target samples before the map.
        X_source_mapped : array-like of shape (n_samples, n_features_out)
            Source samples after the map, such as the result of ``fit_transform``.
        X_target_mapped : array-like of shape (n_target_samples, n_features_out)
            Target samples after the map, such as the result of ``transform``.
        y_source, y_target : array-like of shape (n_samples,) and (n_target_samples,), default=None
            As in :meth:`from_estimator`.
        embedding : "pca" or transformer, default="pca"
            As in :meth:`from_estimator`.
        gamma : "median", "scale" or float, default="median"
            As in :meth:`from_estimator`.
        ax : matplotlib Axes, default=None
            As in :meth:`from_estimator`.

        Returns
        -------
        display : DomainShiftDisplay
        """
        X_source, X_target = in_one_form(X_source, X_target, "X_target", name="X_source")
        X_source_mapped, X_target_mapped = in_one_form(
            X_source_mapped, X_target_mapped, "X_target_mapped", name="X_source_mapped"
        )
        given = {"X_source": X_source, "X_target": X_target}
        mapped = {"X_source_mapped": X_source_mapped, "X_target_mapped": X_target_mapped}
        before, after = (
            [check_array(X, dtype=np.float64, input_name=name) for name, X in named.items()]
            for named in (given, mapped)
        )
        for rows, mapped_rows, name in zip(before, after, given, strict=True):
            check_same_length(mapped_rows, rows, f"{name}_mapped", name)
        for (source, target), names in ((before, given), (after, mapped)):
            if source.shape[1] != target.shape[1]:
                raise ValueError(
                    f"{' and '.join(names)} have {source.shape[1]} and {target.shape[1]} columns. "
                    "Pass both domains in the same columns."
                )
        return cls._from_rows(before, after, y_source, y_target, embedding, gamma).plot(ax=ax)

    @classmethod
    def _from_rows(
        cls, before, after, y_source, y_target, embedding, gamma, aligner_name="alignment"
    ):
        for y, name, rows in ((y_source, "y_source", 0), (y_target, "y_target", 1)):
            if y is not None:
                check_same_length(y, before[rows], name, f"X_{name[2:]}")
                if np.ndim(as_labels(y)) != 1:
                    raise ValueError(f"{name} has {np.ndim(y)} dimensions. Pass a label per row.")
        _GAMMA.check("gamma", gamma)
        name = "principal component" if embedding == "pca" else "dimension"
        return cls(
            before=_embedded(*before, embedding),
            after=_embedded(*after, embedding),
            mmd=tuple(_discrepancy(*rows, gamma) for rows in (before, after)),
            y_source=y_source,
            y_target=y_target,
            aligner_name=aligner_name,
            embedding_name=name,
        )

    def plot(self, ax=None) -> Self:
        """Draw both plots.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes, divided into two. ``None`` makes a new figure.

        Returns
        -------
        display : DomainShiftDisplay
            The display itself.
        """
        axes, self.figure_ = divide_axes(type(self).__name__, ax, (9, 4), 1, 2)
        palette = self._palette()
        titles = ("before", f"after {self.aligner_name}")
        parts = zip(axes, (self.before, self.after), titles, self.mmd, strict=True)
        for part, places, title, mmd in parts:
            self._draw(part, places, palette)
            part.set_title(f"{title}: MMD² {round(mmd, 3) + 0.0:.3f}", loc="center")
        self._add_legend(axes[1], palette)
        self.axes_ = tuple(axes)
        return self

    def _palette(self) -> dict:
        """Return the known labels of both domains, sorted, with their colours."""
        from matplotlib import colormaps

        labels = [as_labels(y) for y in (self.y_source, self.y_target) if y is not None]
        known = {label for y in labels for label in y[~missing_labels(y)].tolist()}
        try:
            classes = sorted(known)
        except TypeError:  # numbers beside strings
            classes = sorted(known, key=str)
        colors = colormaps["tab10"].colors[: len(classes)]
        if len(classes) > _N_COLORS:
            colors = colormaps["turbo"](np.linspace(0.05, 0.95, len(classes)))
        return dict(zip(classes, colors, strict=True))

    def _draw(self, ax, places, palette) -> None:
        size = 22 * min(1.0, (300 / sum(map(len, places))) ** 0.5)
        sides = zip(places, (self.y_source, self.y_target), (_SOURCE, _TARGET), "ox", strict=True)
        for rows, y, color, marker in sides:
            if palette:
                labels = [None] * len(rows) if y is None else as_labels(y).tolist()
                color = [palette.get(label, _UNKNOWN) for label in labels]
            area, width = (size, 0) if marker == "o" else (1.3 * size, 0.9)
            ax.scatter(
                *np.asarray(rows).T, s=area, c=color, marker=marker, alpha=0.55, linewidths=width
            )
        name = self.embedding_name
        ax.set(xlabel=f"{name} 1", ylabel=f"{name} 2", xticks=[], yticks=[])

    def _add_legend(self, ax, palette) -> None:
        from matplotlib.lines import Line2D

        neutral = "#5f6b7a"
        source, target = (neutral, neutral) if palette else (_SOURCE, _TARGET)
        entries = [("source", source, "o"), ("target", target, "x")]
        if len(palette) <= _N_COLORS:
            entries += [(str(label), color, "s") for label, color in palette.items()]
        handles = [
            Line2D([], [], linestyle="", marker=marker, color=color, markersize=5, label=name)
            for name, color, marker in entries
        ]
        ax.legend(
            handles=handles, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5),
            handletextpad=0.2,
        )  # fmt: skip


def _embedded(source, target, embedding) -> tuple[np.ndarray, np.ndarray]:
    """Return both domains in two dimensions, by one map that is fitted on both."""
    rows = np.concatenate([source, target])
    if isinstance(embedding, str) and embedding == "pca":
        if rows.shape[1] == 1:
            rows = np.hstack([rows, np.zeros_like(rows)])
        with np.errstate(invalid="ignore"):  # shares of the variance, where there is none
            places = PCA(2, random_state=0).fit_transform(rows)
    elif hasattr(embedding, "fit_transform"):
        places = check_array(clone(embedding).fit_transform(rows), input_name="embedding")
        if places.shape != (len(rows), 2):
            raise ValueError(
                f"The embedding {embedding!r} returned {places.shape[1]} columns. Choose one that "
                "returns 2 (n_components=2)."
            )
    else:
        raise ValueError(
            f"embedding={embedding!r} is neither 'pca' nor a transformer with fit_transform."
        )
    return places[: len(source)], places[len(source) :]


def _discrepancy(source, target, gamma) -> float:
    source, target = (spread_rows(rows, _MOST_SAMPLES) for rows in (source, target))
    if gamma == "median":
        gamma = median_gamma(source, target)
    elif gamma == "scale":
        gamma = scale_gamma(source, np.ones(len(source)), target)
    return squared_mmd(source, target, gamma, unbiased=min(len(source), len(target)) > 1)


def _follow(estimator, X_source, X_target):
    """Map rows of both domains by a fitted estimator, each as its own.

    Nothing is fitted again: an aligner maps source rows by ``transform_source`` and target rows by
    ``transform``; any other step has one map for both.

    Returns
    -------
    before, after : tuple of two ndarray
        Source and target where they reach the first aligner, and behind the last transformer.
    aligner : str
        Names of the aligners.
    """
    check_is_fitted(estimator)
    steps = list(fitted_steps(estimator))
    if steps and hasattr(steps[-1], "predict"):
        steps = steps[:-1]
    source, target, before, names = X_source, X_target, None, []
    for step in steps:
        if hasattr(step, "transform_source"):
            names.append(type(step).__name__)
            before = before or (_matrix(source), _matrix(target))
        source, target = map_both(step, source, target, _REMEDY)
    if before is None:
        raise TypeError(
            f"{type(estimator).__name__} holds no aligner. Pass a fitted aligner such as CORAL, or "
            "a pipeline, WithTarget or WithSource with an aligner as a step, or pass mapped rows "
            "to DomainShiftDisplay.from_domains."
        )
    return before, (_matrix(source), _matrix(target)), " and ".join(names)


def _matrix(rows) -> np.ndarray:
    return check_array(rows, dtype=np.float64)

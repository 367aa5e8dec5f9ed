"""Both domains before and after alignment, in two dimensions."""

from __future__ import annotations

from numbers import Real

import numpy as np
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.utils.validation import check_array

from skltransfer._solvers._kernel_choice import median_gamma, scale_gamma
from skltransfer._solvers._kernels import squared_mmd
from skltransfer.domains._data import (
    as_labels,
    check_not_empty,
    check_same_length,
    check_same_width,
    in_order_of,
    missing_labels,
)
from skltransfer.inspection._both_domains import follow
from skltransfer.inspection._matplotlib import divided, pyplot

_SOURCE, _TARGET, _UNKNOWN = "#c8553d", "#2f6f9f", "#b8bec6"
# Classes that get a colour of their own in the legend.
_N_COLORS = 10


class DomainShiftDisplay:
    """Rows of both domains before and after alignment, in two dimensions.

    Left: rows as they reach the aligner. Right: the source's, mapped as source, and the target's,
    mapped as target. The title of each says how far apart the domains are: the squared maximum
    mean discrepancy (MMD) of all columns, not of the picture. Make one by :meth:`from_estimator`
    or :meth:`from_domains`.

    Parameters
    ----------
    before, after : tuple of two ndarray of shape (n_samples, 2) and (n_target_samples, 2)
        Where rows of the source and of the target are drawn.
    mmd : tuple of two float
        Squared discrepancies before and after.
    y_source, y_target : array-like of shape (n_samples,) and (n_target_samples,), default=None
        Classes, which colour the rows; missing ones are grey.
    aligner_name : str, default="alignment"
        What stands between the pictures, for the title.
    embedding_name : str, default="dimension"
        Labels of the axes.

    Attributes
    ----------
    axes_ : tuple of two matplotlib Axes
        Before and after.
    figure_ : matplotlib Figure

    See Also
    --------
    SampleWeightDisplay : What a reweighter did.

    Notes
    -----
    The discrepancy is the unbiased estimate of Gretton et al. (2012) with the kernel
    ``exp(-gamma |x - t|^2)``: around 0, and at times below, where the domains are alike; for a
    domain of one row it is the biased one. Aligners change scale and width, and a map that
    shrinks all rows to a point would make any fixed ``gamma`` see no difference. Each picture
    has therefore its own ``gamma``, by the distances in it. That domains are alike does not say
    that classes lie upon their own: colour them.

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
        aligner_name="alignment",
        embedding_name="dimension",
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
        embedding="pca",
        gamma="median",
        ax=None,
    ):
        """Draw what a fitted aligner does.

        Nothing is fitted again. Source rows are mapped by the aligner's ``transform_source``,
        target rows by its ``transform``; other steps of a pipeline have one map for both.

        Parameters
        ----------
        estimator : estimator
            A fitted aligner, or a pipeline, search, :class:`~skltransfer.WithTarget` or
            :class:`~skltransfer.WithSource` in which one is a step. In a pipeline "before" are
            the rows that reach the (first) aligner, "after" those that reach the predictor.
        X_source : array-like of shape (n_samples, n_features)
            Source rows, as they were given to `fit`; others than it was fitted on will do.
        X_target : array-like of shape (n_target_samples, n_features)
            Target rows, likewise.
        y_source, y_target : array-like of one label per row, default=None
            Classes, which colour the rows. They are used for nothing else.
        embedding : "pca" or transformer, default="pca"
            What brings rows into two dimensions, fitted on the rows of both domains, for each
            picture anew. A transformer (such as ``TSNE()``) is cloned, and its ``fit_transform``
            has to return two columns.
        gamma : "median", "scale" or float, default="median"
            Width of the kernel of the discrepancy. ``"median"``: 1 / the median squared distance
            of the rows of both domains; ``"scale"``: 1 / (their number of columns * variance).
        ax : matplotlib Axes, default=None
            Where to draw; it is divided into two. ``None``: a new figure.

        Returns
        -------
        display : DomainShiftDisplay

        Raises
        ------
        TypeError
            If `estimator` holds no aligner as a step.
        """
        check_not_empty(X_source, "X_source")
        check_not_empty(X_target, "X_target")
        check_same_width(X_target, X_source, "X_target")
        way = follow(estimator, X_source, in_order_of(X_source, X_target, "X_target"))
        return cls._from_rows(
            way.before, way.after, y_source, y_target, embedding, gamma, way.aligner
        ).plot(ax=ax)

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
        embedding="pca",
        gamma="median",
        ax=None,
    ):
        """Draw given rows, before and after a map.

        Parameters
        ----------
        X_source : array-like of shape (n_samples, n_features)
            Source rows before.
        X_target : array-like of shape (n_target_samples, n_features)
            Target rows before.
        X_source_mapped : array-like of shape (n_samples, n_features_out)
            Source rows after: what ``fit_transform`` returned.
        X_target_mapped : array-like of shape (n_target_samples, n_features_out)
            Target rows after: what ``transform`` returned.
        y_source, y_target : array-like of one label per row, default=None
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
        X_target = in_order_of(X_source, X_target, "X_target")
        X_target_mapped = in_order_of(X_source_mapped, X_target_mapped, "X_target_mapped")
        names = ("X_source", "X_target", "X_source_mapped", "X_target_mapped")
        rows = [
            check_array(values, dtype=np.float64, input_name=name)
            for name, values in zip(
                names, (X_source, X_target, X_source_mapped, X_target_mapped), strict=True
            )
        ]
        for given, mapped in ((0, 2), (1, 3)):
            check_same_length(rows[mapped], rows[given], names[mapped], names[given])
        for source, target in ((0, 1), (2, 3)):
            if rows[source].shape[1] != rows[target].shape[1]:
                raise ValueError(
                    f"{names[target]} has {rows[target].shape[1]} columns and {names[source]} has "
                    f"{rows[source].shape[1]}. Pass both domains in the same columns."
                )
        return cls._from_rows(rows[:2], rows[2:], y_source, y_target, embedding, gamma).plot(ax=ax)

    @classmethod
    def _from_rows(
        cls, before, after, y_source, y_target, embedding, gamma, aligner_name="alignment"
    ):
        for y, name, rows in ((y_source, "y_source", 0), (y_target, "y_target", 1)):
            if y is not None:
                check_same_length(y, before[rows], name, f"X_{name[2:]}")
                if np.ndim(as_labels(y)) != 1:
                    raise ValueError(f"{name} has {np.ndim(y)} dimensions. Pass a label per row.")
        is_number = isinstance(gamma, Real) and not isinstance(gamma, bool)
        if not (gamma > 0 if is_number else gamma in ("median", "scale")):
            raise ValueError(f"gamma={gamma!r} is not 'median', 'scale' or a number above 0.")
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

    def plot(self, ax=None):
        """Draw both pictures.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; it is divided into two. ``None``: a new figure.

        Returns
        -------
        display : DomainShiftDisplay
        """
        axes, self.figure_ = divided(type(self).__name__, ax, (9, 4), 1, 2)
        plt = pyplot(type(self).__name__)
        classes = self._classes()
        titles = ("before", f"after {self.aligner_name}")
        parts = zip(axes, (self.before, self.after), titles, self.mmd, strict=True)
        for part, places, title, mmd in parts:
            self._draw(part, places, classes, plt)
            part.set_title(f"{title}: MMD² {round(mmd, 3) + 0.0:.3f}", loc="center")
        self._add_legend(axes[1], classes, plt)
        self.axes_ = tuple(axes)
        return self

    def _classes(self) -> list:
        """Return the known labels of both domains, sorted."""
        labels = [as_labels(y) for y in (self.y_source, self.y_target) if y is not None]
        known = {label for y in labels for label in y[~missing_labels(y)].tolist()}
        try:
            return sorted(known)
        except TypeError:  # numbers beside strings
            return sorted(known, key=str)

    def _draw(self, ax, places, classes, plt) -> None:
        size = 22 * min(1.0, (300 / sum(map(len, places))) ** 0.5)
        sides = zip(places, (self.y_source, self.y_target), (_SOURCE, _TARGET), "ox", strict=True)
        for rows, y, color, marker in sides:
            colors = color if not classes else _colors(y, len(rows), classes, plt)
            shape = {"linewidths": 0} if marker == "o" else {"linewidths": 0.9}
            area = size if marker == "o" else 1.3 * size
            ax.scatter(*np.asarray(rows).T, s=area, c=colors, marker=marker, alpha=0.55, **shape)
        ax.set_xlabel(f"{self.embedding_name} 1")
        ax.set_ylabel(f"{self.embedding_name} 2")
        ax.set_xticks([])
        ax.set_yticks([])

    def _add_legend(self, ax, classes, plt) -> None:
        from matplotlib.lines import Line2D

        neutral = "#5f6b7a"
        colors = (neutral, neutral) if classes else (_SOURCE, _TARGET)
        names = zip(("source", "target"), colors, "ox", strict=True)
        handles = [
            Line2D([], [], linestyle="", marker=marker, color=color, markersize=5, label=name)
            for name, color, marker in names
        ]
        if len(classes) <= _N_COLORS:
            handles += [
                Line2D([], [], linestyle="", marker="s", color=color, markersize=5, label=str(name))
                for name, color in zip(classes, _palette(len(classes), plt), strict=True)
            ]
        ax.legend(
            handles=handles, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5),
            handletextpad=0.2,
        )  # fmt: skip


def _palette(n: int, plt):
    """Return colours of `n` classes."""
    if n <= _N_COLORS:
        return plt.get_cmap("tab10").colors[:n]
    return plt.get_cmap("turbo")(np.linspace(0.05, 0.95, n))


def _colors(y, n_rows: int, classes, plt) -> list:
    if y is None:
        return [_UNKNOWN] * n_rows
    by_class = dict(zip(classes, _palette(len(classes), plt), strict=True))
    labels, missing = as_labels(y), missing_labels(y)
    return [
        _UNKNOWN if gone else by_class[label]
        for label, gone in zip(labels.tolist(), missing, strict=True)
    ]


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
    if gamma == "median":
        gamma = median_gamma(source, target)
    elif gamma == "scale":
        gamma = scale_gamma(source, np.ones(len(source)), target)
    return squared_mmd(source, target, gamma, unbiased=min(len(source), len(target)) > 1)

"""The course of a training: terms of the loss, accuracy of a domain classifier, learning rates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import numpy as np
from sklearn.utils.validation import check_is_fitted

from skltransfer.inspection._fitted_steps import fitted_steps
from skltransfer.inspection._matplotlib import divide_axes

_SUM, _VALIDATION, _DOMAIN = "#3b4450", "#c8553d", "#2f6f9f"
_SUM_NAME, _VALIDATION_NAME, _DOMAIN_NAME = "train_loss", "valid_loss", "domain_accuracy"
_RATE = "lr_"
# Rates that differ less are drawn as one curve.
_SAME_RATE = 1e-12


class TrainingDisplay:
    """Plot of the training of a network, epoch by epoch.

    The upper plot shows the training loss and its terms, and the loss on samples that were set
    aside. Below are the accuracy of the domain classifier of adversarial methods, with chance as a
    dotted line, and the learning rates. What a training has not recorded has no plot. Create a
    display by :meth:`from_estimator`.

    Parameters
    ----------
    history : list of dict
        Records of the epochs, as in the attribute ``history_`` of an estimator. A name that a
        record lacks is a gap.

    Attributes
    ----------
    axes_ : tuple of matplotlib Axes
        Axes of the losses, of the domain accuracy and of the learning rates, as far as they are
        drawn.
    figure_ : matplotlib Figure
        Figure.

    See Also
    --------
    DANNClassifier : Has the loss and the accuracy of a domain classifier in its history.
    FineTunedClassifier : Trains a network on one domain.

    Notes
    -----
    Vertical lines separate the phases of a training, such as the output layer alone and the whole
    network. Names with the same learning rates share a curve.

    Examples
    --------
    >>> import numpy as np
    >>> from skltransfer import DANNClassifier, FineTunedClassifier, TrainingDisplay
    >>> X = np.random.default_rng(0).normal(size=(60, 2))
    >>> model = DANNClassifier(FineTunedClassifier(max_epochs=5))
    >>> model = model.fit(X, X[:, 0] > 0, X_target=X + 1)
    >>> display = TrainingDisplay.from_estimator(model)
    >>> [ax.get_ylabel() for ax in display.axes_]
    ['loss', 'domain accuracy', 'learning rate']
    """

    def __init__(self, *, history: Sequence[dict]):
        self.history = history

    @classmethod
    def from_estimator(cls, estimator, *, ax=None):
        """Plot the training of a fitted estimator.

        Parameters
        ----------
        estimator : estimator
            Fitted estimator with ``history_``, or pipeline, search,
            :class:`~skltransfer.WithTarget` or :class:`~skltransfer.WithSource` with one as a step.
        ax : matplotlib Axes, default=None
            Axes, divided into the plots. ``None`` makes a new figure.

        Returns
        -------
        display : TrainingDisplay
            Display with its plots.
        """
        check_is_fitted(estimator)
        steps = [step for step in fitted_steps(estimator) if hasattr(step, "history_")]
        # The names of the steps of a search or a pipeline are its own.
        if not steps and hasattr(estimator, "history_"):
            steps = [estimator]
        if len(steps) != 1:
            raise TypeError(
                f"{type(estimator).__name__} has {len(steps)} steps with history_, and one is "
                "drawn. Pass a fitted network estimator, such as FineTunedClassifier or "
                "DANNClassifier, or what holds one."
            )
        if not steps[0].history_:
            raise ValueError(
                f"history_ of {type(steps[0]).__name__} has no epoch. Train for at least one."
            )
        return cls(history=steps[0].history_).plot(ax=ax)

    def plot(self, ax=None) -> Self:
        """Draw the plots.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes, divided into the plots. ``None`` makes a new figure.

        Returns
        -------
        display : TrainingDisplay
            Display with its plots.
        """
        columns = self._columns()
        rates = _distinct_rates(columns)
        draws = [self._draw_losses]
        draws += [self._draw_accuracy] * (_DOMAIN_NAME in columns)
        draws += [lambda ax, columns: self._draw_rates(ax, rates)] * bool(rates)
        heights = [2.0] + [1.0] * (len(draws) - 1)
        parts, self.figure_ = divide_axes(
            type(self).__name__,
            ax,
            (7, 1.5 + 1.5 * sum(heights)),
            len(draws),
            1,
            height_ratios=heights,
            sharex=True,
        )
        self.axes_ = tuple(np.atleast_1d(parts))
        for part, draw in zip(self.axes_, draws, strict=True):
            draw(part, columns)
            for number in self._phase_starts():
                part.axvline(number + 0.5, color="#9aa5b1", linewidth=1)
            part.spines[["top", "right"]].set_visible(False)
        for part in self.axes_[:-1]:
            part.tick_params(labelbottom=False)
        self.axes_[-1].set_xlabel("epoch")
        self.axes_[-1].xaxis.get_major_locator().set_params(integer=True)
        return self

    def _columns(self) -> dict[str, np.ndarray]:
        """Return the numbers of each name over the epochs; NaN where a record lacks it."""
        names = dict.fromkeys(name for record in self.history for name in record)
        columns = {}
        for name in names:
            values = [record.get(name, np.nan) for record in self.history]
            if name not in ("epoch", "seconds", "phase"):
                columns[name] = np.array(values, dtype=np.float64)
        return columns

    def _phase_starts(self) -> list[int]:
        """Return the numbers of epochs after which another phase begins."""
        phases = [record.get("phase") for record in self.history]
        return [i for i in range(1, len(phases)) if phases[i] != phases[i - 1]]

    def _draw_losses(self, ax, columns) -> None:
        terms = [n for n in columns if not n.startswith(_RATE) and n != _DOMAIN_NAME]
        first = [name for name in (_SUM_NAME, _VALIDATION_NAME) if name in terms]
        for name in [*first, *(n for n in terms if n not in first)]:
            style = {
                _SUM_NAME: {"color": _SUM, "linewidth": 2.2},
                _VALIDATION_NAME: {"color": _VALIDATION, "linewidth": 2.2, "linestyle": "--"},
            }.get(name, {"linewidth": 1.4})
            _draw(ax, columns[name], name.replace("_", " "), **style)
        ax.set_ylabel("loss")
        ax.legend(frameon=False)

    def _draw_accuracy(self, ax, columns) -> None:
        _draw(ax, columns[_DOMAIN_NAME], "domain classifier", color=_DOMAIN, linewidth=1.8)
        ax.axhline(0.5, color="#9aa5b1", linewidth=1, linestyle=":")
        ax.set_ylim(min(0.4, np.nanmin(columns[_DOMAIN_NAME])), 1.02)
        ax.set_ylabel("domain accuracy")

    def _draw_rates(self, ax, rates) -> None:
        for label, values in rates:
            _draw(ax, values, label, linewidth=1.4)
        ax.set_ylabel("learning rate")
        ax.legend(frameon=False)


def _draw(ax, values: np.ndarray, label: str, **style) -> None:
    marker = {"marker": "o", "markersize": 4} if len(values) == 1 else {}
    ax.plot(np.arange(1, len(values) + 1), values, label=label, **style, **marker)


def _distinct_rates(columns: dict[str, np.ndarray]) -> list[tuple[str, np.ndarray]]:
    """Return the learning rates, with the names of those that are equal joined."""
    found: list[tuple[list[str], np.ndarray]] = []
    for name, values in columns.items():
        if not name.startswith(_RATE):
            continue
        label = name.removeprefix(_RATE)
        for names, other in found:
            if np.allclose(values, other, rtol=_SAME_RATE, atol=0, equal_nan=True):
                names.append(label)
                break
        else:
            found.append(([label], values))
    return [(", ".join(names), values) for names, values in found]

"""Accuracy of networks under attack, and the samples that an attack makes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from scipy.stats import binomtest
from sklearn.utils import check_consistent_length, check_random_state
from sklearn.utils.validation import check_is_fitted, column_or_1d

from skltransfer._messages import require
from skltransfer._parameters import Choice, Count, ListOf, Number
from skltransfer.domains._frames import frame_library
from skltransfer.inspection._fitted_steps import fitted_steps
from skltransfer.inspection._matplotlib import divide_axes

METHODS = ("noise", "fgsm", "pgd")
_METHOD, _EPSILON = Choice(*METHODS), Number(0, high=np.inf, high_open=True)
_EPSILONS_OF_IMAGES = (1 / 255, 2 / 255, 4 / 255, 8 / 255)
_EPSILONS_OF_TABLES = (0.05, 0.1, 0.2, 0.4)
_ESTIMATOR, _SOURCE = "estimator", "source"
_INK, _BLUE, _RED = "#9aa5b1", "#2f6f9f", "#c8553d"
_STYLES = {"noise": ":", "fgsm": "--", "pgd": "-"}


@dataclass(frozen=True)
class AttackResult:
    """Accuracy of one network on samples that one attack has changed.

    Parameters
    ----------
    network : {"estimator", "source"}
        Network that predicts.
    method : {"noise", "fgsm", "pgd"}
        Attack that changed the samples.
    made_on : {"estimator", "source"} or None
        Network whose gradients the attack has followed. None for noise.
    epsilon : float
        Largest change of a value. 0 are the samples as they are.
    accuracy : float
        Share of right predictions.
    low, high : float
        Bounds of its 95 % interval (Wilson's), over the samples.

    See Also
    --------
    robustness_report : Function that makes it.

    Examples
    --------
    >>> from skltransfer.inspection import AttackResult
    >>> AttackResult("estimator", "pgd", "source", 0.1, 0.75, 0.5, 0.9).accuracy
    0.75
    """

    network: str
    method: str
    made_on: str | None
    epsilon: float
    accuracy: float
    low: float
    high: float

    @property
    def attack(self) -> str:
        """Name of the attack, with the network that it was made on if that is another one."""
        if self.made_on in (None, self.network):
            return self.method
        return f"{self.method} on {self.made_on}"


@dataclass(frozen=True, repr=False)
class RobustnessReport:
    """Accuracy of a network, and of its source, under attacks of growing size.

    :func:`robustness_report` returns it.

    Parameters
    ----------
    results : list of AttackResult
        Results by network, attack and epsilon.
    unit : str
        Unit of epsilon.
    n_samples : int
        Number of samples.

    See Also
    --------
    robustness_report : Function that makes it.

    Examples
    --------
    >>> from skltransfer.inspection import AttackResult, RobustnessReport
    >>> results = [
    ...     AttackResult("estimator", "pgd", "estimator", epsilon, accuracy, 0.0, 1.0)
    ...     for epsilon, accuracy in [(0.0, 0.9), (0.1, 0.4)]
    ... ]
    >>> print(RobustnessReport(results, "standard deviations", 50))
    accuracy on 50 samples; epsilon in standard deviations
    network    attack  epsilon 0    0.1
    estimator  pgd         0.900  0.400
    """

    results: list[AttackResult]
    unit: str
    n_samples: int

    @property
    def epsilons(self) -> list[float]:
        """Values of epsilon in rising order, the first is 0."""
        return sorted({result.epsilon for result in self.results})

    def to_frame(self):
        """Return the results as a data frame, a row for each network, attack and epsilon.

        Returns
        -------
        frame : pandas.DataFrame
            Frame whose columns are the fields of :class:`AttackResult`.
        """
        pandas = require("pandas", "cli", "RobustnessReport.to_frame")
        return pandas.DataFrame([asdict(result) for result in self.results])

    def curves(self) -> dict[tuple[str, str], list[AttackResult]]:
        """Return the results of each network and attack, by rising epsilon.

        Returns
        -------
        curves : dict of (str, str) to list of AttackResult
            Keys are the network and the name of the attack.
        """
        curves = {}
        for result in self.results:
            curves.setdefault((result.network, result.attack), []).append(result)
        return {key: sorted(curve, key=lambda r: r.epsilon) for key, curve in curves.items()}

    def plot(self, ax=None):
        """Draw accuracy over epsilon: a plot for each network, a curve for each attack.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes, divided into the plots. ``None`` makes a new figure.

        Returns
        -------
        axes : ndarray of matplotlib Axes
            Axes of each network.
        """
        curves = self.curves()
        networks = list(dict.fromkeys(network for network, _ in curves))
        size = 1.0 + 3.6 * len(networks), 3.4
        axes, _ = divide_axes("RobustnessReport.plot", ax, size, 1, len(networks))
        axes = np.atleast_1d(axes)
        for part, network in zip(axes, networks, strict=True):
            for (owner, name), curve in curves.items():
                if owner == network:
                    _draw(part, name, curve)
            part.set_title(network, fontsize=10)
            part.set(ylim=(-0.02, 1.02), xlabel=f"epsilon ({self.unit})")
            part.spines[["top", "right"]].set_visible(False)
            part.legend(frameon=False, fontsize=8.5)
        axes[0].set_ylabel(f"accuracy on {self.n_samples} samples")
        return axes

    def __str__(self):
        epsilons = [f"{epsilon:.3g}" for epsilon in self.epsilons]
        rows = [["network", "attack", f"epsilon {epsilons[0]}", *epsilons[1:]]]
        for (network, attack), curve in self.curves().items():
            rows.append([network, attack, *(f"{result.accuracy:.3f}" for result in curve)])
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [f"accuracy on {self.n_samples} samples; epsilon in {self.unit}"]
        for row in rows:
            cells = [
                cell.ljust(width) if place < 2 else cell.rjust(width)
                for place, (cell, width) in enumerate(zip(row, widths, strict=True))
            ]
            lines.append("  ".join(cells).rstrip())
        return "\n".join(lines)

    def __repr__(self):
        return f"<RobustnessReport>\n{self}"


def _draw(ax, name: str, curve: list[AttackResult]) -> None:
    first = curve[0]
    carried_over = first.made_on not in (None, first.network)
    colour = _INK if first.made_on is None else _RED if carried_over else _BLUE
    epsilons = [result.epsilon for result in curve]
    ax.fill_between(
        epsilons, [result.low for result in curve], [result.high for result in curve],
        color=colour, alpha=0.12, linewidth=0,
    )  # fmt: skip
    ax.plot(
        epsilons, [result.accuracy for result in curve],
        color=colour, linestyle=_STYLES[first.method], marker="o", markersize=4, label=name,
    )  # fmt: skip


def adversarial_examples(
    estimator,
    X,
    y,
    *,
    epsilon,
    method: str = "pgd",
    n_steps: int = 20,
    batch_size: int = 64,
    random_state: int | np.random.RandomState | None = 0,
):
    """Change samples a little, so that a network errs on as many as possible.

    Examples that were made on one network may be given to any other estimator: how many of its
    predictions are then wrong is the risk of weights that everybody can download.

    Parameters
    ----------
    estimator : classifier
        Fitted classifier of this package that trains a network, such as a
        :class:`~skltransfer.FineTunedClassifier` or
        :class:`~skltransfer.RegularizedTransferClassifier`; or a search around one. It is not
        changed.
    X : array-like
        Rows of a table, or images in one array, in a form that `estimator` predicts.
    y : array-like of shape (n_samples,)
        True classes.
    epsilon : float
        Largest change of a value. For images a part of the range from black to white, such as
        8 / 255; the range is that of `estimator`. For tables in standard deviations of the columns
        of `X`.
    method : {"pgd", "fgsm", "noise"}, default="pgd"
        ``"pgd"`` is projected gradient descent [1]_ from the sample itself, `n_steps` steps of
        ``2.5 * epsilon / n_steps`` along the sign of the gradient. ``"fgsm"`` is the fast gradient
        sign method [2]_, one step of `epsilon`. ``"noise"`` moves each value by `epsilon`, up or
        down by chance, and needs no network: the control.
    n_steps : int, default=20
        Number of steps of PGD.
    batch_size : int, default=64
        Number of samples that pass the network together.
    random_state : int, RandomState instance or None, default=0
        Seed of the noise.

    Returns
    -------
    X_adversarial : {ndarray, DataFrame} of the shape of `X`
        Changed samples. Images keep their type and range; integers are rounded towards what they
        were. Frames stay frames. Constant columns are left alone.

    Raises
    ------
    TypeError
        If `estimator` is no classifier with a network of this package, or begins with other steps,
        or `X` holds texts, paths or images of several sizes.
    ValueError
        If `y` holds a class that `estimator` does not know.
    ImportError
        If adversarial-robustness-toolbox is missing and `method` is not ``"noise"``.

    See Also
    --------
    robustness_report : Accuracy under several attacks, beside that of the source.

    Notes
    -----
    The attacks are those of adversarial-robustness-toolbox (``pip install
    "skltransfer[robustness]"``), which makes a folder ``.art`` in the home directory when it is
    first imported. The gradient is that of the logit of all other classes together against the true
    class. Its direction is that of the cross-entropy's gradient, and it does not vanish where a
    network is sure of its class.

    A network that resists these attacks may fall to stronger ones. The accuracy under an attack is
    an upper bound of the accuracy against all attackers.

    References
    ----------
    .. [1] A. Madry et al., "Towards Deep Learning Models Resistant to Adversarial Attacks", ICLR
       2018.

    .. [2] I. Goodfellow, J. Shlens, C. Szegedy, "Explaining and Harnessing Adversarial Examples",
       ICLR 2015, section 4.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skltransfer import FineTunedClassifier, adversarial_examples
    >>> X, y = load_digits(return_X_y=True)
    >>> model = FineTunedClassifier(
    ...     "tiny", strategy="linear_probe", image_shape=(8, 8), value_range=(0, 16)
    ... ).fit(X[:200], y[:200])
    >>> noisy, attacked = (
    ...     adversarial_examples(model, X[200:230], y[200:230], epsilon=0.1, method=method)
    ...     for method in ("noise", "fgsm")
    ... )
    >>> model.score(noisy, y[200:230]) > model.score(attacked, y[200:230])
    True
    """
    _METHOD.check("method", method)
    _EPSILON.check("epsilon", epsilon)
    Count().check("n_steps", n_steps)
    Count().check("batch_size", batch_size)
    attacked = _Attacked(_network_of(estimator, "estimator"), X, y)
    return attacked.examples(method, epsilon, n_steps, batch_size, random_state)


class _Attacked:
    """Samples as a network reads them, and their classes by number."""

    def __init__(self, network, X, y):
        from skltransfer._torch._rows import ImageArrayRows, TableRows, n_dimensions, read_rows

        self.network, self.X = network, X
        rows = network._rows_to_predict(X)
        if not isinstance(rows, TableRows | ImageArrayRows):
            raise TypeError(
                "X holds texts, paths, encoded images or images of several sizes. Attacks change "
                "numbers: pass rows of a table, or images of one size in one array."
            )
        is_table = isinstance(rows, TableRows)
        self.is_flat = is_table and (network.image_shape is not None or n_dimensions(X) > 2)
        if self.is_flat:  # images that the network takes as rows of a table
            settings = {"image_shape": network.image_shape, "value_range": network.value_range}
            rows = read_rows(network, X, reset=False, **settings)
        self.rows = rows
        self.is_image = self.is_flat or not is_table
        self.codes = _codes(y, rows, network.classes_)

    def reading(self) -> tuple:
        """Return what the units of epsilon depend on."""
        return self.is_image, self.rows.value_range if self.is_image else None

    def examples(self, method, epsilon, n_steps, batch_size, random_state):
        """Return changed samples in the form of the samples given."""
        from skltransfer._networks import _attacks

        units = _attacks.in_units(self.rows)
        if epsilon == 0:
            change = np.zeros(units.shape)
        elif method == "noise":
            signs = check_random_state(random_state).randint(0, 2, units.shape)
            change = np.where(signs == 1, float(epsilon), -float(epsilon))
        else:
            change = _attacks.changes(
                self.network._built,
                self.rows,
                self.codes,
                method=method,
                epsilon=float(epsilon),
                n_steps=int(n_steps),
                batch_size=int(batch_size),
                is_flat=self.is_flat,
            )
        return _in_form_of(self.X, _attacks.shifted(self.rows, change))


def _network_of(estimator, name: str):
    """Return the fitted network that an estimator consists of."""
    check_is_fitted(estimator)
    steps = list(fitted_steps(estimator))
    network = steps[-1]
    if not (hasattr(network, "_built") and hasattr(network, "_labels")):
        raise TypeError(
            f"{name} is a {type(network).__name__}, which has no network of this package with "
            "gradients. Pass a FineTunedClassifier or another classifier that trains a network; "
            "strategy='linear_probe' is a frozen network with a linear model."
        )
    if not hasattr(network, "classes_") or network._labels.is_multilabel:
        raise TypeError(
            f"{name} is a {type(network).__name__} without one class for each sample. Attacks are "
            "made on classifiers with one label."
        )
    if len(steps) > 1:
        raise TypeError(
            f"{name} has a {type(steps[0]).__name__} in front of its network, which no gradient "
            "passes. Pass the network alone, model[-1], and the samples that reach it, "
            "model[:-1].transform(X)."
        )
    return network


def _codes(y, rows, classes) -> np.ndarray:
    """Return the number of each sample's class."""
    y = column_or_1d(y)
    check_consistent_length(range(len(rows)), y)
    unknown = sorted(set(y.tolist()) - set(classes.tolist()), key=str)
    if unknown:
        raise ValueError(
            f"y holds {unknown[:5]}, which the network does not know: its classes are "
            f"{classes.tolist()[:20]}. Leave these samples out."
        )
    return np.searchsorted(classes, y)


def _in_form_of(X, values: np.ndarray):
    """Return values in the shape of `X`, as a frame if it is one."""
    library = frame_library(X)
    if library == "pandas":
        return type(X)(values.reshape(X.shape), index=X.index, columns=X.columns)
    if library == "polars":
        return type(X)(values.reshape(X.shape), schema=X.columns)
    return values.reshape(np.shape(X))


def robustness_report(
    estimator,
    X,
    y,
    *,
    source=None,
    epsilons: str | Sequence[float] = "auto",
    methods: Sequence[str] = METHODS,
    n_steps: int = 20,
    batch_size: int = 64,
    random_state: int | np.random.RandomState | None = 0,
):
    """Score a network on samples that attacks have changed, beside the network it comes from.

    Whoever reuses public weights shares them with attackers. With `source`, samples are attacked on
    the source network as well, and given to `estimator`: it then shows how much an attacker gains
    who has the public weights, and not those of `estimator`.

    Parameters
    ----------
    estimator : classifier
        Fitted classifier of this package that trains a network, or a search around one. It is not
        changed.
    X : array-like
        Samples to score on, which no network was trained on: rows of a table, or images in one
        array.
    y : array-like of shape (n_samples,)
        Their classes.
    source : classifier, default=None
        Network that an attacker can make of the public weights, fitted for the same classes and
        samples, such as ``FineTunedClassifier(backbone, strategy="linear_probe")``. It is best
        fitted on samples of the attacker's own. ``None``: `estimator` alone.
    epsilons : "auto" or list of float, default="auto"
        Largest changes of a value, as for :func:`adversarial_examples`. ``"auto"``: 1, 2, 4 and 8
        levels of 255 for images; 0.05, 0.1, 0.2 and 0.4 standard deviations for tables. 0, the
        samples as they are, is always among them.
    methods : list of {"noise", "fgsm", "pgd"}, default=("noise", "fgsm", "pgd")
        Attacks, see :func:`adversarial_examples`.
    n_steps : int, default=20
        Number of steps of PGD.
    batch_size : int, default=64
        Number of samples that pass a network together.
    random_state : int, RandomState instance or None, default=0
        Seed of the noise, which is drawn anew for every epsilon.

    Returns
    -------
    report : RobustnessReport
        Accuracy of each network, attack and epsilon, with intervals.

    Raises
    ------
    TypeError, ValueError, ImportError
        As for :func:`adversarial_examples`.

    See Also
    --------
    adversarial_examples : The changed samples themselves, to be given to any estimator.

    Notes
    -----
    Both networks are scored by ``predict`` on the same changed samples, behind the same rounding.
    A step of PGD is a pass forwards and one backwards, for each epsilon and network.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skltransfer import FineTunedClassifier, robustness_report
    >>> X, y = load_digits(return_X_y=True)
    >>> settings = {"image_shape": (8, 8), "value_range": (0, 16)}
    >>> model = FineTunedClassifier(None, **settings).fit(X[:200], y[:200])
    >>> report = robustness_report(
    ...     model, X[200:300], y[200:300], epsilons=[0.05, 0.1], methods=["noise", "pgd"]
    ... )
    >>> [attack for _, attack in report.curves()]
    ['noise', 'pgd']
    >>> clean, _, worst = (result.accuracy for result in report.curves()["estimator", "pgd"])
    >>> worst < clean
    True
    """
    methods = _checked_methods(methods)
    ListOf(_EPSILON, unset=("auto",)).check("epsilons", epsilons)
    Count().check("n_steps", n_steps)
    Count().check("batch_size", batch_size)
    estimators = {_ESTIMATOR: estimator} | ({} if source is None else {_SOURCE: source})
    attacked = {name: _Attacked(_network_of(each, name), X, y) for name, each in estimators.items()}
    is_image = attacked[_ESTIMATOR].is_image
    if source is not None and attacked[_SOURCE].reading() != attacked[_ESTIMATOR].reading():
        raise ValueError(
            "estimator and source read X in two ways, so that epsilon has two units. Fit both with "
            "the same image_shape and value_range."
        )
    if isinstance(epsilons, str):
        epsilons = _EPSILONS_OF_IMAGES if is_image else _EPSILONS_OF_TABLES
    epsilons = sorted({0.0, *map(float, epsilons)})
    rng, y = check_random_state(random_state), column_or_1d(y)

    def share(name, samples):
        return _share(np.asarray(estimators[name].predict(samples)) == y)

    unchanged = {name: share(name, X) for name in estimators}
    found = []
    for method in methods:
        for maker, each in attacked.items():
            is_noise = method == "noise"
            if is_noise and maker != _ESTIMATOR:
                continue
            victims = list(estimators) if is_noise or maker == _SOURCE else [maker]
            made_on = None if is_noise else maker
            for epsilon in epsilons:
                if epsilon > 0:
                    samples = each.examples(method, epsilon, n_steps, batch_size, rng)
                for name in victims:
                    bounds = share(name, samples) if epsilon > 0 else unchanged[name]
                    found.append(AttackResult(name, method, made_on, epsilon, *bounds))
    unit = "parts of the range of the values" if is_image else "standard deviations"
    order = {name: place for place, name in enumerate(estimators)}
    found.sort(key=lambda r: (order[r.network], r.made_on not in (None, r.network)))
    return RobustnessReport(found, unit, len(y))


def _checked_methods(methods) -> list[str]:
    given, is_text = methods, isinstance(methods, str)
    methods = list(methods) if isinstance(methods, Iterable) and not is_text else []
    if not methods:
        raise ValueError(f"methods={given!r} is no list with one of {', '.join(METHODS)}.")
    for method in methods:
        _METHOD.check("methods", method)
    return list(dict.fromkeys(methods))


def _share(hits: np.ndarray) -> tuple[float, float, float]:
    """Return the share of hits and its 95 % interval by Wilson's formula."""
    interval = binomtest(int(hits.sum()), len(hits)).proportion_ci(method="wilson")
    return float(np.mean(hits)), float(interval.low), float(interval.high)

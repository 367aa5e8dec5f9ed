"""The pixels or the words that a prediction rests on."""

from __future__ import annotations

from typing import Self

import numpy as np
from sklearn.utils.validation import check_is_fitted

from skltransfer._messages import near_names, require
from skltransfer._parameters import Choice, Count
from skltransfer.inspection._fitted_steps import fitted_steps

_METHOD = Choice("auto", "gradcam", "integrated_gradients")
_TITLES = {"gradcam": "Grad-CAM", "integrated_gradients": "integrated gradients"}
# Pictures in a row, and inches of a picture and of a line of text.
_PER_ROW, _PICTURE, _LINE, _WIDTH = 6, 1.75, 0.32, 8.0
# Width of a character of a text relative to its size.
_CHARACTER = 0.62
_FONT_SIZE = 10


class AttributionDisplay:
    """Plot of the pixels or the tokens that predictions of a network rest on.

    Create a display by :meth:`from_estimator`.

    Parameters
    ----------
    inputs : list of ndarray of shape (height, width, n_channels), or list of list of str
        Images with values in [0, 1], or tokens, as the network has seen them.
    attributions : list of ndarray of shape (height, width) or (n_tokens,)
        Attribution of each pixel or token. Positive ones speak for the output.
    labels : list of str
        Output that is explained, for each sample.
    method : {"gradcam", "integrated_gradients"}
        Method of the attributions.
    gaps : ndarray of shape (n_samples,), default=None
        Change of the output from the baseline to the sample, less the sum of the attributions.
        Only integrated gradients have some.

    Attributes
    ----------
    figure_ : matplotlib Figure
        Figure.
    axes_ : ndarray of matplotlib Axes
        Axes of each sample.

    See Also
    --------
    DomainShiftDisplay : Plot of two domains before and after alignment.

    Notes
    -----
    Grad-CAM sums the feature maps of a layer, weighed by the mean gradient of the output, and
    leaves out what is negative. It is as coarse as the maps of the layer. Integrated gradients
    integrate the gradient on the straight line from a black image, or from padding tokens, to the
    sample, by captum (``pip install "skltransfer[explain]"``). `gaps` far from 0, relative to the
    sum of the attributions, ask for a larger `n_steps`.

    An attribution tells what the output of this network depends on, not what causes a class.

    References
    ----------
    R. R. Selvaraju et al. Grad-CAM: visual explanations from deep networks via gradient-based
    localization. ICCV 2017.

    M. Sundararajan, A. Taly and Q. Yan. Axiomatic attribution for deep networks. ICML 2017.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skltransfer import AttributionDisplay, FineTunedClassifier
    >>> X, y = load_digits(return_X_y=True)
    >>> model = FineTunedClassifier(
    ...     "tiny", strategy="linear_probe", image_shape=(8, 8), value_range=(0, 16)
    ... ).fit(X[:60], y[:60])
    >>> display = AttributionDisplay.from_estimator(model, X[:2])
    >>> display.labels, display.attributions[0].shape
    (['0', '1'], (32, 32))
    """

    def __init__(self, *, inputs, attributions, labels, method, gaps=None):
        self.inputs = inputs
        self.attributions = attributions
        self.labels = labels
        self.method = method
        self.gaps = gaps

    @classmethod
    def from_estimator(
        cls,
        estimator,
        X,
        *,
        label=None,
        method: str = "auto",
        layer: str | None = None,
        n_steps: int = 50,
        ax=None,
    ):
        """Plot what predictions of a fitted network rest on. Nothing is trained.

        Parameters
        ----------
        estimator : estimator
            Fitted estimator of this package that trains a network, such as a
            :class:`~skltransfer.FineTunedClassifier`; or a pipeline or search that ends with one.
        X : array-like
            A few images or texts, in a form that `estimator` predicts.
        label : object, default=None
            Class to explain, or the number of an output of a regressor or a label of several.
            ``None`` is the predicted class of each sample, the output of a regressor with a single
            one.
        method : {"auto", "gradcam", "integrated_gradients"}, default="auto"
            Grad-CAM or integrated gradients. ``"auto"`` is Grad-CAM for images and integrated
            gradients for texts.
        layer : str, default=None
            Layer with feature maps for Grad-CAM: a stage of the backbone or a module's name.
            ``None`` is the deepest stage with maps.
        n_steps : int, default=50
            Number of points between the baseline and the sample for integrated gradients.
        ax : matplotlib Axes, default=None
            Axes, divided into one part for each sample. ``None`` makes a new figure.

        Returns
        -------
        display : AttributionDisplay
            Display with one plot for each sample.

        Raises
        ------
        TypeError
            If `estimator` does not end with a network of this package, or `X` is a table.
        ValueError
            If `label` is unknown, or no layer has feature maps.
        ImportError
            If captum is missing and `method` is ``"integrated_gradients"``.
        """
        _METHOD.check("method", method)
        Count().check("n_steps", n_steps)
        network, X = _network_and_input(estimator, X)
        from skltransfer._networks import _attributions
        from skltransfer._torch._text import TextRows

        rows = network._rows_to_predict(X)
        is_text = isinstance(rows, TextRows)
        if method == "auto":
            method = "integrated_gradients" if is_text else "gradcam"
        if is_text and method == "gradcam":
            raise ValueError(
                "method='gradcam' needs images. Pass method='integrated_gradients' for texts."
            )
        if layer is not None and method != "gradcam":
            raise ValueError(f"layer={layer!r} is of Grad-CAM. Pass method='gradcam', or no layer.")
        places, signs, labels = _outputs_of(network, rows, label)
        if method == "gradcam":
            found = _attributions.grad_cam(network._built, rows, places, signs, layer)
        else:
            found = _attributions.integrated_gradients(
                network._built, rows, places, signs, int(n_steps)
            )
        display = cls(
            inputs=found.inputs,
            attributions=found.values,
            labels=labels,
            method=method,
            gaps=found.gaps,
        )
        return display.plot(ax=ax)

    def plot(self, ax=None) -> Self:
        """Draw a picture or a line of tokens for each sample.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes, divided into one part for each sample. ``None`` makes a new figure.

        Returns
        -------
        display : AttributionDisplay
            The display itself.
        """
        plt = require("matplotlib.pyplot", "cli", type(self).__name__)
        is_text = np.ndim(self.attributions[0]) == 1
        n = len(self.inputs)
        if is_text:
            shape, size = (n, 1), (_WIDTH, sum(map(self._height, self.inputs)) + 0.3)
            ratios = {"height_ratios": list(map(self._height, self.inputs))}
        else:
            n_columns = min(n, _PER_ROW)
            shape, ratios = (-(-n // n_columns), n_columns), {}
            size = _PICTURE * shape[1], (_PICTURE + 0.3) * shape[0]
        if ax is None:
            _, ax = plt.subplots(figsize=size, layout="constrained")
        grid = ax.get_subplotspec()
        if grid is None:
            raise ValueError(
                "ax has to be a subplot of a figure (plt.subplots), so that it can be divided."
            )
        ax.set_axis_off()
        self.axes_ = grid.subgridspec(*shape, **ratios).subplots(squeeze=False).ravel()
        self.figure_ = ax.figure
        for part in self.axes_:
            part.set_axis_off()
        draw = self._draw_tokens if is_text else self._draw_image
        for part, *sample in zip(
            self.axes_, self.inputs, self.attributions, self.labels, strict=False
        ):
            draw(part, *sample)
        return self

    def _draw_image(self, ax, image, values, label) -> None:
        """Draw a grey image under the attributions, on one scale from -largest to largest."""
        grey = np.asarray(image)[..., :3].mean(axis=-1)
        ax.imshow(grey, cmap="gray", vmin=0, vmax=1)
        largest = np.abs(values).max() or 1.0
        if self.method == "gradcam":
            settings = {"cmap": "inferno", "vmin": 0}
        else:
            settings = {"cmap": "RdBu_r", "vmin": -largest}
            largest = np.quantile(np.abs(values), 0.99) or largest  # single pixels stand out
            settings["vmin"] = -largest
        ax.imshow(values, vmax=largest, alpha=0.6, **settings)
        ax.set_title(str(label), fontsize=9, parse_math=False)

    def _draw_tokens(self, ax, tokens, values, label) -> None:
        """Write the tokens on colours: red speaks for the output, blue against it."""
        from matplotlib import colormaps

        colours = colormaps["RdBu_r"]
        largest = np.abs(values).max() or 1.0
        ax.set(xlim=(0, self._line_width()), ylim=(-self._n_lines(tokens), 1))
        ax.text(
            0, 0.5, f"{label}: {_TITLES[self.method]}", fontsize=9, fontweight="bold", va="center",
            parse_math=False,
        )  # fmt: skip
        for (place, line), token, value in zip(self._places(tokens), tokens, values, strict=True):
            shade = colours(0.5 + 0.42 * value / largest)
            ax.text(
                place, -line - 0.5, token, fontsize=_FONT_SIZE, va="center", parse_math=False,
                family="monospace", color="white" if abs(value) > 0.75 * largest else "black",
                bbox={"facecolor": shade, "edgecolor": "none", "pad": 1.6},
            )  # fmt: skip

    def _line_width(self) -> float:
        """Characters of a line."""
        return 72 * (_WIDTH - 0.2) / (_CHARACTER * _FONT_SIZE)

    def _places(self, tokens) -> list[tuple[float, int]]:
        """Return the first character and the line of each token."""
        places, place, line = [], 0.0, 0
        for token in tokens:
            if place and place + len(token) > self._line_width():
                place, line = 0.0, line + 1
            places.append((place, line))
            place += len(token) + 1.0
        return places

    def _n_lines(self, tokens) -> int:
        return 1 + max((line for _, line in self._places(tokens)), default=0)

    def _height(self, tokens) -> float:
        return _LINE * (1 + self._n_lines(tokens))


def _network_and_input(estimator, X):
    """Return the fitted network that ends an estimator, and the samples that reach it."""
    check_is_fitted(estimator)
    steps = list(fitted_steps(estimator))
    network = steps[-1]
    if not (hasattr(network, "_built") and hasattr(network, "_labels")):
        raise TypeError(
            f"{type(network).__name__} trains no network of this package, so that its predictions "
            "cannot be traced to pixels or words. Pass a fitted FineTunedClassifier or another "
            "estimator that trains a network; strategy='linear_probe' is a frozen network with a "
            "linear model."
        )
    for step in steps[:-1]:
        X = step.transform(X)
    return network, X


def _outputs_of(network, rows, label) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Return the output of each sample that is explained, its sign, and its name."""
    n, labels = len(rows), network._labels
    ones = np.ones(n)
    if not hasattr(network, "classes_") or getattr(labels, "is_multilabel", False):
        n_outputs = labels.n_outputs
        if label is None and n_outputs > 1:
            raise ValueError(f"label=None, and there are {n_outputs} outputs. Pass one's number.")
        number = 0 if label is None else label
        if number not in range(n_outputs):
            raise ValueError(f"label={label!r} is no output: there are {n_outputs}, from 0.")
        name = "prediction" if label is None else f"output {number}"
        return np.full(n, int(number)), ones, [name] * n
    classes = network.classes_
    if label is None:
        outputs = network._built.outputs(rows, network._feature_store())
        codes = outputs.argmax(axis=1) if outputs.shape[1] > 1 else (outputs[:, 0] > 0).astype(int)
    else:
        found = np.flatnonzero(np.asarray(classes == label))
        if len(found) != 1:
            raise ValueError(
                f"label={label!r} is none of the classes {classes.tolist()[:20]}."
                f"{near_names(label, classes)}"
            )
        codes = np.full(n, found[0])
    names = [str(classes[code]) for code in codes]
    if labels.n_outputs == 1:  # the logit of the second class
        return np.zeros(n, dtype=int), np.where(codes == 1, 1.0, -1.0), names
    return codes, ones, names

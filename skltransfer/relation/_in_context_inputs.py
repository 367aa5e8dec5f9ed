"""What the in-context network reads: scores of ridge regressions, and how good they are.

Everything works on numpy arrays with any number of leading dimensions, so that the recipe of the
weights computes the inputs of many tasks at once by the functions that the estimator uses.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from skltransfer._solvers._leave_one_out import ridge_leave_one_out

# Penalties of the ridge regressions, for standardized features and labels of -1 and 1.
PENALTIES = (3.0, 30.0)
FITS = ("source", "target", "pooled", "balanced", "anchored")
KERNEL_FITS = ("source", "pooled", "balanced")
N_SCORES = len(FITS) * len(PENALTIES) + len(KERNEL_FITS)
# Label and domain of a context sample: source or target, -1 or 1; a sample to be predicted.
N_KINDS = 5
N_TOKEN_INPUTS = 3 * N_SCORES + N_KINDS
N_SUMMARY_INPUTS = 6 * N_SCORES + 6
_LARGEST_SCORE, _LARGEST_DEVIATION = 3.0, 4.0
_N_LANDMARKS, _JITTER, _KERNEL_SCALE, _KERNEL_PENALTY = 64, 1e-6, 10**0.5, 3.0


class Kernel(NamedTuple):
    """Features of a Gaussian kernel, by the method of Nyström.

    Parameters
    ----------
    landmarks : ndarray of shape (..., n_landmarks, n_features)
    whitening : ndarray of shape (..., n_landmarks, n_landmarks)
    """

    landmarks: np.ndarray
    whitening: np.ndarray

    @classmethod
    def of(cls, X_source, X_target) -> Kernel:
        """Return the kernel whose landmarks are the first samples of both domains."""
        n_target = min(X_target.shape[-2], _N_LANDMARKS // 2)
        n_source = min(X_source.shape[-2], _N_LANDMARKS - n_target)
        parts = X_source[..., :n_source, :], X_target[..., :n_target, :]
        landmarks = np.concatenate(parts, axis=-2)
        values = _gaussian(landmarks, landmarks)
        diagonal = np.arange(values.shape[-1])
        values[..., diagonal, diagonal] += _JITTER
        root = np.linalg.cholesky(values)
        return cls(landmarks, _KERNEL_SCALE * np.linalg.inv(root).swapaxes(-1, -2))

    def __call__(self, X) -> np.ndarray:
        """Return the features of samples, of shape (..., n_samples, n_landmarks)."""
        return _gaussian(X, self.landmarks) @ self.whitening


def _gaussian(X, landmarks) -> np.ndarray:
    squares = (X**2).sum(axis=-1)[..., None] + (landmarks**2).sum(axis=-1)[..., None, :]
    distances = squares - 2 * X @ landmarks.swapaxes(-1, -2)
    return np.exp(-np.maximum(distances, 0) / (2 * X.shape[-1]))


class Fits(NamedTuple):
    """Ridge regressions on the features and on features of a kernel.

    Parameters
    ----------
    coefficients : ndarray of shape (..., n_features + 1, n_classes, n_fits)
        Of standardized features and of the intercept.
    kernel : Kernel
    kernel_coefficients : ndarray of shape (..., n_landmarks + 1, n_classes, n_kernel_fits)
    """

    coefficients: np.ndarray
    kernel: Kernel
    kernel_coefficients: np.ndarray

    def __call__(self, X) -> np.ndarray:
        """Return the scores of samples that no fit has seen.

        Parameters
        ----------
        X : ndarray of shape (..., n_samples, n_features)
            Standardized features.

        Returns
        -------
        scores : ndarray of shape (..., n_samples, n_classes, N_SCORES)
        """
        return np.concatenate(
            [
                _scores(X, self.coefficients),
                _scores(self.kernel(X), self.kernel_coefficients),
            ],
            axis=-1,
        )


def _scores(X, coefficients) -> np.ndarray:
    flat = coefficients.reshape(*coefficients.shape[:-2], -1)
    scores = X @ flat[..., :-1, :] + flat[..., -1:, :]
    return scores.reshape(*scores.shape[:-1], *coefficients.shape[-2:])


class Scores(NamedTuple):
    """Scores of labelled samples, each from fits without it.

    Parameters
    ----------
    source : ndarray of shape (..., n_source, n_classes, N_SCORES)
    target : ndarray of shape (..., n_target, n_classes, N_SCORES)
    """

    source: np.ndarray
    target: np.ndarray


class Standardization(NamedTuple):
    """Means and scales of features over the labelled samples of both domains."""

    mean: np.ndarray
    scale: np.ndarray

    @classmethod
    def of(cls, X_source, X_target) -> Standardization:
        """Return those of two sets of samples, of shape (..., n, n_features)."""
        X = np.concatenate([X_source, X_target], axis=-2)
        return cls(X.mean(axis=-2, keepdims=True), X.std(axis=-2, keepdims=True))

    def __call__(self, X) -> np.ndarray:
        """Return standardized features within 4 deviations; a constant feature is 0."""
        # A constant may have a deviation in rounding.
        varies = self.scale > 1e-6 * np.abs(self.mean)
        centred = np.where(varies, X - self.mean, 0)
        standard = centred / np.where(varies, self.scale, 1)
        return np.clip(standard, -_LARGEST_DEVIATION, _LARGEST_DEVIATION)


def with_intercept(X) -> np.ndarray:
    """Return the samples with a column of ones behind their features."""
    return np.concatenate([X, np.ones_like(X[..., :1])], axis=-1)


def signs(y, n_classes: int) -> np.ndarray:
    """Return labels as 1 for the own class and -1 for all others, in a column for each class."""
    return np.where(y[..., None] == np.arange(n_classes), 1.0, -1.0)


def canonical_orders(X_source, Y_source, X_target, Y_target) -> tuple[np.ndarray, np.ndarray]:
    """Return orders of both domains that depend on no given order, and on no unit.

    Samples go by the score of their own class in a fit without them to both domains. Samples that
    are equal, labels included, change places without effect.
    """
    Z = with_intercept(np.concatenate([X_source, X_target]))
    Y = np.concatenate([Y_source, Y_target])
    scores = ridge_leave_one_out(Z, Y, np.ones(len(Z)), PENALTIES[0]).predictions
    keys = scores[np.arange(len(Y)), Y.argmax(axis=1)]
    return np.argsort(keys[: len(X_source)]), np.argsort(keys[len(X_source) :])


def fit_scores(X_source, Y_source, X_target, Y_target) -> tuple[Scores, Fits]:
    """Fit ridge regressions to the labels of the source, of the target, and of both.

    - *source*, *target*: to one domain;
    - *pooled*: to both;
    - *balanced*: to both, with one weight in all for each domain;
    - *anchored*: to the residuals of *source* on the target, added to *source*.

    Some are fitted on features of a Gaussian kernel too. Without a sample of a domain, its fit is
    0, and the others are fits to the other domain.

    Parameters
    ----------
    X_source : ndarray of shape (..., n_source, n_features)
        Standardized features. The first samples are landmarks of the kernel.
    Y_source : ndarray of shape (..., n_source, n_classes)
        Labels, -1 or 1.
    X_target, Y_target : ndarrays
        The same of labelled target samples.

    Returns
    -------
    scores : Scores
    fits : Fits
    """
    n_source, n_target = X_source.shape[-2], X_target.shape[-2]
    X = np.concatenate([X_source, X_target], axis=-2)
    Y = np.concatenate([Y_source, Y_target], axis=-2)
    is_source = (np.arange(n_source + n_target) < n_source).astype(X.dtype)
    # Source samples weigh as much as the target samples in all.
    ratio = n_target / n_source if n_source and n_target else 1.0
    stronger = 1 + ratio if n_source and n_target else 1.0
    # Weights, and factor of the penalty.
    settings = {
        "source": (is_source, 1.0),
        "target": (1 - is_source, 1.0),
        "pooled": (np.ones_like(is_source), 1.0),
        "balanced": (np.where(is_source > 0, ratio, 1).astype(X.dtype), stronger),
    }

    def fit(Z, name, penalty):
        weights, factor = settings[name]
        return ridge_leave_one_out(Z, Y, weights, penalty * factor)

    Z, linear = with_intercept(X), []
    for penalty in PENALTIES:
        fits = {name: fit(Z, name, penalty) for name in settings}
        linear += [(fits[name].predictions, fits[name].coefficients) for name in settings]
        linear.append(_anchored(Z, Y, n_source, fits["source"], fits["target"]))
    kernel = Kernel.of(X_source, X_target)
    Z = with_intercept(kernel(X))
    curved = [fit(Z, name, _KERNEL_PENALTY)[:2][::-1] for name in KERNEL_FITS]
    predictions = np.stack([each[0] for each in (*linear, *curved)], axis=-1)
    coefficients, of_kernel = (
        np.stack([each[1] for each in some], axis=-1) for some in (linear, curved)
    )
    scores = Scores(predictions[..., :n_source, :, :], predictions[..., n_source:, :, :])
    return scores, Fits(coefficients, kernel, of_kernel)


def _anchored(Z, Y, n_source: int, source, target) -> tuple[np.ndarray, np.ndarray]:
    """Return predictions without the own label, and coefficients, of a fit to residuals."""
    Zs, Zt = Z[..., :n_source, :], Z[..., n_source:, :]
    solve = target.inverse @ Zt.swapaxes(-1, -2)
    # What the residuals on the target make of the source's coefficients.
    kept = np.eye(Z.shape[-1], dtype=Z.dtype) - solve @ Zt
    shift = solve @ Y[..., n_source:, :]
    coefficients = kept @ source.coefficients + shift
    # Without a target sample: the source's fit is unchanged, and the residual's leaves it out.
    own = Zt @ source.coefficients
    leverage = target.leverage[..., n_source:, :]
    residual = Y[..., n_source:, :] - own
    fitted = Zt @ (solve @ residual)
    of_target = own + (fitted - leverage * residual) / (1 - leverage)
    # Without a source sample: its coefficients move by their leverage on it.
    leverage = source.leverage[..., :n_source, :]
    error = Y[..., :n_source, :] - Zs @ source.coefficients
    moved = ((Zs @ kept) * (Zs @ source.inverse)).sum(axis=-1, keepdims=True)
    of_source = Zs @ coefficients - moved * error / (1 - leverage)
    return np.concatenate([of_source, of_target], axis=-2), coefficients


def clipped(scores) -> np.ndarray:
    """Return scores within the bounds that the network has seen."""
    return np.clip(scores, -_LARGEST_SCORE, _LARGEST_SCORE)


def context_tokens(scores, Y, is_target: bool) -> np.ndarray:
    """Return the inputs of context samples of one domain.

    Parameters
    ----------
    scores : ndarray of shape (..., n_scores)
    Y : ndarray of shape (...,)
        Labels, -1 or 1.
    is_target : bool

    Returns
    -------
    tokens : ndarray of shape (..., N_TOKEN_INPUTS)
        Scores; scores times the label, in the columns of the domain; kind.
    """
    scores = clipped(scores)
    return join_context(scores, scores * Y[..., None], (Y < 0, Y > 0), is_target)


def join_context(scores, compared, label, is_target: bool) -> np.ndarray:
    """Return scores, how they compare with the label, and the label, in columns of the domain."""
    nothing = np.zeros_like(scores)
    kinds = np.zeros((*scores.shape[:-1], N_KINDS), dtype=scores.dtype)
    kinds[..., 2 * is_target], kinds[..., 2 * is_target + 1] = label
    columns = [nothing, compared] if is_target else [compared, nothing]
    return np.concatenate([scores, *columns, kinds], axis=-1)


def query_tokens(scores) -> np.ndarray:
    """Return the inputs of samples to be predicted, of shape (..., N_TOKEN_INPUTS)."""
    return join_query(clipped(scores))


def join_query(scores) -> np.ndarray:
    """Return scores, and that the sample has no label."""
    tokens = np.zeros((*scores.shape[:-1], N_TOKEN_INPUTS), dtype=scores.dtype)
    tokens[..., : scores.shape[-1]] = scores
    tokens[..., -1] = 1
    return tokens


def summary(scores: Scores, Y_source, Y_target, unlabelled_scores, n_features: int) -> np.ndarray:
    """Return what is known about each score, and about the task, for each class.

    Parameters
    ----------
    scores : Scores
    Y_source : ndarray of shape (..., n_source, n_classes)
    Y_target : ndarray of shape (..., n_target, n_classes)
    unlabelled_scores : ndarray of shape (..., n_unlabelled, n_classes, n_scores)
        Of target samples without a label.
    n_features : int

    Returns
    -------
    summary : ndarray of shape (..., n_classes, N_SUMMARY_INPUTS)
    """
    n_source, n_target, n_classes = Y_source.shape[-2], Y_target.shape[-2], Y_source.shape[-1]
    on_source, on_target = clipped(scores.source), clipped(scores.target)
    of_target = np.concatenate([on_target, clipped(unlabelled_scores)], axis=-3)
    nothing = np.zeros((*Y_source.shape[:-2], n_classes, N_SCORES), dtype=Y_source.dtype)
    parts = [nothing] * 6
    if n_target:
        margins = on_target * Y_target[..., None]
        parts[0] = margins.mean(axis=-3)
        parts[1] = (margins > 0).mean(axis=-3, dtype=margins.dtype)
        parts[2] = np.minimum(((1 - margins) ** 2).mean(axis=-3), 4)
    if n_source:
        parts[3] = (on_source * Y_source[..., None]).mean(axis=-3)
    if of_target.shape[-3]:
        parts[4], parts[5] = of_target.mean(axis=-3), of_target.std(axis=-3)
    numbers = [*sizes_of_task(n_source, n_target, n_features), 2 / n_classes]
    numbers = [np.full_like(nothing[..., :1], number) for number in numbers]
    frequencies = [
        (((Y > 0).sum(axis=-2) + 1 / n_classes) / (Y.shape[-2] + 1))[..., None].astype(
            nothing.dtype
        )
        for Y in (Y_source, Y_target)
    ]
    return np.concatenate([*parts, *numbers, *frequencies], axis=-1)


def sizes_of_task(n_source: int, n_target: int, n_features: int) -> list[float]:
    """Return the numbers of labelled samples and of features, as the network reads them."""
    # More than the tasks of training had says nothing new.
    return [
        np.log1p(min(number, largest)) / 5
        for number, largest in ((n_source, 500), (n_target, 300), (n_features, 100))
    ]

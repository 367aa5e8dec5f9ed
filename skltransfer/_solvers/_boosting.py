"""The formulas of boosting with a second domain."""

from __future__ import annotations

import numpy as np

LOSSES = ("linear", "square", "exponential")
# A candidate leaves a race if it cannot be better by this part of the best loss ...
_WORTHWHILE = 0.01
# ... but for so many standard errors of the difference.
_STANDARD_ERRORS = 3


def log_source_factor(n_source: float, n_rounds: int) -> float:
    """Return ``ln(beta)``, ``beta = 1 / (1 + sqrt(2 ln n / N))``: how a source row's weight falls.

    Parameters
    ----------
    n_source : float
        Number of source rows, or the sum of their weights. Numbers below 1 count as 1.
    n_rounds : int
    """
    return -float(np.log1p(np.sqrt(2 * np.log(max(n_source, 1.0)) / n_rounds)))


def vote_of(error: float, n_classes: int = 2) -> float:
    """Return ``ln(1 / beta_t) = ln((1 - error) / error) + ln(n_classes - 1)``, finite.

    An error of 0 counts as the machine's epsilon.
    """
    error = max(error, np.finfo(float).eps)
    return float(np.log((1 - error) / error) + np.log(max(n_classes - 1, 1)))


def rounded(values):
    """Return positive `values` in single precision, as float64 and not 0.

    Sums of such numbers are exact as a rule, whatever their order: rounding errors then cannot
    decide between learners, or splits of a tree, that are equally good.
    """
    smallest = np.finfo(np.float32).tiny
    with np.errstate(under="ignore"):
        return np.maximum(np.asarray(values, dtype=np.float32), smallest).astype(np.float64)


def adjusted_losses(residuals: np.ndarray, loss: str) -> np.ndarray:
    """Return losses of a regression in [0, 1], relative to the largest residual.

    Parameters
    ----------
    residuals : ndarray of shape (n,)
    loss : {"linear", "square", "exponential"}
    """
    losses = np.abs(residuals)
    if (largest := losses.max()) > 0:
        losses /= largest
    if loss == "square":
        losses *= losses
    elif loss == "exponential":
        losses = -np.expm1(-losses)
    return losses


def boost_target(
    factors: np.ndarray, losses: np.ndarray, n_source: int, log_beta: float, vote: float
) -> None:
    """Multiply source factors by ``beta^loss`` and target factors by ``beta_t^-loss``, in place.

    Parameters
    ----------
    factors : ndarray of shape (n_source + n_target,)
        Factors of the initial weights: of source rows, then of target rows.
    losses : ndarray of the same shape
    n_source : int
    log_beta : float
        ``ln(beta)``.
    vote : float
        ``ln(1 / beta_t)``.
    """
    factors[:n_source] *= np.exp(log_beta * losses[:n_source])
    factors[n_source:] *= np.exp(vote * losses[n_source:])


def boost_within_target(
    factors: np.ndarray, losses: np.ndarray, n_source: int, weights: np.ndarray, vote: float
) -> None:
    """Multiply target factors by ``beta_t^-loss`` in place, keeping the sum of target weights.

    Source factors do not change.

    Parameters
    ----------
    factors : ndarray of shape (n_source + n_target,)
        Factors of the initial weights.
    losses : ndarray of the same shape
    n_source : int
    weights : ndarray of the same shape
        The initial weights.
    vote : float
        ``ln(1 / beta_t)``.
    """
    target, weights = factors[n_source:], weights[n_source:]
    total = weights @ target
    target *= np.exp(vote * losses[n_source:])
    target *= total / (weights @ target)


def shrink_source(weights: np.ndarray, losses: np.ndarray, n_source: int, share: float):
    """Return weights of the same sum in which the target has the given share.

    Source weights become ``w beta^loss``, with the `beta` in [0, 1] for which the target's part
    of the sum is `share`. If source rows without loss weigh too much even for ``beta = 0``, `beta`
    is 0. For a share of 1 the source weights are 0.

    Parameters
    ----------
    weights : ndarray of shape (n_source + n_target,)
    losses : ndarray of the same shape
    n_source : int
    share : float
        Share of the target's weights, at least the present one.

    Returns
    -------
    weights : ndarray of shape (n_source + n_target,)
    """
    source, losses = weights[:n_source], losses[:n_source]
    wanted = weights[n_source:].sum() * (1 - share) / share
    if wanted <= 0:
        factor = np.zeros(n_source)
    elif source[losses == 0].sum() >= wanted:
        factor = (losses == 0).astype(float)
    else:
        factor = np.exp(_log_beta(source, losses, wanted) * losses)
    new = np.concatenate([source * factor, weights[n_source:]])
    return new * (weights.sum() / new.sum())


def _log_beta(source: np.ndarray, losses: np.ndarray, wanted: float) -> float:
    """Solve ``ln sum w exp(u loss) = ln(wanted)`` for ``u <= 0``.

    The left side is convex and rises with u: from u = 0 Newton's steps fall, never past the root.
    """
    u = 0.0
    for _ in range(500):
        terms = source * np.exp(u * losses)
        total = terms.sum()
        step = np.log(total / wanted) * total / (terms @ losses)
        if step <= 1e-14 * max(1.0, -u):
            break
        u -= step
    return u


def still_in_race(losses: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Tell which candidates may still be worth more than the best one so far.

    Maron and Moore, "Hoeffding Races", NIPS 1993, with standard errors of paired differences.

    Parameters
    ----------
    losses : ndarray of shape (n_candidates, n)
        Losses of the candidates on the same held-out rows.
    weights : ndarray of shape (n,)
        Weights of the rows.

    Returns
    -------
    stays : ndarray of shape (n_candidates,), bool
        The best one stays.
    """
    means = losses @ weights / weights.sum()
    best = means.argmin()
    differences = losses - losses[best]
    spread = differences - (means - means[best])[:, None]
    errors = np.sqrt(spread**2 @ weights**2) / weights.sum()
    gain = means[best] - means + _STANDARD_ERRORS * errors
    stays = gain > _WORTHWHILE * means[best]
    stays[best] = True
    return stays


def weighted_median(values: np.ndarray, votes: np.ndarray) -> np.ndarray:
    """Return for each column the smallest value that half of the votes do not exceed.

    Parameters
    ----------
    values : ndarray of shape (n_voters, n)
    votes : ndarray of shape (n_voters,)

    Returns
    -------
    median : ndarray of shape (n,)
    """
    order = np.argsort(values, axis=0, kind="stable")
    sums = np.cumsum(votes[order], axis=0)
    middle = (sums >= 0.5 * sums[-1]).argmax(axis=0)
    columns = np.arange(values.shape[1])
    return values[order[middle, columns], columns]

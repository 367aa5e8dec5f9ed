"""What estimators that serve as a backbone say before they are fitted."""

from __future__ import annotations

from sklearn.exceptions import NotFittedError


def unfitted_backbone(estimator) -> NotFittedError:
    """Return the error for an estimator that is a backbone and has no network yet."""
    return NotFittedError(
        f"backbone is a {type(estimator).__name__} that is not fitted. Fit it first, or pass "
        "the backbone that it is made from. As a candidate of a search, which clones its "
        "candidates, wrap the fitted one in a sklearn.frozen.FrozenEstimator."
    )

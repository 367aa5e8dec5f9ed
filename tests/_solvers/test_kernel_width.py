"""Kernels that tell no rows apart are warned of, and no others."""

import warnings

import numpy as np
import pytest
from scipy import sparse

from skltransfer import (
    JDA,
    TCA,
    KernelDensityReweighter,
    KernelWidthWarning,
    KLIEPReweighter,
    KMMReweighter,
    ULSIFReweighter,
)

RNG = np.random.default_rng(0)
X, X_TARGET = RNG.normal(size=(60, 4)), RNG.normal(0.5, 1.0, size=(40, 4))
Y = (X[:, 0] > 0).astype(int)
METHODS = {
    "KMM": lambda width: KMMReweighter(gamma=width),
    "KMM laplacian": lambda width: KMMReweighter(gamma=width, kernel="laplacian"),
    "TCA": lambda width: TCA(2, kernel="rbf", gamma=width),
    "JDA": lambda width: JDA(2, kernel="rbf", gamma=width),
    "KLIEP": lambda width: KLIEPReweighter(gamma=width),
    "uLSIF": lambda width: ULSIFReweighter(gamma=width),
    "RuLSIF": lambda width: ULSIFReweighter(gamma=width, alpha=0.1),
    "kernel density": lambda width: KernelDensityReweighter(bandwidth=width**-0.5),
}


def messages(estimator, rows, target_rows, y=Y) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            estimator.fit(rows, y, X_target=target_rows)
        except ValueError as error:  # weights that are all 0
            assert "resembles the target" in str(error)
    return [str(w.message) for w in caught if w.category is KernelWidthWarning]


@pytest.mark.parametrize("make", METHODS.values(), ids=METHODS)
def test_a_kernel_that_tells_nothing_is_warned_of(make):
    assert messages(make(0.2), X, X_TARGET) == []
    (constant,) = messages(make(1e-7), X, X_TARGET)
    name = type(make(1.0)).__name__
    assert constant.startswith(f"The kernel of {name} is constant over nearly all pairs")
    assert "bandwidth" in constant if "Density" in name else "gamma" in constant
    (identity,) = messages(make(1e4), X, X_TARGET)
    assert identity.startswith(f"The kernel of {name} is an identity")


@pytest.mark.parametrize("kernel", ["rbf", "laplacian"])
def test_the_default_width_follows_no_origin(kernel):
    """A time stamp beside standardised columns: once the kernel was constant, in silence."""
    moved = [0.0, 1.7e9, 0.0, -1e6]
    for make in (KMMReweighter, TCA):
        near = make(kernel=kernel)
        far = make(kernel=kernel)
        assert messages(near, X, X_TARGET) == messages(far, X + moved, X_TARGET + moved) == []
        if make is KMMReweighter:
            np.testing.assert_allclose(far.sample_weight_, near.sample_weight_, atol=1e-3)
        else:
            assert far.gamma_ == pytest.approx(near.gamma_, rel=1e-6)


def test_one_column_that_outweighs_the_others_is_warned_of():
    far = X.copy()
    far[0, 0] = 1e9  # one value sets the width
    (message,) = messages(KMMReweighter(), far, X_TARGET)
    assert "is constant over nearly all pairs" in message and "scale the features" in message


@pytest.mark.parametrize("kernel", ["poly", "sigmoid", "cosine"])
def test_other_kernels_are_judged_relative_to_their_size(kernel):
    offset = 1e4
    estimator = KMMReweighter(kernel=kernel, gamma=1.0, tol=1e9)
    assert len(messages(estimator, X + offset, X_TARGET + offset)) == 1
    assert messages(KMMReweighter(kernel="linear"), X + offset, X_TARGET + offset) == []


def test_rows_that_are_few_equal_or_sparse_are_no_reason():
    for rows, target in (
        (X[:1], X_TARGET[:1]),
        (np.ones((9, 2)), np.ones((4, 2))),
        (np.r_[np.zeros((57, 1)), np.ones((3, 1))], np.ones((2, 1))),
    ):
        for make in (KMMReweighter, KLIEPReweighter, lambda: TCA(1, kernel="rbf")):
            assert messages(make(), rows, target, Y[: len(rows)]) == []
    numbers = np.random.default_rng(1).random((80, 500))
    few = sparse.csr_array(np.where(numbers < 0.02, numbers, 0))
    assert messages(KMMReweighter(), few[:50], few[50:], Y[:50]) == []
    (message,) = messages(KMMReweighter(gamma=1e-9), few[:50], few[50:], Y[:50])
    assert "is constant" in message

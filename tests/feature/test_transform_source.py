"""Every aligner maps further source rows by what it has learned."""

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from skltransfer import (
    CORAL,
    JDA,
    TCA,
    DomainDataWarning,
    DomainShiftDisplay,
    FeatureAugmenter,
    GeodesicFlowKernel,
    OptimalTransportMapper,
    SubspaceAlignment,
)

RNG = np.random.default_rng(0)
Y = np.arange(40) % 2
X = RNG.normal(size=(40, 5)) + Y[:, None]
X_TARGET = 0.5 * RNG.normal(size=(30, 5)) + Y[:30, None] + 1
ALIGNERS = {
    "coral": CORAL(),
    "subspaces": SubspaceAlignment(2),
    "flow": GeodesicFlowKernel(2),
    "augmenter": FeatureAugmenter(),
    "tca": TCA(2),
    "tca rbf": TCA(2, kernel="rbf"),
    "jda": JDA(2),
    "jda rbf": JDA(2, kernel="rbf"),
    "transport": OptimalTransportMapper(),
}


@pytest.mark.parametrize("name", ALIGNERS)
def test_fitted_source_rows_are_mapped_as_fit_transform_did(name):
    aligner = ALIGNERS[name]
    mapped = aligner.fit_transform(X, y=Y, X_target=X_TARGET)
    np.testing.assert_allclose(aligner.transform_source(X), mapped, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(aligner.transform_source(X[:3]), mapped[:3], rtol=1e-9, atol=1e-12)
    alike = np.abs(aligner.transform(X) - mapped).max() < 1e-9
    assert alike == name.startswith(("tca", "jda"))  # these have one map for both domains


@pytest.mark.parametrize("name", ALIGNERS)
def test_without_a_target_both_maps_are_one(name):
    with pytest.warns(DomainDataWarning):
        aligner = ALIGNERS[name].fit(X, y=Y)
    np.testing.assert_allclose(aligner.transform_source(X), aligner.transform(X))


@pytest.mark.parametrize("name", ALIGNERS)
def test_frames_and_widths(name):
    frame, target = (pd.DataFrame(rows, columns=list("abcde")) for rows in (X, X_TARGET))
    aligner = ALIGNERS[name].set_output(transform="pandas")
    try:
        mapped = aligner.fit_transform(frame, y=Y, X_target=target)
        again = aligner.transform_source(frame)
        pd.testing.assert_frame_equal(again, mapped)
        assert list(again.columns) == list(aligner.get_feature_names_out())
        with pytest.raises(ValueError, match="feature names should match"):
            aligner.transform_source(frame[["a", "b"]])
    finally:
        aligner.set_output(transform="default")


@pytest.mark.parametrize("name", ALIGNERS)
def test_every_aligner_can_be_drawn(name):
    import matplotlib.pyplot as plt

    aligner = ALIGNERS[name].fit(X, y=Y, X_target=X_TARGET)
    display = DomainShiftDisplay.from_estimator(aligner, X, X_TARGET, y_source=Y)
    plt.close("all")
    assert np.isfinite(display.mmd).all()
    if name != "augmenter":  # which keeps the domains apart, by columns of their own
        assert display.mmd[1] < 0.5 * display.mmd[0]


@pytest.mark.parametrize("name", [name for name in ALIGNERS if name != "augmenter"])
def test_sparse_rows_are_refused_by_name(name):
    aligner = ALIGNERS[name]
    kind = type(aligner).__name__
    message = rf"^X is sparse, and {kind} needs dense samples.*TruncatedSVD.*X.toarray\(\)"
    with pytest.raises(TypeError, match=message):
        aligner.fit(sparse.coo_array(X), Y, X_target=X_TARGET)
    with pytest.raises(TypeError, match=rf"^X_target is sparse, and {kind} needs dense samples"):
        aligner.fit(X, Y, X_target=sparse.csr_array(X_TARGET))
    with pytest.raises(TypeError, match=f"^X is sparse, and {kind} needs dense samples"):
        aligner.fit(X, Y, X_target=X_TARGET).transform(sparse.csr_array(X_TARGET))

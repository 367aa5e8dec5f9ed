"""Aligners of tensors: the numbers of numpy, in the library and on the device of the samples."""

import numpy as np
import pytest
import torch
from sklearn import config_context
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils._array_api import get_namespace_and_device, move_estimator_to

from skltransfer import (
    CORAL,
    JDA,
    TCA,
    GeodesicFlowKernel,
    SubspaceAlignment,
    WithSource,
    WithTarget,
    save,
)
from tests.arrays import assert_same, place, refuse_numpy, sizes_moved

ALIGNERS = [
    CORAL(),
    CORAL(reg_covar=0.0),
    CORAL(shrinkage="ledoit_wolf", match_means=False),
    SubspaceAlignment(),
    SubspaceAlignment(n_components=2),
    GeodesicFlowKernel(),
    GeodesicFlowKernel(n_components=2),
    TCA(3),
    TCA(3, form="dual", unit_variance=False),
]
SHAPES = {"tall": (60, 40, 6), "wide": (20, 15, 30)}
RNG = np.random.default_rng(0)


def domains(shape="tall", scale=1.0):
    n, m, d = SHAPES[shape]
    deviations = scale * RNG.permutation(np.geomspace(0.3, 3, d))
    return RNG.normal(size=(n, d)) * deviations, scale * (RNG.normal(size=(m, d)) + 0.5)


def fitted_arrays(aligner):
    return {name: value for name, value in vars(aligner).items() if isinstance(value, np.ndarray)}


def assert_as_numpy(aligner, X, X_target, asarray, **tolerance):
    """Compare everything that an aligner gives for arrays of a library with what numpy gives."""
    mapped = aligner.fit_transform(X, X_target=X_target)
    results = [mapped, aligner.transform(X_target), aligner.transform_source(X)]
    attributes = fitted_arrays(aligner)
    rows, target_rows = asarray(X), asarray(X_target)
    with config_context(array_api_dispatch=True):
        mapped = aligner.fit_transform(rows, X_target=target_rows)
        found = [mapped, aligner.transform(target_rows), aligner.transform_source(rows)]
        for ours, numpys in zip(found, results, strict=True):
            assert_same(ours, numpys, rows, **tolerance)
        for name, value in attributes.items():
            assert_same(getattr(aligner, name), value, rows, **tolerance)


@pytest.mark.parametrize("library", ["cpu", "array_api_strict"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("aligner", ALIGNERS, ids=repr)
def test_results_are_those_of_numpy(aligner, shape, dtype, library, monkeypatch):
    asarray = place(library)
    refuse_numpy(monkeypatch)
    X, X_target = (rows.astype(dtype) for rows in domains(shape))
    assert_as_numpy(aligner, X, X_target, asarray)


@pytest.mark.parametrize("aligner", ALIGNERS, ids=repr)
def test_samples_stay_where_they_are(aligner, monkeypatch):
    X, X_target = map(torch.tensor, domains())
    sizes = sizes_moved(monkeypatch)
    with config_context(array_api_dispatch=True):
        aligner.fit_transform(X, X_target=X_target)
        assert 0 < max(sizes) < X_target.numel()
        sizes.clear()
        aligner.transform(X_target)
        assert not sizes


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("aligner", ALIGNERS, ids=repr)
def test_results_on_a_gpu_are_those_of_numpy(aligner, shape, dtype):
    X, X_target = (rows.astype(dtype) for rows in domains(shape))
    assert_as_numpy(aligner, X, X_target, place("cuda"), rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("scale", [1e-90, 1e90])
@pytest.mark.parametrize("aligner", [CORAL(), SubspaceAlignment(2), TCA(3)], ids=repr)
def test_numbers_may_be_large_or_small(aligner, scale):
    X, X_target = domains(scale=scale)
    if isinstance(aligner, TCA):
        aligner.set_params(regularization=scale**2)
    assert_as_numpy(aligner, X, X_target, place("cpu"), rtol=1e-8, atol=1e-8 * scale)


@pytest.mark.parametrize("aligner", ALIGNERS, ids=repr)
def test_single_precision_serves_where_a_device_has_no_other(aligner, monkeypatch):
    X, X_target = domains()
    aligner.fit(X, X_target=X_target)
    expected = aligner.transform(X_target)
    for module in ("skltransfer._arrays", "sklearn.utils._array_api"):
        monkeypatch.setattr(f"{module}._max_precision_float_dtype", lambda xp, device: xp.float32)
    with config_context(array_api_dispatch=True):
        rows, target_rows = torch.tensor(X), torch.tensor(X_target)
        found = aligner.fit(rows, X_target=target_rows).transform(target_rows)
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("aligner", ALIGNERS[::3] + [TCA(3)], ids=repr)
def test_without_a_target_nothing_is_aligned(aligner):
    X, _ = domains()
    with pytest.warns(UserWarning, match="aligns nothing"):
        expected = aligner.fit_transform(X)
    with (
        config_context(array_api_dispatch=True),
        pytest.warns(UserWarning, match="aligns nothing"),
    ):
        rows = torch.tensor(X)
        found = aligner.fit_transform(rows)
    assert_same(found, expected, rows)
    assert found.data_ptr() != rows.data_ptr()


def test_wrappers_hold_tensors(monkeypatch):
    X, X_target = domains()
    expected = make_pipeline(StandardScaler(), CORAL())
    wrapped = WithTarget(expected, X_target), WithSource(expected, X)
    results = wrapped[0].fit_transform(X), wrapped[1].fit_transform(X_target)
    refuse_numpy(monkeypatch)
    rows, target_rows = torch.tensor(X), torch.tensor(X_target)
    with config_context(array_api_dispatch=True):
        found = WithTarget(expected, target_rows).fit_transform(rows)
        assert_same(found, results[0], rows)
        found = WithSource(expected, rows).fit_transform(target_rows)
        assert_same(found, results[1], rows)


@pytest.mark.parametrize("aligner", [CORAL(), SubspaceAlignment(), TCA(3)], ids=repr)
def test_domains_in_two_libraries_are_refused(aligner):
    X, X_target = domains()
    pairs = [(torch.tensor(X), X_target), (X, torch.tensor(X_target))]
    pairs.append((torch.tensor(X), torch.tensor(X_target, device="meta")))
    for rows, target_rows in pairs:
        with (
            config_context(array_api_dispatch=True),
            pytest.raises(ValueError, match="X lies in .* and X_target in .*one library"),
        ):
            aligner.fit(rows, X_target=target_rows)
    aligner.fit(*pairs[0][:1], X_target=X_target)  # without dispatch both become numpy's
    assert isinstance(aligner.transform(torch.tensor(X_target)), np.ndarray)


@pytest.mark.parametrize("aligner", [CORAL(), GeodesicFlowKernel(), TCA(3)], ids=repr)
def test_a_fitted_aligner_stays_where_it_was_fitted_until_it_is_moved(aligner):
    X, X_target = domains()
    expected = aligner.fit(X, X_target=X_target).transform_source(X)
    with config_context(array_api_dispatch=True):
        aligner.fit(torch.tensor(X), X_target=torch.tensor(X_target))
        for method in ("transform", "transform_source"):
            with pytest.raises(ValueError, match=rf"{method}\(\) must use the same namespace"):
                getattr(aligner, method)(X)
        xp, _, device = get_namespace_and_device(X)
        moved = move_estimator_to(aligner, xp, device)
    with pytest.raises(ValueError, match="fitted on arrays of torch.*config_context"):
        aligner.transform(X)
    np.testing.assert_allclose(moved.transform_source(X), expected, rtol=1e-9, atol=1e-10)


def test_files_of_tensors_are_refused_by_the_name_of_the_attribute(tmp_path):
    X, X_target = map(torch.tensor, domains())
    with config_context(array_api_dispatch=True):
        aligner = CORAL().fit(X, X_target=X_target)
    with pytest.raises(TypeError, match=r"CORAL\.source_mean_ is a torch\.Tensor"):
        save(aligner, tmp_path / "aligner.skops")


def test_tags_say_which_settings_take_tensors():
    assert TCA().__sklearn_tags__().array_api_support
    assert not TCA(kernel="rbf").__sklearn_tags__().array_api_support
    assert not JDA().__sklearn_tags__().array_api_support

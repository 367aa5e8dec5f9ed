"""Frames of Dask, and searches and extraction on two workers on this machine."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skltransfer import KMMReweighter, PretrainedFeatureTransformer, WithTarget
from skltransfer.distributed import dask_extract
from tests.distributed import dask_checks
from tests.distributed.checks import names_of, results_of
from tests.distributed.dask_checks import COLUMNS, FRAME, LABELS, frames
from tests.rounding import assert_within_rounding

RNG = np.random.default_rng(0)


@pytest.fixture(scope="session")
def results(tmp_path_factory):
    return results_of(dask_checks, tmp_path_factory.mktemp("dask"))


@pytest.mark.parametrize("check", names_of(dask_checks))
def test_on_two_workers(results, check):
    assert not results[check], results[check]


@pytest.mark.parametrize("method", ["predict", "predict_proba", "decision_function"])
def test_predictions_for_a_target(method):
    adapted = make_pipeline(StandardScaler(), KMMReweighter(LogisticRegression()))
    model = WithTarget(adapted, X_target=FRAME[COLUMNS] + 0.1).fit(FRAME[COLUMNS], LABELS)
    outputs = dask_extract(model, frames(), method=method)
    result = outputs.compute(scheduler="sync")
    assert result.index.equals(FRAME.index)
    assert result.dtypes.equals(outputs.dtypes)
    expected = getattr(model, method)(FRAME[COLUMNS]).reshape(len(FRAME), -1)
    if method == "predict":
        np.testing.assert_array_equal(result.to_numpy(), expected)
    else:  # products of some samples and of all may be rounded differently
        assert_within_rounding(result.to_numpy(), expected)


def test_empty_partitions_stay_empty():
    model = StandardScaler().fit(FRAME[COLUMNS])
    some = frames(4)
    outputs = dask_extract(model, some[some.id < 110], keep=["id"]).compute(scheduler="sync")
    assert outputs.dtypes.tolist() == [np.int64, *[np.float64] * 3]
    np.testing.assert_array_equal(outputs[COLUMNS], model.transform(FRAME[COLUMNS])[:10])


def test_images_need_a_type(tmp_path):
    import dask.dataframe as dd

    paths = [str(tmp_path / f"{i}.png") for i in range(5)]
    for path in paths:
        Image.fromarray(RNG.integers(0, 256, (20, 30, 3), dtype=np.uint8)).save(path)
    features = PretrainedFeatureTransformer("tiny").fit(paths[:1])
    frame = dd.from_pandas(pd.DataFrame({"path": paths, "id": range(5)}), npartitions=2)
    with pytest.raises(ValueError, match="Pass dtype="):
        dask_extract(features, frame, columns="path")
    outputs = dask_extract(features, frame, columns="path", keep=["id"], dtype="float32")
    result = outputs.compute(scheduler="sync")
    assert result.columns.tolist() == ["id", *features.get_feature_names_out()]
    np.testing.assert_allclose(result.iloc[:, 1:], features.transform(paths), atol=1e-5)


def test_nothing_is_computed_before_it_is_asked_for():
    class Counts(StandardScaler):
        n_rows = 0

        def transform(self, X):
            Counts.n_rows += len(X)
            return super().transform(X)

    outputs = dask_extract(Counts().fit(FRAME[COLUMNS]), frames())
    assert Counts.n_rows <= 2  # samples that are made up
    outputs.compute(scheduler="sync")
    assert Counts.n_rows >= len(FRAME)


def test_bad_arguments_are_named():
    scaler, frame = StandardScaler().fit(FRAME[COLUMNS]), frames()
    with pytest.raises(TypeError, match="frame is a DataFrame. Pass a Dask frame"):
        dask_extract(scaler, FRAME)
    with pytest.raises(NotFittedError):
        dask_extract(StandardScaler(), frame)
    with pytest.raises(TypeError, match="StandardScaler has no predict"):
        dask_extract(scaler, frame, method="predict")
    with pytest.raises(ValueError, match="method='features'"):
        dask_extract(scaler, frame, method="features")
    with pytest.raises(ValueError, match="frame has no column 'z'"):
        dask_extract(scaler, frame, keep=["z"])
    with pytest.raises(ValueError, match="fitted without names of columns. Pass columns="):
        dask_extract(StandardScaler().fit(FRAME[COLUMNS].to_numpy()), frame)
    with pytest.raises(ValueError, match="Column 'a' is kept"):
        dask_extract(scaler, frame, keep=["a"])

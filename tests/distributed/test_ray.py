"""Searches and extraction on a Ray cluster of two workers on this machine."""

import os
import socket

import joblib
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.exceptions import NotFittedError
from sklearn.preprocessing import StandardScaler

from skltransfer import PretrainedFeatureTransformer
from skltransfer.distributed import ray_extract
from tests.distributed.searches import results_of, searches

COLUMNS = ["a", "b"]


class DiesOnce(StandardScaler):
    """A scaler that takes its process with it, the first time."""

    def __init__(self, flag=None):
        super().__init__()
        self.flag = flag

    def transform(self, X):
        """End the process, or scale."""
        if not os.path.exists(self.flag):
            with open(self.flag, "w"):
                os._exit(1)
        return super().transform(X)


@pytest.fixture(scope="session")
def cluster():
    """Start Ray with two CPUs, and stop it in any case."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "disabled")
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        import ray

        ray.init(
            num_cpus=2,
            num_gpus=0,
            object_store_memory=100 * 2**20,
            include_dashboard=False,
            log_to_driver=False,
            configure_logging=False,
            _node_ip_address="127.0.0.1",
        )
        try:
            yield ray
        finally:
            ray.shutdown()


@pytest.fixture
def table(tmp_path):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(90, 2)), columns=COLUMNS).assign(id=range(90))
    frame.to_parquet(tmp_path / "table.parquet", row_group_size=40)
    return frame, tmp_path / "table.parquet"


def test_a_search_has_the_same_result_on_ray(cluster):
    from ray.util.joblib import register_ray

    register_ray()
    expected = {name: results_of(search) for name, search in searches().items()}
    with joblib.parallel_config("ray", n_jobs=2):
        for name, search in searches().items():
            scores, probabilities = results_of(search.set_params(n_jobs=2))
            np.testing.assert_allclose(scores, expected[name][0])
            np.testing.assert_allclose(probabilities, expected[name][1], atol=1e-5)


def test_images_are_extracted_once_and_the_broken_are_listed(cluster, tmp_path):
    rng, folder = np.random.default_rng(0), tmp_path / "pictures"
    folder.mkdir()
    for i in range(9):
        pixels = rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
    (folder / "broken.png").write_bytes(b"no image")
    paths = sorted(str(path) for path in folder.glob("?.png"))
    features, to = PretrainedFeatureTransformer("tiny").fit(paths[:1]), tmp_path / "out"
    with pytest.raises(ValueError, match=r"broken.png: .*on_error='skip'"):
        ray_extract(features, folder, to, rows_per_part=4, n_workers=1)
    result = ray_extract(features, folder, to, rows_per_part=4, on_error="skip")
    assert (result.n_rows, result.n_parts) == (9, 3)
    assert result.n_new_parts < 3  # the parts before the broken image had been finished
    assert result.unreadable["sample"].tolist() == ["broken.png"]
    assert pd.read_parquet(to / "_unreadable.parquet").equals(result.unreadable)
    there = pd.read_parquet(to).sort_values("path")
    assert there.columns.tolist() == ["path", "label", *features.get_feature_names_out()]
    np.testing.assert_allclose(there.iloc[:, 2:], features.transform(paths), atol=1e-5)
    again = ray_extract(features, folder, to, on_error="skip")
    assert (again.n_rows, again.n_new_rows, again.n_new_parts) == (9, 0, 0)


def test_a_worker_that_is_lost_is_replaced(cluster, table, tmp_path):
    frame, path = table
    scaler = DiesOnce(str(tmp_path / "flag")).fit(frame[COLUMNS])
    to = tmp_path / "out"
    result = ray_extract(scaler, path, to, columns=COLUMNS, rows_per_part=30, n_workers=1)
    assert (tmp_path / "flag").exists()
    assert (result.n_rows, result.n_parts, result.n_new_parts) == (90, 3, 3)
    there = pd.read_parquet(to).set_index("id").loc[frame.id]
    np.testing.assert_array_equal(there, StandardScaler().fit_transform(frame[COLUMNS]))


def test_bad_arguments_are_named_before_any_work(cluster, table, tmp_path):
    frame, path = table
    scaler, to = StandardScaler().fit(frame[COLUMNS]), tmp_path / "out"
    with pytest.raises(NotFittedError):
        ray_extract(StandardScaler(), path, to)
    with pytest.raises(TypeError, match="StandardScaler has no predict"):
        ray_extract(scaler, path, to, method="predict")
    for changed, error in (
        ({"n_workers": 3}, "n_workers=3, and the cluster has room for 2"),
        ({"cpus_per_worker": 4}, "cpus_per_worker=4, and the cluster has 2"),
        ({"gpus_per_worker": 1}, "gpus_per_worker=1, and the cluster has 0"),
        ({"rows_per_part": 0}, "rows_per_part=0"),
        ({"on_error": "nan"}, "on_error='nan'"),
        ({"columns": ["z"]}, "no column 'z'"),
        ({"columns": []}, r"columns=\[\]"),
    ):
        with pytest.raises(ValueError, match=error):
            ray_extract(scaler, path, to, **changed)
    with pytest.raises(ValueError, match="holds a file of the source"):
        ray_extract(scaler, path, tmp_path)
    with pytest.raises(NotADirectoryError, match="destination=.* is a file"):
        ray_extract(scaler, path, path)
    assert not list(tmp_path.glob("out/*.parquet"))


def test_the_cluster_listens_on_this_machine_alone(cluster):
    addresses = {node["NodeManagerAddress"] for node in cluster.nodes()}
    assert all(socket.gethostbyname(address).startswith("127.") for address in addresses)

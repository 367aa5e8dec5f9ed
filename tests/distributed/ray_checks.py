"""Checks on a Ray cluster of two workers on this machine."""

import os
from contextlib import contextmanager

import joblib
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.preprocessing import StandardScaler

from skltransfer import PretrainedFeatureTransformer
from skltransfer.distributed import ray_extract
from tests.distributed.searches import scores_of, search

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


class Refuses(StandardScaler):
    """A scaler that does not take the samples of the last part."""

    def transform(self, X):
        """Refuse, or scale."""
        if (np.asarray(X) >= 75).any():
            raise ValueError("row 75 is too large")
        return super().transform(X)


@contextmanager
def cluster():
    """Start Ray with two CPUs, and stop it in any case."""
    import ray

    for n_left in reversed(range(5)):
        try:
            ray.init(
                num_cpus=2,
                num_gpus=0,
                object_store_memory=100 * 2**20,
                include_dashboard=False,
                log_to_driver=False,
                configure_logging=False,
            )
            break
        except Exception:  # it gives itself 30 seconds, which a busy machine may not keep
            ray.shutdown()
            if not n_left:
                raise
    try:
        yield ray
    finally:
        ray.shutdown()


def written_table(folder):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(90, 2)), columns=COLUMNS).assign(id=range(90))
    frame.to_parquet(folder / "table.parquet", row_group_size=40)
    return frame, folder / "table.parquet"


def check_a_search_has_the_same_result_on_ray():
    from ray.util.joblib import register_ray

    register_ray()
    expected = scores_of(search())
    with joblib.parallel_config("ray", n_jobs=2):
        np.testing.assert_allclose(scores_of(search().set_params(n_jobs=2)), expected)


def check_images_are_extracted_once_and_the_broken_are_listed(folder):
    rng, pictures = np.random.default_rng(0), folder / "pictures"
    pictures.mkdir()
    for i in range(9):
        pixels = rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(pictures / f"{i}.png")
    (pictures / "broken.png").write_bytes(b"no image")
    paths = sorted(str(path) for path in pictures.glob("?.png"))
    features, to = PretrainedFeatureTransformer("tiny").fit(paths[:1]), folder / "out"
    result = ray_extract(features, pictures, to, rows_per_part=4, on_error="skip")
    assert (result.n_rows, result.n_parts, result.n_new_parts) == (9, 3, 3)
    assert result.unreadable["sample"].tolist() == ["broken.png"]
    assert pd.read_parquet(to / "_unreadable.parquet").equals(result.unreadable)
    there = pd.read_parquet(to).sort_values("path")
    assert there.columns.tolist() == ["path", "label", *features.get_feature_names_out()]
    np.testing.assert_allclose(there.iloc[:, 2:], features.transform(paths), atol=1e-5)
    again = ray_extract(features, pictures, to, on_error="skip")
    assert (again.n_rows, again.n_new_rows, again.n_new_parts) == (9, 0, 0)


def check_an_error_of_a_worker_is_raised_and_what_was_finished_stays(folder):
    frame, path = written_table(folder)
    to, settings = folder / "out", {"rows_per_part": 30, "n_workers": 1}
    with pytest.raises(ValueError, match="row 75 is too large"):
        ray_extract(Refuses().fit(frame[["id"]]), path, to, columns=["id"], keep=["b"], **settings)
    assert len(list(to.glob("*.parquet"))) == 2


def check_a_worker_that_is_lost_is_replaced(folder):
    frame, path = written_table(folder)
    scaler = DiesOnce(str(folder / "flag")).fit(frame[COLUMNS])
    to = folder / "out"
    result = ray_extract(scaler, path, to, columns=COLUMNS, rows_per_part=30, n_workers=1)
    assert (folder / "flag").exists()
    assert (result.n_rows, result.n_parts, result.n_new_parts) == (90, 3, 3)
    there = pd.read_parquet(to).set_index("id").loc[frame.id]
    np.testing.assert_array_equal(there, StandardScaler().fit_transform(frame[COLUMNS]))


def check_workers_that_the_cluster_has_no_room_for(folder):
    frame, path = written_table(folder)
    scaler = StandardScaler().fit(frame[COLUMNS])
    for changed, error in (
        ({"n_workers": 3}, "n_workers=3, and the cluster has room for 2"),
        ({"cpus_per_worker": 4}, "cpus_per_worker=4, and the cluster has 2"),
        ({"gpus_per_worker": 1}, "gpus_per_worker=1, and the cluster has 0"),
    ):
        with pytest.raises(ValueError, match=error):
            ray_extract(scaler, path, folder / "out", **changed)

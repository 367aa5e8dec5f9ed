"""Checks on a Dask cluster of two workers on this machine."""

from contextlib import contextmanager

import joblib
import numpy as np
import pandas as pd

from skltransfer import FineTunedClassifier
from skltransfer.distributed import dask_extract
from tests.distributed.searches import X, Y, scores_of, search

FRAME = pd.DataFrame(np.random.default_rng(0).normal(size=(50, 3)), columns=["a", "b", "c"]).assign(
    id=range(100, 150)
)
COLUMNS = ["a", "b", "c"]
LABELS = np.where(FRAME.a + FRAME.b > 0, "yes", "no")


@contextmanager
def cluster():
    """Start Dask with two workers of one thread, and stop it in any case."""
    import dask
    from dask.distributed import Client, LocalCluster

    # On a busy machine an answer may take its time.
    patience = {
        "distributed.comm.timeouts.connect": "300s",
        "distributed.comm.timeouts.tcp": "300s",
        "distributed.scheduler.worker-ttl": None,
    }
    with (
        dask.config.set(patience),
        LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None, host="127.0.0.1"
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


def frames(n_partitions=3):
    import dask.dataframe as dd

    return dd.from_pandas(FRAME, npartitions=n_partitions)


def n_torch_threads():
    import torch

    return torch.get_num_threads()


def check_a_search_has_the_same_result_on_dask(cluster):
    expected = scores_of(search())
    with joblib.parallel_config("dask", scatter=[X, Y]):
        np.testing.assert_allclose(scores_of(search().set_params(n_jobs=2)), expected)
    assert set(cluster.run(n_torch_threads).values()) == {1}


def check_a_network_predicts_partitions_in_the_workers(cluster):
    model = FineTunedClassifier(optimizer="adamw", max_epochs=2).fit(FRAME[COLUMNS], LABELS)
    outputs = dask_extract(model, frames(), method="predict_proba", keep=["id"])
    assert outputs.dtypes["probability_no"] == np.float64
    result = outputs.compute()
    assert result.columns.tolist() == ["id", "probability_no", "probability_yes"]
    assert result.id.tolist() == FRAME.id.tolist()
    np.testing.assert_allclose(result.iloc[:, 1:], model.predict_proba(FRAME[COLUMNS]), atol=1e-12)

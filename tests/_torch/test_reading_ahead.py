"""The next batch is read while a GPU works on this one; the rows are the same."""

import threading
from functools import partial

import numpy as np
import pytest

from skltransfer import PretrainedFeatureTransformer, load_backbone
from skltransfer._torch._extraction import read_ahead
from skltransfer.backbones._extractors import extractor


def test_one_batch_is_read_ahead_in_another_thread():
    read, seen = [], []

    def reader(batch):
        read.append((batch, threading.get_ident()))
        return 10 * batch

    for batch, rows in read_ahead(reader, iter(range(5))):
        assert rows == 10 * batch
        assert len(read) <= batch + 2  # this one and the next
        seen.append(batch)
    assert seen == [number for number, _ in read] == list(range(5))
    assert threading.get_ident() not in {thread for _, thread in read}
    assert list(read_ahead(reader, [])) == []


def test_an_error_of_reading_is_raised_where_the_batch_is_wanted():
    def reader(batch):
        if batch == 2:
            raise OSError("it is gone")
        return batch

    seen = []
    with pytest.raises(OSError, match="it is gone"):
        for batch, _ in read_ahead(reader, range(5)):
            seen.append(batch)
    assert seen == [0, 1]


@pytest.mark.parametrize("batch_size", [3, "auto"])
def test_features_are_those_of_reading_in_turn(monkeypatch, batch_size):
    images = np.random.default_rng(0).integers(0, 256, (20, 16, 16, 3), dtype=np.uint8)
    model = PretrainedFeatureTransformer("tiny", batch_size=batch_size, store=None).fit(images)
    expected = model.transform(images)
    used = extractor(load_backbone("tiny"), precision="float32")
    assert not used.reads_ahead  # on the CPU, which would have two things to do at once
    monkeypatch.setattr(used, "reads_ahead", True)
    threads = []
    monkeypatch.setattr(used, "_read", partial(_noted, used._read, threads))
    np.testing.assert_array_equal(model.transform(images), expected)
    assert len(threads) == (7 if batch_size == 3 else 1)
    assert threading.get_ident() not in threads


def _noted(read, threads, *args):
    threads.append(threading.get_ident())
    return read(*args)

"""Networks in forked children, and interruptions between any two steps."""

import os
import sys
import threading
from linecache import getline

import numpy as np
import pytest
import torch
from joblib import Parallel, delayed, parallel_backend
from onnx import TensorProto, helper
from torch import nn

from skltransfer import FineTunedClassifier, PretrainedFeatureTransformer, feature_store
from skltransfer._torch import _engines
from skltransfer._torch._extraction import network_lock
from skltransfer.backbones._random import random_lock
from skltransfer.feature import FeatureStore
from tests.forked import in_child
from tests.test_locks import Holder

RNG = np.random.default_rng(0)
IMAGES = RNG.random((12, 16, 16, 3), dtype=np.float32)
LABELS = np.arange(12) % 2


@pytest.fixture
def two_threads():
    n_threads = torch.get_num_threads()
    torch.set_num_threads(2)
    (torch.randn(10**6) + 1).exp().sum()  # its threads are there, and would not be in a child
    yield
    torch.set_num_threads(n_threads)


def test_a_child_fits_and_extracts_while_another_thread_holds_every_lock(two_threads):
    model = PretrainedFeatureTransformer("tiny").fit(IMAGES)
    expected = model.transform(IMAGES)

    def hold(wait):
        with random_lock, network_lock, feature_store._lock:
            wait()

    def work():
        feature_store.clear()
        np.testing.assert_allclose(model.transform(IMAGES), expected, atol=1e-5)
        FineTunedClassifier("tiny", max_epochs=1).fit(IMAGES, LABELS)
        (torch.randn(10**6) + 1).exp().sum()

    with Holder(hold):
        in_child(work)


def test_an_engine_of_the_parent_is_built_anew_in_the_child(two_threads, monkeypatch):
    pytest.importorskip("onnxruntime")
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 3]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "relu", [x], [y])
    opsets = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()
    built, compile_graph = [], _engines._COMPILERS["onnxruntime"]

    def counting(*arguments):
        built.append(os.getpid())
        return compile_graph(*arguments)

    monkeypatch.setattr(_engines, "feature_graph", lambda *arguments: model)  # export takes seconds
    monkeypatch.setitem(_engines._COMPILERS, "onnxruntime", counting)
    table = IMAGES[:, 0, 0] - 0.5
    engine = PretrainedFeatureTransformer(nn.ReLU(), engine="onnxruntime", store=None).fit(table)

    def work():
        np.testing.assert_array_equal(engine.transform(table), table.clip(0))
        assert built == [os.getppid(), os.getpid()]

    np.testing.assert_array_equal(engine.transform(table), table.clip(0))
    in_child(work)
    np.testing.assert_array_equal(engine.transform(table), table.clip(0))
    assert built == [os.getpid()]


def test_joblib_may_fork(two_threads):
    model = PretrainedFeatureTransformer("tiny").fit(IMAGES)
    expected = model.transform(IMAGES)
    with parallel_backend("multiprocessing", n_jobs=2):
        given = Parallel(timeout=120)(delayed(model.transform)(IMAGES) for _ in range(2))
    for features in given:
        np.testing.assert_allclose(features, expected, atol=1e-5)


def interrupted_at(n, function, module):
    """Call a function, and raise KeyboardInterrupt at its n-th line in a module; tell if it did."""
    lines = 0  # but those where a lock is taken or left, which is one step

    def trace(frame, event, argument):
        nonlocal lines
        if frame.f_globals.get("__name__") != module:
            return None
        line = getline(frame.f_code.co_filename, frame.f_lineno).strip()
        if event == "line" and not line.startswith("with "):
            lines += 1
            if lines == n:
                raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        function()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(before)
    return False


def test_a_store_is_whole_wherever_it_is_interrupted():
    values = np.arange(400.0).reshape(100, 4)
    digests = [bytes([i]) for i in range(100)]
    n, is_interrupted = 0, True
    while is_interrupted:
        n += 11
        store = FeatureStore(max_bytes=values[:50].nbytes)
        for start in (0, 20):
            store.put("a", digests[start : start + 20], values[start : start + 20])

        def fill(store=store):
            for start in (30, 50, 70):
                store.put("ab"[start == 50], digests[start : start + 20], values[start:][:20])

        is_interrupted = interrupted_at(n, fill, "skltransfer._torch._store")
        with ThreadOf(store):
            fill()
            for namespace in "ab":
                found, kept = store.get(namespace, digests)
                np.testing.assert_array_equal(values[found], values[:0] if kept is None else kept)
        assert store.nbytes <= store.max_bytes
    assert n > 500


class ThreadOf:
    """Make sure that another thread gets the lock of a store."""

    def __init__(self, store):
        self._store = store

    def __enter__(self):
        thread = threading.Thread(target=self._store.get, args=("a", [b""]), daemon=True)
        thread.start()
        thread.join(10)
        assert not thread.is_alive(), "the lock is held"

    def __exit__(self, *_):
        pass

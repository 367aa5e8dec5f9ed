"""Other engines than torch: the same features in less time, or torch with a reason."""

import pickle
import subprocess
import sys
import time
import warnings
from contextlib import contextmanager, nullcontext
from threading import Thread

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from torch import nn
from torch.nn.modules.module import register_module_forward_pre_hook
from torchvision.models import mobilenet_v3_small, resnet18

import skltransfer
from skltransfer import FeatureStore, PretrainedFeatureTransformer, load_backbone
from skltransfer._shared_cache import SharedCache
from skltransfer._torch import _engines, _extraction
from tests.exports import share_operators
from tests.rounding import assert_within_rounding
from tests.tiny_bert import WORDS, save_tiny_bert

share_operators()
ENGINES = ["onnxruntime", "openvino"]
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (45, 32, 32, 3), dtype=np.uint8)
TABLE = RNG.normal(size=(300, 10)).astype(np.float32)
TEXTS = [" ".join(RNG.choice(WORDS, n)) for n in (1, 3, 13, 14, 20, 33, 45, 61, 62, 63, 90)] * 2


def transformer(backbone="tiny", engine="torch", **settings):
    settings = {"store": None, "device": "cpu"} | settings
    return PretrainedFeatureTransformer(backbone, engine=engine, **settings)


class TableColumns(nn.Sequential):
    """A network for tables; the class is a factory with a stable name."""

    def __init__(self):
        super().__init__(nn.Linear(10, 32), nn.Tanh(), nn.Linear(32, 24))


class Dilated(nn.Sequential):
    """Ends in maps of 2 x 2 and 1 x 2, with strides, padding and dilation."""

    def __init__(self):
        super().__init__(
            nn.Conv2d(3, 16, 3, stride=2, padding=1),
            nn.AdaptiveAvgPool2d(2),
            nn.Conv2d(16, 24, 3, padding=1),
            nn.BatchNorm2d(24),
            nn.ReLU(),
            nn.Conv2d(24, 24, 3, padding=2, dilation=2),
            nn.Conv2d(24, 16, (3, 2), stride=(2, 1), padding=(1, 1), bias=False),
            nn.Conv2d(16, 16, 3, padding=1, groups=4),
        )


class Branching(nn.Linear):
    """Its forward depends on values, which no graph can hold."""

    def forward(self, x):
        return super().forward(x) if x.mean() > -9 else x[:, :8]


@pytest.fixture
def watched():
    """Calls of modules by torch."""
    calls = []
    hook = register_module_forward_pre_hook(lambda module, arguments: calls.append(module))
    yield calls
    hook.remove()


def assert_as_torch(found, expected, widths):
    for part in np.split(np.arange(found.shape[1]), np.cumsum(list(widths))[:-1]):
        scale = np.abs(expected[:, part]).max()
        assert scale > 0
        assert np.abs(found[:, part] - expected[:, part]).max() < 1e-4 * scale


# --- the same features ------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("backbone", "X", "settings"),
    [
        ("tiny", IMAGES, {"layers": ["stem", "stage2", "stage3"]}),
        (resnet18, IMAGES, {"layers": ["layer3", "layer4"], "pooling": "grid2"}),
        (mobilenet_v3_small, IMAGES, {"batch_size": 7}),
        (Dilated, IMAGES, {"pooling": "flatten"}),
        (TableColumns, TABLE, {"layers": ["0", "2"]}),
    ],
    ids=["tiny", "resnet18", "mobilenet_v3_small", "dilated", "table"],
)
def test_features_are_those_of_torch_and_of_the_row_alone(engine, backbone, X, settings, watched):
    expected = transformer(backbone, **settings).fit_transform(X)
    model = transformer(backbone, engine, **settings).fit(X[:1])
    assert model.engine_ == engine
    watched.clear()
    found = model.transform(X)
    assert not watched  # torch has run nothing
    assert found.dtype == np.float32
    assert_as_torch(found, expected, model.feature_widths_.values())
    order = np.random.default_rng(1).permutation(len(X))
    assert_within_rounding(model.transform(X[order]), found[order])
    assert_within_rounding(model.transform(X[7:10]), found[7:10])


@pytest.mark.filterwarnings("ignore::skltransfer.TruncatedTextWarning")
@pytest.mark.parametrize(
    ("engine", "pooling"),
    [("onnxruntime", "default"), ("openvino", "default"), ("openvino", "max")],
)
def test_texts_of_any_length(engine, pooling, tmp_path, watched):
    name = save_tiny_bert(tmp_path)
    expected = transformer(name, pooling=pooling).fit_transform(TEXTS)
    model = transformer(name, engine, pooling=pooling).fit(TEXTS[:1])
    assert model.engine_ == engine
    watched.clear()
    found = model.transform(TEXTS)
    assert not watched
    assert_as_torch(found, expected, model.feature_widths_.values())
    order = np.random.default_rng(1).permutation(len(TEXTS))
    shuffled = model.transform([TEXTS[i] for i in order])
    assert_within_rounding(shuffled, found[order])
    assert_within_rounding(model.transform(TEXTS[5:6]), found[5:6])


@pytest.mark.parametrize("engine", ENGINES)
def test_two_threads_give_rows_that_depend_on_the_row_alone(engine):
    torch.set_num_threads(2)
    try:
        model = transformer(engine=engine).fit(IMAGES)
        found = model.transform(IMAGES)
        assert_within_rounding(model.transform(IMAGES[::-1].copy()), found[::-1])
    finally:
        torch.set_num_threads(1)


@pytest.mark.parametrize("engine", ENGINES)
def test_an_engine_uses_as_many_threads_as_torch(engine):
    X = (
        np.concatenate([IMAGES] * 20)
        + np.arange(20, dtype=np.uint8).repeat(45)[:, None, None, None]
    )
    model = transformer(engine=engine).fit(X[:1])
    start, cpu = time.perf_counter(), time.process_time()
    model.transform(X)
    # At most one processor is busy.
    assert time.process_time() - cpu < 1.3 * (time.perf_counter() - start) + 0.02


# --- the store --------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ENGINES)
def test_stores_keep_features_of_engines_apart(engine):
    store = FeatureStore()
    by_torch = transformer(store=store).fit_transform(IMAGES)
    model = transformer(engine=engine, store=store).fit(IMAGES)
    found = model.transform(IMAGES)
    assert len(store) == store.misses == 2 * len(IMAGES)
    assert (found != by_torch).any()
    np.testing.assert_array_equal(model.transform(IMAGES), found)
    assert store.hits == len(IMAGES)
    np.testing.assert_array_equal(transformer(store=store).fit_transform(IMAGES), by_torch)


def test_all_engines_share_what_torch_has_done_in_their_place():
    backbone, store = Branching(10, 8), FeatureStore()
    by_torch = transformer(backbone, store=store).fit_transform(TABLE)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        found = transformer(backbone, "openvino", store=store).fit_transform(TABLE)
    np.testing.assert_array_equal(found, by_torch)
    assert store.misses == len(store) == len(TABLE)


# --- torch instead ----------------------------------------------------------------------------


@pytest.fixture
def no_engines(monkeypatch):
    """Forget the engines of other tests, whose networks may have the same weights."""
    monkeypatch.setattr(_extraction, "_engines", SharedCache(8, _extraction.network_lock))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.usefixtures("no_engines")
def test_a_network_that_cannot_be_exported_is_run_by_torch_with_one_warning(engine):
    backbone = Branching(10, 8)
    with pytest.warns(RuntimeWarning, match=r"torch runs it: it cannot be exported.*engine='torch"):
        model = transformer(backbone, engine).fit(TABLE)
    assert model.engine_ == "torch"
    expected = transformer(backbone).fit_transform(TABLE)
    np.testing.assert_array_equal(model.transform(TABLE), expected)  # and no second warning
    assert clone(model).fit(TABLE).engine_ == "torch"


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (lambda x, features: features * (1 + 3e-4), "differ from torch by 3e-04"),
        (lambda x, features: features * np.nan, "differ from torch by nan"),
        (lambda x, features: features[:, 1:], "it gives features of shape"),
        (
            lambda x, features: features * (1 + 5e-5 * np.linspace(0, 1, len(x))[:, None]),
            "depend on the place",
        ),
    ],
    ids=["inexact", "nan", "width", "place"],
)
@pytest.mark.usefixtures("no_engines")
def test_an_engine_that_fails_on_the_probe_is_not_used(engine, changed, message, monkeypatch):
    compiled = _engines._COMPILERS[engine]

    def compile_worse(graph, n_threads):
        run = compiled(graph, n_threads)
        return lambda x: changed(x, np.array(run(x))).astype(np.float32)

    monkeypatch.setitem(_engines._COMPILERS, engine, compile_worse)
    network = TableColumns()
    with pytest.warns(RuntimeWarning, match=message):
        model = transformer(network, engine).fit(TABLE)
    assert model.engine_ == "torch"
    expected = transformer(network).fit_transform(TABLE)
    np.testing.assert_array_equal(model.transform(TABLE), expected)


def test_layers_of_small_features_are_checked_by_their_own_scale(monkeypatch):
    """A layer may be wrong by little of the largest feature of another one."""

    class Scaled(nn.Sequential):
        def __init__(self):
            super().__init__(nn.Linear(10, 8), nn.Linear(8, 8))
            with torch.no_grad():
                self[1].weight.mul_(1e6)

    def compile_worse(graph, n_threads):
        run = compiled(graph, n_threads)
        return lambda x: np.array(run(x)) * np.repeat([1.01, 1], 8).astype(np.float32)

    compiled = _engines._COMPILERS["onnxruntime"]
    monkeypatch.setitem(_engines._COMPILERS, "onnxruntime", compile_worse)
    with pytest.warns(RuntimeWarning, match="differ from torch by 1e-02"):
        transformer(Scaled(), "onnxruntime", layers=["0", "1"]).fit(TABLE)


# --- what is refused --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"engine": "tensorrt"},
            "engine='tensorrt' is not one of 'torch', 'onnx.*', 'openv",
        ),
        ({"engine": None}, "engine=None is not one of"),
        ({"precision": "float64"}, "precision='float64'.*engine='torch'"),
        ({"precision": "bfloat16"}, "precision='bfloat16'.*engine='torch'"),
        ({"device": "cuda"}, "device='cuda'.*device='cpu'"),
    ],
)
def test_settings_that_no_engine_has(settings, message):
    with pytest.raises(ValueError, match=message):
        transformer(**{"engine": "openvino"} | settings).fit(IMAGES)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("package", [None, "onnx", "onnxscript"])
def test_a_missing_package_names_the_extra(engine, package, monkeypatch):
    package = package or engine
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=rf'{package}.*pip install "skltransfer\[engines\]"'):
        transformer(engine=engine).fit(IMAGES)


# --- what stays as it was ---------------------------------------------------------------------

QUIET = """
import logging, os, random, sys
import numpy as np
import torch
from skltransfer import PretrainedFeatureTransformer, load_backbone

torch.set_num_threads(1)
random.seed(0), np.random.seed(0), torch.manual_seed(0)
module = load_backbone("tiny").module
X = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
def state():
    return (
        torch.get_rng_state().tolist(), random.getstate(), str(np.random.get_state()),
        torch.get_num_threads(), torch.get_default_dtype(), torch.is_grad_enabled(),
        torch.backends.mkldnn.enabled, torch.get_float32_matmul_precision(),
        logging.getLogger().level, len(logging.getLogger().handlers),
        dict(os.environ), os.listdir("."), sorted(os.sched_getaffinity(0)),
        {name: t.double().sum().item() for name, t in module.state_dict().items()},
        [p.requires_grad for p in module.parameters()], [m.training for m in module.modules()],
    )
before = state()
for engine in ("onnxruntime", "openvino"):
    model = PretrainedFeatureTransformer("tiny", engine=engine)
    assert model.fit(X).engine_ == engine
    model.transform(X)
    for old, new in zip(before, state(), strict=True):
        assert old == new, (engine, old, new)
"""


def test_building_prints_nothing_writes_nothing_and_changes_nothing(tmp_path):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", QUIET],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("engine", ENGINES)
def test_pickles_clones_and_saved_files_hold_no_engine(engine, tmp_path):
    model = transformer(engine=engine).fit(IMAGES)
    expected = model.transform(IMAGES)
    size = len(pickle.dumps(model))
    assert size < 2000
    path = skltransfer.save(model, tmp_path / "model.skltransfer")
    for twin in (pickle.loads(pickle.dumps(model)), skltransfer.load(path), clone(model)):
        assert twin.engine == engine
        np.testing.assert_array_equal(twin.fit(IMAGES).transform(IMAGES), expected)
        assert twin.engine_ == engine


def test_without_a_network_there_is_no_engine():
    model = PretrainedFeatureTransformer(None, engine="openvino").fit(TABLE)
    assert model.engine_ is None
    np.testing.assert_array_equal(model.transform(TABLE), TABLE)


def test_engines_are_built_once_whatever_the_number_of_threads(monkeypatch):
    import onnxruntime
    import openvino

    built = []

    def counting(name, make):
        return lambda *arguments, **settings: built.append(name) or make(*arguments, **settings)

    for package, name in ((onnxruntime, "InferenceSession"), (openvino, "Core")):
        make = counting(package.__name__, getattr(package, name))
        monkeypatch.setattr(package, name, make)
    backbone = load_backbone("tiny", weights=None, random_state=3141)  # no other test's
    results, errors = [], []

    def run(engine):
        try:
            model = transformer(backbone, engine)
            results.append((engine, model.fit(IMAGES).transform(IMAGES)))
        except Exception as error:
            errors.append(error)

    threads = [Thread(target=run, args=(ENGINES[i % 2],)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert sorted(built) == ENGINES
    assert len(results) == 6
    for engine in ENGINES:
        first, *others = (features for name, features in results if name == engine)
        for other in others:
            np.testing.assert_array_equal(other, first)


def test_a_search_over_engines_gives_each_the_same_scores():
    X, y = load_digits(return_X_y=True)
    features = PretrainedFeatureTransformer("tiny", image_shape=(8, 8), value_range=(0, 16))
    search = GridSearchCV(
        make_pipeline(features, LogisticRegression(max_iter=500)),
        {"pretrainedfeaturetransformer__engine": ["torch", *ENGINES]},
        cv=2,
        scoring="neg_log_loss",
    )
    scores = search.fit(X[:100], y[:100]).cv_results_["mean_test_score"]
    np.testing.assert_allclose(scores, scores[0], rtol=1e-2)


# --- a graph of kernels, without a GPU -----------------------------------------------------------


@pytest.mark.parametrize("device", ["cpu", "auto"])
def test_a_graph_needs_a_gpu(device, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    model = transformer(engine="cuda_graph", device=device)
    with pytest.raises(ValueError, match=rf"runs on a GPU, and device='{device}'.*engine='torch'"):
        model.fit(IMAGES)


@pytest.fixture
def recorded(monkeypatch):
    """Let a CPU play the GPU: a replay runs the pass that was recorded, in its own memory."""

    class Graph:
        def replay(self):
            for inputs, outputs in self.passes:
                outputs.copy_(network(inputs))

    @contextmanager
    def record(graph):
        graph.passes, _passes[:] = _passes, []
        yield

    class Stream:
        def wait_stream(self, other):
            pass

    _passes = []
    network = nn.Sequential(nn.Linear(3, 4), nn.Tanh())

    def run(x):
        outputs = network(x)
        _passes.append((x, outputs))
        return outputs

    for name, value in {
        "CUDAGraph": Graph,
        "graph": record,
        "Stream": Stream,
        "current_stream": Stream,
        "stream": nullcontext,
        "device": nullcontext,
    }.items():
        monkeypatch.setattr(torch.cuda, name, lambda *_, value=value, **__: value(*_))
    return network, run


def test_a_graph_is_replayed_for_each_batch(recorded):
    network, run = recorded
    batches = torch.randn(3, 5, 3, generator=torch.Generator().manual_seed(0)).unbind()
    engine = _engines.CudaGraph(run, batches[0])
    with torch.inference_mode():
        batches = [batch.clone() for batch in batches]  # as extraction hands them on
    found = [engine(batch) for batch in batches]  # none is overwritten by the next one
    for batch, features in zip(batches, found, strict=True):
        torch.testing.assert_close(features, network(batch.clone()).detach())
        assert not features.requires_grad

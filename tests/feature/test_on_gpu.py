"""The same features on a GPU; skipped where there is none."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torchvision.models import resnet18

from skltransfer import FeatureStore, PretrainedFeatureTransformer, load_backbone
from skltransfer._torch._engines import EngineWarning
from tests.doubles import TableNetwork
from tests.rounding import assert_within_rounding
from tests.tiny_bert import save_tiny_bert

pytestmark = pytest.mark.gpu
DIGITS = load_digits().data[:300]
IMAGES = np.random.default_rng(0).integers(0, 256, (50, 64, 64, 3), dtype=np.uint8)
TABLE = np.random.default_rng(0).normal(size=(600, 10)).astype(np.float32)
TEXTS = ["a good film", "a very very dull plot", "not bad and not great", "the film was bad"] * 3
CASES = {
    "tiny": (
        "tiny",
        DIGITS,
        {"image_shape": (8, 8), "value_range": (0, 16), "layers": ["stem", "stage3"]},
    ),
    "resnet18": ("resnet18", IMAGES, {"weights": None, "input_size": 64}),
    "without preprocessing": (resnet18, IMAGES, {"layers": "layer2"}),
    "table": (TableNetwork, TABLE, {}),
}


def transformer(backbone, device, **settings):
    return PretrainedFeatureTransformer(backbone, device=device, **{"store": None} | settings)


def assert_close(found, expected, tolerance):
    assert np.abs(expected).max() > 0
    assert np.abs(found - expected).max() < tolerance * np.abs(expected).max()


@pytest.mark.parametrize("case", CASES)
def test_features_are_those_of_the_cpu_and_of_the_row_alone(case):
    backbone, X, settings = CASES[case]
    on_gpu = transformer(backbone, "cuda", **settings).fit(X)
    found = on_gpu.transform(X)
    assert isinstance(found, np.ndarray)
    assert_close(found, transformer(backbone, "cpu", **settings).fit_transform(X), 1e-4)
    assert_within_rounding(on_gpu.transform(X[::-1].copy()), found[::-1])
    assert_within_rounding(on_gpu.transform(X[3:5]), found[3:5])


def test_texts_are_those_of_the_cpu(tmp_path):
    name = save_tiny_bert(tmp_path)
    expected = transformer(name, "cpu").fit_transform(TEXTS)
    assert_close(transformer(name, "cuda").fit_transform(TEXTS), expected, 1e-3)


def test_double_precision_is_that_of_the_cpu():
    backbone, X, settings = CASES["tiny"]
    settings = settings | {"precision": "float64"}
    found = transformer(backbone, "cuda", **settings).fit_transform(X)
    assert found.dtype == np.float64
    assert_close(found, transformer(backbone, "cpu", **settings).fit_transform(X), 1e-10)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_only_where_it_is_asked_for(precision):
    backbone, X, settings = CASES["resnet18"]
    exact = transformer(backbone, "cuda", **settings).fit_transform(X)
    half = transformer(backbone, "cuda", precision=precision, **settings).fit_transform(X)
    assert half.dtype == np.float32
    assert_close(half, exact, 0.1)
    assert np.abs(half - exact).max() > 1e-4 * np.abs(exact).max()


def test_the_gpu_is_used_where_there_is_one_and_features_are_kept_beside_it():
    backbone, X, settings = CASES["tiny"]
    store = FeatureStore()
    by_default = transformer(backbone, "auto", store=store, **settings).fit(X)
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    found = by_default.transform(X)
    assert torch.cuda.max_memory_allocated() > before  # it ran there,
    assert torch.cuda.memory_allocated() == before  # and nothing stays there
    assert store.nbytes >= found.nbytes
    assert len(store) == store.misses == len(X)
    np.testing.assert_array_equal(by_default.transform(X), found)
    assert store.hits == len(X)
    # Features of the CPU have other bits, and stand apart.
    transformer(backbone, "cpu", store=store, **settings).fit_transform(X)
    assert store.misses == 2 * len(X)


def test_the_network_itself_stays_where_it_was():
    module = load_backbone("tiny").module
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    backbone, X, settings = CASES["tiny"]
    transformer(backbone, "cuda", **settings).fit_transform(X)
    for name, tensor in module.state_dict().items():
        assert tensor.device.type == "cpu"
        assert torch.equal(tensor, before[name])


def test_settings_of_torch_and_the_generator_are_untouched():
    def settings():
        return (
            torch.backends.cudnn.benchmark,
            torch.backends.cudnn.deterministic,
            torch.backends.cudnn.allow_tf32,
            torch.backends.cuda.matmul.allow_tf32,
            torch.get_float32_matmul_precision(),
            torch.cuda.get_rng_state().tolist(),
        )

    before = settings()
    backbone, X, parameters = CASES["resnet18"]
    transformer(backbone, "cuda", **parameters).fit_transform(X)
    assert settings() == before


@pytest.mark.parametrize("case", CASES)
def test_a_graph_gives_the_features_of_torch(case):
    backbone, X, settings = CASES[case]
    expected = transformer(backbone, "cuda", **settings).fit_transform(X)
    model = transformer(backbone, "cuda", engine="cuda_graph", **settings).fit(X)
    assert model.engine_ == "cuda_graph"
    for _ in range(2):
        assert_close(model.transform(X), expected, 1e-5)


def test_texts_stay_with_torch(tmp_path):
    model = transformer(save_tiny_bert(tmp_path), "cuda", engine="cuda_graph")
    with pytest.warns(EngineWarning, match="differ in length"):
        model.fit(TEXTS)
    assert model.engine_ == "torch"


def test_engines_run_on_the_cpu_unless_a_gpu_is_named():
    backbone, X, settings = CASES["tiny"]
    model = transformer(backbone, "auto", engine="onnxruntime", **settings).fit(X)
    assert model.engine_ == "onnxruntime"
    expected = transformer(backbone, "cpu", **settings).fit_transform(X)
    assert_close(model.transform(X), expected, 1e-4)
    with pytest.raises(ValueError, match="runs on the CPU"):
        transformer(backbone, "cuda", engine="onnxruntime", **settings).fit(X)


def test_a_batch_that_does_not_fit_says_what_to_do():
    class Large(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(10, 8)

        def forward(self, x):
            if len(x) > 20:
                torch.empty(2**45, device=x.device)  # more than any device has
            return self.layer(x)

    with pytest.raises(torch.OutOfMemoryError, match="Lower batch_size"):
        transformer(Large(), "cuda", batch_size=64).fit_transform(TABLE)
    transformer(Large(), "cuda", batch_size=20).fit_transform(TABLE)

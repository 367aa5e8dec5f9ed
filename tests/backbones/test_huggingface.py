"""Encoders of transformers as backbones, from folders that the tests write; no connection."""

import copy
import os
import pickle
import shutil
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from skltransfer import (
    FeatureStore,
    FineTunedClassifier,
    PretrainedFeatureTransformer,
    TruncatedTextWarning,
    feature_store,
    list_backbones,
    load_backbone,
)
from skltransfer._torch._fingerprint import fingerprint
from skltransfer._torch._text import TextPreprocessing, TextRows, TokenEncoder
from skltransfer.backbones import _load
from tests.rounding import assert_within_rounding
from tests.tiny_bert import WORDS, quiet, save_model, save_tiny_bert, save_tokenizer

transformers = pytest.importorskip("transformers")


# Some of the texts are longer than the encoders read.
pytestmark = pytest.mark.filterwarnings("ignore::skltransfer.TruncatedTextWarning")


@pytest.fixture(autouse=True)
def _empty_store():
    feature_store.clear()


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    return save_tiny_bert(tmp_path_factory.mktemp("bert"))


@pytest.fixture(scope="module")
def texts():
    """Of all lengths, from none to more words than fit, in an order of chance."""
    rng = np.random.default_rng(0)
    lengths = [0, 1, 13, 14, 15, 30, 61, 62, 63, 100, *rng.integers(1, 62, 50)]
    texts = [" ".join(rng.choice(WORDS, n)) for n in lengths]
    return [texts[i] for i in rng.permutation(len(texts))]


def reference(spec, texts, pooling):
    """One text after the other, without padding, through the network of transformers itself."""
    folder = spec.removeprefix("hf:")
    with quiet():
        model = transformers.AutoModel.from_pretrained(folder).eval()
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    pool = {"avg": lambda h: h.mean(1), "max": lambda h: h.amax(1), "cls": lambda h: h[:, 0]}
    with torch.no_grad():
        return np.concatenate(
            [
                pool[pooling](
                    model(
                        **tokenizer(t, return_tensors="pt", truncation=True, max_length=64)
                    ).last_hidden_state
                ).numpy()
                for t in texts
            ]
        )


def encoder(spec, **parameters):
    return PretrainedFeatureTransformer(spec, **parameters)


# --- the features are the network's ----------------------------------------------------


@pytest.mark.parametrize("pooling", ["avg", "max", "cls", "default"])
def test_features_of_texts_equal_a_plain_forward_pass(bert, texts, pooling):
    features = encoder(bert, pooling=pooling).fit_transform(texts)
    expected = reference(bert, texts, "avg" if pooling == "default" else pooling)
    np.testing.assert_allclose(features, expected, atol=1e-5)
    assert features.shape == (len(texts), 32)
    assert expected.std(axis=0).min() > 1e-3


@pytest.mark.parametrize("kind", ["distilbert", "roberta", "gpt2"])
def test_other_text_encoders(tmp_path, texts, kind):
    with quiet():
        n_tokens = save_tokenizer(tmp_path, max_length=None if kind == "roberta" else 64)
        sizes = {
            "distilbert": {"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 64},
            # Positions count from the one after padding's, 1: 62 tokens fit.
            "roberta": {
                "hidden_size": 32,
                "num_hidden_layers": 2,
                "num_attention_heads": 2,
                "intermediate_size": 64,
                "max_position_embeddings": 65,
                "pad_token_id": 0,
            },
            "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 64},
        }
        config = transformers.AutoConfig.for_model(kind, vocab_size=n_tokens, **sizes[kind])
        save_model(tmp_path, config)
    spec = f"hf:{tmp_path}"
    record = load_backbone(spec)
    assert record.n_features == 32
    assert record.preprocessing.max_length == 64
    blocks = {
        "distilbert": ("model.embeddings", "model.transformer.layer.0"),
        "roberta": ("model.embeddings", "model.encoder.layer.0"),
        "gpt2": ("model.wte", "model.wpe", "model.h.0"),
    }
    assert record.stages[:-1] == blocks[kind]
    features = encoder(spec).fit_transform(texts)
    np.testing.assert_allclose(features, reference(spec, texts, "avg"), atol=1e-5)
    with quiet():
        tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path)
        tokenizer.pad_token = None
        tokenizer.save_pretrained(tmp_path)
    features = encoder(spec).fit_transform(texts)  # nothing to pad with: the mask is enough
    np.testing.assert_allclose(features, reference(spec, texts, "avg"), atol=1e-5)


IMAGE_CONFIGS = {
    "vit": {"image_size": 32, "patch_size": 8},
    "dinov2": {"image_size": 28, "patch_size": 14},
    "convnext": {"hidden_sizes": [8, 8, 16, 32], "depths": [1, 1, 1, 1]},
    "resnet": {"embedding_size": 8, "hidden_sizes": [8, 8, 16, 32], "depths": [1, 1, 1, 1]},
}
TRANSFORMER = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
}


def save_image_encoder(folder, kind, processor):
    sizes = IMAGE_CONFIGS[kind]
    sizes = TRANSFORMER | sizes if kind in ("vit", "dinov2") else sizes
    with quiet():
        save_model(folder, transformers.AutoConfig.for_model(kind, **sizes))
        processor.save_pretrained(folder)
    return f"hf:{folder}"


def processors():
    square = {"height": 32, "width": 32}
    return {
        "vit": transformers.ViTImageProcessor(size=square),
        "dinov2": transformers.BitImageProcessor(
            size={"shortest_edge": 36}, crop_size={"height": 28, "width": 28}
        ),
        "convnext": transformers.ConvNextImageProcessor(size={"shortest_edge": 64}),
        "resnet": transformers.ConvNextImageProcessor(size={"shortest_edge": 384}, do_resize=True),
    }


@pytest.mark.parametrize("kind", IMAGE_CONFIGS)
def test_features_of_images_equal_a_plain_forward_pass(tmp_path, kind):
    spec = save_image_encoder(tmp_path, kind, processors()[kind])
    pixels = np.random.default_rng(0).integers(0, 256, (3, 90, 110, 3), dtype=np.uint8)
    with quiet():
        model = transformers.AutoModel.from_pretrained(tmp_path).eval()
        processor = transformers.AutoImageProcessor.from_pretrained(tmp_path)
    with torch.no_grad():
        x = processor(list(pixels), return_tensors="pt")["pixel_values"]
        hidden = model(pixel_values=x).last_hidden_state
    tokens = hidden.ndim == 3
    record = load_backbone(spec)
    module = copy.deepcopy(record.module).requires_grad_(True)
    module(x).square().sum().backward()
    dead = [name for name, p in module.named_parameters() if p.grad is None]
    assert dead == (["model.embeddings.mask_token"] if kind == "dinov2" else [])
    assert record.pooling == ("cls" if tokens else "avg")
    assert record.n_features == 32
    assert record.stages[0] == ("model.embedder" if kind == "resnet" else "model.embeddings")
    assert len(record.stages) == (3 if tokens else 5)
    ours = record.preprocessing
    given = ours.normalize(ours.resize(torch.tensor(pixels).permute(0, 3, 1, 2)), torch.float32)
    assert given.shape == x.shape
    assert (given - x).abs().max() * 255 * max(ours.std) < 1.05  # one grey level
    with torch.no_grad():
        hidden = model(pixel_values=given).last_hidden_state
    expected = hidden[:, 0] if tokens else hidden.mean((2, 3))
    features = encoder(spec).fit_transform(pixels)
    np.testing.assert_allclose(features, expected.numpy(), atol=1e-5)
    assert features.std(axis=0).max() > 1e-3


def test_image_processors_that_do_something_else(tmp_path):
    processor = transformers.ViTImageProcessor(size={"height": 32, "width": 40})
    spec = save_image_encoder(tmp_path, "vit", processor)
    with pytest.raises(ValueError, match="does something else than to resize to a square"):
        load_backbone(spec)
    (tmp_path / "preprocessor_config.json").unlink()
    with pytest.raises(ValueError, match="without a preprocessor_config.json"):
        load_backbone(spec)


# --- a text's features are a function of the text --------------------------------------


@pytest.mark.parametrize("precision", ["float32", "float64", "bfloat16"])
def test_order_and_neighbours_do_not_matter(tmp_path, texts, precision):
    """In bfloat16 they do where texts of all lengths share a batch, at this width."""
    bert = save_tiny_bert(tmp_path, hidden_size=384)
    model = encoder(bert, store=None, precision=precision).fit(texts)
    features = model.transform(texts)
    assert features.dtype == ("float64" if precision == "float64" else "float32")
    order = np.random.default_rng(1).permutation(len(texts))
    tolerance = 0.02 if precision == "bfloat16" else None
    shuffled = model.transform([texts[i] for i in order])
    assert_within_rounding(shuffled, features[order], tolerance)
    for i in range(0, len(texts), 1 if precision == "float32" else 6):
        assert_within_rounding(model.transform([texts[i]])[0], features[i], tolerance)
    single = encoder(bert, store=None, precision="float64").fit_transform(texts)
    np.testing.assert_allclose(features, single, atol=0.3 if precision == "bfloat16" else 1e-4)


def test_batches_are_padded_to_the_length_of_their_own_texts(bert, texts):
    record = load_backbone(bert)
    rows = TextRows(texts)
    indices = list(range(len(texts)))
    groups = rows.groups(indices, record.preprocessing)
    assert sorted(np.concatenate(groups)) == indices
    lengths = set()
    for group in groups:
        x = rows.batch(group, record.preprocessing)
        assert x.dtype == torch.int64
        assert x.shape[:2] == (len(group), 2)
        has_padding = (x[:, 1] == 0).any(1)
        assert has_padding.all() or not has_padding.any()
        assert (x[:, 0][x[:, 1] == 0] == 0).all()
        lengths.add(x.shape[2])
    assert lengths == {16, 32, 48, 64}
    assert rows.batch(indices, record.preprocessing).shape == (len(texts), 2, 64)
    assert [record.preprocessing.padded_length(n) for n in (1, 15, 16, 63, 64)] == [
        *(16, 16, 32, 64, 64)
    ]


@pytest.mark.filterwarnings("always::skltransfer.TruncatedTextWarning")
def test_texts_that_are_cut_are_counted_in_one_warning(bert):
    n_read = load_backbone(bert).preprocessing.max_length - 2  # beside the first and the last
    texts = ["good film", "good " * n_read, "good " * n_read + "bad", "bad " * 99, "bad " * 99]
    is_cut = [False, False, True, True, True]
    assert load_backbone(bert).preprocessing.is_cut(texts).tolist() == is_cut
    message = r"3 of 5 texts \(60%\) have more tokens than 'hf:.*' reads, 64"
    store = FeatureStore()
    transformer = encoder(bert, store=store).fit(texts[:2])
    for _ in range(2):  # through the network, and from the store
        with pytest.warns(TruncatedTextWarning, match=message) as caught:
            features = transformer.transform(texts)
        assert len(caught) == 1
        assert caught[0].filename == __file__
    np.testing.assert_array_equal(features[1], encoder(bert).fit_transform(texts[1:2])[0])
    model = FineTunedClassifier(bert, max_epochs=1, early_stopping=True)
    for call in (lambda: model.fit(texts * 4, [0, 1, 1, 0, 0] * 4), lambda: model.predict(texts)):
        with pytest.warns(TruncatedTextWarning, match=r"\(60%\)") as caught:
            call()
        assert len(caught) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        transformer.transform(texts[:2])


@pytest.mark.parametrize("length", [63, 64, 65])
def test_a_tokenizer_in_python_counts_the_cuts_too(tmp_path, length):
    (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\ngood\n")
    slow = transformers.BertTokenizerLegacy(str(tmp_path / "vocab.txt"))
    preprocessing = TextPreprocessing(slow, 64)
    assert not preprocessing.tokenizer.is_fast
    assert preprocessing.is_cut(["good " * (length - 2)]).tolist() == [length > 64]


def test_nothing_moves_in_the_network(bert, texts):
    record = load_backbone(bert)
    before = {key: value.clone() for key, value in record.module.state_dict().items()}
    state = torch.get_rng_state()
    features = encoder(record, store=None).fit_transform(texts)
    np.testing.assert_array_equal(encoder(bert, store=None).fit_transform(texts), features)
    assert all(torch.equal(before[k], v) for k, v in record.module.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
    assert not any(part.training for part in record.module.modules())
    assert not any(p.requires_grad for p in record.module.parameters())


def test_each_distinct_text_passes_once_in_a_search(bert, texts, monkeypatch):
    passed = []
    batch = TextRows.batch

    def counting(self, indices, preprocessing):
        passed.extend(self._texts[i] for i in dict.fromkeys(map(int, indices)))
        return batch(self, indices, preprocessing)

    monkeypatch.setattr(TextRows, "batch", counting)
    many = texts * 2
    y = np.array(["good" in text for text in many])
    model = make_pipeline(encoder(bert), LogisticRegression(max_iter=1000))
    search = GridSearchCV(model, {"logisticregression__C": [0.1, 1, 10]}, cv=3).fit(many, y)
    assert sorted(passed) == sorted(set(texts))
    assert search.score(many, y) > 0.8
    clone(search).fit(many, y)
    assert len(passed) == len(set(texts))


def test_containers(bert, texts):
    pandas, polars = pytest.importorskip("pandas"), pytest.importorskip("polars")
    texts = texts[:6]
    expected = encoder(bert).fit_transform(texts)
    frame = pandas.DataFrame({"text": texts, "number": range(6)})
    for X in (
        tuple(texts),
        np.array(texts),
        np.array(texts, dtype=object),
        np.array(texts, dtype=object)[:, None],
        np.array(texts, dtype=np.dtypes.StringDType()),
        frame["text"],
        frame[["text"]],
        frame["text"].astype("string"),
        polars.Series(texts),
        polars.DataFrame({"text": texts}),
    ):
        model = encoder(bert, store=None).fit(X)
        np.testing.assert_array_equal(model.transform(X), expected)
        assert model.n_features_in_ == 1
    model = encoder(bert).fit(frame[["text"]])
    assert list(model.feature_names_in_) == ["text"]
    assert model.get_feature_names_out()[-1] == "output_31"
    with pytest.raises(ValueError, match="feature names should match"):
        model.transform(frame[["text"]].rename(columns={"text": "other"}))
    columns = ColumnTransformer([("t", encoder(bert), "text"), ("n", "passthrough", ["number"])])
    np.testing.assert_allclose(columns.fit_transform(frame)[:, :-1], expected)


def test_tags_say_whether_strings_are_taken(bert):
    tags = encoder(bert).__sklearn_tags__().input_tags
    assert tags.string
    for model in (encoder(load_backbone(bert)), encoder(bert).fit(["a"])):
        tags = model.__sklearn_tags__().input_tags
        assert (tags.string, tags.two_d_array, tags.three_d_array) == (True, False, False)
    tags = encoder("tiny").__sklearn_tags__().input_tags
    assert (tags.string, tags.two_d_array, tags.three_d_array) == (False, True, True)


# --- the record ------------------------------------------------------------------------


def test_the_record_describes_the_network(bert):
    record = load_backbone(bert)
    assert record.name == bert
    assert record.layers == ()
    assert record.pooling == "avg"
    assert record.n_features == 32
    assert record.stages == ("model.embeddings", "model.encoder.layer.0", "model.encoder.layer.1")
    for stage in record.stages:
        assert any(True for _ in record.module.get_submodule(stage).parameters())
    assert load_backbone(bert) is record
    assert "hf:" not in "".join(list_backbones())
    again = pickle.loads(pickle.dumps(record))
    assert again.fingerprint == record.fingerprint
    assert repr(again.preprocessing) == repr(record.preprocessing)
    assert again.preprocessing == record.preprocessing


def test_every_parameter_is_trained_by_a_copy(bert, texts):
    """A copy in training mode has dropout, gradients everywhere, and leaves the record alone."""
    record = load_backbone(bert)
    rows = TextRows(texts[:8])
    x = rows.batch(range(8), record.preprocessing)
    assert torch.equal(record.preprocessing.normalize(x, torch.float32), x)
    expected = record.module(x)
    for dtype in (torch.float32, torch.float64):
        module = pickle.loads(pickle.dumps(copy.deepcopy(record.module)))
        module = module.to(dtype).requires_grad_(True).train()
        first, second = module(x), module(x)
        assert first.dtype == dtype
        assert not torch.equal(first, second)
        first.square().sum().backward()
        assert all(p.grad is not None for p in module.parameters())
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.sub_(0.01 * parameter.grad)
    assert torch.equal(record.module(x), expected)
    assert isinstance(record.module, TokenEncoder)


def test_fingerprints_follow_weights_and_tokenizer(bert, tmp_path):
    record = load_backbone(bert)
    for folder in ("moved", "other"):
        shutil.copytree(bert.removeprefix("hf:"), tmp_path / folder)
    moved = load_backbone(f"hf:{tmp_path / 'moved'}")
    assert moved is not record
    assert moved.fingerprint == record.fingerprint
    assert moved.preprocessing == record.preprocessing
    assert fingerprint(moved.module) == fingerprint(copy.deepcopy(record.module))
    seeds = [load_backbone(bert, None, random_state=seed).fingerprint for seed in (0, 1)]
    assert len({record.fingerprint, *seeds}) == 3
    with quiet():
        save_tokenizer(tmp_path / "other", vocabulary=WORDS[::-1])
    other = load_backbone(f"hf:{tmp_path / 'other'}")
    assert other.fingerprint != record.fingerprint
    assert fingerprint(other.module) == fingerprint(record.module)
    store = FeatureStore()
    features = [encoder(r, store=store).fit_transform(["good plot"]) for r in (record, other)]
    assert np.abs(features[0] - features[1]).max() > 1e-3


def test_fingerprints_are_the_same_in_another_process(tmp_path):
    # Of its head transformers would report that it is dropped.
    bert = save_tiny_bert(tmp_path, model_class=transformers.BertForSequenceClassification)
    code = f"from skltransfer import load_backbone as l; r = l({bert!r}); print(r.fingerprint)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONHASHSEED": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "0"},
    )
    assert done.stdout.strip() == load_backbone(bert).fingerprint
    assert not done.stderr, "loading prints nothing"


def test_random_weights_come_from_the_seed(bert):
    state = torch.get_rng_state()
    first = load_backbone(bert, None, random_state=3).module.state_dict()
    _load._loaded.clear()
    torch.randn(5)
    second = load_backbone(bert, None, random_state=3).module.state_dict()
    assert all(torch.equal(first[key], second[key]) for key in first)
    torch.set_rng_state(state)
    load_backbone(bert, None, random_state=4)
    assert torch.equal(torch.get_rng_state(), state)
    with pytest.raises(TypeError, match="random_state"):
        load_backbone(bert, None, random_state=None)


def test_weights_from_a_file(bert, tmp_path):
    record = load_backbone(bert, None, random_state=5)
    states = {
        "wrapped": record.module.state_dict(),
        "bare": record.module.model.state_dict(),
        "with a head": {
            **{f"bert.{k}": v for k, v in record.module.model.state_dict().items()},
            "bert.pooler.dense.weight": torch.ones(32, 32),
            "classifier.weight": torch.ones(2, 32),
        },
    }
    for kind, state in states.items():
        path = tmp_path / f"{kind}.safetensors"
        save_file(dict(state), path)
        assert load_backbone(bert, path).fingerprint == record.fingerprint, kind
    save_file({"model.embeddings.word_embeddings.weight": torch.ones(1)}, path)
    with pytest.raises(ValueError, match="another architecture than 'hf:"):
        load_backbone(bert, path)
    with pytest.raises(TypeError, match="weights=3 is a int"):
        load_backbone(bert, 3)


def test_a_checkpoint_with_a_head_gives_its_encoder(tmp_path, texts):
    spec = save_tiny_bert(tmp_path, model_class=transformers.BertForSequenceClassification)
    features = encoder(spec).fit_transform(texts)
    np.testing.assert_allclose(features, reference(spec, texts, "avg"), atol=1e-5)


def test_half_precision_on_disk_is_float32_in_memory(tmp_path):
    spec = save_tiny_bert(tmp_path)
    path = tmp_path / "model.safetensors"
    save_file({k: v.half() for k, v in load_file(path).items()}, path, metadata={"format": "pt"})
    assert {p.dtype for p in load_backbone(spec).module.parameters()} == {torch.float32}


def test_a_rewritten_folder_is_read_again(tmp_path):
    spec = save_tiny_bert(tmp_path, seed=1)
    record = load_backbone(spec)
    before = {key: value.clone() for key, value in record.module.state_dict().items()}
    model = encoder(spec).fit(["a film"])
    save_tiny_bert(tmp_path, seed=2)
    assert load_backbone(spec).fingerprint != record.fingerprint
    assert all(torch.equal(before[k], v) for k, v in record.module.state_dict().items())
    with pytest.raises(ValueError, match="not the weights that this transformer was fitted"):
        model.transform(["a film"])


def test_settings_of_transformers_stay_as_they_were(bert):
    from huggingface_hub import utils

    logging = transformers.utils.logging
    before = logging.get_verbosity(), logging.is_progress_bar_enabled()
    hub = utils.are_progress_bars_disabled()
    _load._loaded.clear()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_backbone(bert)
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == before
    assert utils.are_progress_bars_disabled() == hub


# --- what is refused -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("X", "error", "message"),
    [
        (["a", None, "b"], ValueError, r"Row 1 is missing \(None\).*fillna"),
        (np.array([np.nan, "a"], dtype=object), ValueError, r"Row 0 is missing \(nan\)"),
        (np.ones((4, 3)), ValueError, r"X has shape \(4, 3\).*one text per row"),
        (np.ones(4), ValueError, "Row 0 is a float.*strings"),
        ([b"a"], ValueError, "Row 0 is a bytes"),
        ("a film", TypeError, r"X is one str.*\[X\]"),
        ([], ValueError, "Found array with 0 sample"),
        (["a", "\ud800"], ValueError, "Row 1 is not valid Unicode"),
        (np.zeros((2, 8, 8, 3)), ValueError, "one text per row"),
    ],
)
def test_rows_that_are_no_texts(bert, X, error, message):
    with pytest.raises(error, match=message):
        encoder(bert).fit(X)
    with pytest.raises(error, match=message):
        encoder(bert).fit(["a"]).transform(X)


def test_missing_values_of_data_frames(bert):
    pandas, polars = pytest.importorskip("pandas"), pytest.importorskip("polars")
    for X in (
        pandas.Series(["a", None], dtype="string"),
        pandas.Series(["a", np.nan]),
        pandas.DataFrame({"text": ["a", pandas.NA]}),
        polars.Series(["a", None]),
    ):
        with pytest.raises(ValueError, match="Row 1 is missing"):
            encoder(bert).fit(X)
    with pytest.raises(ValueError, match="ColumnTransformer"):
        encoder(bert).fit(pandas.DataFrame({"a": ["x"], "b": ["y"]}))


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"input_size": 32}, "input_size=32 is a size of images"),
        ({"pooling": "grid2"}, "pooling='grid2'.*'default' or one of avg, max, cls"),
        ({"pooling": "flatten"}, "pooling='flatten'.*text encoder"),
        ({"layers": "model.embeddings"}, "layers='model.embeddings'.*layers=None"),
        ({"layers": "model.nothing"}, "has no layer 'model.nothing'"),
    ],
)
def test_parameters_that_do_not_fit_texts(bert, parameters, message):
    with pytest.raises(ValueError, match=message):
        encoder(bert, **parameters).fit(["a film"])


def test_folders_that_are_no_encoder(tmp_path):
    spec = save_tiny_bert(tmp_path)
    weights, tokenizer = tmp_path / "model.safetensors", tmp_path / "tokenizer.json"
    content = weights.read_bytes()
    weights.write_bytes(content[:-100])
    with pytest.raises(ValueError, match="weights of 'hf:.* cannot be read"):
        load_backbone(spec)
    state = load_file_of(content, tmp_path)
    del state["encoder.layer.1.output.dense.weight"]
    save_file(state, weights, metadata={"format": "pt"})
    with pytest.raises(ValueError, match="lack 1 tensors of a BertModel, such as encoder.layer.1"):
        load_backbone(spec)
    weights.unlink()
    (tmp_path / "pytorch_model.bin").write_bytes(b"never read")
    with pytest.raises(ValueError, match=r"only pytorch_model.bin. Pickled weights are never read"):
        load_backbone(spec)
    assert load_backbone(spec, None).n_features == 32
    tokenizer.unlink()
    with pytest.raises(ValueError, match=r"without a tokenizer.*save_pretrained"):
        load_backbone(spec, None)
    (tmp_path / "config.json").write_text('{"model_type": "of_its_own", "auto_map": {}}')
    with pytest.raises(ValueError, match="Code in a repository is never run"):
        load_backbone(spec, None)
    (tmp_path / "config.json").unlink()
    with pytest.raises(ValueError, match=r"has no config.json"):
        load_backbone(spec)
    with pytest.raises(ValueError, match="there is no folder"):
        load_backbone(f"hf:{tmp_path / 'nowhere'}")


def load_file_of(content, folder):
    path = folder / "whole"
    path.write_bytes(content)
    return load_file(path)


@pytest.mark.parametrize("kind", ["t5", "blip", "wav2vec2"])
def test_networks_that_are_no_encoder_of_one_input(tmp_path, kind):
    with quiet():
        transformers.AutoConfig.for_model(kind).save_pretrained(tmp_path)
    message = "a Backbone record" if kind == "wav2vec2" else "Save one of its encoders"
    with pytest.raises(ValueError, match=message):
        load_backbone(f"hf:{tmp_path}", None)


def test_a_name_that_no_repository_can_have():
    with pytest.raises(ValueError, match="the hub has no public repository"):
        load_backbone("hf:no//name at all")


def test_a_repository_is_read_from_the_cache_of_the_hub(monkeypatch, tmp_path, bert):
    """Only settings, tokenizer and tensors are asked for; and no tensors for random weights."""
    import huggingface_hub

    asked = []

    def snapshot_download(name, *, allow_patterns, ignore_patterns):
        asked.append((name, allow_patterns, ignore_patterns))
        return bert.removeprefix("hf:")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    record = load_backbone("hf:someone/bert")
    assert record.fingerprint == load_backbone(bert).fingerprint
    assert load_backbone("hf:someone/bert", None).name == "hf:someone/bert"
    tensors = ["*.json", "*.txt", "*.model", "*.safetensors"]
    assert asked == [
        ("someone/bert", tensors, "*/*"),
        ("someone/bert", tensors[:-1], "*/*"),
    ]
    _load._loaded.clear()


def test_without_transformers(monkeypatch, bert):
    _load._loaded.clear()
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ImportError, match=r'pip install "skltransfer\[hub\]"'):
        load_backbone(bert)

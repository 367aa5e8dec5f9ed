"""Sentence encoders as backbones, from folders that sentence-transformers writes; no connection."""

import json
import shutil
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

import skltransfer
from skltransfer import (
    FineTunedClassifier,
    PretrainedFeatureTransformer,
    feature_store,
    load_backbone,
)
from skltransfer.backbones import _load
from tests.rounding import assert_within_rounding
from tests.tiny_bert import WORDS, quiet, save_tiny_bert

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    st = pytest.importorskip("sentence_transformers")
    from sentence_transformers import SentenceTransformer, models


# Some of the texts are longer than the encoders read.
pytestmark = pytest.mark.filterwarnings("ignore::skltransfer.TruncatedTextWarning")


@pytest.fixture(autouse=True)
def _empty_store():
    feature_store.clear()


@pytest.fixture(scope="module")
def texts():
    rng = np.random.default_rng(0)
    lengths = [0, 1, 14, 15, 30, 61, 62, 63, 100, *rng.integers(1, 60, 20)]
    return [" ".join(rng.choice(WORDS, n)) for n in lengths]


def save_encoder(folder, pooling="mean", layers=(), **settings):
    """Write a sentence encoder whose dense layers have random weights; return its name."""
    bert = save_tiny_bert(folder / "bert").removeprefix("hf:")
    with quiet(), warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")
        torch.manual_seed(3)
        transformer = models.Transformer(bert, max_seq_length=48)
        modes = (pooling,) if isinstance(pooling, str) else pooling
        pool = models.Pooling(32, pooling_mode=pooling)
        made = [layer(32 * len(modes)) for layer in layers]
        SentenceTransformer(modules=[transformer, pool, *made], device="cpu", **settings).save(
            str(folder / "st")
        )
    return f"st:{folder / 'st'}"


def encoded(name, texts):
    with quiet(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = SentenceTransformer(name.removeprefix("st:"), device="cpu")
        return model.encode(texts, show_progress_bar=False)


PIPELINES = {
    "mean": {},
    "cls": {"pooling": "cls"},
    "max": {"pooling": "max"},
    "weighted": {"pooling": "weightedmean"},
    "square root": {"pooling": "mean_sqrt_len_tokens"},
    "last": {"pooling": "lasttoken"},
    "several": {"pooling": ("cls", "mean", "max")},
    "dense": {"layers": [lambda n: models.Dense(n, 16, activation_function=torch.nn.Tanh())]},
    "residual": {
        "layers": [lambda n: models.Dense(n, n, use_residual=True), lambda n: models.Normalize()]
    },
    "norms": {
        "pooling": ("mean", "lasttoken"),
        "layers": [
            lambda n: models.Dense(n, 8, bias=False, activation_function=torch.nn.GELU()),
            lambda n: models.Dropout(0.5),
            lambda n: models.LayerNorm(8),
            lambda n: models.Normalize(),
        ],
    },
    "prompt": {"prompts": {"query": "the film "}, "default_prompt_name": "query"},
    "prompt not used": {"prompts": {"query": "the film "}},
}


@pytest.mark.parametrize("kind", PIPELINES)
def test_features_equal_those_of_sentence_transformers(tmp_path, texts, kind):
    name = save_encoder(tmp_path, **PIPELINES[kind])
    expected = encoded(name, texts)
    record = load_backbone(name)
    model = PretrainedFeatureTransformer(name, store=None).fit(texts)
    features = model.transform(texts)
    assert features.shape == expected.shape == (len(texts), record.n_features)
    np.testing.assert_allclose(features, expected, atol=1e-5 * np.abs(expected).max())
    assert features.std(axis=0).max() > 1e-3
    order = np.random.default_rng(1).permutation(len(texts))
    assert_within_rounding(model.transform([texts[i] for i in order]), features[order])
    assert_within_rounding(model.transform(texts[3:4]), features[3:4])


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return save_encoder(tmp_path_factory.mktemp("plain"), layers=[lambda n: models.Normalize()])


def test_files_of_earlier_versions(tmp_path, texts, plain):
    """Names of classes and of poolings, length and lower case, as version 2 wrote them."""
    folder = tmp_path / "old"
    shutil.copytree(plain.removeprefix("st:"), folder)
    parts = json.loads((folder / "modules.json").read_text())
    for part in parts:
        part["type"] = "sentence_transformers.models." + part["type"].rpartition(".")[2]
    (folder / "modules.json").write_text(json.dumps(parts))
    (folder / "1_Pooling" / "config.json").write_text(
        json.dumps({"word_embedding_dimension": 32, "pooling_mode_max_tokens": True})
    )
    (folder / "sentence_bert_config.json").write_text(
        json.dumps({"max_seq_length": 20, "do_lower_case": True})
    )
    texts = [text.upper() for text in texts]
    name = f"st:{folder}"
    assert load_backbone(name).preprocessing.max_length == 20
    given = PretrainedFeatureTransformer(name).fit_transform(texts)
    np.testing.assert_allclose(given, encoded(name, texts), atol=1e-5)


def test_a_bare_transformer_is_pooled_by_the_mean(tmp_path, texts):
    name = save_tiny_bert(tmp_path).replace("hf:", "st:")
    given = PretrainedFeatureTransformer(name).fit_transform(texts)
    plain = PretrainedFeatureTransformer(name.replace("st:", "hf:")).fit_transform(texts)
    np.testing.assert_allclose(given, plain, atol=1e-5)
    np.testing.assert_allclose(given, encoded(name, texts), atol=1e-5)


def test_poolings_of_ones_own_take_the_tokens(tmp_path, texts):
    name = save_encoder(tmp_path, "max", [lambda n: models.Dense(n, 16)])
    bert = f"hf:{tmp_path / 'bert'}"
    for pooling in ("avg", "cls", "mean_tokens"):
        given = PretrainedFeatureTransformer(name, pooling=pooling).fit_transform(texts[:4])
        expected = PretrainedFeatureTransformer(bert, pooling=pooling).fit_transform(texts[:4])
        np.testing.assert_allclose(given, expected, atol=1e-5)
    own = PretrainedFeatureTransformer(name, pooling="own").fit_transform(texts[:4])
    assert own.shape == (4, 16)
    with pytest.raises(ValueError, match="pooling='gem', but 'st:.*is a text encoder"):
        PretrainedFeatureTransformer(name, pooling="gem").fit(texts)


def test_random_weights_and_fingerprints(plain):
    one, two = (load_backbone(plain, None, random_state=seed) for seed in (0, 1))
    assert len({one.fingerprint, two.fingerprint, load_backbone(plain).fingerprint}) == 3
    assert one.stages == ("model.embeddings", "model.encoder.layer.0", "model.encoder.layer.1")


def test_fine_tuning_and_files(tmp_path, texts):
    layers = [lambda n: models.Dense(n, 16), lambda n: models.Normalize()]
    settings = {"prompts": {"query": "the film "}, "default_prompt_name": "query"}
    name = save_encoder(tmp_path, layers=layers, **settings)
    y = np.arange(len(texts)) % 2
    model = FineTunedClassifier(name, optimizer="adamw", max_epochs=1, random_state=0)
    model.fit(texts, y)
    source = load_backbone(name).module.state_dict()
    moved = [
        key
        for key, value in model.network_.features.module.state_dict().items()
        if not torch.equal(value, source[key])
    ]
    assert {key.split(".")[0] for key in moved} == {"model", "layers"}
    again = skltransfer.load(skltransfer.save(model, tmp_path / "model.skops"))
    np.testing.assert_array_equal(again.predict_proba(texts), model.predict_proba(texts))
    frozen = make_pipeline(PretrainedFeatureTransformer(name), LogisticRegression()).fit(texts, y)
    again = skltransfer.load(skltransfer.save(frozen, tmp_path / "frozen.skops"))
    np.testing.assert_array_equal(again.predict_proba(texts), frozen.predict_proba(texts))


def test_texts_beside_numbers_in_a_search(plain):
    pd = pytest.importorskip("pandas")
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 40)
    frame = pd.DataFrame({"text": [WORDS[0] if k else WORDS[1] for k in y], "n": rng.random(40)})
    columns = ColumnTransformer(
        [("text", PretrainedFeatureTransformer(plain), "text"), ("n", "passthrough", ["n"])]
    )
    search = GridSearchCV(
        make_pipeline(columns, LogisticRegression()),
        {"columntransformer__text__pooling": ["default", "cls"]},
        cv=2,
    ).fit(frame, y)
    assert search.score(frame, y) == 1.0


# --- what is refused ------------------------------------------------------------------------


def rewritten(plain, folder, change):
    shutil.copytree(plain.removeprefix("st:"), folder)
    change(Path(folder))
    return f"st:{folder}"


def _foreign_code(folder):
    parts = json.loads((folder / "modules.json").read_text())
    parts[1]["type"] = "custom.Pooling"
    (folder / "modules.json").write_text(json.dumps(parts))


def _other_module(folder):
    parts = json.loads((folder / "modules.json").read_text())
    parts.append({"idx": 3, "name": "3", "path": "3", "type": "sentence_transformers.models.CNN"})
    (folder / "modules.json").write_text(json.dumps(parts))
    (folder / "3").mkdir()
    (folder / "3" / "config.json").write_text("{}")


def _outside(folder):
    parts = json.loads((folder / "modules.json").read_text())
    parts[1]["path"] = "../elsewhere"
    (folder / "modules.json").write_text(json.dumps(parts))


def _pickled(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def _truncated(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:3000])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_foreign_code, "a module custom.Pooling, whose code would have to be run"),
        (_other_module, "is made of Transformer, Pooling, Normalize, CNN, and only Transformer"),
        (_outside, "a folder outside of its own"),
        (_pickled, "no .safetensors file, only pytorch_model.bin. Pickled weights are never read"),
        (_truncated, "The weights of 'st:.* cannot be read"),
        (lambda f: (f / "modules.json").write_text("["), "modules.json cannot be read"),
        (lambda f: (f / "tokenizer.json").unlink(), "without a tokenizer"),
    ],
)
def test_folders_that_cannot_be_read(plain, tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        load_backbone(rewritten(plain, tmp_path / "st", change))


def test_pickled_dense_layers_are_not_read(tmp_path):
    name = save_encoder(tmp_path, layers=[lambda n: models.Dense(n, 16)])
    path = tmp_path / "st" / "2_Dense" / "model.safetensors"
    path.rename(path.with_name("pytorch_model.bin"))
    with pytest.raises(ValueError, match="2_Dense.* cannot be read.*Pickled weights are never"):
        load_backbone(name)


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (np.zeros((2, 8, 8, 3), np.uint8), "takes one text per row"),
        (["a film", None], "Row 1 is missing"),
        ([], "0 sample"),
    ],
)
@pytest.mark.parametrize("on_error", ["raise", "nan"])
def test_rows_that_are_no_texts(plain, X, message, on_error):
    with pytest.raises(ValueError, match=message):
        PretrainedFeatureTransformer(plain, on_error=on_error).fit_transform(X)


def test_names_and_weights(plain):
    with pytest.raises(ValueError, match="there is no folder '/nowhere'.*SentenceTransformer.save"):
        load_backbone("st:/nowhere")
    with pytest.raises(TypeError, match="lie in its folder"):
        load_backbone(plain, "weights.safetensors")


def test_an_encoder_that_the_user_holds_is_the_folder_that_it_saves(plain, texts, monkeypatch):
    with quiet():
        held = SentenceTransformer(plain.removeprefix("st:"), device="cpu")
        short = SentenceTransformer(plain.removeprefix("st:"), device="cpu")
    short.max_seq_length = 5
    loaded, load = [], _load.load_sentence_object
    monkeypatch.setattr(
        _load, "load_sentence_object", lambda *given: loaded.append(given) or load(*given)
    )
    transformer = PretrainedFeatureTransformer(held, store=None)
    features = transformer.fit_transform(texts)
    np.testing.assert_array_equal(
        features, PretrainedFeatureTransformer(plain, store=None).fit_transform(texts)
    )
    np.testing.assert_array_equal(clone(transformer).fit_transform(texts), features)
    assert len(loaded) == 1
    other = PretrainedFeatureTransformer(short, store=None).fit_transform(texts)
    with quiet():
        expected = short.encode(texts, show_progress_bar=False)
    assert_within_rounding(other, expected)
    with torch.no_grad():
        next(held.parameters()).mul_(2)  # trained by the user meanwhile
    assert not np.allclose(clone(transformer).fit_transform(texts), features)
    assert len(loaded) == 3
    model = FineTunedClassifier(short, max_epochs=1).fit(texts, np.arange(len(texts)) % 2)
    assert model.predict(texts).shape == (len(texts),)
    with pytest.raises(TypeError, match="backbone is a SentenceTransformer, which has weights"):
        load_backbone(short, "weights.safetensors")


def test_other_objects_of_these_libraries_are_refused_by_name(plain):
    import transformers

    folder = Path(plain.removeprefix("st:"))
    with quiet():
        network = transformers.AutoModel.from_pretrained(folder)
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        pipeline = transformers.pipeline("feature-extraction", model=network, tokenizer=tokenizer)
    for held, kind in (
        (network, "a network of texts without its tokenizer"),
        (tokenizer, "a tokenizer"),
        (pipeline, "a pipeline of transformers"),
    ):
        with pytest.raises(TypeError, match=f"{kind}.*FOLDER.*pass 'hf:FOLDER'"):
            PretrainedFeatureTransformer(held).fit(["good"])


def test_a_repository_with_folders_is_read_from_the_hub(monkeypatch, plain):
    import huggingface_hub

    asked = []

    def snapshot_download(name, *, allow_patterns, ignore_patterns):
        asked.append((name, allow_patterns))
        return plain.removeprefix("st:")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    record = load_backbone("st:all-Tiny")
    assert record.fingerprint == load_backbone(plain).fingerprint
    tensors = ["*.json", "*.txt", "*.model", "*.safetensors"]
    assert asked == [("sentence-transformers/all-Tiny", tensors)]
    _load._loaded.clear()


def test_without_transformers(monkeypatch, plain):
    _load._loaded.clear()
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ImportError, match=r'pip install "skltransfer\[hub\]"'):
        load_backbone(plain)

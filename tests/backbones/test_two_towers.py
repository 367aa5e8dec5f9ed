"""Towers of images and of texts, beside the networks of transformers that they are parts of."""

from pathlib import Path

import numpy as np
import pytest
import torch

import skltransfer
from skltransfer import (
    AttributionDisplay,
    FineTunedClassifier,
    PretrainedFeatureTransformer,
    load_backbone,
)
from skltransfer.backbones._two_towers import split_tower
from tests.tiny_bert import WORDS, quiet, save_tiny_bert
from tests.tiny_clip import KINDS, SIZE, save_two_towers

transformers = pytest.importorskip("transformers")

TEXTS = ["good film", "a very dull plot", "the", " ".join(WORDS)]
PIXELS = np.random.default_rng(0).integers(0, 256, (3, SIZE, SIZE, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return {kind: save_two_towers(tmp_path_factory.mktemp(kind), kind) for kind in KINDS}


def whole(spec, texts=TEXTS, pixels=PIXELS):
    """Return what the network of transformers gives, by its own preprocessing."""
    folder = spec.removeprefix("hf:")
    with quiet():
        model = transformers.AutoModel.from_pretrained(folder).eval()
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        processor = transformers.AutoImageProcessor.from_pretrained(folder)
    tokens = tokenizer(
        texts,
        return_tensors="pt",
        truncation=True,
        return_token_type_ids=False,
        padding="max_length" if model.config.model_type == "siglip" else True,
    )
    if model.config.model_type == "siglip":  # as its texts were trained
        tokens.pop("attention_mask")
    with torch.no_grad():
        return model(**processor(list(pixels), return_tensors="pt"), **tokens)


@pytest.mark.parametrize("kind", KINDS)
def test_towers_give_the_embeddings_and_logits_of_the_whole_network(folders, kind):
    spec, expected = folders[kind], whole(folders[kind])
    images = PretrainedFeatureTransformer(spec).fit_transform(PIXELS)
    texts = PretrainedFeatureTransformer(f"{spec}#text").fit_transform(TEXTS)
    np.testing.assert_allclose(images, expected.image_embeds, atol=1e-5)
    np.testing.assert_allclose(texts, expected.text_embeds, atol=1e-5)
    assert images.std(axis=0).max() > 0.05 and texts.std(axis=0).max() > 0.05
    tower = load_backbone(f"{spec}#text").module
    logits = tower.logit_scale * images @ texts.T + tower.logit_bias
    np.testing.assert_allclose(logits, expected.logits_per_image, atol=1e-4)
    assert tower.logit_scale != 1 and (tower.logit_bias != 0) == (kind == "siglip")


def test_a_tower_holds_its_own_half_and_its_own_key(folders):
    spec = folders["clip"]
    image, text = load_backbone(spec), load_backbone(f"{spec}#text")
    assert load_backbone(f"{spec}#image").fingerprint == image.fingerprint != text.fingerprint
    names = [name for name, _ in image.module.named_parameters()]
    assert any("vision_model" in n for n in names) and not any("text_model" in n for n in names)
    names = [name for name, _ in text.module.named_parameters()]
    assert any("text_model" in n for n in names) and not any("vision_model" in n for n in names)
    assert image.n_features == text.n_features == 24
    assert image.prefix_tokens == ("cls",) and text.preprocessing.max_length == 20
    assert image.stages[-1] == "model.vision_model.encoder.layers.1"
    assert text.stages[-1] == "model.text_model.encoder.layers.1"


def test_layers_and_poolings_of_a_tower(folders):
    spec = folders["clip"]
    layer = "model.vision_model.encoder.layers.1"
    tokens = PretrainedFeatureTransformer(spec, layers=layer, pooling="cls").fit_transform(PIXELS)
    hidden = whole(spec).vision_model_output.last_hidden_state
    np.testing.assert_allclose(tokens, hidden[:, 0], atol=1e-5)
    for kind in ("clip", "siglip"):
        last = PretrainedFeatureTransformer(f"{folders[kind]}#text", pooling="cls")
        hidden = whole(folders[kind]).text_model_output.last_hidden_state
        np.testing.assert_allclose(last.fit_transform(TEXTS), hidden[:, 0], atol=1e-5)


def test_a_tower_is_fine_tuned_saved_and_loaded(folders, tmp_path):
    model = FineTunedClassifier(folders["clip"], max_epochs=1).fit(PIXELS, [0, 1, 0])
    twin = skltransfer.load(skltransfer.save(model, tmp_path / "model.skops"))
    np.testing.assert_allclose(twin.predict_proba(PIXELS), model.predict_proba(PIXELS), atol=1e-6)
    texts = PretrainedFeatureTransformer(load_backbone(f"{folders['siglip']}#text")).fit(TEXTS)
    twin = skltransfer.load(skltransfer.save(texts, tmp_path / "texts.skops"))
    np.testing.assert_array_equal(twin.transform(TEXTS), texts.transform(TEXTS))


def test_words_of_a_text_tower_are_explained(folders):
    pytest.importorskip("captum")
    model = FineTunedClassifier(f"{folders['clip']}#text", max_epochs=1)
    model.fit(["good film", "bad plot"] * 2, [0, 1] * 2)
    display = AttributionDisplay.from_estimator(model, ["the good film"])
    assert display.inputs[0][1:4] == ["the", "good", "film"]
    assert np.abs(display.attributions[0]).max() > 0


def test_names_of_towers(folders, tmp_path):
    assert split_tower("hf:a/b#text") == ("hf:a/b", "text")
    assert split_tower("hf:a#b/c") == ("hf:a#b/c", None)
    bert = save_tiny_bert(tmp_path / "bert")
    with pytest.raises(ValueError, match="is a bert, which has no towers of images and texts"):
        load_backbone(f"{bert}#text")
    with pytest.raises(ValueError, match="cannot be read.*Text needs a text encoder"):
        PretrainedFeatureTransformer(folders["clip"]).fit_transform(["a photo"])
    (Path(folders["clip"].removeprefix("hf:")) / "preprocessor_config.json").unlink()
    load_backbone(f"{folders['clip']}#text", None)  # texts do not need it
    with pytest.raises(ValueError, match="without a preprocessor_config.json"):
        load_backbone(folders["clip"], None)

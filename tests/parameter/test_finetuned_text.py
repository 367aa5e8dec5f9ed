"""Texts, fine-tuned end to end on a tiny encoder."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline

from skltransfer import FineTunedClassifier, FineTunedRegressor, PretrainedFeatureTransformer

pytest.importorskip("transformers")
from tests.tiny_bert import save_tiny_bert

QUICK = {"max_epochs": 8, "lr": 0.01, "backbone_lr_ratio": 0.5, "batch_size": 8}


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return save_tiny_bert(tmp_path_factory.mktemp("bert"))


@pytest.fixture(scope="module")
def texts():
    """Return texts whose label is whether "good" comes before "bad": the order of words."""
    rng = np.random.default_rng(0)
    X, y = [], []
    for i in range(48):
        words = rng.choice(["film", "plot", "a", "the", "was", "very"], rng.integers(0, 3)).tolist()
        ends = ["good", "bad"] if i % 2 else ["bad", "good"]
        X.append(" ".join([ends[0], *words, ends[1]]))
        y.append("yes" if i % 2 else "no")
    return X, np.array(y)


def test_an_encoder_learns_what_its_frozen_features_do_not_say(encoder, texts):
    X, y = texts
    state = torch.get_rng_state()
    model = FineTunedClassifier(encoder, **QUICK | {"max_epochs": 25}).fit(X, y)
    assert torch.equal(torch.get_rng_state(), state)
    assert model.score(X, y) > 0.95
    bag = CountVectorizer().fit_transform(X)
    assert len({tuple(row) for row in bag[:, [1, 4]].toarray()}) >= 1  # words alone do not tell
    assert model.history_[-1]["train_loss"] < 0.5 * model.history_[0]["train_loss"]
    np.testing.assert_array_equal(model.classes_, ["no", "yes"])
    assert model.stages_ == ("model.embeddings", "model.encoder.layer.0", "model.encoder.layer.1")
    assert model.n_features_in_ == 1
    assert model.transform(X).shape == (48, 32)
    np.testing.assert_array_equal(
        clone(model).set_params(max_epochs=2).fit(X, y).predict_proba(X),
        clone(model).set_params(max_epochs=2).fit(X, y).predict_proba(X),
    )


@pytest.mark.parametrize("unfreeze, n_frozen", [("head", 3), (1, 2), ("model.encoder.layer.0", 1)])
def test_frozen_stages_stay_as_they_are(encoder, texts, unfreeze, n_frozen):
    X, y = texts
    model = FineTunedClassifier(encoder, unfreeze=unfreeze, **QUICK | {"max_epochs": 1}).fit(X, y)
    start = FineTunedClassifier(encoder, strategy="linear_probe").fit(X, y)
    before = dict(start._built.backbone.named_parameters())
    names = {id(p): n for n, p in model._built.backbone.named_parameters()}
    for number, group in enumerate(model._built.depth.parameters(model._built.backbone)):
        moved = [not torch.equal(p, before[names[id(p)]]) for p in group]
        assert any(moved) == (number >= n_frozen)


def test_a_row_does_not_depend_on_its_neighbours(encoder, texts):
    X, y = texts
    model = FineTunedClassifier(encoder, **QUICK | {"max_epochs": 1}).fit(X, y)
    p = model.predict_proba(X)
    np.testing.assert_allclose(model.predict_proba(X[::-1])[::-1], p, atol=1e-6)
    np.testing.assert_allclose(model.predict_proba(X[3:4]), p[3:4], atol=1e-6)
    assert model.predict_proba([""]).shape == (1, 2)


@pytest.mark.parametrize(
    "settings",
    [
        {"strategy": "linear_probe"},
        {"strategy": "lp_ft"},
        {"early_stopping": True, "validation_fraction": 0.25},
        {"gradual_unfreezing": 1, "layer_decay": 0.5, "accumulate": 3, "clip_norm": 1.0},
        {"class_weight": "balanced", "balanced_batches": True, "precision": "bfloat16"},
    ],
)
@pytest.mark.filterwarnings("ignore:L-BFGS stopped")
def test_every_way_to_train(encoder, texts, settings):
    X, y = texts
    model = FineTunedClassifier(encoder, **QUICK | {"max_epochs": 2} | settings)
    if settings.get("strategy") != "finetune":
        model.set_params(batch_size="auto", lr="auto")
    model.fit(X, y, sample_weight=np.linspace(1, 2, len(y)))
    assert np.isfinite(model.predict_proba(X)).all()


def test_lora_on_an_encoder(encoder, texts):
    pytest.importorskip("peft")
    X, y = texts
    model = FineTunedClassifier(encoder, strategy="lora", lora_rank=2, **QUICK).fit(X, y)
    start = FineTunedClassifier(encoder, strategy="linear_probe").fit(X, y)
    before = start._built.backbone.state_dict()
    after = model._built.backbone.state_dict()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved and all(before[name].ndim == 2 and ".layer." in name for name in moved)
    for name in moved:
        sizes = torch.linalg.svdvals((after[name] - before[name]).double())
        assert sizes[2] < 1e-4 * sizes[0]


def test_a_fine_tuned_encoder_is_a_backbone(encoder, texts):
    X, y = texts
    old = FineTunedClassifier(encoder, **QUICK | {"max_epochs": 2}).fit(X, y)
    probe = FineTunedRegressor(old, strategy="linear_probe").fit(X, np.arange(48.0))
    np.testing.assert_allclose(probe.transform(X), old.transform(X), atol=1e-5)
    np.testing.assert_allclose(
        PretrainedFeatureTransformer(old).fit(X).transform(X), old.transform(X), atol=1e-5
    )
    plain = PretrainedFeatureTransformer(encoder).fit(X).transform(X)
    assert np.abs(plain - old.transform(X)).max() > 1e-3


def test_as_part_of_scikit_learn(encoder, texts):
    X, y = texts
    model = make_pipeline(FineTunedClassifier(encoder, **QUICK | {"max_epochs": 1}))
    assert cross_val_score(model, np.array(X, dtype=object), y, cv=2).shape == (2,)
    frame = pd.DataFrame({"text": X})
    by_frame = model.fit(frame, y).predict_proba(frame)
    np.testing.assert_array_equal(model.fit(X, y).predict_proba(X), by_frame)


@pytest.mark.parametrize("augment", ["mixup", "flip", lambda x: x])
def test_texts_are_not_augmented(encoder, texts, augment):
    X, y = texts
    with pytest.raises(ValueError, match="augment=.*the rows of X are texts. Set augment=None"):
        FineTunedClassifier(encoder, augment=augment).fit(X, y)


def test_numbers_are_no_texts(encoder, texts):
    with pytest.raises(ValueError, match="takes one text per row|takes texts"):
        FineTunedClassifier(encoder).fit(np.zeros((4, 3)), [0, 1, 0, 1])

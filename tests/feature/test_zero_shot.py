"""Classes by their names: beside transformers' own CLIP, and in a joint space that is planted."""

import copy
import dataclasses

import numpy as np
import pytest
import torch
from scipy.special import expit, softmax
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import LabelEncoder

import skltransfer
from skltransfer import (
    FineTunedClassifier,
    PooledEstimator,
    PretrainedFeatureTransformer,
    TransferLogisticRegression,
    TransferLogisticRegressionCV,
    WithSource,
    ZeroShotClassifier,
    interpolate_weights,
    load_backbone,
)
from tests.planted_space import CLASSES, planted_images, planted_text_encoder
from tests.tiny_bert import quiet, save_tiny_bert
from tests.tiny_clip import SIZE, save_two_towers

transformers = pytest.importorskip("transformers")

PIXELS = np.random.default_rng(0).integers(0, 256, (6, SIZE, SIZE, 3), dtype=np.uint8)
NAMES = ["plot", "film", "dull", "great"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return {k: save_two_towers(tmp_path_factory.mktemp(k), k) for k in ("clip", "siglip")}


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return planted_text_encoder(tmp_path_factory.mktemp("planted"))


def logits_of(spec, texts):
    folder = spec.removeprefix("hf:")
    with quiet():
        model = transformers.AutoModel.from_pretrained(folder).eval()
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        processor = transformers.AutoImageProcessor.from_pretrained(folder)
    is_siglip = model.config.model_type == "siglip"
    tokens = tokenizer(
        texts,
        return_tensors="pt",
        padding="max_length" if is_siglip else True,
        return_token_type_ids=False,
        return_attention_mask=not is_siglip,
    )
    with torch.no_grad():
        return model(**processor(list(PIXELS), return_tensors="pt"), **tokens).logits_per_image


# --- the scores are those of the network -----------------------------------------------


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_equal_to_the_whole_network(folders, kind):
    spec = folders[kind]
    model = make_pipeline(
        PretrainedFeatureTransformer(spec),
        ZeroShotClassifier(spec, NAMES, templates="the very {} film."),
    ).fit(PIXELS)
    names = sorted(NAMES)
    assert model.classes_.tolist() == names
    expected = logits_of(spec, [f"the very {name} film." for name in names])
    np.testing.assert_allclose(model.decision_function(PIXELS), expected, atol=1e-3)
    np.testing.assert_allclose(model.predict_proba(PIXELS), expected.softmax(1), atol=1e-4)
    best = [names[i] for i in expected.argmax(1).tolist()]
    assert model.predict(PIXELS).tolist() == best
    assert expected.std(dim=0).max() > 0.05  # images differ
    np.testing.assert_allclose(
        np.exp(model.predict_log_proba(PIXELS)), model.predict_proba(PIXELS), atol=1e-12
    )
    if kind == "siglip":
        assert (model[-1].intercept_ < 0).all()
        np.testing.assert_allclose(
            expit(model.decision_function(PIXELS)), expected.sigmoid(), atol=1e-4
        )


def test_two_classes_have_one_score(folders):
    for spec in folders.values():
        features = PretrainedFeatureTransformer(spec).fit_transform(PIXELS)
        model = ZeroShotClassifier(spec, ["film", "dull"], templates="{}").fit(features)
        expected = logits_of(spec, ["dull", "film"]).double().numpy()
        np.testing.assert_allclose(
            model.decision_function(features), expected[:, 1] - expected[:, 0], atol=1e-3
        )
        np.testing.assert_allclose(
            model.predict_proba(features), softmax(expected, axis=1), atol=1e-4
        )
        assert model.coef_.shape == (1, features.shape[1]) and model.intercept_ == 0


def test_templates_and_names_of_a_class_are_averaged(folders):
    """Radford et al. 2021, section 3.1.4, by hand."""
    spec = folders["clip"]
    features = PretrainedFeatureTransformer(spec).fit_transform(PIXELS)
    names = {7: ["film", "plot"], 3: "dull", 5: ["great"]}
    templates = ["a {}", "the very {} film", "{}"]
    model = ZeroShotClassifier(spec, names, templates=templates, logit_scale=2.5).fit(features)
    texts = PretrainedFeatureTransformer(f"{spec}#text")

    def mean(*names):
        z = texts.fit_transform([t.replace("{}", n) for n in names for t in templates])
        z = z / np.linalg.norm(z, axis=1, keepdims=True)
        return z.mean(0) / np.linalg.norm(z.mean(0))

    expected = np.stack([mean("dull"), mean("great"), mean("film", "plot")])
    assert model.classes_.tolist() == [3, 5, 7]
    np.testing.assert_allclose(model.class_features_, expected, atol=1e-6)
    np.testing.assert_allclose(model.coef_, 2.5 * expected, atol=1e-5)
    assert np.abs(expected[2] - mean("film")).max() > 0.01
    longer = model.decision_function(7 * features)
    np.testing.assert_allclose(longer, model.decision_function(features), rtol=1e-5)


def test_every_spelling_of_the_text_tower_and_its_record(folders):
    spec = folders["clip"]
    features = PretrainedFeatureTransformer(spec).fit_transform(PIXELS)
    spellings = [spec, f"{spec}#image", f"{spec}#text", load_backbone(f"{spec}#text")]
    coefs = [ZeroShotClassifier(b, NAMES).fit(features).coef_ for b in spellings]
    for coef in coefs[1:]:
        np.testing.assert_array_equal(coef, coefs[0])
    scale = load_backbone(spec).module.logit_scale
    np.testing.assert_allclose(np.linalg.norm(coefs[0], axis=1), scale, rtol=1e-6)


def test_it_is_the_output_layer_at_which_a_fine_tuned_network_begins(folders):
    """WiSE-FT: at no share of the trained network it is the zero-shot classifier."""
    spec, y = folders["clip"], NAMES[:2] * 3
    zero_shot = make_pipeline(PretrainedFeatureTransformer(spec), ZeroShotClassifier(spec, NAMES))
    zero_shot.set_params(zeroshotclassifier__class_names=NAMES[:2]).fit(PIXELS)
    tuned = FineTunedClassifier(spec, max_epochs=2).fit(PIXELS, y)
    start = interpolate_weights(zero_shot[-1], tuned, 0.0)
    np.testing.assert_allclose(
        start.predict_proba(PIXELS), zero_shot.predict_proba(PIXELS), atol=1e-4
    )
    middle = interpolate_weights(zero_shot[-1], tuned, 0.5).predict_proba(PIXELS)
    assert np.abs(middle - start.predict_proba(PIXELS)).max() > 1e-3
    assert np.abs(middle - tuned.predict_proba(PIXELS)).max() > 1e-3


def test_saved_and_loaded_without_its_texts(folders, tmp_path):
    spec = folders["clip"]
    model = make_pipeline(PretrainedFeatureTransformer(spec), ZeroShotClassifier(spec, NAMES))
    model.fit(PIXELS)
    twin = skltransfer.load(skltransfer.save(model, tmp_path / "model.skops"))
    np.testing.assert_array_equal(twin.predict_proba(PIXELS), model.predict_proba(PIXELS))


# --- what it is good for ---------------------------------------------------------------


def test_better_than_chance_and_than_wrong_names(encoder):
    X, y = planted_images(40)
    right = ZeroShotClassifier(encoder, list(CLASSES)).fit(X).score(X, y)
    mixed = dict(zip(CLASSES, CLASSES[1:] + CLASSES[:1], strict=True))
    wrong = ZeroShotClassifier(encoder, mixed).fit(X).score(X, y)
    assert right > 0.6 > 1 / 8 > wrong


def scores(encoder, n_per_class, n_draws):
    """Return accuracies: labels alone, near the names, and with the names as further samples."""
    X_test, y_test = planted_images(50, seed=1000)
    head = ZeroShotClassifier(encoder, list(CLASSES)).fit(X_test)
    found = []
    for draw in range(n_draws):
        X, y = planted_images(n_per_class, seed=draw)
        probe = LogisticRegression(C=10, max_iter=1000)
        models = (
            probe,
            TransferLogisticRegression(head)
            if n_per_class == 1
            else TransferLogisticRegressionCV(head),
            WithSource(PooledEstimator(clone(probe)), head.class_features_, head.classes_),
        )
        found.append([model.fit(X, y).score(X_test, y_test) for model in models])
    return np.mean(found, axis=0), head.score(X_test, y_test)


def test_names_help_with_few_labels_and_do_no_harm_with_many(encoder):
    (alone, near, with_texts), zero_shot = scores(encoder, 1, 4)
    assert near > zero_shot and near > alone + 0.15
    assert with_texts > alone + 0.15
    (alone, near, with_texts), zero_shot = scores(encoder, 64, 1)
    assert alone > zero_shot + 0.1
    assert near > alone - 0.02 and with_texts > alone - 0.02


def test_as_the_source_of_a_probe_with_other_classes(encoder):
    X, y = planted_images(3)
    head = ZeroShotClassifier(encoder, {name: name for name in (*CLASSES, "photo")}).fit(X)
    kept = np.isin(y, ["cat", "dog", "truck"])
    probe = TransferLogisticRegression(head, alpha=np.inf).fit(X[kept], y[kept])
    rows = np.searchsorted(head.classes_, probe.classes_)
    np.testing.assert_allclose(probe.coef_, head.coef_[rows])
    np.testing.assert_allclose(probe.predict_proba(X), softmax(X @ head.coef_[rows].T, axis=1))


def test_in_a_search_beside_the_means_of_the_samples(encoder):
    X, y = planted_images(2)
    grid = {"backbone": [None, encoder], "templates": [["{}"], ["a photo of a {}"]]}
    model = ZeroShotClassifier(class_names=list(CLASSES))
    search = GridSearchCV(model, grid, cv=2, error_score="raise").fit(X, y)
    found = search.cv_results_["mean_test_score"]
    assert found[0] == found[1] and (found[2:] > 0.3).all()  # without names no templates
    means = ZeroShotClassifier().fit(X, y)
    unit = np.stack([X[y == name].sum(0) for name in means.classes_])
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    np.testing.assert_allclose(means.class_features_, unit)
    assert means.logit_scale_ == 20


def test_the_logarithm_in_a_module_of_the_user_is_not_taken_for_the_scale(encoder):
    X, _ = planted_images(1)
    record = load_backbone(encoder)
    module = copy.deepcopy(record.module)
    module.logit_scale = torch.tensor(4.6)
    model = ZeroShotClassifier(dataclasses.replace(record, module=module), list(CLASSES)).fit(X)
    assert model.logit_scale_ == 20


# --- wrong input -----------------------------------------------------------------------


def test_labels_as_names(encoder):
    X, y = planted_images(1)
    by_labels = ZeroShotClassifier(encoder).fit(X, y)
    np.testing.assert_array_equal(
        by_labels.coef_, ZeroShotClassifier(encoder, list(CLASSES)).fit(X).coef_
    )
    with pytest.raises(ValueError, match=r"labels in y are no texts, such as 0. Pass a dictionary"):
        ZeroShotClassifier(encoder).fit(X, LabelEncoder().fit_transform(y))
    with pytest.raises(ValueError, match=r"y holds \['truck'\], which class_names does not name"):
        ZeroShotClassifier(encoder, list(CLASSES[:-1])).fit(X, y)
    with pytest.raises(ValueError, match="class_names=None requires y to be passed"):
        ZeroShotClassifier(encoder).fit(X)
    with pytest.raises(ValueError, match="backbone=None requires y to be passed"):
        ZeroShotClassifier().fit(X)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"class_names": "cat"}, "class_names='cat' of type str is no list. Pass a list of texts"),
        ({"class_names": 8}, "class_names=8 of type int is no list"),
        ({"class_names": {0: "cat", 1: 2}}, "class_names=2 of type int is no list"),
        ({"templates": 8}, "templates=8 of type int is no list"),
        ({"class_names": ["cat", "dog", "cat"]}, "holds a name twice"),
        ({"class_names": ["cat"]}, "at least 2 classes"),
        ({"class_names": ["cat", ""]}, "not empty"),
        ({"class_names": {0: "cat", 1: []}}, "class 1 has the names"),
        ({"class_names": {0: "cat", "1": "dog"}}, "mixes labels of several types"),
        ({"templates": "a photo"}, r"templates='a photo' has to hold"),
        ({"templates": []}, "at least one text"),
        ({"logit_scale": -1}, "logit_scale=-1"),
        ({"backbone": "tiny"}, "takes no texts"),
    ],
)
def test_wrong_parameters(encoder, parameters, message):
    X, _ = planted_images(1)
    with pytest.raises(ValueError, match=message):
        ZeroShotClassifier(**{"backbone": encoder, "class_names": list(CLASSES)} | parameters).fit(
            X
        )


def test_embeddings_of_another_space(encoder, tmp_path):
    X, _ = planted_images(1)
    with pytest.raises(ValueError, match="X has 31 features, and 'planted' embeds texts in 32"):
        ZeroShotClassifier(encoder, list(CLASSES)).fit(X[:, 1:])
    bert = save_tiny_bert(tmp_path)  # an encoder of texts alone: for embeddings of its own texts
    texts = ["good film", "bad film"]
    features = PretrainedFeatureTransformer(bert).fit_transform(texts)
    model = ZeroShotClassifier(bert, texts, templates="{}").fit(features)
    assert model.predict(features).tolist() == texts

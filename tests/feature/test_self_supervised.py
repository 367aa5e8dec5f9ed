"""Networks trained without labels: what they learn, and that they fit in everywhere."""

import json
import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from sklearn.base import clone
from sklearn.callback import ProgressBar
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits, load_wine
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

import skltransfer
from skltransfer import (
    FeatureStore,
    FineTunedClassifier,
    PretrainedFeatureTransformer,
    SelfSupervisedTransformer,
)
from tests.rounding import assert_within_rounding
from tests.tiny_bert import save_tiny_bert

DIGITS, LABELS = load_digits(return_X_y=True)
WINE, WINE_LABELS = load_wine(return_X_y=True)
FLAT = {"image_shape": (8, 8), "value_range": (0, 16)}
METHODS = ("simclr", "barlow", "rotation", "denoising", "masked")
OF_TABLES = tuple(method for method in METHODS if method != "rotation")


def build_convolutions():
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(32),
        nn.ReLU(),
    )


def convolutions(seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build_convolutions()


def of_images(method="simclr", **settings):
    settings = {"max_epochs": 3, "batch_size": 64, "pooling": "grid2"} | settings
    return SelfSupervisedTransformer(convolutions(), method, **FLAT | settings)


def of_table(method="simclr", **settings):
    return SelfSupervisedTransformer(method=method, **{"max_epochs": 10} | settings)


def tensors_of(module):
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


# --- training --------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_training_on_images_lowers_the_loss_and_changes_a_copy(method):
    model = of_images(method, max_epochs=6)
    before = tensors_of(model.backbone)
    features = model.fit_transform(DIGITS[:400])
    assert features.shape == (400, 128) and np.isfinite(features).all()
    losses = [record["train_loss"] for record in model.history_]
    assert len(losses) == model.n_iter_ == 6 and losses[-1] < 0.95 * losses[0]
    for name, tensor in model.backbone.state_dict().items():
        assert torch.equal(tensor, before[name])
    assert model.backbone.training and all(p.requires_grad for p in model.backbone.parameters())
    trained = model.backbone_.module
    for name, parameter in trained.named_parameters():
        assert not torch.equal(parameter, before[name]), name
    assert not torch.equal(trained[1].running_mean, before["1.running_mean"])


@pytest.mark.parametrize("noise", ["swap", "gaussian"])
@pytest.mark.parametrize("method", OF_TABLES)
def test_training_on_a_table_lowers_the_loss_and_changes_the_network(method, noise):
    model = of_table(method, noise=noise, max_epochs=30).fit(WINE)
    losses = [record["train_loss"] for record in model.history_]
    assert losses[-1] < 0.95 * losses[0]
    start = of_table(method, lr=1e-30, warmup=0.0, max_epochs=1).fit(WINE)
    columns = model.backbone_.module.columns
    np.testing.assert_allclose(columns.mean, WINE.mean(0))
    np.testing.assert_allclose(columns.scale, WINE.std(0))
    for name, parameter in start.backbone_.module.named_parameters():
        assert not torch.allclose(parameter, model.backbone_.module.get_parameter(name)), name


def test_units_of_columns_do_not_matter():
    """Not even for a network of the user's own: errors are in standard deviations."""
    for method in OF_TABLES:
        scales = 10.0 ** np.arange(-6, 7)
        a = of_table(method).fit_transform(WINE)
        b = of_table(method).fit_transform(WINE * scales + 3)
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
    own = SelfSupervisedTransformer(nn.Linear(13, 4), "denoising", max_epochs=1)
    small = own.fit(WINE / WINE.std(0)).history_[0]["train_loss"]
    assert small < 10 and own.fit(WINE).history_[0]["train_loss"] < 1e6


def test_each_method_and_setting_trains_another_network():
    variants = [
        *({"method": method} for method in METHODS),
        {"strength": 0.3},
        {"temperature": 1.0},
        {"augment": "crop"},
        {"projection_sizes": (16,)},
        {"random_state": 1},
        {"method": "masked", "corruption": 0.2},
        {"method": "denoising", "corruption": 0.1},
        {"method": "barlow", "redundancy_weight": 1.0},
        {"optimizer": "sgd"},
        {"schedule": "constant"},
        {"weight_decay": 1.0},
        {"batch_size": 32},
        {"clip_norm": 1e-3},
    ]
    features = [of_images(**v, max_epochs=3).fit_transform(DIGITS[:128]) for v in variants]
    for i, one in enumerate(features):
        for other in features[:i]:
            assert not np.allclose(one, other, atol=1e-6)


def test_features_help_where_labels_are_few():
    """With five labels a class, a linear probe beats the same network with random weights."""
    unlabelled, rest = DIGITS[:1000], slice(1000, None)
    network = convolutions()
    taps = FLAT | {"pooling": "grid2"}
    model = of_images(max_epochs=12).fit(unlabelled)
    random = PretrainedFeatureTransformer(network, **taps).fit(unlabelled)
    gains = []
    for seed in range(5):
        rng = np.random.default_rng(seed)
        few = np.concatenate(
            [rng.permutation(np.flatnonzero(LABELS[:1000] == c))[:5] for c in range(10)]
        )
        scores = [
            make_pipeline(StandardScaler(), LogisticRegression(max_iter=500))
            .fit(features.transform(unlabelled[few]), LABELS[few])
            .score(features.transform(DIGITS[rest]), LABELS[rest])
            for features in (model, random)
        ]
        gains.append(scores[0] - scores[1])
    assert np.mean(gains) > 0.03 and min(gains) > 0


# --- the same fit, the same features ---------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_two_fits_are_equal_and_global_generators_stay(method):
    torch.manual_seed(3)
    states = torch.get_rng_state(), np.random.get_state()[1].copy()
    first = of_images(method, max_epochs=2).fit_transform(DIGITS[:130])
    assert torch.equal(torch.get_rng_state(), states[0])
    assert (np.random.get_state()[1] == states[1]).all()
    torch.manual_seed(4)
    again = of_images(method, max_epochs=2).fit(DIGITS[:130], y="ignored")
    np.testing.assert_array_equal(again.transform(DIGITS[:130]), first)


@pytest.mark.parametrize("model", [of_images(max_epochs=1), of_table(max_epochs=1)])
def test_features_depend_on_the_row_alone_and_move_nothing(model):
    model = clone(model).set_params(store=None).fit(DIGITS[:200])
    before = tensors_of(model.backbone_.module)
    features = model.transform(DIGITS[:200])
    order = np.random.default_rng(0).permutation(200)
    assert_within_rounding(model.transform(DIGITS[order]), features[order])
    assert_within_rounding(model.transform(DIGITS[7:8])[0], features[7])
    after = model.backbone_.module.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not any(part.training for part in model.backbone_.module.modules())


def test_rows_pass_the_network_once_per_store():
    store = FeatureStore()
    model = of_table(store=store).fit(WINE)
    features = model.transform(WINE)
    model.backbone_.module.hidden1[0].weight.data.zero_()
    np.testing.assert_array_equal(model.transform(WINE), features)
    store.clear()
    assert not np.allclose(model.transform(WINE), features)


def test_training_without_steps_gives_the_features_of_the_start():
    """Statistics that a source has learned stay; nothing moves but weights."""
    settings = {"layers": ["stage2"], "input_size": 16, **FLAT}
    model = SelfSupervisedTransformer("tiny", lr=1e-30, warmup=0, max_epochs=1, **settings)
    frozen = PretrainedFeatureTransformer("tiny", **settings).fit(DIGITS[:40])
    found = model.fit_transform(DIGITS[:40])
    np.testing.assert_allclose(found, frozen.transform(DIGITS[:40]), rtol=1e-5, atol=1e-6)


# --- what goes in ----------------------------------------------------------------------------


def test_all_forms_of_the_same_images_give_the_same_fit():
    pixels = (DIGITS[:40] * 255 / 16).round().astype(np.uint8)
    images = pixels.reshape(-1, 8, 8)
    settings = {"max_epochs": 1, "input_size": 16}
    expected = None
    for X, own in ((images, {}), (images[..., None], {}), (pixels, {"image_shape": (8, 8)})):
        model = SelfSupervisedTransformer("tiny", "rotation", **settings, **own)
        found = model.fit_transform(X)
        expected = found if expected is None else expected
        np.testing.assert_array_equal(found, expected)
    X = pd.Series([Image.fromarray(image) for image in images])
    found = SelfSupervisedTransformer("tiny", "rotation", **settings).fit_transform(X)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


def test_no_backbone_takes_images_as_tables():
    images = (DIGITS[:50] / 16).reshape(-1, 8, 8)
    model = of_table()
    np.testing.assert_array_equal(
        model.fit_transform(images), of_table().fit_transform(DIGITS[:50] / 16)
    )
    assert model.n_features_in_ == 64


def test_networks_come_as_functions_names_and_records():
    lazy = SelfSupervisedTransformer(build_lazy, "barlow", max_epochs=1).fit(WINE)
    assert lazy.transform(WINE).shape == (178, 6)
    named = SelfSupervisedTransformer(
        "resnet18", weights=None, input_size=32, batch_size=8, max_epochs=1, **FLAT
    )
    assert named.fit_transform(DIGITS[:8]).shape == (8, 512)


def build_lazy():
    return nn.Sequential(nn.LazyLinear(6), nn.ReLU())


def test_read_only_rows_stay_as_they_are():
    X = WINE.copy()
    X.setflags(write=False)
    np.testing.assert_array_equal(of_table().fit_transform(X), of_table().fit_transform(WINE))


def test_sixteen_bits_train_close_to_thirty_two():
    exact, mixed = (of_images(precision=p).fit(DIGITS[:128]) for p in ("float32", "bfloat16"))
    losses = [model.history_[-1]["train_loss"] for model in (exact, mixed)]
    assert losses[0] == pytest.approx(losses[1], rel=0.05) and losses[0] != losses[1]
    assert mixed.transform(DIGITS[:4]).dtype == np.float32
    assert of_table(precision="float32").fit_transform(WINE).dtype == np.float32
    assert of_table().fit_transform(WINE).dtype == np.float64


def test_views_and_losses_are_in_full_precision():
    """In 16 bits neither the places of pixels nor similarities have enough digits."""
    seen = {}

    class Watching(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(64, 8)

        def forward(self, x):
            seen["network"] = torch.is_autocast_enabled("cpu")
            return self.layer(x)

    def view(x):
        seen["view"] = torch.is_autocast_enabled("cpu")
        return x + torch.randn_like(x)

    SelfSupervisedTransformer(Watching(), augment=view, precision="bfloat16", max_epochs=1).fit(
        DIGITS[:20]
    )
    assert seen == {"network": True, "view": False}
    for method in ("simclr", "barlow"):
        settings = {"lr": 1e-30, "warmup": 0.0, "max_epochs": 1}
        exact, mixed = (
            of_images(method, precision=p, **settings).fit(DIGITS[:64]).history_[0]["train_loss"]
            for p in ("float32", "bfloat16")
        )
        assert mixed == pytest.approx(exact, rel=0.02) and mixed != exact


def test_constant_columns_and_few_rows_are_no_trouble():
    X = WINE.copy()
    X[:, [0, 5]] = 7.0
    for method in OF_TABLES:
        assert np.isfinite(of_table(method).fit_transform(X)).all()
        assert np.isfinite(of_table(method).fit_transform(np.ones((5, 3)))).all()
        assert np.isfinite(of_table(method, batch_size=2).fit_transform(WINE[:5])).all()


# --- a backbone for others -------------------------------------------------------------------


def test_a_fitted_one_is_the_backbone_of_others():
    model = of_images().fit(DIGITS[:400])
    features = model.transform(DIGITS[:50])
    frozen = PretrainedFeatureTransformer(model, **FLAT).fit(DIGITS[:50])
    np.testing.assert_array_equal(frozen.transform(DIGITS[:50]), features)
    before = tensors_of(model.backbone_.module)
    tuned = FineTunedClassifier(clone(frozen).backbone, max_epochs=3, **FLAT)
    tuned.fit(DIGITS[:100], LABELS[:100])
    probe = FineTunedClassifier(model, strategy="linear_probe", **FLAT)
    probe.fit(DIGITS[:100], LABELS[:100])
    np.testing.assert_allclose(probe.transform(DIGITS[:50]), features, atol=1e-6)
    assert np.abs(tuned.transform(DIGITS[:50]) - features).max() > 1e-3
    again = SelfSupervisedTransformer(model, "rotation", max_epochs=1, **FLAT).fit(DIGITS[:64])
    assert again.backbone_.name == model.backbone_.name == "trained Sequential"
    after = model.backbone_.module.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    of_columns = of_table().fit(WINE)
    assert FineTunedClassifier(of_columns).fit(WINE, WINE_LABELS).score(WINE, WINE_LABELS) > 0.9


def test_a_plain_pipeline_of_features_and_clusters():
    model = make_pipeline(of_table("denoising"), KMeans(3, random_state=0, n_init=2))
    clusters = model.fit(WINE).predict(WINE)
    assert set(clusters) == {0, 1, 2}
    expected = of_table("denoising").fit_transform(WINE)
    expected = KMeans(3, random_state=0, n_init=2).fit_predict(expected)
    np.testing.assert_array_equal(clusters, expected)


def test_a_search_over_methods():
    model = make_pipeline(of_table(), StandardScaler(), LogisticRegression())
    grid = {"selfsupervisedtransformer__method": list(OF_TABLES)}
    search = GridSearchCV(model, grid, cv=2, error_score="raise").fit(WINE, WINE_LABELS)
    scores = search.cv_results_["mean_test_score"]
    assert (scores > 0.85).all() and len(set(scores)) > 1


def test_names_of_features_and_data_frames():
    frame = pd.DataFrame(WINE, columns=[f"c{i}" for i in range(13)])
    model = of_table(hidden_layer_sizes=(3,)).set_output(transform="pandas").fit(frame)
    assert list(model.transform(frame)) == [f"selfsupervisedtransformer{i}" for i in range(3)]
    assert list(model.feature_names_in_) == list(frame)
    with pytest.raises(ValueError, match="feature names"):
        model.transform(frame[frame.columns[::-1]])


def test_clones_and_pickles(tmp_path):
    model = of_images().fit(DIGITS[:80])
    twin = clone(model)
    assert twin.backbone is model.backbone and not hasattr(twin, "backbone_")
    features = model.transform(DIGITS[:20])
    np.testing.assert_array_equal(
        pickle.loads(pickle.dumps(model)).transform(DIGITS[:20]), features
    )
    skltransfer.save(model, tmp_path / "model.skops")
    loaded = skltransfer.load(tmp_path / "model.skops")
    np.testing.assert_array_equal(loaded.transform(DIGITS[:20]), features)
    FineTunedClassifier(loaded, max_epochs=1, **FLAT).fit(DIGITS[:40], LABELS[:40])


# --- callbacks -------------------------------------------------------------------------------


class Stop:
    """Ends the training after some epochs, and keeps the features of each."""

    def __init__(self, after):
        self.after, self.features = after, []

    def setup(self, estimator, context):
        pass

    teardown = setup

    def on_fit_task_begin(self, estimator, context):
        pass

    def on_fit_task_end(self, estimator, context, *, X=None, fitted_estimator=None):
        if context.task_name != "epoch":
            return None
        assert len(fitted_estimator.history_) == len(self.features) + 1
        self.features.append(fitted_estimator.transform(X))
        return len(self.features) >= self.after


def test_a_callback_sees_the_network_of_its_epoch_and_may_stop():
    stop = Stop(3)
    model = of_images(max_epochs=9).set_callbacks(stop).fit(DIGITS[:64])
    assert model.n_iter_ == len(model.history_) == len(stop.features) == 3
    assert not np.array_equal(stop.features[0], stop.features[1])
    np.testing.assert_array_equal(stop.features[-1], model.transform(DIGITS[:64]))
    watched = of_images().set_callbacks(Stop(99)).fit_transform(DIGITS[:64])
    np.testing.assert_array_equal(watched, of_images().fit_transform(DIGITS[:64]))


def test_an_interrupted_fit_leaves_nothing_half_done():
    class Interrupt(Stop):
        def on_fit_task_end(self, estimator, context, *, X=None, fitted_estimator=None):
            if context.task_name == "epoch":
                raise KeyboardInterrupt

    model = of_table().fit(WINE)
    with pytest.raises(KeyboardInterrupt):
        model.set_callbacks(Interrupt(1)).fit(WINE[:, :5])
    with pytest.raises(NotFittedError):
        model.transform(WINE[:, :5])


def test_progress_bars(capsys):
    of_table().set_callbacks(ProgressBar()).fit(WINE)
    assert "SelfSupervisedTransformer" in capsys.readouterr().out


# --- what is refused -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "simclear"}, "method='simclear' is not one of.*Did you mean 'simclr'"),
        ({"method": None}, "method=None is not one of"),
        ({"method": "rotation"}, "turns images, and X is read as a table.*backbone=None"),
        ({"batch_size": 1}, "batch_size=1.*compares the samples of a batch"),
        ({"batch_size": 0}, "batch_size=0 is not an integer of at least 1"),
        ({"input_size": 0}, "input_size=0 is not an integer of at least 1"),
        ({"temperature": 0}, "temperature=0 is not a number greater than 0"),
        ({"redundancy_weight": -1}, "redundancy_weight=-1"),
        ({"corruption": 0}, "corruption=0 is not"),
        ({"method": "masked", "corruption": 1.5}, "corruption=1.5 is a share of the columns"),
        ({"noise": "salt"}, "noise='salt' is not one of 'swap', 'gaussian'"),
        ({"augment": "crops"}, "there is no policy 'crops'.*Did you mean 'crop'"),
        ({"augment": "crop"}, "augment='crop' changes images"),
        ({"augment": "cutmix"}, "a view shows one sample"),
        ({"strength": -1}, "strength=-1"),
        ({"projection_sizes": ()}, r"projection_sizes=\(\) is not a list"),
        ({"hidden_layer_sizes": 64}, "hidden_layer_sizes=64 is not a list"),
        ({"optimizer": "lbfgs"}, "optimizer='lbfgs' is not one of"),
        ({"max_epochs": 0}, "max_epochs=0"),
        ({"lr": 0}, "lr=0"),
        ({"store": "disk"}, "store='disk'"),
        ({"precision": "int8"}, "precision='int8'"),
        ({"backbone": "tiny"}, "takes images.*image_shape"),
        ({"backbone": nn.Linear(5, 2)}, "cannot take rows of shape"),
    ],
    ids=lambda value: None if isinstance(value, dict) else value[:20],
)
def test_parameters_that_make_no_sense(settings, message):
    with pytest.raises(ValueError, match=message):
        of_table(**settings).fit(WINE)


def test_rows_that_make_no_sense(tmp_path):
    for method in METHODS:
        with pytest.raises(ValueError, match=r"X has 1 sample.*at least 2"):
            of_images(method).fit(DIGITS[:1])
    with pytest.raises(ValueError, match="NaN"):
        of_table().fit(np.where(WINE > 1000, np.nan, WINE))
    wide = SelfSupervisedTransformer(convolutions(), "rotation", max_epochs=1)
    with pytest.raises(ValueError, match=r"by 90 degrees, and the images of X have 6 x 8 pixels"):
        wide.fit(DIGITS[:8].reshape(-1, 8, 8)[:, :6] / 16)
    with pytest.raises(ValueError, match="have 4 channels, and the backbone takes 3"):
        SelfSupervisedTransformer("tiny").fit(np.zeros((3, 16, 16, 4)))
    with pytest.raises(TypeError, match="paths, images or texts, which backbone=None"):
        of_table().fit(["a.png", "b.png"])
    text = SelfSupervisedTransformer(save_tiny_bert(tmp_path))
    with pytest.raises(ValueError, match="text encoder.*takes images and tables"):
        text.fit(["a good film", "a bad plot"])
    table = of_table().fit(WINE)
    with pytest.raises(ValueError, match="cannot take rows of shape"):
        SelfSupervisedTransformer(table).fit(WINE[:, :1])
    with pytest.raises(ValueError, match="13 features"):
        table.transform(WINE[:, :5])


def test_an_unfitted_one_is_no_backbone():
    with pytest.raises(NotFittedError):
        of_table().transform(WINE)
    with pytest.raises(NotFittedError, match="Fit it first"):
        FineTunedClassifier(of_table()).fit(WINE, WINE_LABELS)
    frozen = FrozenEstimator(of_table().fit(WINE))
    assert FineTunedClassifier(frozen, max_epochs=2).fit(WINE, WINE_LABELS).n_iter_ >= 1


# --- on a GPU --------------------------------------------------------------------------------


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("method", METHODS)
def test_training_on_a_gpu_learns_and_gives_a_network_for_any_device(method, precision):
    state = torch.cuda.get_rng_state()
    model = of_images(method, device="cuda", precision=precision, max_epochs=6).fit(DIGITS[:400])
    assert torch.equal(torch.cuda.get_rng_state(), state)
    losses = [record["train_loss"] for record in model.history_]
    assert losses[-1] < 0.95 * losses[0]
    features = model.transform(DIGITS[:50])
    on_cpu = PretrainedFeatureTransformer(model, device="cpu", **FLAT).fit_transform(DIGITS[:50])
    np.testing.assert_allclose(features, on_cpu, rtol=1e-3, atol=1e-3)


# --- what the guide says ---------------------------------------------------------------------


def test_the_guide_shows_what_the_script_measured():
    root = Path(__file__).resolve().parents[2]
    record = json.loads((root / "benchmarks" / "accuracy" / "self_supervised.json").read_text())
    guide = (root / "docs" / "guide" / "self_supervised.md").read_text()
    headers = {
        "digits": ("| features | USPS |", ["USPS > USPS", "USPS > MNIST", "MNIST > MNIST"]),
        "tables": ("| features | wine |", ["wine (white)", "heart (two sites)"]),
    }
    for part, (header, tasks) in headers.items():
        table = guide[guide.index(header) :].split("\n\n")[0].splitlines()
        cells = {line.split(" | ")[0].strip("| "): line.split("|")[2:] for line in table}
        for row in record[part]["rows"]:
            cell = f"{row['mean']:.1f}"
            if "gain over random weights" in row:
                gain = row["gain over random weights"]
                cell += f" ({gain['mean']:+.1f} [{gain['low']:+.1f}, {gain['high']:+.1f}])"
            assert cells[row["features"]][tasks.index(row["task"])].strip() == cell

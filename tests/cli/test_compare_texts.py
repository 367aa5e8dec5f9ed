"""`skltransfer compare FILE --text COLUMN`: TF-IDF against encoders of texts."""

import re

import numpy as np
import pandas as pd
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import RepeatedStratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skltransfer import PretrainedFeatureTransformer
from skltransfer.cli import main
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
    assert run("reviews.csv", *words) == 0
    scores = pd.read_csv("skltransfer-report/scores.csv")
    assert set(scores.strategy) == {"TF-IDF", bert, f"{bert}, random"}
    folds = RepeatedStratifiedKFold(n_splits=5, n_repeats=2, random_state=0)
    encoder = make_pipeline(PretrainedFeatureTransformer(bert), StandardScaler())
    for name, steps in (("TF-IDF", TfidfVectorizer()), (bert, encoder)):
        model = make_pipeline(steps, LogisticRegression(max_iter=2000))
        expected = cross_val_score(model, frame.review.tolist(), frame.mood, cv=folds)
        np.testing.assert_allclose(scores[scores.strategy == name].score, expected)
    printed = capsys.readouterr()
    assert "only the texts in 'review' are used, not 'stars'" in printed.err
    assert "against TF-IDF" in printed.out
    assert "Only one domain" not in printed.out


def test_texts_of_another_domain(frame, bert):
    words = ("--label", "mood", "--text", "review", "--backbone", bert, "--source", "old.csv")
    assert run("reviews.csv", *words) == 0
    scores = pd.read_csv("skltransfer-report/scores.csv")
    names = ["TF-IDF", bert, f"{bert}, random"]
    assert set(scores.strategy) == {*names, *(f"{name}, pooled" for name in names)}
    by_name = scores.groupby("strategy").score.mean()
    assert by_name["TF-IDF, pooled"] >= by_name["TF-IDF"]  # a good word is one in both


def test_a_missing_text_is_an_empty_one(frame, bert, capsys):
    frame.loc[3, "review"] = None
    frame.to_csv("reviews.csv", index=False)
    assert run("reviews.csv", "--label", "stars", "--text", "review", "--backbone", bert) == 0
    assert "1 rows of reviews.csv have no text" in capsys.readouterr().err


def test_texts_that_are_cut_are_a_note(frame, bert, capsys):
    frame.loc[3, "review"] = "good " * 99
    frame.to_csv("reviews.csv", index=False)
    assert run("reviews.csv", "--label", "mood", "--text", "review", "--backbone", bert) == 0
    note = f"{bert} reads the first 64 tokens of a text; 1 of 40 texts (2%) are longer and are cut"
    error = " ".join(capsys.readouterr().err.split())
    assert error.count(note) == 1
    assert "Warning" not in error


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--text", "review"], "--text needs an encoder to compare with: --backbone hf:NAME"),
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

"""Sentences of five categories, as many of praise as of blame."""

from pathlib import Path

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from skltransfer.datasets import load_review_sentences


def test_each_category_has_as_much_praise_as_blame():
    reviews = load_review_sentences()
    categories, counts = np.unique(reviews.category, return_counts=True)
    assert categories.tolist() == ["DVD player", "camera", "movie", "music player", "phone"]
    assert (counts == 150).all()
    for category in categories:
        assert reviews.target[reviews.category == category].mean() == 0.5
    np.testing.assert_array_equal(reviews.target, reviews.rating > 0)
    assert (np.abs(reviews.rating) >= 1).all()


def test_texts_are_whole_sentences_of_people_unnamed():
    texts = load_review_sentences().data
    assert len(set(texts)) == len(texts) == 750
    assert all(5 <= len(text.split()) <= 40 and text == text.strip() for text in texts)
    assert not any("@" in text or "http" in text for text in texts)


def test_labels_belong_to_their_texts():
    """Words tell the labels of other sentences far beyond chance."""
    X, y = load_review_sentences(return_X_y=True)
    model = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(X[::2], y[::2])
    assert model.score(X[1::2], y[1::2]) > 0.65


def test_the_file_and_its_licence_lie_in_the_package():
    path = Path(load_review_sentences().filename)
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines[0] == "category,rating,text" and len(lines) == 751
    assert "MIT License" in path.with_name("review_sentences.LICENSE.txt").read_text()

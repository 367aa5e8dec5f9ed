"""Word vectors carry over to words that no training text holds, where a bag of words cannot."""

import numpy as np
import pytest
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from skltransfer import WordVectorTransformer
from tests.shared_data import SHARED_DATA

GLOVE = SHARED_DATA / "glove" / "glove.50d.5k.txt.gz"
# Stated before the first run. Four topics: chance is .25. A bag of words may differ from that by
# the noise of 400 texts; word vectors have to beat it by more than the distance to .65.
CHANCE, NOISE, MARGIN = 0.25, 0.10, 0.40
TEMPLATES = [
    "they talked about the {} and the {} last night",
    "she wrote that the {} was more important than the {}",
    "a report on {} , {} and {} came out this week",
    "we have seen the {} before , but not this {}",
    "there is a new {} in the city , people say , near the {}",
    "the {} was not what he wanted , so he asked for {}",
]
# Words of each topic: those of the training texts, and those of the test texts.
TOPICS = {
    "sport": (
        ["football", "team", "coach", "player", "league", "season", "goal", "championship"],
        ["soccer", "basketball", "hockey", "baseball", "match", "tennis", "stadium", "cup"],
    ),
    "money": (
        ["bank", "stock", "market", "investors", "profit", "economy", "dollar", "credit"],
        ["shares", "bonds", "currency", "trading", "prices", "earnings", "loan", "revenue"],
    ),
    "medicine": (
        ["hospital", "doctor", "patients", "disease", "drug", "treatment", "blood"],
        ["cancer", "surgery", "virus", "medical", "nurse"],
    ),
    "war": (
        ["army", "soldiers", "war", "tank", "weapons", "attack", "military"],
        ["troops", "missile", "navy", "bomb", "commander", "battle", "enemy"],
    ),
}


def labelled_texts(part, n_texts, seed):
    """Return texts with words of one topic each, and the topics."""
    rng = np.random.default_rng(seed)
    topics = rng.permutation(np.resize(list(TOPICS), n_texts))
    texts = [
        (template := rng.choice(TEMPLATES)).format(
            *rng.choice(TOPICS[topic][part], template.count("{}"), replace=False)
        )
        for topic in topics
    ]
    return texts, topics


def made_up_vectors():
    """Words of a topic lie around its centre, in 10 dimensions, and all others anywhere."""
    rng = np.random.default_rng(0)
    vectors = {word: rng.normal(size=10) for word in " ".join(TEMPLATES).split() if word.isalpha()}
    for parts in TOPICS.values():
        centre = rng.normal(scale=1.5, size=10)
        vectors |= {w: centre + rng.normal(scale=0.7, size=10) for part in parts for w in part}
    return vectors


@pytest.mark.parametrize("settings", ["mean", "tfidf", "sif"])
@pytest.mark.parametrize("vectors", ["made up", pytest.param("GloVe", marks=pytest.mark.shared)])
def test_words_that_no_training_text_holds(vectors, settings):
    shared = set(" ".join(TEMPLATES).split())
    for train_words, test_words in TOPICS.values():
        assert not set(train_words) & set(test_words)
        assert not shared & {*train_words, *test_words}
    texts, y = labelled_texts(0, 400, seed=0)
    texts_test, y_test = labelled_texts(1, 400, seed=1)
    held = made_up_vectors() if vectors == "made up" else GLOVE
    parameters = {"weights": "tfidf"} if settings == "tfidf" else {"pooling": settings}
    words = WordVectorTransformer(held, oov="error", **parameters)
    model = make_pipeline(words, LogisticRegression(max_iter=1000)).fit(texts, y)
    bag = make_pipeline(CountVectorizer(), LogisticRegression(max_iter=1000)).fit(texts, y)
    found, baseline = model.score(texts_test, y_test), bag.score(texts_test, y_test)
    print(f"{vectors}, {settings}: word vectors {found:.3f}, bag of words {baseline:.3f}")
    assert bag.score(texts, y) == 1
    assert abs(baseline - CHANCE) < NOISE
    assert found > baseline + MARGIN

"""Pooled word vectors equal what each formula says, and are scikit-learn's own kind of features."""

import pickle
import re

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.utils import get_tags

import skltransfer
from skltransfer import WordCoverageWarning, WordVectorTransformer
from skltransfer.feature._tokens import common_component, split_words

WORDS = ["the", "film", "was", "good", "bad", "plot", "n't", "dull", "great", "rare"]
VECTORS = np.random.default_rng(0).normal(size=(len(WORDS), 6))
OF = dict(zip(WORDS, VECTORS, strict=True))
TEXTS = [
    "The film was good, good, good!",
    "The plot wasn't good; the zork was bad.",
    "A dull plot",
    "",
    "zork",
    "great film",
]
NEW = ["the rare film", "wasn't rare", "blim blam", "Good"]


def known(text):
    return [word for word in split_words(text.lower()) if word in OF]


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "vectors.txt"
    rows = [" ".join([w, *map(repr, v.tolist())]) for w, v in OF.items()]
    path.write_text("\n".join(rows))
    return path


def test_the_mean_of_the_words():
    features = WordVectorTransformer(OF).fit(TEXTS).transform(TEXTS)
    for text, row in zip(TEXTS, features, strict=True):
        words = known(text)
        expected = np.mean([OF[w] for w in words], axis=0) if words else np.zeros(6)
        np.testing.assert_allclose(row, expected, atol=1e-12)
    assert not features[3:5].any()


def test_the_maximum_of_the_words():
    expected = [np.max([OF[w] for w in known(t)] or [np.zeros(6)], axis=0) for t in TEXTS]
    transformer = WordVectorTransformer(OF, pooling="max").fit(TEXTS)
    np.testing.assert_array_equal(transformer.transform(TEXTS), expected)


def test_the_maximum_of_wide_vectors():
    """One text has more values than are pooled at once; the others come before and behind it."""
    width, words = 2**16, [f"w{number}" for number in range(257)]
    numbers = np.random.default_rng(0).normal(size=(len(words), 4)).astype(np.float32)
    vectors = (words, np.tile(numbers, width // 4))
    sizes = (3, 257, 1, 0, 2)
    chosen = [np.arange(size) * 3 % 257 for size in sizes]
    texts = [" ".join(words[i] for i in rows) for rows in chosen]
    features = WordVectorTransformer(vectors, pooling="max").fit(texts).transform(texts)
    for rows, found in zip(chosen, features.reshape(len(texts), -1, 4), strict=True):
        expected = numbers[rows].max(axis=0) if len(rows) else np.zeros(4)
        assert (found == expected).all()


def test_tfidf_is_that_of_scikit_learn():
    reference = TfidfVectorizer(tokenizer=split_words, token_pattern=None, norm="l1")
    reference.set_params(vocabulary=WORDS).fit(TEXTS)
    transformer = WordVectorTransformer(OF, weights="tfidf").fit(TEXTS)
    for texts in (TEXTS, NEW):
        expected = reference.transform(texts) @ VECTORS
        np.testing.assert_allclose(transformer.transform(texts), expected, atol=1e-12)
    idf = dict(zip(WORDS, reference.idf_, strict=True))
    for word, weight in transformer.word_weights_.items():
        if word in OF:
            assert weight == pytest.approx(idf[word], rel=1e-12)
    uniform = WordVectorTransformer(OF).fit(TEXTS).transform(TEXTS)
    assert np.abs(transformer.transform(TEXTS) - uniform).max() > 0.01


def test_tfidf_where_unknown_words_count():
    reference = TfidfVectorizer(tokenizer=split_words, token_pattern=None, norm="l1").fit(TEXTS)
    vectors = [OF.get(word, np.zeros(6)) for word in reference.get_feature_names_out()]
    transformer = WordVectorTransformer(OF, weights="tfidf", oov="zero").fit(TEXTS)
    expected = reference.transform(TEXTS) @ np.array(vectors)
    np.testing.assert_allclose(transformer.transform(TEXTS), expected, atol=1e-12)


def sif(train, texts, a, p):
    """Algorithm 1 of Arora et al. (2017), word by word."""

    def average(text):
        words = known(text)
        total = sum((a / (a + p.get(w, 0)) * OF[w] for w in words), np.zeros(6))
        return total / max(1, len(words))

    u = np.linalg.svd(np.array([average(t) for t in train]))[2][0]
    return np.array([average(t) - u * (u @ average(t)) for t in texts]), u


@pytest.mark.parametrize("a", [1e-3, 0.1])
@pytest.mark.parametrize("is_given", [False, True])
def test_sif_equals_the_algorithm(a, is_given):
    if is_given:
        counts = {"the": 60, "good": 30, "rare": 10}
        p = {word: n / 100 for word, n in counts.items()}
    else:
        tokens = [w for text in TEXTS for w in split_words(text.lower())]
        counts, p = None, {w: tokens.count(w) / len(tokens) for w in tokens}
    transformer = WordVectorTransformer(OF, pooling="sif", smoothing=a, word_frequencies=counts)
    features = transformer.fit_transform(TEXTS)
    expected, u = sif(TEXTS, TEXTS, a, p)
    np.testing.assert_allclose(features, expected, atol=1e-12)
    np.testing.assert_allclose(transformer.transform(NEW), sif(TEXTS, NEW, a, p)[0], atol=1e-12)
    assert abs(transformer.common_component_ @ u) == pytest.approx(1, abs=1e-12)
    np.testing.assert_allclose(features @ u, 0, atol=1e-12)
    assert np.abs(features).max() > 1e-3


@pytest.mark.parametrize("n_texts", [3, 50])
def test_the_common_component_is_the_first_singular_vector(n_texts):
    X = np.random.default_rng(0).normal(size=(n_texts, 8)) * np.arange(1, 9) * 1e-160
    u = np.linalg.svd(X * 1e160)[2][0]
    assert abs(common_component(X) @ u) == pytest.approx(1, abs=1e-12)


def test_sif_of_empty_texts_takes_nothing_away():
    with pytest.warns(WordCoverageWarning):
        transformer = WordVectorTransformer(OF, pooling="sif").fit(["", "zork"])
    assert not transformer.common_component_.any()
    np.testing.assert_allclose(transformer.transform(["rare"])[0], OF["rare"])


@pytest.mark.parametrize("pooling", ["mean", "sif", "max"])
@pytest.mark.parametrize("oov", ["zero", "mean"])
def test_words_without_vector(oov, pooling):
    transformer = WordVectorTransformer(OF, oov=oov, pooling=pooling).fit(TEXTS)
    distinct = sorted({w for text in TEXTS for w in known(text)})
    unknown = np.mean([OF[w] for w in distinct], axis=0) if oov == "mean" else np.zeros(6)
    np.testing.assert_allclose(transformer.unknown_vector_, unknown, atol=1e-15)
    with_it = WordVectorTransformer(
        OF | {"zork": unknown, "a": unknown, "blim": unknown}, pooling=pooling
    ).fit(TEXTS)
    for texts in (TEXTS, ["blim film", "blim"]):
        expected = with_it.transform(texts)
        np.testing.assert_allclose(transformer.transform(texts), expected, atol=1e-12)
    ignored = WordVectorTransformer(OF, pooling=pooling).fit(TEXTS).transform(["zork film"])
    difference = np.abs(ignored - transformer.transform(["zork film"])).max()
    assert difference > 0.05 * np.abs(ignored).max()
    assert not transformer.transform([""]).any()


def test_words_without_vector_are_named():
    strict = WordVectorTransformer(OF, oov="error")
    with pytest.raises(ValueError, match="2 words .* have no vector: 'zork', 'a'; .* in row 1"):
        strict.fit(TEXTS)
    strict.fit(["good film"])
    with pytest.raises(ValueError, match="2 words .*: 'blim', 'blam'; the first is in row 2"):
        strict.transform([NEW[0], "good", NEW[2]])
    with pytest.raises(ValueError, match="6 words .*'e', ...;"):
        strict.transform(["a b c d e f"])


def test_coverage():
    transformer = WordVectorTransformer(OF).fit(TEXTS)
    tokens = [word for text in TEXTS for word in split_words(text.lower())]
    assert transformer.coverage_ == sum(w in OF for w in tokens) / len(tokens)
    assert transformer.n_empty_texts_ == 2
    with pytest.warns(WordCoverageWarning, match="Only 25% .* without one: 'un', 'bon', 'filme'"):
        assert WordVectorTransformer(OF).fit(["Un bon filme", "film"]).coverage_ == 0.25
    with pytest.warns(WordCoverageWarning, match="Only 0% .* there are no words"):
        assert WordVectorTransformer(OF).fit(["", "!"]).n_empty_texts_ == 2


def test_what_splits_texts():
    texts = ["Good-film GOOD", "n't"]
    capital = {"Good": np.ones(2), "GOOD": np.full(2, 3.0), "Good-film": np.full(2, 7.0)}

    def first(**parameters):
        transformer = WordVectorTransformer(capital, lowercase=False, **parameters)
        return transformer.fit_transform(texts)[0, 0]

    assert first() == 2
    assert first(tokenizer=str.split) == 5
    assert first(tokenizer=r"[\w-]+") == 5
    assert first(tokenizer=lambda text: iter(text.split()[:1])) == 7
    with pytest.warns(WordCoverageWarning):
        assert not WordVectorTransformer(capital).fit_transform(texts).any()


@pytest.mark.parametrize(
    "tokenizer",
    [str.upper, len, lambda text: [3], r"(a)(b)"],
    ids=["string", "number", "numbers", "groups"],
)
def test_a_tokenizer_returns_words(tokenizer):
    with pytest.raises(TypeError, match="tokenizer returned .* for row 0. It has to return a list"):
        WordVectorTransformer(OF, tokenizer=tokenizer).fit(["abc"])


def test_words_as_the_corpora_of_glove_have_them():
    text = "He can't say 'yes' in the U.S., they’re 3.5% off (1,000 of 2000); well-known, naïve_x."
    assert split_words(text.lower()) == [
        *("he", "ca", "n't", "say", "yes", "in", "the", "u.s.", "they", "'re", "3.5", "off"),
        *("1,000", "of", "2000", "well", "known", "naïve_x"),
    ]


@pytest.mark.parametrize("mark", ["", ".", "'", " '", " . ,", "n't"])
def test_marks_elsewhere_in_a_text_do_not_change_its_words(mark):
    """Texts with few kinds of marks are split in a faster way."""
    rng = np.random.default_rng(0)
    for _ in range(200):
        text = "".join(rng.choice(list("abn1_é- "), 12))
        whole = split_words(text + " ; " + mark)
        assert [w for w in whole if w != "n't"] == split_words(text)
        assert split_words(text) == re.findall(r"\w+", text)
    text = "u.k. 1,5 2.5 a.b"
    assert split_words(text + " '") == split_words(text) == ["u.k.", "1,5", "2.5", "a", "b"]


FORMS = {
    "list": list,
    "tuple": tuple,
    "array": np.array,
    "objects": lambda t: np.array(t, dtype=object),
    "column": lambda t: np.array(t)[:, None],
    "Series": pd.Series,
    "categories": lambda t: pd.Series(t, dtype="category"),
    "frame": lambda t: pd.DataFrame({"text": t}),
    "polars": lambda t: pl.Series(t),
    "polars frame": lambda t: pl.DataFrame({"text": t}),
}


@pytest.mark.parametrize("form", FORMS)
def test_forms_of_texts(form):
    expected = WordVectorTransformer(OF).fit_transform(TEXTS)
    X = FORMS[form](TEXTS)
    if isinstance(X, np.ndarray):
        X.flags.writeable = False
    transformer = WordVectorTransformer(OF)
    np.testing.assert_array_equal(transformer.fit_transform(X), expected)
    np.testing.assert_array_equal(transformer.transform(X), expected)
    assert transformer.n_features_in_ == 1
    assert list(getattr(transformer, "feature_names_in_", [])) == ["text"] * ("frame" in form)


@pytest.mark.parametrize(
    "X, kind, match",
    [
        ("one text", TypeError, r"X is one str. Pass a list of texts"),
        ([], ValueError, "0 sample"),
        (["a", None], ValueError, r"Row 1 is missing \(None\).*fillna"),
        (["a", np.nan], ValueError, "Row 1 is missing"),
        (["a", 3], ValueError, "Row 1 is a int"),
        ([["a", "b"]], ValueError, "Row 0 is a list"),
        (np.array([["a", "b"]]), ValueError, "one text per row"),
        (np.ones((2, 1)), ValueError, "Row 0 is a float"),
    ],
    ids=["string", "empty", "None", "NaN", "number", "lists", "two columns", "numbers"],
)
def test_what_is_no_text(X, kind, match):
    with pytest.raises(kind, match=match):
        WordVectorTransformer(OF).fit(X)
    with pytest.raises(kind, match=match):
        WordVectorTransformer(OF).fit(TEXTS).transform(X)


@pytest.mark.parametrize(
    "parameters, match",
    [
        ({"pooling": "avg"}, "pooling='avg' is not one of 'mean', 'sif', 'max'"),
        ({"weights": "idf"}, "weights='idf' is not one of"),
        ({"weights": "tfidf", "pooling": "max"}, "Pass pooling='mean' or weights='uniform'"),
        ({"weights": "tfidf", "pooling": "sif"}, "Pass pooling='mean' or weights='uniform'"),
        ({"oov": "drop"}, "oov='drop' is not one of"),
        ({"smoothing": 0}, "smoothing=0 is not a number greater than 0"),
        ({"file_format": "text"}, "file_format='text' is not one of"),
        ({"decode_error": "no"}, "decode_error='no' is not one of"),
        ({"tokenizer": 3}, "tokenizer=3 is neither a function"),
        ({"tokenizer": "("}, r"tokenizer=.\(. is not a regular expression"),
        ({"word_frequencies": [1], "pooling": "sif"}, "word_frequencies has to map"),
        ({"word_frequencies": {}, "pooling": "sif"}, "word_frequencies has to map"),
        ({"word_frequencies": {"a": -1}, "pooling": "sif"}, "holds negative numbers"),
        ({"word_frequencies": {"a": 0}, "pooling": "sif"}, "nothing but zeros"),
    ],
    ids=str,
)
def test_parameters_out_of_range(parameters, match):
    with pytest.raises(ValueError, match=match):
        WordVectorTransformer(OF, **parameters).fit(TEXTS)


def test_numbers_pass_without_vectors():
    X = np.arange(6.0).reshape(3, 2)
    transformer = WordVectorTransformer()
    np.testing.assert_array_equal(transformer.fit_transform(X), X)
    assert list(transformer.get_feature_names_out()) == ["x0", "x1"]
    assert get_tags(transformer).input_tags.two_d_array
    tags = get_tags(WordVectorTransformer(OF)).input_tags
    assert tags.string and not tags.two_d_array
    for texts in (["good"], [["good"]], pd.DataFrame({"text": ["good"]}), pd.Series(["good"])):
        with pytest.raises(ValueError, match="X holds texts, which vectors=None cannot"):
            transformer.fit(texts)


SETTINGS = {
    "mean": {},
    "tfidf": {"weights": "tfidf"},
    "unknown words": {"oov": "mean"},
    "max": {"pooling": "max"},
    "sif": {"pooling": "sif"},
}


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("is_file", [False, True])
def test_a_row_depends_on_itself_alone(name, is_file, path):
    """Bit for bit, whatever the other rows; fit_transform is fit, then transform."""
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice([*WORDS, "zork"], rng.integers(0, 30))) for _ in range(60)]
    transformer = WordVectorTransformer(path if is_file else OF, **SETTINGS[name])
    features = transformer.fit_transform(texts)
    state = pickle.dumps(transformer)
    np.testing.assert_array_equal(transformer.transform(texts), features)
    np.testing.assert_array_equal(transformer.fit(texts).transform(texts), features)
    order = rng.permutation(60)
    np.testing.assert_array_equal(transformer.transform([texts[i] for i in order]), features[order])
    for row in (0, 17, 59):
        np.testing.assert_array_equal(transformer.transform([texts[row]])[0], features[row])
    assert pickle.dumps(transformer) == state


@pytest.mark.parametrize("name", SETTINGS)
def test_clone_and_pickle(name, path, tmp_path):
    unfitted = WordVectorTransformer(str(path), **SETTINGS[name])
    assert len(pickle.dumps(unfitted)) < 1000
    transformer = clone(unfitted.fit(TEXTS))
    with pytest.raises(NotFittedError):
        transformer.transform(TEXTS)
    assert joblib.hash(transformer) == joblib.hash(
        WordVectorTransformer(str(path), **SETTINGS[name])
    )
    features = transformer.fit_transform(TEXTS)
    again = pickle.loads(pickle.dumps(transformer))
    np.testing.assert_array_equal(again.transform(NEW), transformer.transform(NEW))
    skltransfer.save(transformer, tmp_path / "model.skops")
    loaded = skltransfer.load(tmp_path / "model.skops")
    np.testing.assert_array_equal(loaded.transform(TEXTS), features)


def test_a_fitted_transformer_does_not_hold_the_file(tmp_path):
    path = tmp_path / "vectors.txt"
    rng = np.random.default_rng(0)
    with path.open("w") as file:
        for i in range(5000):
            file.write(" ".join([f"w{i}", *map(str, rng.normal(size=50).round(3))]) + "\n")
    transformer = WordVectorTransformer(path, pooling="sif").fit(["w1 w2", "w3 w4", "w5"])
    assert len(pickle.dumps(transformer)) < 3000


@pytest.mark.parametrize(
    "make", [dict, lambda v: (list(v), np.array(list(v.values())))], ids=["mapping", "pair"]
)
def test_vectors_in_memory_are_held_by_reference(make):
    vectors = make(OF)
    transformer = WordVectorTransformer(vectors)
    assert clone(transformer).vectors is vectors
    transformer.fit(TEXTS)
    assert clone(transformer).vectors is vectors
    again = pickle.loads(pickle.dumps(transformer))
    np.testing.assert_array_equal(again.transform(NEW), transformer.transform(NEW))


def test_a_path_is_saved(path, tmp_path):
    transformer = WordVectorTransformer(path, cache_dir=tmp_path / "cache").fit(TEXTS)
    skltransfer.save(transformer, tmp_path / "model.skops")
    loaded = skltransfer.load(tmp_path / "model.skops")
    np.testing.assert_array_equal(loaded.transform(NEW), transformer.transform(NEW))


def test_another_file_after_fit(path, tmp_path):
    transformer = WordVectorTransformer(path).fit(TEXTS)
    expected = transformer.transform(NEW)
    moved = path.rename(tmp_path / "moved.txt")
    again = pickle.loads(pickle.dumps(transformer))
    for gone in (transformer, again):
        with pytest.raises(FileNotFoundError, match=r"does not exist.*set_params\(vectors=...\)"):
            gone.transform(NEW)
    again.set_params(vectors=moved)
    np.testing.assert_array_equal(again.transform(NEW), expected)
    moved.write_text(moved.read_text().replace("rare", "RARE"))
    with pytest.raises(ValueError, match="fitted with other vectors than .*, or restore"):
        again.transform(NEW)


@pytest.mark.parametrize(
    "other",
    [{w: -v for w, v in OF.items()}, {"good": VECTORS[0, :3]}],
    ids=["other numbers", "fewer words"],
)
def test_other_vectors_in_memory_after_fit(other):
    transformer = WordVectorTransformer(OF).fit(TEXTS).set_params(vectors=other)
    with pytest.raises(ValueError, match="fitted with other vectors"):
        transformer.transform(NEW)
    transformer.set_params(vectors=(WORDS, VECTORS))  # the same, in another form
    transformer.transform(NEW)


def test_other_parameters_after_fit():
    transformer = WordVectorTransformer(OF).fit(TEXTS)
    for change in ({"pooling": "sif"}, {"oov": "zero"}, {"weights": "tfidf"}, {"lowercase": False}):
        with pytest.raises(ValueError, match="have changed since it was fitted. Fit it again"):
            clone(transformer).fit(TEXTS).set_params(**change).transform(TEXTS)
    given = WordVectorTransformer(OF).fit(pd.DataFrame({"text": TEXTS}))
    with pytest.raises(ValueError, match="other"):
        given.transform(pd.DataFrame({"other": TEXTS}))


def test_set_output_and_names():
    transformer = WordVectorTransformer(OF).set_output(transform="pandas")
    frame = transformer.fit_transform(pd.Series(TEXTS, index=list("abcdef")))
    assert list(frame.columns) == [f"wordvectortransformer{i}" for i in range(6)]
    assert list(frame.index) == list("abcdef")
    assert list(transformer.get_feature_names_out()) == list(frame.columns)
    polars = transformer.set_output(transform="polars").transform(TEXTS)
    assert isinstance(polars, pl.DataFrame) and polars.columns == list(frame.columns)


@pytest.mark.parametrize("n_jobs", [None, 2])
def test_a_search_over_pooling(n_jobs, path):
    texts = [f"the film was {w}" for w in ("good", "bad", "great", "dull") * 6]
    y = [1, 0, 1, 0] * 6
    model = make_pipeline(WordVectorTransformer(path), LogisticRegression(C=100.0))
    grid = {
        "wordvectortransformer__pooling": ["mean", "sif", "max"],
        "wordvectortransformer__oov": ["ignore", "mean"],
    }
    search = GridSearchCV(model, grid, cv=3, error_score="raise", n_jobs=n_jobs).fit(texts, y)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert search.predict(["a great film", "the plot was dull"]).tolist() == [1, 0]

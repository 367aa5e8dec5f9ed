"""Word vectors against a loop in Python, and against gensim's.

Opened is a text file of 100000 words of 100 dimensions, to pool 100 texts; gensim uses
``load_word2vec_format`` and ``get_mean_vector``. Pooled are 20000 texts of about 40 words, with
vectors in memory, at equal values, beside ``np.mean`` over the words of each text. All split the
texts by the same function, whose share is measured too.

The words are made up, drawn by Zipf's law. Not measured: files larger than memory, a cold disk.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks._measure import interleave, make_parser, one_thread, rounds, write

one_thread()

import numpy as np
from gensim.models import KeyedVectors

from skltransfer import WordVectorTransformer
from skltransfer.feature import _word_vector_files
from skltransfer.feature._tokens import split_words

NEEDS = ("gensim",)
CLAIMS = [
    {
        "claim": "opening 100 000 word vectors, pooling 100 texts",
        "beside": "gensim",
        "value": ["opening", "ratio_cpu", "gensim"],
        "at_least": 5,
    },
    {
        "claim": "pooling 20 000 texts",
        "beside": "gensim",
        "value": ["pooling", "ratio_cpu", "gensim"],
        "at_least": 2,
    },
    {
        "claim": "pooling 20 000 texts",
        "beside": "a loop of np.mean",
        "value": ["pooling", "ratio_cpu", "loop"],
        "at_least": 1,
    },
]

DIM, N_FEW = 100, 100


def texts_of(words: list[str], n_texts: int, rng) -> list[str]:
    """Draw texts of 20 to 60 words."""
    ranks = np.minimum(rng.zipf(1.3, size=(n_texts, 60)), len(words)) - 1
    lengths = rng.integers(20, 61, n_texts)
    return [" ".join(words[i] for i in row[:n]) for row, n in zip(ranks, lengths, strict=True)]


def by_loop(texts, vectors) -> np.ndarray:
    """Average as one would by hand."""
    return np.array([np.mean([vectors[w] for w in split_words(t.lower())], axis=0) for t in texts])


def by_gensim(texts, keyed) -> np.ndarray:
    """Average by gensim."""
    return np.array(
        [keyed.get_mean_vector(split_words(t.lower()), pre_normalize=False) for t in texts]
    )


def opened_by_us(path: Path, texts) -> np.ndarray:
    """Open the file anew, and pool."""
    _word_vector_files._open_files.clear()
    return WordVectorTransformer(path).fit_transform(texts)


def main(options) -> None:
    """Measure both claims, and check that the features are the same."""
    n_words, n_texts = (2_000, 500) if options.quick else (100_000, 20_000)
    rng = np.random.default_rng(0)
    words = [f"w{i}" for i in range(n_words)]
    array = rng.normal(size=(n_words, DIM)).astype(np.float32)
    keyed = KeyedVectors(DIM)
    keyed.add_vectors(words, array)
    texts = texts_of(words, n_texts, rng)
    vectors = dict(zip(words, array, strict=True))
    transformer = WordVectorTransformer(keyed).fit(texts[:10])
    pooling = interleave(
        {
            "loop": lambda: by_loop(texts, vectors),
            "gensim": lambda: by_gensim(texts, keyed),
            "skltransfer": lambda: transformer.transform(texts),
            "splitting alone": lambda: [split_words(text.lower()) for text in texts],
        },
        n_rounds=rounds(5, options),
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "vectors.txt"
        keyed.save_word2vec_format(str(path), binary=False)
        opening = interleave(
            {
                "gensim": lambda: by_gensim(
                    texts[:N_FEW], KeyedVectors.load_word2vec_format(str(path))
                ),
                "skltransfer": lambda: opened_by_us(path, texts[:N_FEW]),
            },
            n_rounds=rounds(3, options),
        )
    record = {}
    for name, results in (("pooling", pooling), ("opening", opening)):
        found = {contender: result.pop("result") for contender, result in results.items()}
        found.pop("splitting alone", None)
        for contender, features in found.items():
            np.testing.assert_allclose(features, found["skltransfer"], atol=1e-5, err_msg=contender)
        ours = results["skltransfer"]["cpu_seconds"]
        record[name] = {
            "ratio_cpu": {
                contender: result["cpu_seconds"] / ours for contender, result in results.items()
            },
            **results,
        }
    record["sizes"] = {"words": n_words, "dim": DIM, "texts": n_texts, "texts_opening": N_FEW}
    write(__file__, record, options)


if __name__ == "__main__":
    main(make_parser(__doc__).parse_args())

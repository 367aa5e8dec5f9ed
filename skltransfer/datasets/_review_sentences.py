"""Sentences of reviews, of five categories."""

from __future__ import annotations

import csv
from importlib.resources import as_file, files

import numpy as np
from sklearn.utils import Bunch


def load_review_sentences(*, return_X_y=False):
    """Load 750 sentences of reviews, whose sentiment people have rated.

    They are of five categories: cameras, a DVD player, movies, a music player and a phone. Each has
    75 positive and 75 negative sentences. A category is a domain: words of praise for a camera are
    not those for a movie.

    Parameters
    ----------
    return_X_y : bool, default=False
        Whether to return ``(data, target)``, not a Bunch.

    Returns
    -------
    data : Bunch
        ``data`` is an array of texts (750,), ``target`` (750,) is 1 for praise and 0 for blame,
        ``target_names`` says so, and ``category`` (750,) holds the names of the categories.
        ``rating`` (750,) is the mean of some twenty people, from -4 to 4. ``filename`` is the path
        of the CSV file, with the columns ``category``, ``rating`` and ``text``.

    Notes
    -----
    A selection of the sentences that come with [1]_, under the MIT licence, which lies beside the
    file.

    References
    ----------
    .. [1] C. J. Hutto, E. Gilbert, "VADER: A Parsimonious Rule-based Model for Sentiment Analysis
       of Social Media Text", ICWSM 2014.

    Examples
    --------
    >>> from skltransfer.datasets import load_review_sentences
    >>> reviews = load_review_sentences()
    >>> print(reviews.category[0], reviews.target[0], reviews.data[0], sep=" | ")
    DVD player | 0 | another person who had problem with picture after one use.
    >>> reviews.target.mean()
    np.float64(0.5)
    """
    file = files("skltransfer.datasets") / "data" / "review_sentences.csv"
    with file.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    data = np.array([row["text"] for row in rows], dtype=object)
    rating = np.array([float(row["rating"]) for row in rows])
    target = (rating > 0).astype(int)
    if return_X_y:
        return data, target
    with as_file(file) as path:
        filename = str(path)
    return Bunch(
        data=data,
        target=target,
        target_names=["negative", "positive"],
        category=np.array([row["category"] for row in rows]),
        rating=rating,
        filename=filename,
    )

"""Texts as the pooled vectors of their words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Self
from weakref import WeakKeyDictionary

import numpy as np
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    OneToOneFeatureMixin,
    TransformerMixin,
)
from sklearn.utils.validation import check_is_fitted, validate_data

from skltransfer._documentation import DocumentedEstimator
from skltransfer._parameters import Choice, Number, check_parameters
from skltransfer._persisted import SavedAsData
from skltransfer._texts import as_texts, remember_column
from skltransfer._warnings import warn
from skltransfer.domains._by_reference import HoldsByReference
from skltransfer.domains._refit import fits_anew
from skltransfer.feature._tokens import (
    Tokens,
    common_component,
    maximum,
    read_tokens,
    weighted_mean,
    without_component,
)
from skltransfer.feature._word_vector_files import open_file
from skltransfer.feature._word_vector_formats import FORMATS
from skltransfer.feature._word_vectors import WordVectors, as_path, is_path, open_in_memory

# Vectors that each estimator has open; not a part of its state, so that they are never pickled.
_opened: WeakKeyDictionary[BaseEstimator, tuple[object, WordVectors]] = WeakKeyDictionary()
_LOW_COVERAGE = 0.5
_N_NAMED = 5


class WordCoverageWarning(UserWarning):
    """Most words of the training texts have no vector.

    Issued by :class:`WordVectorTransformer`. The texts may differ from the vectors in language,
    spelling or capitals, or may be split into words differently.

    Examples
    --------
    >>> import warnings
    >>> from skltransfer import WordCoverageWarning, WordVectorTransformer
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     _ = WordVectorTransformer({"good": [1.0, 0.0]}).fit(["un bon film", "good"])
    >>> issubclass(caught[0].category, WordCoverageWarning)
    True
    """


class WordVectorTransformer(
    SavedAsData,
    HoldsByReference,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    DocumentedEstimator,
):
    """Turn each text into one vector: the pooled vectors of its words.

    Pretrained vectors also cover words that no training text contains, so that a model which has
    learned about "football" works for "hockey". They may come from GloVe, word2vec, fastText or
    your own corpus.

    Parameters
    ----------
    vectors : str, Path, Mapping, (words, array), gensim KeyedVectors or None, default=None
        Word vectors: a file of GloVe (text without a header line), of word2vec (text or binary) or
        fastText's ``.vec``, plain or packed by gzip; or words and their vectors in memory. If a
        word repeats, its first vector counts. Held by reference, also by clones. ``None`` passes
        numbers through unchanged.
    pooling : {"mean", "sif", "max"}, default="mean"
        Way to pool the vectors of a text's words. ``"mean"`` is their mean, weighted by `weights`.
        ``"sif"`` is smooth inverse frequency: a mean in which frequent words count little, without
        the direction that all texts share. ``"max"`` is the largest value of each dimension.
    weights : {"uniform", "tfidf"}, default="uniform"
        Weights of words for ``pooling="mean"``. ``"tfidf"`` learns the weights of
        :class:`~sklearn.feature_extraction.text.TfidfVectorizer` in `fit`. A word that no training
        text contains has the largest possible weight.
    oov : {"ignore", "zero", "mean", "error"}, default="ignore"
        Treatment of a word without a vector: leave it out, take a zero vector, take the mean
        vector of the words of the training texts, or raise an error.
    smoothing : float, default=1e-3
        Parameter ``a`` of SIF: the weight of a word of frequency ``p`` is ``a / (a + p)``.
    word_frequencies : Mapping, default=None
        Frequencies of words for SIF: counts, or shares, of a large corpus. They are divided by
        their sum. A word that is missing has frequency 0. ``None`` counts words in the training
        texts.
    tokenizer : callable or str, default=None
        Function from a text to a list of strings, or a regular expression that finds words.
        ``None`` splits texts like the corpora of GloVe (``don't`` into ``do n't``), leaves
        punctuation out, and splits at hyphens.
    lowercase : bool, default=True
        Whether texts are converted to lower case first, as for GloVe 6B. The vectors of Google
        News and GloVe 840B distinguish case: pass ``False`` for them.
    file_format : {"auto", "glove", "word2vec", "word2vec_binary"}, default="auto"
        Format of the file. ``"auto"`` detects it from the content.
    decode_error : {"strict", "ignore", "replace"}, default="strict"
        Treatment of words in the file that are not UTF-8: refuse the file, drop the invalid bytes,
        or replace them.
    cache_dir : str or Path, default=None
        Folder for a copy of the file as an array, which other processes open at once. It takes 4
        bytes per number. Its checksums are checked when it is used. ``None`` writes no copy.

    Attributes
    ----------
    n_features_in_ : int
        Number of input features: 1, the texts.
    feature_names_in_ : ndarray of shape (1,)
        Name of the column of texts, if ``X`` is a data frame and the name is a string.
    coverage_ : float
        Share of the words of the training texts that have a vector. Each occurrence counts.
    n_empty_texts_ : int
        Number of training texts in which no word has a vector.
    word_weights_ : dict of str to float or None
        Weights of the words of the training texts, or of the words in `word_frequencies`. ``None``
        if all words weigh the same.
    unknown_vector_ : ndarray of shape (n_features_out,) or None
        Vector of a word that has none. ``None`` if such words are left out.
    common_component_ : ndarray of shape (n_features_out,) or None
        Direction that SIF removes, of norm 1. It is zero if all training texts are empty.

    See Also
    --------
    PretrainedFeatureTransformer : Features of a text encoder (``"hf:NAME"``), which reads words in
        their context.

    Notes
    -----
    A text without words, or in which no word counts, becomes zeros. A
    :class:`~skltransfer.WordCoverageWarning` is issued if less than half of the words of the
    training texts have a vector.

    A file is mapped into memory. The process holds an index of 28 bytes per word, and the vectors
    of words that occur. It reads a file once, and shares the index among clones, folds and
    candidates. A file packed by gzip is unpacked to a temporary file while the process runs.
    Nothing is ever unpickled: gensim's own format is refused.

    A fitted transformer holds the path and a digest of the file instead of the vectors, and
    refuses another file. For vectors in memory, up to 256 words of the training texts are compared.

    ``pooling="sif"`` is Algorithm 1 of [1]_: the mean of ``a / (a + p)`` times the vector, minus
    its projection onto the first singular vector of the training texts.

    References
    ----------
    .. [1] S. Arora, Y. Liang and T. Ma, "A simple but tough-to-beat baseline for sentence
           embeddings", ICLR 2017.

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from skltransfer import WordVectorTransformer
    >>> vectors = {"good": [1.0, 0.1], "great": [0.9, 0.0], "bad": [-1.0, 0.2], "dull": [-0.8, 0.1]}
    >>> WordVectorTransformer(vectors).fit_transform(["good, great!", "a bad film"])
    array([[ 0.95,  0.05],
           [-1.  ,  0.2 ]])
    >>> model = make_pipeline(WordVectorTransformer(vectors), LogisticRegression())
    >>> model.fit(["good", "bad", "good", "bad"], [1, 0, 1, 0]).predict(["great", "dull"])
    array([1, 0])
    """

    _held = ("vectors",)
    _parameters = {
        "pooling": Choice("mean", "sif", "max"),
        "weights": Choice("uniform", "tfidf"),
        "oov": Choice("ignore", "zero", "mean", "error"),
        "smoothing": Number(0, low_open=True),
        "file_format": Choice("auto", *FORMATS),
        "decode_error": Choice("strict", "ignore", "replace"),
    }

    def __init__(
        self,
        vectors=None,
        *,
        pooling: str = "mean",
        weights: str = "uniform",
        oov: str = "ignore",
        smoothing: float = 1e-3,
        word_frequencies=None,
        tokenizer: Callable | str | None = None,
        lowercase: bool = True,
        file_format: str = "auto",
        decode_error: str = "strict",
        cache_dir=None,
    ):
        self.vectors = vectors
        self.pooling = pooling
        self.weights = weights
        self.oov = oov
        self.smoothing = smoothing
        self.word_frequencies = word_frequencies
        self.tokenizer = tokenizer
        self.lowercase = lowercase
        self.file_format = file_format
        self.decode_error = decode_error
        self.cache_dir = cache_dir

    @fits_anew
    def fit(self, X, y=None) -> Self:
        """Learn the weights of words, and the direction that SIF removes.

        Parameters
        ----------
        X : array-like of shape (n_samples,)
            Texts: a list, Series, one-column frame or array of strings.
        y : None
            Ignored.

        Returns
        -------
        self : WordVectorTransformer

        Raises
        ------
        ValueError
            If a text is missing, a parameter is invalid, or the vectors are damaged or empty. With
            ``oov="error"``, if a word has no vector.
        FileNotFoundError
            If the file does not exist.
        OSError
            If the copy in `cache_dir` cannot be written, as on a full disk.
        TypeError
            If `vectors` holds no word vectors, or `X` is one string.
        """
        self._fit(X, with_features=False)
        return self

    @fits_anew
    def fit_transform(self, X, y=None):
        """Fit, and return one vector per text; each text is split into words once.

        Parameters
        ----------
        X : array-like of shape (n_samples,)
            Texts.
        y : None
            Ignored.

        Returns
        -------
        features : ndarray of shape (n_samples, n_features_out)
            Features as returned by `transform`.
        """
        return self._fit(X, with_features=True)

    def transform(self, X):
        """Return one vector per text.

        Parameters
        ----------
        X : array-like of shape (n_samples,)
            Texts.

        Returns
        -------
        features : ndarray of shape (n_samples, n_features_out)
            Features in float32, or in float64 if vectors in memory are. With ``vectors=None``, the
            numbers of `X`.
        """
        check_is_fitted(self)
        if self.vectors is None:
            return self._numbers(X, reset=False)
        check_parameters(self)
        if self._learned_from() != getattr(self, "_settings", None):
            raise ValueError(
                "The parameters of this transformer have changed since it was fitted. Fit it again."
            )
        tokens = self._tokens(X, reset=False)
        reader = self._open()
        if reader.fingerprint(self._probes) != self._fingerprint:
            raise ValueError(
                f"This transformer was fitted with other vectors than {reader.name}. Fit it again, "
                "or restore the vectors."
            )
        pooled = self._pooled(tokens, reader, self._known(tokens, reader))
        return self._finished(pooled, reader)

    def word_vectors(self, X):
        """Return the words of texts that have a vector. Nothing has to be fitted.

        Parameters
        ----------
        X : array-like of shape (n_samples,)
            Texts.

        Returns
        -------
        words : list of str
            Distinct words.
        counts : ndarray of shape (n_words,)
            Number of occurrences of each word in all texts.
        vectors : ndarray of shape (n_words, n_features_out)
            Vectors as they are in `vectors`.

        Raises
        ------
        ValueError
            If `vectors` is None. With ``oov="error"``, if a word has no vector.
        """
        check_parameters(self)
        if self.vectors is None:
            raise ValueError("vectors=None has no words. Pass vectors, such as a file of GloVe.")
        tokens, reader = self._tokens(X, reset=False), self._open()
        is_known = self._known(tokens, reader)
        words = [tokens.words[i] for i in np.flatnonzero(is_known)]
        vectors = reader.take(words) if words else np.empty((0, reader.dim), reader.dtype)
        return words, tokens.counts[is_known], vectors

    def _fit(self, X, *, with_features: bool) -> np.ndarray | None:
        if self.vectors is None:
            return self._numbers(X, reset=True)
        check_parameters(self)
        tokens = self._tokens(X, reset=True)
        reader = self._open()
        is_known = self._known(tokens, reader)
        known = [word for word, k in zip(tokens.words, is_known, strict=True) if k]
        self._n_features_out = reader.dim
        self._settings = self._learned_from()
        self._probes = reader.probes(known)
        self._fingerprint = reader.fingerprint(self._probes)
        self._note_coverage(tokens, is_known)
        self._learn_weights(tokens)
        self.unknown_vector_ = self._vector_of_unknown_words(reader, known)
        self.common_component_ = None
        if self.pooling != "sif" and not with_features:
            return None
        pooled = self._pooled(tokens, reader, is_known)
        if self.pooling == "sif":
            self.common_component_ = common_component(pooled)
        return self._finished(pooled, reader) if with_features else None

    def _note_coverage(self, tokens: Tokens, is_known: np.ndarray) -> None:
        counts = tokens.counts
        self.coverage_ = float(counts[is_known].sum() / max(1, counts.sum()))
        n_known = tokens.matrix(is_known.astype(float)) @ np.ones(len(is_known))
        self.n_empty_texts_ = int((n_known == 0).sum())
        if self.coverage_ < _LOW_COVERAGE:
            rare = np.argsort(-np.where(is_known, 0, counts), kind="stable")[:_N_NAMED]
            named = ", ".join(repr(tokens.words[i]) for i in rare if not is_known[i])
            warn(
                f"Only {self.coverage_:.0%} of the words of these texts have a vector; among "
                f"those without one: {named or 'none, for there are no words'}. Check the language "
                "of the vectors, lowercase= and tokenizer=.",
                WordCoverageWarning,
            )

    def _learn_weights(self, tokens: Tokens) -> None:
        """Learn the weights of words, and of a word that is not among them."""
        self.word_weights_, self._other_weight = None, 1.0
        if self.pooling == "mean" and self.weights == "tfidf":
            n_texts = 1 + len(tokens)
            idf = np.log(n_texts / (1 + tokens.document_frequencies)) + 1
            self.word_weights_ = dict(zip(tokens.words, idf.tolist(), strict=True))
            self._other_weight = float(np.log(n_texts) + 1)
        elif self.pooling == "sif":
            frequencies = self._frequencies(tokens)
            total = sum(frequencies.values()) or 1
            a = self.smoothing
            self.word_weights_ = {
                word: float(a / (a + count / total)) for word, count in frequencies.items()
            }

    def _frequencies(self, tokens: Tokens) -> Mapping:
        if self.word_frequencies is None:
            return dict(zip(tokens.words, tokens.counts.tolist(), strict=True))
        if not isinstance(self.word_frequencies, Mapping) or not len(self.word_frequencies):
            raise ValueError(
                "word_frequencies has to map words to counts or shares; it is "
                f"{self.word_frequencies!r:.60}."
            )
        values = np.array(list(self.word_frequencies.values()), dtype=float)
        if not (np.isfinite(values).all() and (values >= 0).all() and values.sum() > 0):
            raise ValueError(
                "word_frequencies holds negative numbers, NaN or infinity, or nothing but zeros. "
                "Pass counts or shares."
            )
        return self.word_frequencies

    def _vector_of_unknown_words(self, reader: WordVectors, known: list[str]):
        if self.oov in ("ignore", "error"):
            return None
        if self.oov == "zero" or not known:
            return np.zeros(reader.dim, reader.dtype)
        mean = reader.take(sorted(known)).mean(axis=0, dtype=np.float64)
        return mean.astype(reader.dtype)

    def _pooled(self, tokens: Tokens, reader: WordVectors, is_known: np.ndarray) -> np.ndarray:
        """Pool in float64; SIF before its component is taken away."""
        vectors = np.zeros((len(tokens.words), reader.dim))
        vectors[is_known] = reader.take([tokens.words[i] for i in np.flatnonzero(is_known)])
        is_counted = is_known
        if self.unknown_vector_ is not None:
            vectors[~is_known] = self.unknown_vector_
            is_counted = np.ones_like(is_known)
        if self.pooling == "max":
            return maximum(tokens, vectors, is_counted)
        weights = np.ones(len(tokens.words))
        if self.word_weights_ is not None:
            weights = [self.word_weights_.get(w, self._other_weight) for w in tokens.words]
            weights = np.array(weights, dtype=float)
        over = "words" if self.pooling == "sif" else "weights"
        return weighted_mean(tokens, vectors, weights, is_counted, over=over)

    def _finished(self, pooled: np.ndarray, reader: WordVectors) -> np.ndarray:
        if self.common_component_ is not None:
            pooled = without_component(pooled, self.common_component_)
        return pooled.astype(reader.dtype, copy=False)

    def _known(self, tokens: Tokens, reader: WordVectors) -> np.ndarray:
        is_known = reader.contains(tokens.words)
        if self.oov == "error" and not is_known.all():
            row = np.searchsorted(tokens.starts, np.argmin(is_known[tokens.columns]), "right") - 1
            missing = [tokens.words[i] for i in np.flatnonzero(~is_known)]
            named = ", ".join(map(repr, missing[:_N_NAMED]))
            raise ValueError(
                f"{len(missing)} words of these texts have no vector: {named}"
                f"{', ...' if len(missing) > _N_NAMED else ''}; the first is in row {row}. Add "
                "them to the vectors, or pass oov='ignore', 'zero' or 'mean'."
            )
        return is_known

    def _tokens(self, X, *, reset: bool) -> Tokens:
        texts = as_texts(X, type(self).__name__)
        remember_column(self, X, reset)
        return read_tokens(texts, tokenizer=self.tokenizer, lowercase=self.lowercase)

    def _open(self) -> WordVectors:
        if is_path(self.vectors):
            return open_file(
                as_path(self.vectors),
                file_format=self.file_format,
                decode_error=self.decode_error,
                cache_dir=self.cache_dir,
            )
        held, reader = _opened.get(self, (None, None))
        if held is not self.vectors:
            reader = open_in_memory(self.vectors)
            _opened[self] = self.vectors, reader
        return reader

    def _numbers(self, X, *, reset: bool) -> np.ndarray:
        """Validate numbers that pass through."""
        try:
            return validate_data(self, X, reset=reset)
        except ValueError as error:
            first = np.asarray(X, dtype=object).ravel()[:1].tolist()
            if not (first and isinstance(first[0], str)):
                raise
            raise ValueError(
                "X holds texts, which vectors=None cannot turn into numbers. Pass vectors, such as "
                "the path of a file of GloVe."
            ) from error

    def get_feature_names_out(self, input_features=None):
        """Return the names of the features: the class and a number.

        Parameters
        ----------
        input_features : array-like of str, default=None
            Names of the columns of ``X``; used where `vectors` is None.

        Returns
        -------
        names : ndarray of str, shape (n_features_out,)
        """
        check_is_fitted(self)
        if self.vectors is None:
            return OneToOneFeatureMixin.get_feature_names_out(self, input_features)
        return super().get_feature_names_out(input_features)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        takes_text = self.vectors is not None
        tags.input_tags.string = takes_text
        tags.input_tags.two_d_array = not takes_text
        tags.transformer_tags.preserves_dtype = [] if takes_text else ["float64", "float32"]
        return tags

    def _learned_from(self) -> tuple:
        return self.pooling, self.weights, self.oov, self.lowercase

    def _check_combinations(self) -> None:
        if self.weights == "tfidf" and self.pooling != "mean":
            raise ValueError(
                f"weights='tfidf' weighs the words of a mean, and pooling={self.pooling!r} has "
                "weights of its own, or none. Pass pooling='mean' or weights='uniform'."
            )
        if not (self.tokenizer is None or callable(self.tokenizer)):
            if not isinstance(self.tokenizer, str):
                raise ValueError(
                    f"tokenizer={self.tokenizer!r} is neither a function from a text to its words "
                    "nor a regular expression."
                )

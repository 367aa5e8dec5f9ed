"""Word vectors are read from every form exactly, and what cannot be read says why."""

import gzip
import mmap
import os
import pickle
from types import SimpleNamespace

import numpy as np
import pytest

from skltransfer import WordVectorTransformer
from skltransfer.feature import _word_vector_files
from skltransfer.feature._word_vector_files import open_file
from skltransfer.feature._word_vector_formats import WordIndex
from tests.shared_data import SHARED_DATA

WORDS = ["the", "naïve", "日本", "12", ". . .", "n't", "U.S.", "last"]
VECTORS = np.random.default_rng(0).normal(size=(len(WORDS), 5)).astype(np.float32)
GLOVE = SHARED_DATA / "glove" / "glove.50d.5k.txt.gz"


def lines(words=WORDS, vectors=VECTORS, separator=" ", end="\n"):
    rows = zip(words, vectors, strict=True)
    return "".join(separator.join([w, *(repr(float(x)) for x in v)]) + end for w, v in rows)


def binary(words=WORDS, vectors=VECTORS, end=b"\n"):
    rows = zip(words, vectors, strict=True)
    body = b"".join(w.encode() + b" " + v.astype("<f4").tobytes() + end for w, v in rows)
    return f"{len(words)} {vectors.shape[1]}\n".encode() + body


WITHOUT_SPACES = [i for i, word in enumerate(WORDS) if " " not in word]
PLAIN = [WORDS[i] for i in WITHOUT_SPACES]
CONTENTS = {
    "glove": (lines().encode(), WORDS),
    "glove, no last newline": (lines().encode().rstrip(), WORDS),
    "glove, blank last line": (lines().encode() + b"\n", WORDS),
    "glove, windows": (lines(end=" \r\n").encode(), WORDS),
    "glove, byte order mark": (b"\xef\xbb\xbf" + lines().encode(), WORDS),
    "word2vec, byte order mark": (f"\ufeff{len(WORDS)} 5\n{lines()}".encode(), WORDS),
    "glove, tabs": (lines(separator="\t").encode(), WORDS),
    "glove, words aligned": (
        lines([f" {word} " for word in WORDS]).encode(),
        WORDS,
    ),
    "glove, first word a number": (lines(["7", *WORDS[1:]]).encode(), ["7", *WORDS[1:]]),
    "word2vec": (f"{len(WORDS)} 5\n{lines()}".encode(), WORDS),
    "word2vec, spaces at ends": (f"{len(WORDS)} 5\n{lines(end=' ' + chr(10))}".encode(), WORDS),
    "word2vec binary": (binary(PLAIN, VECTORS[WITHOUT_SPACES]), PLAIN),
    "word2vec binary, no newlines": (binary(PLAIN, VECTORS[WITHOUT_SPACES], b""), PLAIN),
}


def opened(path, **settings):
    return open_file(
        path, **{"file_format": "auto", "decode_error": "strict", "cache_dir": None} | settings
    )


@pytest.mark.parametrize("is_cached", [False, True])
@pytest.mark.parametrize("is_packed", [False, True])
@pytest.mark.parametrize("name", CONTENTS)
def test_every_format_is_told_and_read_exactly(name, is_packed, is_cached, tmp_path):
    content, words = CONTENTS[name]
    path = tmp_path / "vectors"
    path.write_bytes(gzip.compress(content) if is_packed else content)
    cache = tmp_path / "new" / "cache" if is_cached else None
    source = opened(path, cache_dir=cache)
    expected = VECTORS if len(words) == len(WORDS) else VECTORS[WITHOUT_SPACES]
    order = np.random.default_rng(1).permutation(len(words))
    assert source.dim == 5
    np.testing.assert_array_equal(source.take([words[i] for i in order]), expected[order])
    assert source.take([words[0]]).dtype == np.float32
    unknown = ["", "THE", "the ", "missing", "日", words[0] + " 0.1"]
    assert source.contains([*words, *unknown]).tolist() == [True] * len(words) + [False] * 6
    assert source.take([]).shape == (0, 5)


@pytest.mark.parametrize("is_binary", [False, True])
def test_what_gensim_writes_and_reads(is_binary, tmp_path):
    KeyedVectors = pytest.importorskip("gensim.models").KeyedVectors
    vectors = KeyedVectors(5)
    vectors.add_vectors(PLAIN, VECTORS[WITHOUT_SPACES])
    path = tmp_path / "vectors.bin"
    vectors.save_word2vec_format(str(path), binary=is_binary)
    np.testing.assert_array_equal(opened(path).take(PLAIN), vectors[PLAIN])
    ours = tmp_path / "ours.bin"
    ours.write_bytes(CONTENTS["word2vec binary"][0])
    theirs = KeyedVectors.load_word2vec_format(str(ours), binary=True)
    np.testing.assert_array_equal(opened(ours).take(PLAIN), theirs[PLAIN])
    features = WordVectorTransformer(theirs, lowercase=False).fit_transform(["the last U.S."])
    np.testing.assert_allclose(features[0], theirs[["the", "last", "U.S."]].mean(0), rtol=1e-6)


@pytest.mark.parametrize("seed", range(20))
def test_small_binary_files_are_not_taken_for_text(seed, tmp_path):
    vectors = np.random.default_rng(seed).normal(size=(2, 2)).astype(np.float32)
    path = tmp_path / "vectors.bin"
    path.write_bytes(binary(["a", "b"], vectors))
    np.testing.assert_array_equal(opened(path).take(["a", "b"]), vectors)


def test_one_dimension_needs_no_name(tmp_path):
    path = tmp_path / "vectors.txt"
    path.write_text("12 7\n13 5\n")
    assert opened(path).take(["13", "12"]).tolist() == [[5], [7]]


def test_of_words_that_repeat_the_first_wins(tmp_path):
    words, vectors = ["a", "b", "a"], VECTORS[:3]
    text, packed = tmp_path / "a.txt", tmp_path / "a.bin"
    text.write_text(lines(words, vectors))
    packed.write_bytes(binary(words, vectors))
    for source in (opened(text), opened(packed), opened(text, cache_dir=tmp_path)):
        np.testing.assert_array_equal(source.take(["a", "b"]), vectors[:2])
    pair = WordVectorTransformer((words, vectors)).fit_transform(["a", "b"])
    np.testing.assert_array_equal(pair, vectors[:2])


def test_other_words_with_the_same_hash_are_unknown(tmp_path, monkeypatch):
    path = tmp_path / "vectors.txt"
    path.write_text(lines())
    source = opened(path)
    monkeypatch.setattr(WordIndex, "find", lambda index, words: np.zeros(len(words), int))
    hit = source.word(0)
    assert source.contains([hit, "other"]).tolist() == [True, False]


WRONG_FILES = {
    "empty": (b"", {}, "is empty"),
    "packed, empty": (gzip.compress(b""), {}, "is empty"),
    "packed, truncated": (
        gzip.compress(lines().encode() * 40)[:-40],
        {},
        "cannot be unpacked.*truncated",
    ),
    "too few numbers": (
        b"a 1 2\nb 1 2\nc 1\n",
        {},
        "Line 3 of .* has 1 numbers after its word, and 2 are",
    ),
    "too many numbers": (
        b"a 1 2\nb 1 2 3\nc 1 2\nd 1 2\n",
        {},
        "Line 2 of .* has 3 numbers .* 2 are expected",
    ),
    "word2vec, too few numbers": (b"2 2\na 1 2\nb 1\n", {}, "Line 3 of .* has 1 numbers"),
    "too few words": (
        b"3 2\na 1 2\nb 1 2\n",
        {},
        "promises 3 words, and 2 follow. The file is truncated",
    ),
    "too many words": (b"1 2\na 1 2\nb 1 2\n", {}, "promises 1 words, and 2 follow"),
    "header alone": (b"5 2\n", {}, "promises 5 words, and 0 follow"),
    "binary, truncated": (
        binary(PLAIN, VECTORS[WITHOUT_SPACES])[:-3],
        {},
        "ends, or is damaged, in word .* of the 7 words, of 5 dimensions",
    ),
    "binary, more follows": (
        binary(PLAIN, VECTORS[WITHOUT_SPACES]) + b"more",
        {},
        "promises 7 words .* and more",
    ),
    "latin-1": (b"caf\xe9 1 2\nb 1 2\n", {}, "Word 1 .* is not UTF-8.*decode_error='ignore'"),
    "pickle": (pickle.dumps({"a": [1.0]}), {}, "is a pickle.*save_word2vec_format"),
    "zip": (b"PK\x03\x04 zip", {}, "is a zip archive. Unpack it"),
    "fasttext": (b"\xba\x16\x4f\x2f\x0c", {}, "is fastText's own format. Pass its .vec"),
    "numpy": (b"\x93NUMPY\x01", {}, r"is a numpy file. Pass vectors=\(words"),
    "utf-16": ("a 1 2\n".encode("utf-16"), {}, "is UTF-16. Write it again as UTF-8"),
    "prose": (b"just some prose\nand more\n", {}, "format of .* is unknown. Pass a file of GloVe"),
    "bytes": (b"\x00\x01\x02\x03", {}, "format of .* is unknown"),
    "prose as glove": (b"just prose\n", {"file_format": "glove"}, "no numbers after the word"),
    "glove as word2vec": (
        b"a 1 2\n",
        {"file_format": "word2vec"},
        "does not begin with the number of its words",
    ),
    "no dimension": (b"2 0\na\nb\n", {"file_format": "word2vec"}, "does not begin with the number"),
    "no word": (b"0 2\n", {"file_format": "word2vec"}, "holds no word"),
    "glove as binary": (
        lines().encode(),
        {"file_format": "word2vec_binary"},
        "does not begin with the number",
    ),
}


@pytest.mark.parametrize("name", WRONG_FILES)
def test_what_is_wrong_with_a_file_is_said(name, tmp_path):
    content, settings, match = WRONG_FILES[name]
    path = tmp_path / "vectors.txt"
    path.write_bytes(content)
    for cache in (None, tmp_path):
        with pytest.raises(ValueError, match=match):
            WordVectorTransformer(path, cache_dir=cache, **settings).fit(["a"])


@pytest.mark.parametrize("number, match", [("x1", "is not made of numbers"), ("nan", "NaN or")])
def test_a_bad_number_is_said_where_its_word_is_used(number, match, tmp_path):
    path = tmp_path / "vectors.txt"
    path.write_text(f"a 1 2\nbad 1 {number}\nc 3 4\n")
    assert opened(path).take(["a", "c"]).tolist() == [[1, 2], [3, 4]]
    with pytest.raises(ValueError, match=f"the word 'bad' in vectors=.*{match}"):
        WordVectorTransformer(path).fit_transform(["a bad"])


@pytest.mark.parametrize("decode_error, word", [("ignore", "caf"), ("replace", "caf\ufffd")])
def test_words_that_are_not_utf_8(decode_error, word, tmp_path):
    path = tmp_path / "vectors.txt"
    path.write_bytes(b"caf\xe9 1 2\nb 1 2\n")
    for cache in (None, tmp_path):
        source = opened(path, decode_error=decode_error, cache_dir=cache)
        assert source.contains([word, "café", "b"]).tolist() == [True, False, True]


def test_a_missing_file_names_those_near_it(tmp_path):
    (tmp_path / "glove.6B.50d.txt").write_text(lines())
    with pytest.raises(FileNotFoundError, match="Did you mean 'glove.6B.50d.txt'"):
        WordVectorTransformer(tmp_path / "glove.6b.50d.txt").fit(["a"])
    with pytest.raises(FileNotFoundError, match="does not exist"):
        WordVectorTransformer(str(tmp_path / "no" / "such")).fit(["a"])
    with pytest.raises(IsADirectoryError, match="is a folder"):
        WordVectorTransformer(tmp_path).fit(["a"])


class Model:
    wv = None


WRONG_VECTORS = {
    "empty": ({}, ValueError, "is empty"),
    "number": ({"a": 1.0}, ValueError, r"maps 'a' to an array of shape \(\)"),
    "key": ({3: [1.0]}, ValueError, "maps 3 to"),
    "ragged": ({"a": [1.0, 2.0], "b": [1.0]}, ValueError, r"maps 'b' to an array of shape \(1,\)"),
    "infinite": ({"a": [1.0], "b": [np.inf]}, ValueError, "word 'b' .* holds NaN or infinity"),
    "lengths": ((["a"], VECTORS), ValueError, "holds 1 words and 8 rows"),
    "word": ((["a", 3], VECTORS[:2]), ValueError, "must be strings, and one is a int"),
    "array of strings": ((["a"], [["x"]]), ValueError, "Pass numbers of shape"),
    "one-dimensional": (
        (["a"], [1.0]),
        ValueError,
        r"Pass numbers of shape \(n_words, n_dimensions\)",
    ),
    "no rows": (([], np.zeros((0, 3))), ValueError, "at least one of each"),
    "model": (Model(), TypeError, "vectors=model.wv"),
    "integer": (3, TypeError, "is a int, which holds no word vectors. Pass a path"),
    "bare array": (VECTORS, TypeError, "is a ndarray, which holds no word vectors"),
}


@pytest.mark.parametrize("name", WRONG_VECTORS)
def test_what_is_wrong_with_vectors_in_memory_is_said(name):
    vectors, kind, match = WRONG_VECTORS[name]
    with pytest.raises(kind, match=match):
        WordVectorTransformer(vectors).fit_transform(["a b"])


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.float16])
def test_vectors_in_memory_give_what_a_file_gives(dtype, tmp_path):
    array = np.round(VECTORS * 8).astype(dtype)
    array.flags.writeable = False
    path = tmp_path / "vectors.txt"
    path.write_text(lines(vectors=array))
    keyed = SimpleNamespace(
        key_to_index={word: i for i, word in enumerate(WORDS)}, vectors=array.astype(np.float32)
    )
    texts = ["the last naïve", "日本 12", "nothing"]
    expected = WordVectorTransformer(path).fit_transform(texts)
    assert expected.dtype == np.float32 and expected[:2].any(axis=1).all()
    mapping = dict(zip(WORDS, array, strict=True))
    for vectors in (mapping, (WORDS, array), (np.array(WORDS), array), keyed):
        features = WordVectorTransformer(vectors).fit_transform(texts)
        wide = dtype in (np.float64, np.int64) and vectors is not keyed
        assert features.dtype == (np.float64 if wide else np.float32)
        np.testing.assert_allclose(features, expected, rtol=1e-6)


def test_a_file_is_read_through_once_in_a_process(tmp_path, monkeypatch):
    path = tmp_path / "vectors.txt"
    path.write_text(lines())
    mapped, count = mmap.mmap, []
    monkeypatch.setattr(
        mmap, "mmap", lambda *args, **settings: count.append(args) or mapped(*args, **settings)
    )
    for _ in range(3):
        WordVectorTransformer(path).fit(["the last"]).transform(["the last"])
    WordVectorTransformer(str(path), pooling="max").fit(["the last"])
    assert len(count) == 1
    path.write_text(lines(vectors=2 * VECTORS))
    np.testing.assert_array_equal(opened(path).take(WORDS), 2 * VECTORS)
    assert len(count) == 2


def test_a_process_keeps_a_few_files_open(tmp_path):
    paths = [tmp_path / f"{i}.txt" for i in range(7)]
    for path in paths:
        path.write_text(lines())
    files = [opened(path) for path in paths]
    kept = zip(paths[3:], files[3:], strict=True)
    assert all(opened(path) is file for path, file in kept)
    assert opened(paths[0]) is not files[0]


def test_parsed_vectors_are_forgotten_when_there_are_many(tmp_path, monkeypatch):
    monkeypatch.setattr(_word_vector_files, "_MAX_PARSED_BYTES", 40)
    path = tmp_path / "vectors.txt"
    path.write_text(lines())
    source = opened(path)
    np.testing.assert_array_equal(source.take(WORDS), VECTORS)
    assert len(source._parsed) <= 3
    assert sum(part.nbytes for part in source.index) == 28 * len(WORDS)  # as the guide says


def test_the_converted_copy_serves_without_the_text(tmp_path):
    path, cache = tmp_path / "vectors.txt", tmp_path / "cache"
    path.write_text(lines())
    opened(path, cache_dir=cache)
    assert len(list(cache.iterdir())) == 2  # and no half-written file
    _word_vector_files._open_files.clear()
    status = path.stat()
    path.write_bytes(bytes(status.st_size))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))  # as if it were the same
    source = opened(path, cache_dir=cache)
    np.testing.assert_array_equal(source.take(WORDS), VECTORS)
    assert isinstance(source._matrix, np.memmap)
    path.write_text(lines())
    assert source.fingerprint([]) == opened(path).fingerprint([])


@pytest.mark.parametrize("part", ["*.npy", "*.index"])
def test_a_damaged_copy_is_written_again(part, tmp_path):
    path, cache = tmp_path / "vectors.txt", tmp_path / "cache"
    path.write_text(lines())
    opened(path, cache_dir=cache)
    (damaged,) = cache.glob(part)
    content = damaged.read_bytes()
    damaged.unlink()
    damaged.write_bytes(content[: len(content) // 2])
    _word_vector_files._open_files.clear()
    np.testing.assert_array_equal(opened(path, cache_dir=cache).take(WORDS), VECTORS)


def test_no_damage_of_a_copy_is_used(tmp_path):
    """Flipped bits, cut ends and zeros, anywhere: the right vectors, or an error by name."""
    path, cache = tmp_path / "vectors.txt", tmp_path / "cache"
    path.write_text(lines())
    opened(path, cache_dir=cache)
    contents = {part: part.read_bytes() for part in cache.iterdir()}
    rng = np.random.default_rng(0)
    outcomes = []
    for number in range(120):
        part = sorted(contents)[number % 2]
        content = bytearray(contents[part])
        position = int(rng.integers(len(content)))
        if number % 5 == 0:
            del content[position:]
        elif number % 5 == 1:
            content[position : position + 16] = bytes(len(content[position : position + 16]))
        else:
            content[position] ^= 1 << int(rng.integers(8))
        part.unlink()
        part.write_bytes(content)
        _word_vector_files._open_files.clear()
        try:
            source = opened(path, cache_dir=cache)
            np.testing.assert_array_equal(source.take(WORDS), VECTORS)
            assert source.fingerprint([]) == opened(path).fingerprint([])
        except ValueError as error:
            assert f"The copy '{part}' of vectors='{path}' is damaged. Delete it" in str(error)
            outcomes.append("refused")
        for part, content in contents.items():
            part.unlink()
            part.write_bytes(content)
    assert 20 < len(outcomes) < 60


def test_a_full_disk_is_an_error_with_the_path(tmp_path, monkeypatch):
    import resource

    path, cache = tmp_path / "vectors.txt", tmp_path / "cache"
    path.write_text(lines([f"w{i}" for i in range(3000)], np.ones((3000, 5), np.float32)))
    packed = tmp_path / "packed.gz"
    packed.write_bytes(gzip.compress(path.read_bytes() * 20, 1))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
        for given, place in ((path, cache), (packed, None)):
            with pytest.raises(OSError) as caught:
                opened(given, cache_dir=place)
            assert str(cache if place else packed) in str(caught.value)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list(cache.iterdir())
    assert opened(path, cache_dir=cache).take(["w7"]).tolist() == [[1.0] * 5]


def test_only_regular_files_of_a_plausible_size_are_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for place in (tmp_path / "pipe", "/dev/zero"):
        with pytest.raises(ValueError, match="is no regular file"):
            WordVectorTransformer(place).fit(["a"])
    bomb = tmp_path / "bomb.gz"
    bomb.write_bytes(gzip.compress(bytes(2**24)))
    with pytest.raises(ValueError, match="unpacks to more than 50 times its size"):
        WordVectorTransformer(bomb).fit(["a"])
    for header in (b"9" * 17 + b" 2", b"1 " + b"9" * 17, b"9" * 5000 + b" 2"):
        for file_format in ("auto", "glove", "word2vec", "word2vec_binary"):
            path = tmp_path / "header.bin"
            path.write_bytes(header + b"\na 1 2\nb 1 2\n")
            with pytest.raises(ValueError, match=r"header.bin"):
                WordVectorTransformer(path, file_format=file_format).fit(["a"])


def test_a_changed_file_has_another_copy(tmp_path):
    path, cache = tmp_path / "vectors.txt", tmp_path / "cache"
    path.write_text(lines())
    opened(path, cache_dir=cache)
    path.write_text(lines(vectors=-VECTORS))
    os.utime(path, (1, 1))
    np.testing.assert_array_equal(opened(path, cache_dir=cache).take(WORDS), -VECTORS)


@pytest.mark.shared
def test_neighbours_in_glove():
    source = opened(GLOVE)
    with gzip.open(GLOVE, "rt", encoding="utf8") as file:
        rows = [line.rstrip("\n").split(" ") for line in file]
    words = [row[0] for row in rows]
    vectors = source.take(words)
    np.testing.assert_array_equal(vectors, np.array([r[1:] for r in rows], np.float32))
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def nearest(vector, but, n):
        order = np.argsort(-(units @ vector))
        return [words[i] for i in order if words[i] not in but][:n]

    of = dict(zip(words, vectors, strict=True))
    assert nearest(of["good"], ["good"], 3) == ["better", "really", "always"]
    assert nearest(of["king"], ["king"], 3) == ["prince", "queen", "ii"]
    trio = ["king", "man", "woman"]
    assert nearest(of["king"] - of["man"] + of["woman"], trio, 1) == ["queen"]

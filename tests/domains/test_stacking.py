"""stack_domains and split_domains: to and from the convention of other packages."""

import numpy as np
import pytest
from scipy import sparse

from skltransfer import split_domains, stack_domains
from skltransfer.domains._data import missing_labels


@pytest.mark.parametrize(
    ("y", "y_target"),
    [
        ([0, 1, 1], [1, 0]),
        ([0, 1, 1], [np.nan, 0]),
        ([0.5, 1.5, 2.5], [np.nan, np.nan]),
        (["a", "b", "a"], ["b", None]),
        ([0, 1, 1], None),
    ],
)
def test_round_trip(y, y_target):
    X, X_target = np.arange(6.0).reshape(3, 2), np.arange(4.0).reshape(2, 2) + 10
    stacked, labels, sample_domain = stack_domains(X, y, X_target=X_target, y_target=y_target)
    np.testing.assert_array_equal(sample_domain, [1, 1, 1, -2, -2])
    X_again, y_again, X_target_again, y_target_again = split_domains(
        stacked, labels, sample_domain=sample_domain
    )
    np.testing.assert_array_equal(X_again, X)
    np.testing.assert_array_equal(X_target_again, X_target)
    assert y_again.tolist() == list(y)
    expected = [np.nan, np.nan] if y_target is None else y_target
    assert all(a == b or (a != a and b != b) for a, b in zip(y_target_again, expected, strict=True))


def test_complete_labels_keep_their_type():
    _, labels, _ = stack_domains([[0], [1]], [0, 1], X_target=[[2]], y_target=[1.0])
    assert labels.tolist() == [0, 1, 1]
    _, labels, _ = stack_domains([[0], [1]], ["a", "b"], X_target=[[2]], y_target=["b"])
    assert labels.dtype.kind == "U"


def test_masks_of_other_packages():
    X, y, sample_domain = stack_domains([[0], [1]], [0, 1], X_target=[[2], [3]], missing_label=-1)
    np.testing.assert_array_equal(y, [0, 1, -1, -1])
    _, y_source, _, y_target = split_domains(X, y, sample_domain=sample_domain, missing_label=-1)
    np.testing.assert_array_equal(y_source, [0, 1])
    assert np.isnan(y_target).all()
    # -1 is an ordinary label unless it is named
    assert split_domains(X, y, sample_domain=sample_domain)[3].tolist() == [-1, -1]
    strings = np.array(["a", "b", "?", "a"])
    assert split_domains(X, strings, sample_domain=sample_domain, missing_label="?")[
        3
    ].tolist() == [
        None,
        "a",
    ]


def test_several_domains_and_any_order():
    sample_domain = [2, -4, 1, -3, 2]
    X, y, X_target, y_target = split_domains(
        np.arange(5)[:, None], list("abcde"), sample_domain=sample_domain
    )
    assert X.ravel().tolist() == [0, 2, 4]
    assert X_target.ravel().tolist() == [1, 3]
    assert (y.tolist(), y_target.tolist()) == (["a", "c", "e"], ["b", "d"])


def test_containers():
    pandas, polars = pytest.importorskip("pandas"), pytest.importorskip("polars")
    for library in (pandas, polars):
        X = library.DataFrame({"a": [0.0, 1.0], "b": [2.0, 3.0]})
        X_target = library.DataFrame({"b": [9.0], "a": [8.0]})
        stacked, y, sample_domain = stack_domains(X, X_target=X_target)
        assert y is None
        assert stacked["a"].to_list() == [0.0, 1.0, 8.0]
        assert split_domains(stacked, sample_domain=sample_domain)[2]["b"].to_list() == [9.0]
    stacked, _, _ = stack_domains(sparse.eye(2, format="csr"), X_target=sparse.eye(2, format="csr"))
    np.testing.assert_array_equal(stacked.toarray(), np.vstack([np.eye(2), np.eye(2)]))
    stacked, _, _ = stack_domains(["one.png", "two.png"], X_target=["three.png"])
    assert stacked == ["one.png", "two.png", "three.png"]


def test_arguments_are_not_changed():
    y = np.array([0, 1])
    y.flags.writeable = False
    y_target = np.array([1.0, np.nan])
    y_target.flags.writeable = False
    stack_domains([[0], [1]], y, X_target=[[2], [3]], y_target=y_target, missing_label=-1)
    split_domains([[0], [1]], y, sample_domain=[1, -1], missing_label=1)
    assert y.tolist() == [0, 1]
    assert np.isnan(y_target[1])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: stack_domains([[0.0]], X_target=np.empty((0, 1))), "X_target has 0 rows"),
        (lambda: stack_domains(np.eye(2), X_target=np.eye(3)), "X_target has 3 features.*2"),
        (lambda: stack_domains([[0]], [0, 1], X_target=[[1]]), "y has 2 entries.*1 rows"),
        (lambda: stack_domains([[0]], [[0, 1]], X_target=[[1]]), "y has 2 dimensions"),
        (lambda: split_domains([[0], [1]], sample_domain=[1, 0]), "sample_domain holds 0"),
        (lambda: split_domains([[0], [1]], sample_domain=[1, 1]), r"no negative \(target\) number"),
        (
            lambda: split_domains([[0], [1]], sample_domain=[1]),
            "sample_domain has 1 entries.*2 rows",
        ),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_target_without_any_label_is_split_off():
    X, y, X_target, y_target = split_domains(
        [[0.0], [5.0], [1.0], [6.0]], ["a", "?", "b", "?"], sample_domain=[1, -2, 1, -2],
        missing_label="?",
    )  # fmt: skip
    np.testing.assert_array_equal(y, ["a", "b"])
    assert np.isnan(y_target).all()


def test_booleans_survive_a_round_trip():
    y = np.array([True, False])
    X, labels, domain = stack_domains([[0.0], [1.0]], y, X_target=[[2.0]])
    back = split_domains(X, labels, sample_domain=domain)
    assert back[1].dtype == bool
    np.testing.assert_array_equal(back[1], y)
    assert missing_labels(back[3]).all()


@pytest.mark.parametrize(
    "domain, match",
    [
        ([1, np.nan, -1], "holds NaN"),
        (["s", "s", "t"], "one whole number per row"),
        ([[1], [1], [-1]], "one whole number per row"),
    ],
)
def test_domain_numbers_that_are_none(domain, match):
    with pytest.raises(ValueError, match=match):
        split_domains(np.zeros((3, 1)), sample_domain=domain)


def test_lists_of_rows_of_another_width_are_refused():
    with pytest.raises(ValueError, match="X_target has 1 features.*2"):
        stack_domains([[1.0, 2.0], [3.0, 4.0]], X_target=[[1.0]])


NAN = float("nan")


@pytest.mark.parametrize("mark", [None, NAN, "?", -1, "nan"])
@pytest.mark.parametrize(
    ("y", "y_target", "unknown"),
    [
        (["a", "b"], ["b", None, NAN], [False, True, True]),
        (np.array(["a", "b"]), np.array(["b", NAN]), [False, True]),
        ([1, 2], [NAN, 2.0], [True, False]),
        ([True, False], [None, True], [True, False]),
        ([2**60 + 1, 3], [None, 3], [True, False]),
        (["a", "b"], None, [True, True]),
    ],
)
def test_marks_of_missing_labels_survive_the_way_there_and_back(y, y_target, unknown, mark):
    X, X_target = np.zeros((2, 1)), np.zeros((len(unknown), 1))
    stacked, labels, numbers = stack_domains(
        X, y, X_target=X_target, y_target=y_target, missing_label=mark
    )
    _, y_again, _, y_target_again = split_domains(
        stacked, labels, sample_domain=numbers, missing_label=mark
    )
    assert y_again.tolist() == list(y)
    assert missing_labels(y_target_again).tolist() == unknown
    if y_target is not None:
        for found, given, is_unknown in zip(y_target_again, y_target, unknown, strict=True):
            assert is_unknown or found == given


def test_a_mark_that_is_a_known_label_is_refused():
    with pytest.raises(ValueError, match="missing_label=-1 is a known label too"):
        stack_domains([[0], [1]], [-1, 1], X_target=[[2]], missing_label=-1)


def test_domain_numbers_survive_the_way_there_and_back():
    numbers = np.array([2, -4, 1, -3, 2])
    parts = split_domains(
        np.arange(5)[:, None], list("abcde"), sample_domain=numbers, return_domains=True
    )
    X, y, X_target, y_target, source_domain, target_domain = parts
    np.testing.assert_array_equal(source_domain, [2, 1, 2])
    np.testing.assert_array_equal(target_domain, [-4, -3])
    stacked = stack_domains(
        X, y, X_target=X_target, y_target=y_target, source_domain=source_domain,
        target_domain=target_domain,
    )  # fmt: skip
    np.testing.assert_array_equal(stacked[2], [2, 1, 2, -4, -3])
    with pytest.raises(ValueError, match="target_domain holds 3. Use negative numbers"):
        stack_domains(X, X_target=X_target, target_domain=[3, -3])

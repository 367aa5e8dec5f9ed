"""Declarations of constructor parameters and their check."""

import math

import numpy as np
import pytest
from sklearn.base import BaseEstimator
from sklearn.model_selection import KFold

from skltransfer._parameters import (
    Choice,
    Count,
    Either,
    Flag,
    Folds,
    Function,
    ListOf,
    Number,
    check_parameters,
)

POSITIVE = Number(0, low_open=True)


@pytest.mark.parametrize(
    "parameter, good, bad, wanted",
    [
        (Number(1), [1, 2.5, np.float32(3), math.inf], [0.5, math.nan], "a number of at least 1"),
        (POSITIVE, [1e-9, math.inf], [0, -1, np.nan], "a number greater than 0"),
        (Number(0, 1), [0, 1, 0.5], [-0.1, 1.1], "a number from 0 to 1"),
        (Number(0, 1, high_open=True), [0, 0.9], [1, 1.0], r"a number from 0 to 1 \(excluded\)"),
        (
            Number(0, 1, low_open=True),
            [0.1, 1],
            [0, 0.0, 2],
            r"a number from 0 \(excluded\) to 1",
        ),
        (
            Number(0, math.inf, high_open=True),
            [0, 1e300],
            [-1, math.inf],
            "a finite number of at least 0",
        ),
        (Number(high=0), [0, -3, -math.inf], [1], "a number of at most 0"),
        (Number(), [0, -1e300], [math.inf, -math.inf, math.nan], "a finite number"),
        (Number(0, unset=("auto", None)), ["auto", None], ["Auto", -1], "or 'auto' or None"),
        (Count(), [1, np.int64(5)], [0, 1.0, np.nan], "an integer of at least 1"),
        (Count(0, 3), [0, 3], [-1, 4], "an integer from 0 to 3"),
        (Count(2, unset=("sqrt",)), [2, "sqrt"], [1, "log"], "an integer of at least 2 or 'sqrt'"),
        (Choice("em", "bbse", None), ["em", None], ["EM", 1, []], "one of 'em', 'bbse', None"),
        (ListOf(Count()), [[1], (2, 3), np.array([4])], [[], [0], [1.5], 3, "1"], "integers of at"),
        (ListOf(POSITIVE, min_size=0), [[], [0.1]], [[0.0], [[1.0]], np.ones((1, 1))], "numbers"),
        (
            Either(POSITIVE, ListOf(POSITIVE), unset=("cv",)),
            [1.0, [1.0, 2.0], "cv"],
            [0, [0], "CV", None],
            "a number greater than 0 or a list of numbers greater than 0 or 'cv'",
        ),
        (
            Folds(unset=(None,)),
            [2, KFold(), [([0], [1])], None],
            [1, 2.0, "5"],
            "an integer of at least 2, a splitter or an iterable of splits or None",
        ),
        (Either(Choice("rbf"), Function()), ["rbf", len], ["linear", 3], "'rbf' or a callable"),
        (Either(Count(unset=(None,)), Flag()), [None, 2, False], [0, "x"], "or None or True"),
    ],
)
def test_a_declaration_accepts_its_values_and_names_them(parameter, good, bad, wanted):
    for value in good:
        parameter.check("p", value)
    for value in [*bad, object()]:
        with pytest.raises(ValueError, match=rf"^p=.* is not .*{wanted}"):
            parameter.check("p", value)


@pytest.mark.parametrize("parameter", [Number(0), Count(0)])
def test_a_truth_value_is_no_number(parameter):
    for value in (True, False, np.True_):
        with pytest.raises(ValueError, match="is not"):
            parameter.check("p", value)


def test_a_flag_takes_truth_values_of_numpy_too():
    for value in (True, np.False_):
        Flag().check("p", value)
    for value in (0, 1, None, "yes"):
        with pytest.raises(ValueError, match="is neither True nor False"):
            Flag().check("p", value)


def test_a_misspelt_choice_is_told_the_nearest():
    with pytest.raises(ValueError, match="'euclidian' is not one of .*Did you mean 'euclidean'"):
        Choice("euclidean", "manhattan", None).check("metric", "euclidian")


class Base(BaseEstimator):
    _parameters = {"C": Number(0), "method": Choice("a", "b")}

    def __init__(self, C=1.0, method="a", n=1):
        self.C = C
        self.method = method
        self.n = n


class Narrower(Base):
    _parameters = {"method": Choice("a"), "n": Count()}

    def _check_combinations(self):
        if self.C > self.n:
            raise ValueError("C is larger than n.")


def test_a_subclass_adds_declarations_and_replaces_some():
    check_parameters(Base(method="b", n=None))
    check_parameters(Narrower())
    for params, message in [
        ({"C": -1}, "C=-1 is not a number of at least 0"),
        ({"method": "b"}, "method='b' is not one of 'a'"),
        ({"n": 0}, "n=0 is not an integer"),
        ({"C": 2}, "C is larger than n"),
        ({"C": "x"}, "C='x' is not a number"),  # before what concerns both
    ]:
        with pytest.raises(ValueError, match=message):
            check_parameters(Narrower(**params))

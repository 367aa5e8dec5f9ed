"""Drawn hostile tables: finite answers to finite input, promised errors, nothing changed."""

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin

pytest.importorskip("hypothesis")

from benchmarks.robustness.fuzzing import CHEAP, DEAR, tally_of

N_INPUTS = 12


@pytest.mark.parametrize("estimator", CHEAP, ids=lambda estimator: repr(estimator)[:60])
def test_a_hostile_table_is_answered_or_refused(estimator):
    tally = tally_of(estimator, N_INPUTS)
    assert not tally.faults, tally.faults[:2]
    assert tally.counts["inputs"] >= N_INPUTS
    assert tally.counts["fitted"] > 0, tally.refusals


@pytest.mark.parametrize("estimator", DEAR, ids=lambda estimator: type(estimator).__name__)
def test_a_hostile_table_is_answered_or_refused_by_a_network(estimator):
    tally = tally_of(estimator, 3)
    assert not tally.faults, tally.faults[:2]


class Faulty(ClassifierMixin, BaseEstimator):
    """Commits one fault."""

    def __init__(self, fault):
        self.fault = fault

    def fit(self, X, y, sample_weight=None):
        self.fitted_ = True
        if self.fault == "half_fitted":
            raise ValueError("refused")
        if self.fault == "other_errors":
            raise KeyError("X")
        if self.fault == "changed_input" and isinstance(X, np.ndarray) and X.flags.writeable:
            X += 1
        return self

    def predict(self, X):
        return np.full(2, np.nan if self.fault == "not_finite" else 0.0)


@pytest.mark.parametrize("fault", ["half_fitted", "other_errors", "changed_input", "not_finite"])
def test_the_driver_sees_a_fault(fault):
    tally = tally_of(Faulty(fault), 10)
    assert tally.counts[fault] > 0
    assert {text.split(":")[0] for text in tally.faults} == {fault}

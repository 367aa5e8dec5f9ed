"""The biased sample: what shifts, and what does not."""

import numpy as np
import pytest
from scipy.stats import ttest_ind
from sklearn.datasets import load_breast_cancer

from skltransfer.datasets import load_biased_breast_cancer


def test_domains_are_disjoint_rows_of_the_bundled_data():
    data = load_biased_breast_cancer(random_state=0)
    rows = {
        tuple(row): label for row, label in zip(*load_breast_cancer(return_X_y=True), strict=True)
    }
    source, target = ({tuple(row) for row in X} for X in (data.X_source, data.X_target))
    assert len(source) == 100 and len(target) == 285
    assert not source & target
    for X, y in ((data.X_source, data.y_source), (data.X_target, data.y_target)):
        assert [rows[tuple(row)] for row in X] == y.tolist()


def test_the_source_is_biased_and_the_target_is_not():
    X = load_breast_cancer().data
    biased = load_biased_breast_cancer(random_state=0)
    unbiased = load_biased_breast_cancer(bias=0, random_state=0)
    assert ttest_ind(biased.X_source[:, 0], X[:, 0]).pvalue < 1e-6
    assert ttest_ind(biased.X_target[:, 0], X[:, 0]).pvalue > 0.05
    assert ttest_ind(unbiased.X_source[:, 0], X[:, 0]).pvalue > 0.05


def test_the_seed_decides():
    first, same, other = (load_biased_breast_cancer(random_state=s).X_source for s in (1, 1, 2))
    np.testing.assert_array_equal(first, same)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("n_source", [0, 285])
def test_too_many_rows_are_refused(n_source):
    with pytest.raises(ValueError, match=f"n_source={n_source} is not a number from 1 to 284"):
        load_biased_breast_cancer(n_source=n_source)

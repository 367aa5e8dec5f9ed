"""Several source domains: stacked, numbered, and told apart where a step asks."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline

from skltransfer import FeatureAugmenter, KMMReweighter, PooledEstimator, WithSource, stack_domains
from skltransfer.domains._sources import are_several, one_stack

rng = np.random.default_rng(0)
A, B, TARGET = rng.normal(size=(20, 2)), rng.normal(1, 1, (30, 2)), rng.normal(0.5, 1, (24, 2))
Y_A, Y_B, Y = ((rows[:, 0] > 0.2).astype(int) for rows in (A, B, TARGET))


def test_sources_are_stacked_with_their_labels_and_weights():
    inner = KMMReweighter(LogisticRegression())
    one = WithSource(inner, np.vstack([A, B]), np.concatenate([Y_A, Y_B])).fit(TARGET, Y)
    two = WithSource(inner, [A, B], [Y_A, Y_B]).fit(TARGET, Y)
    np.testing.assert_array_equal(one.predict_proba(B), two.predict_proba(B))
    weights = rng.uniform(1, 2, len(B))
    one.set_params(source_sample_weight=np.concatenate([np.ones(len(A)), weights]))
    two.set_params(source_sample_weight=[None, weights])
    expected = one.fit(TARGET, Y).predict_proba(B)
    np.testing.assert_array_equal(two.fit(TARGET, Y).predict_proba(B), expected)


def test_each_source_has_a_block_of_its_own():
    """The augmented ridge is the minimum over common and own coefficients, by brute force."""
    model = make_pipeline(FeatureAugmenter(), PooledEstimator(Ridge(1.0, fit_intercept=False)))
    y = [rows @ [1.0, -1.0] + number for number, rows in enumerate((A, B, TARGET))]
    fitted = WithSource(model, [A, B], y[:2]).fit(TARGET, y[2])
    design = np.zeros((len(A) + len(B) + len(TARGET), 8))
    start = 0
    for block, rows in enumerate((A, B, TARGET), 1):
        design[start : start + len(rows), :2] = rows
        design[start : start + len(rows), 2 * block : 2 * block + 2] = rows
        start += len(rows)
    coef = np.linalg.solve(design.T @ design + np.eye(8), design.T @ np.concatenate(y))
    np.testing.assert_allclose(fitted.predict(A), A @ (coef[:2] + coef[6:]), rtol=1e-8)
    names = fitted.estimator_[0].get_feature_names_out()
    assert names[2::2].tolist() == ["source1_x0", "source2_x0", "target_x0"]


def test_numbers_of_domains_in_the_augmenter():
    numbers = np.repeat([7, 3], [5, 5])
    dense = FeatureAugmenter()
    mapped = dense.fit_transform(A[:10], X_target=TARGET, sample_domain=numbers)
    np.testing.assert_array_equal(dense.source_domains_, [3, 7])
    np.testing.assert_array_equal(mapped[:5], np.hstack([A[:5], 0 * A[:5], A[:5], 0 * A[:5]]))
    np.testing.assert_array_equal(dense.transform_source(A[:10], numbers), mapped)
    thin = FeatureAugmenter().fit_transform(
        sparse.csr_matrix(A[:10]), X_target=sparse.csr_matrix(TARGET), sample_domain=numbers
    )
    assert thin.nnz == 40
    np.testing.assert_array_equal(thin.toarray(), mapped)
    with pytest.raises(ValueError, match=r"domains \[3, 7\]. Pass their numbers as sample_domain"):
        dense.transform_source(A)
    with pytest.raises(ValueError, match=r"sample_domain holds \[4\]"):
        dense.transform_source(A[:1], [4])
    with pytest.raises(ValueError, match="sample_domain holds -2"):
        dense.fit(A[:2], X_target=TARGET, sample_domain=[1, -2])


def test_folds_cut_the_numbers_with_the_source():
    model = make_pipeline(FeatureAugmenter(), PooledEstimator(LogisticRegression()))
    search = GridSearchCV(model, {"pooledestimator__estimator__C": [0.1, 1]}, cv=2)
    fitted = WithSource(search, [A, B], [Y_A, Y_B]).fit(TARGET, Y)
    assert fitted.predict(TARGET).shape == (24,)
    scores = cross_val_score(WithSource(model, (A, B), (Y_A, Y_B)), TARGET, Y, cv=3)
    assert scores.min() > 0.7


def test_frames_of_several_sources_meet_by_the_rule():
    pandas = pytest.importorskip("pandas")
    frames = [pandas.DataFrame({"c": pandas.Categorical(list(text))}) for text in ("ab", "bc")]
    stack = one_stack(frames, [[0, 1], [1, 1]], names=("X", "y", "w"))
    assert stack.X["c"].cat.categories.tolist() == ["a", "b", "c"]
    np.testing.assert_array_equal(stack.sample_domain, [1, 1, 2, 2])


@pytest.mark.parametrize(
    ("X", "y", "several"),
    [
        ([A, B], [Y_A, Y_B], True),
        ((A, B), None, True),
        ([["one", "two"], ["three"]], [[0, 1], [1]], True),
        ([[[0.0], [1.0]], [[2.0]]], [[0, 1], [1]], True),
        ([[0.0], [1.0]], [0, 1], False),
        ([[0.0, 1.0], [2.0, 3.0]], [[0, 1], [1, 0]], False),
        (["one", "two"], [0, 1], False),
        ([np.zeros((8, 8)), np.zeros((8, 8))], [0, 1], False),  # images
        ([np.zeros((8, 8)), np.zeros((8, 8))], None, False),
        ([np.zeros(3), np.zeros(3)], [0, 1], False),
        (A, Y_A, False),
        ([A, B], np.concatenate([Y_A, Y_B]), True),  # refused later
        ([A, B], [*Y_A, *Y_B], True),
        ([np.zeros((8, 8)), np.zeros((8, 8))], np.zeros(3), False),
    ],
)
def test_a_list_of_sources_is_told_from_a_list_of_samples(X, y, several):
    assert are_several(X, y, TARGET) is several


@pytest.mark.parametrize(
    ("held", "message"),
    [
        (([A, B], [Y_A, Y_B[:-1]]), r"y_source\[1\] has 29 entries, but X_source\[1\] has 30"),
        (([A, B[:, :1]], [Y_A, Y_B]), r"X_source\[1\] has 1 features"),
        (([A, B], [Y_A, np.array(["0"] * 30)]), "y_source holds labels like '0' and like"),
        (([A, B[:0]], [Y_A, Y_B[:0]]), r"X_source\[1\] has 0 rows"),
        (([A, B], np.concatenate([Y_A, Y_B])), "list of 2 sources. Pass y_source as a list with"),
    ],
)
def test_sources_that_do_not_fit_are_named(held, message):
    with pytest.raises(ValueError, match=message):
        WithSource(PooledEstimator(LogisticRegression()), *held).fit(TARGET, Y)


def test_several_sources_and_back():
    stacked, y, numbers = stack_domains([A, B], [Y_A, Y_B], X_target=TARGET)
    np.testing.assert_array_equal(numbers, np.repeat([1, 2, -2], [20, 30, 24]))
    np.testing.assert_array_equal(stacked[20:50], B)
    assert y.shape == (74,)

"""A column of texts beside columns of numbers, in a ColumnTransformer."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skltransfer import WithSource, WordVectorTransformer

VECTORS = {"good": [1.0, 0.2], "great": [0.9, -0.1], "bad": [-1.0, 0.1], "dull": [-0.8, -0.2]}
FRAMES = {"pandas": pd.DataFrame, "polars": pl.DataFrame}


@pytest.fixture
def table():
    """The label is told by the word and the number together, and by neither alone."""
    rng = np.random.default_rng(0)
    words = rng.choice(list(VECTORS), 120)
    price = rng.normal(100, 10, 120)
    sign = np.isin(words, ["good", "great"]) * 2 - 1
    y = (sign + (price - 100) / 10 > 0).astype(int)
    review = [f"a {word} film" for word in words]
    return {"price": price, "review": review, "year": rng.integers(1990, 2020, 120)}, y


def model(vectors=VECTORS, **parameters):
    columns = ColumnTransformer(
        [
            ("words", WordVectorTransformer(vectors, **parameters), "review"),
            ("numbers", StandardScaler(), ["price", "year"]),
        ]
    )
    return make_pipeline(columns, LogisticRegression())


# Two of three words of these texts have no vector.
@pytest.mark.filterwarnings("ignore::skltransfer.WordCoverageWarning")
@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize("n_jobs", [None, 2])
def test_cross_validation_of_texts_and_numbers(table, frame, n_jobs):
    X, y = FRAMES[frame](table[0]), table[1]
    scores = cross_validate(model(), X, y, cv=3, n_jobs=n_jobs, error_score="raise")
    words = WordVectorTransformer(VECTORS)
    alone = [
        cross_validate(make_pipeline(words, LogisticRegression()), X["review"].to_list(), y, cv=3),
        cross_validate(
            make_pipeline(StandardScaler(), LogisticRegression()), X[["price"]], y, cv=3
        ),
    ]
    found = scores["test_score"].mean()
    assert found > 0.9
    assert found > max(score["test_score"].mean() for score in alone) + 0.05


@pytest.mark.filterwarnings("ignore::skltransfer.WordCoverageWarning")
@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize("output", ["default", "pandas", "polars"])
def test_names_and_values(table, frame, output):
    X = FRAMES[frame](table[0])
    columns = model()[0].set_output(transform=output)
    features = columns.fit_transform(X)
    names = ["words__wordvectortransformer0", "words__wordvectortransformer1"]
    names += ["numbers__price", "numbers__year"]
    assert list(columns.get_feature_names_out()) == names
    if output != "default":
        assert isinstance(features, FRAMES[output])
        assert list(features.columns) == names
    expected = [VECTORS[text.split()[1]] for text in table[0]["review"]]
    np.testing.assert_allclose(np.asarray(features)[:, :2], expected)
    np.testing.assert_array_equal(np.asarray(columns.transform(X)), np.asarray(features))


@pytest.mark.filterwarnings("ignore::skltransfer.WordCoverageWarning")
@pytest.mark.parametrize("frame", FRAMES)
def test_the_column_may_come_as_a_frame(table, frame):
    """Named in a list, the column arrives with its name, and another name is refused."""
    X = FRAMES[frame](table[0])
    words = WordVectorTransformer(VECTORS)
    columns = ColumnTransformer([("words", words, ["review"])]).fit(X)
    assert list(columns.named_transformers_["words"].feature_names_in_) == ["review"]
    alone = ColumnTransformer([("words", words, "review")]).fit_transform(X)
    np.testing.assert_array_equal(columns.transform(X), alone)


@pytest.mark.filterwarnings("ignore::skltransfer.WordCoverageWarning")
@pytest.mark.parametrize("frame", FRAMES)
def test_a_search_over_how_words_are_pooled(table, frame):
    X, y = FRAMES[frame](table[0]), table[1]
    grid = {"columntransformer__words__pooling": ["mean", "sif", "max"]}
    search = GridSearchCV(model(), grid, cv=3, error_score="raise").fit(X, y)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert search.best_score_ > 0.9


@pytest.mark.filterwarnings("ignore::skltransfer.WordCoverageWarning")
@pytest.mark.parametrize("frame", FRAMES)
def test_source_rows_with_texts(table, frame):
    X, y = FRAMES[frame](table[0]), table[1]
    source, target = (X[:80], X[80:]) if frame == "polars" else (X.iloc[:80], X.iloc[80:])
    fitted = WithSource(model(), source, y[:80]).fit(target, y[80:])
    assert fitted.score(target, y[80:]) > 0.85


@pytest.mark.filterwarnings("ignore::skltransfer.WordCoverageWarning")
@pytest.mark.parametrize("frame", FRAMES)
def test_a_missing_text_is_said_by_its_row(table, frame):
    X = table[0] | {"review": ["good", None, *table[0]["review"][2:]]}
    with pytest.raises(ValueError, match="Row 1 is missing .* fill"):
        model().fit(FRAMES[frame](X), table[1])
    with pytest.raises(ValueError, match="takes one text per row"):
        columns = ColumnTransformer(
            [("words", WordVectorTransformer(VECTORS), ["review", "price"])]
        )
        columns.fit(FRAMES[frame](table[0]))


def test_texts_of_one_column_take_no_numbers(table):
    columns = ColumnTransformer([("words", WordVectorTransformer(VECTORS), "price")])
    with pytest.raises(ValueError, match="Row 0 is a float, and 'WordVectorTransformer' takes"):
        columns.fit(pd.DataFrame(table[0]))

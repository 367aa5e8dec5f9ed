"""One rule for the columns of two frames, wherever two domains meet."""

import numpy as np
import pytest
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

from skltransfer import (
    CORAL,
    DomainDataWarning,
    KMMReweighter,
    PooledEstimator,
    TransferRidge,
    WithSource,
    WithTarget,
    stack_domains,
)
from skltransfer.domains._data import concatenate_rows, in_one_form
from tests.doubles import Recorder

pandas = pytest.importorskip("pandas")
polars = pytest.importorskip("polars")

DAY = pandas.Timestamp("2024-05-01")


def category(categories, ordered=False):
    return pandas.CategoricalDtype(list(categories), ordered)


def of(values, dtype):
    return pandas.DataFrame({"a": pandas.Series(list(values), dtype=dtype)})


def joined(first, second):
    """Stack both ways: by concatenation, and by bringing them into one form first."""
    stacked = concatenate_rows(first, second)
    apart = in_one_form(first, second, "X_target")
    assert apart[0]["a"].dtype == apart[1]["a"].dtype == stacked["a"].dtype
    if isinstance(stacked["a"].dtype, pandas.CategoricalDtype):
        for rows in apart:
            assert rows["a"].cat.categories.tolist() == stacked["a"].cat.categories.tolist()
    return stacked["a"]


# --- pandas ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "second", "dtype", "values"),
    [
        (of("ab", category("ab")), of("cb", category("bc")), category("abc"), "abcb"),
        (of("ab", category("ba")), of("b", category("ab")), category("ba"), "abb"),
        (of("ab", category("ab")), of(["b", "z"], "str"), category("abz"), "abbz"),
        (of("ab", category("ab")), of([np.nan, np.nan], float), category("ab"), "ab.."),
        (of([1, 2], category([1, 2])), of([2.0, 3.0], float), category([1.0, 2.0, 3.0]),
         [1, 2, 2, 3]),
        (of("lh", category("lh", ordered=True)), of("m", category("lmh", ordered=True)),
         category("lmh", ordered=True), "lhm"),
        (of("lh", category("lh", ordered=True)), of(["h"], "str"), category("lh", ordered=True),
         "lhh"),
        (of([1, 2], "int64"), of([0.5, np.nan], float), "float64", [1, 2, 0.5, None]),
        (of([1, 2], "float32"), of([3], "int64"), "float64", [1, 2, 3]),
        (of([1, 2], "Int64"), of([3], "int64"), "Int64", [1, 2, 3]),
        (of([1, 2], "int64[pyarrow]"), of([0.5], "Float64"), "float64", [1, 2, 0.5]),
        (of([1.5], "float64"), of([1, 2], object), "float64", [1.5, 1, 2]),
        (of([2, 3], "int64"), of([True], bool), "int64", [2, 3, 1]),
        (of([True, False], bool), of([1, 0], "int64"), "bool", [1, 0, 1, 0]),
        (of([True, False], bool), of([True], "boolean"), "bool", [1, 0, 1]),
        (of(["a", None], "str"), of(["b", None], object), "str", "a.b."),
        (of(["a", "b"], object), of(["b"], "string"), object, "abb"),
        (of(["a", "b"], "string"), of([None, None], object), "string", "ab.."),
        (of([np.nan], float), of(["b"], "str"), "str", ".b"),
        (of([DAY], "datetime64[s]"), of([DAY], "datetime64[ns]"), "datetime64[ns]", [DAY, DAY]),
        (of([DAY], "datetime64[ns]"), of([np.nan], float), "datetime64[ns]", [DAY, None]),
    ],
)  # fmt: skip
def test_the_dtype_is_kept_or_widened(first, second, dtype, values):
    column = joined(first, second)
    assert column.dtype == dtype
    if isinstance(dtype, pandas.CategoricalDtype):
        assert column.cat.categories.tolist() == dtype.categories.tolist()
    values = [None if value == "." else value for value in values]
    found = [None if pandas.isna(value) else value for value in column]
    assert found == values


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        (of([1.0, 2.0], float), of(["3", "?"], "str"), r"'a' is float64 in X .*'3'"),
        (of([1.0, 2.0], float), of([3, "?"], object), r"'a' is float64 in X .*such as '\?'"),
        (of(["1", "2"], "str"), of([1, 2], "int64"), r"'a' is str in X .*int64 in X_target"),
        (of(["1", "2"], object), of([1, 2], object), r"'a' is object in X \(such as '1'\)"),
        (of("ab", category("ab")), of([1], category([1])), r"'a' is category .*such as 1\)"),
        (of("lh", category("lh", ordered=True)), of("h", category("hl", ordered=True)),
         r"'a'.*ordered as \['l', 'h'\] and as \['h', 'l'\]"),
        (of("lh", category("lh", ordered=True)), of("x", category("lx", ordered=True)),
         r"'a'.*leaves the order of \['h', 'x'\] open"),
        (of("lh", category("lh", ordered=True)), of(["x"], "str"), r"'a'.*where \['x'\] belong"),
        (of([DAY], "datetime64[ns]"), of([DAY.tz_localize("UTC")], "datetime64[ns, UTC]"),
         "'a'.*one with a time zone and one without"),
        (of([DAY], "datetime64[ns]"), of(["2024-05-01"], "str"), "'a' is datetime64"),
    ],
)  # fmt: skip
def test_columns_that_hold_different_things_are_refused_by_name(first, second, message):
    for meet in (concatenate_rows, lambda a, b: in_one_form(a, b, "X_target")):
        with pytest.raises(ValueError, match=message):
            meet(first, second)


@pytest.mark.parametrize(
    ("first", "second", "dtype"),
    [
        (of([True, False], bool), of([0.5], float), "float64"),
        (of(["a"], "str"), of(["b"], category(["b", "c"])), category(["a", "b", "c"])),
    ],
)
def test_a_column_that_changes_its_kind_is_named_in_a_warning(first, second, dtype):
    with pytest.warns(DomainDataWarning, match="column 'a' is .* in both"):
        column = concatenate_rows(first, second)["a"]
    assert column.dtype == dtype


def test_time_zones_and_units():
    first = of([DAY.tz_localize("Europe/Berlin")], "datetime64[s, Europe/Berlin]")
    second = of([DAY.tz_localize("UTC")], "datetime64[ns, UTC]")
    column = joined(first, second)
    assert str(column.dtype) == "datetime64[ns, Europe/Berlin]"
    assert column[1] == second["a"][0]


def test_columns_are_matched_by_name_and_the_caller_keeps_his_frames():
    X = pandas.DataFrame({"n": [1, 2], "c": pandas.Categorical(["u", "v"])}, index=[7, 8])
    held = pandas.DataFrame({"extra": [0], "c": pandas.Categorical(["w"]), "n": [0.5]})
    before = X.copy(), held.copy()
    with pytest.warns(DomainDataWarning, match=r"X_target has the columns \['extra'\], which X la"):
        stacked = concatenate_rows(X, held)
    assert stacked.columns.tolist() == ["n", "c"]
    assert stacked["c"].tolist() == ["u", "v", "w"]
    for frame, copy in zip((X, held), before, strict=True):
        pandas.testing.assert_frame_equal(frame, copy)
    same = in_one_form(X, X, "X_target")
    assert same[0] is same[1] is X


def test_names_that_cannot_be_matched():
    frame = pandas.DataFrame(np.eye(2), columns=["a", "a"])
    with pytest.raises(ValueError, match=r"X_target lacks the columns \['b'\]"):
        concatenate_rows(of([1], int).assign(b=0), of([1], int))
    with pytest.raises(ValueError, match=r"X has several columns named \['a'\]"):
        concatenate_rows(frame, of([1.0], float).assign(b=0.0))
    numbered = pandas.DataFrame(np.eye(2)).assign(**{"0": 1}).drop(columns="0")
    with pytest.raises(ValueError, match="another order.*strings"):
        concatenate_rows(numbered, numbered[[1, 0]])
    with pytest.raises(TypeError, match="data frame of pandas and X_target one of polars"):
        concatenate_rows(of([1], int), polars.DataFrame({"a": [1]}))


def test_frames_with_numbers_for_names_stay_frames():
    first = pandas.DataFrame({0: [1.0], 1: pandas.Categorical(["u"])})
    second = pandas.DataFrame({0: [2], 1: pandas.Categorical(["v"])})
    stacked = concatenate_rows(first, second)
    assert stacked.dtypes.tolist() == [np.float64, category(["u", "v"])]


def test_arrays_of_numbers_and_texts_are_not_mixed():
    with pytest.raises(ValueError, match="X holds numbers and X_target text"):
        concatenate_rows(np.eye(2), np.array([["1", "2"]]))


# --- polars ----------------------------------------------------------------------------


def in_polars(values, dtype):
    return polars.DataFrame({"a": polars.Series(list(values), dtype=dtype)})


@pytest.mark.parametrize(
    ("first", "second", "dtype", "values"),
    [
        (in_polars("ab", polars.Enum("ab")), in_polars("c", polars.Enum("bc")),
         polars.Enum("abc"), "abc"),
        (in_polars("ab", polars.Enum("ab")), in_polars("z", polars.String),
         polars.Enum("abz"), "abz"),
        (in_polars("ab", polars.Categorical), in_polars("c", polars.Categorical),
         polars.Categorical, "abc"),
        (in_polars("ab", polars.Categorical), in_polars("c", polars.String),
         polars.Categorical, "abc"),
        (in_polars([1, 2], polars.Int64), in_polars([0.5], polars.Float64),
         polars.Float64, [1, 2, 0.5]),
        (in_polars([True], polars.Boolean), in_polars([1], polars.Int64), polars.Boolean, [1, 1]),
        (in_polars("a", polars.String), in_polars([None], polars.Null), polars.String, ["a", None]),
        (in_polars([None], polars.Null), in_polars([1], polars.Int64), polars.Int64, [None, 1]),
        (in_polars([DAY], polars.Datetime("ms")), in_polars([DAY], polars.Datetime("us")),
         polars.Datetime("us"), [DAY, DAY]),
    ],
)  # fmt: skip
def test_frames_of_polars(first, second, dtype, values):
    column = joined(first, second)
    assert column.dtype == dtype
    assert column.to_list() == list(values)


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (in_polars(["1"], polars.String), "'a' is Int64 in X .*String in X_target"),
        (in_polars("1", polars.Enum("1")), "'a' is Int64 in X .*Enum"),
    ],
)
def test_polars_writes_no_numbers_as_texts(second, message):
    with pytest.raises(ValueError, match=message):
        concatenate_rows(in_polars([1], polars.Int64), second)


# --- where domains meet ----------------------------------------------------------------


def town(n, cities, seed=0):
    rng = np.random.default_rng(seed)
    city = rng.choice(list(cities), n)
    frame = pandas.DataFrame({"age": rng.normal(size=n), "city": pandas.Categorical(city)})
    return frame, (city == "a").astype(int)


def encoded(model):
    return make_pipeline(
        make_column_transformer(
            (
                OneHotEncoder(handle_unknown="ignore"),
                make_column_selector(dtype_include="category"),
            ),
            (StandardScaler(), make_column_selector(dtype_include="number")),
        ),
        model,
    )


@pytest.mark.parametrize("cities", ["ab", "abd"])
@pytest.mark.parametrize("form", [pandas.DataFrame, polars.from_pandas])
def test_no_category_is_lost_on_the_way_to_the_estimator(cities, form):
    (X, y), (X_target, y_target) = town(120, "abc"), town(60, cities, 1)
    X, X_target = form(X), form(X_target)
    trees = HistGradientBoostingClassifier(
        categorical_features="from_dtype", max_iter=5, min_samples_leaf=5
    )
    models = [PooledEstimator(trees)]
    if form is pandas.DataFrame:
        models.append(PooledEstimator(encoded(LogisticRegression())))
    for model in models:
        fitted = WithSource(model, X, y).fit(X_target, y_target)
        assert fitted.score(X_target, y_target) > 0.95
        fitted = WithTarget(model, X_target, y_target).fit(X, y)
        assert fitted.score(X_target, y_target) > 0.95


CODES = {"b": 0, "c": 1, "a": 2}


def test_steps_see_one_coding_of_the_categories():
    (X, _), (X_target, _) = town(60, "bc"), town(60, "abc", 1)
    y = (X["age"] > 0).astype(int)
    codes = FunctionTransformer(lambda X: X.assign(city=X["city"].cat.codes))
    seen = WithTarget(make_pipeline(codes, Recorder()), X_target).fit(X, y).estimator_[-1].seen_
    for rows, given in ((seen["X"], X), (seen["X_target"], X_target)):
        assert dict(zip(given["city"], rows["city"], strict=True)).items() <= CODES.items()


def test_codes_are_those_of_the_fit_when_the_target_has_categories_of_its_own():
    (X, y), (X_target, _) = town(60, "abc"), town(40, "bc", 1)
    codes = FunctionTransformer(lambda X: X.assign(city=X["city"].cat.codes))
    model = make_pipeline(codes, KNeighborsClassifier(1))
    rows = pandas.DataFrame({"age": X["age"], "city": pandas.Categorical(["b", "d"] * 30)})
    for fitted in (
        PooledEstimator(model).fit(X, y, X_target=X_target, y_target=np.zeros(40)),
        WithTarget(PooledEstimator(model), X_target, np.zeros(40)).fit(X, y),
        WithSource(PooledEstimator(model), X, y).fit(X_target, np.zeros(40)),
    ):
        seen = fitted._as_fitted(rows)["city"]
        assert seen.cat.categories.tolist()[-1] == "d"
        assert sorted(seen.cat.categories[:3]) == ["a", "b", "c"]
        assert seen.tolist() == ["b", "d"] * 30
        assert fitted.predict(rows).tolist() == fitted.predict(rows.astype({"city": str})).tolist()
    assert rows["city"].cat.categories.tolist() == ["b", "d"]


@pytest.mark.parametrize("model", [CORAL(), KMMReweighter()])
def test_a_column_of_texts_in_the_target_alone_is_named(model):
    X = pandas.DataFrame({"age": [1.0, 2.0, 3.0], "size": [1.0, 2.0, 1.0]})
    X_target = pandas.DataFrame({"size": [1.0, 2.0], "age": ["4", "?"]})
    with pytest.raises(ValueError, match="column 'age'.*'?'"):
        model.fit(X, X_target=X_target)


def test_columns_of_one_domain_alone_do_not_vanish_in_silence():
    (X, y), (X_target, y_target) = town(40, "ab"), town(40, "ab", 1)
    more, more_target = X.assign(extra=1.0), X_target.assign(extra=1.0)
    pooled = PooledEstimator(encoded(LogisticRegression()))
    for wrapper, rows, message in (
        (WithTarget(pooled, more_target, y_target), (X, y), "X_target has .*'extra'.* which X la"),
        (WithSource(pooled, X, y), (more_target, y_target), "X has .*'extra'.* which X_source la"),
        (WithSource(pooled, more, y), (X_target, y_target), "X_source has .*'extra'.* which X la"),
    ):
        with pytest.warns(DomainDataWarning, match=message) as caught:
            wrapper.fit(*rows)
        assert len(caught) == 1
    named = make_column_transformer((OneHotEncoder(), ["city"]))
    named = PooledEstimator(make_pipeline(named, LogisticRegression()))
    WithTarget(named, more_target, y_target).fit(X, y)  # names what it uses
    with pytest.raises(ValueError, match=r"X_target lacks the columns \['extra'\] that X has"):
        WithTarget(pooled, X_target, y_target).fit(more, y)


@pytest.mark.parametrize("model", [CORAL(), KMMReweighter(LogisticRegression()), TransferRidge()])
def test_a_direct_fit_names_columns_of_one_domain_alone(model):
    (X, y), (X_target, y_target) = town(40, "ab"), town(40, "ab", 1)
    X, X_target = X[["age"]].assign(size=1.0 * y), X_target[["age"]].assign(size=1.0 * y_target)
    known = {} if isinstance(model, CORAL) else {"y_target": y_target}
    with pytest.warns(DomainDataWarning, match=r"X_target has .*\['extra'\], which X la") as caught:
        model.fit(X, y, X_target=X_target.assign(extra=1.0), **known)
    assert [each.filename for each in caught] == [__file__]
    # A ColumnTransformer hands the target on with all columns, of which its members take some.
    some = WithTarget(make_column_transformer((CORAL(), ["age"]), ("drop", ["size"])), X_target)
    assert some.fit_transform(X).shape == (40, 1)


def test_stacked_domains_keep_their_categories():
    (X, y), (X_target, _) = town(9, "ab"), town(9, "ac", 1)
    stacked, _, _ = stack_domains(X, y, X_target=X_target)
    assert stacked["city"].dtype == category(["a", "b", "c"])

"""WithTarget and WithSource by themselves: what reaches the estimator, and what is refused."""

import pickle

import numpy as np
import pytest
import sklearn
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import accuracy_score
from sklearn.model_selection import GridSearchCV, KFold, cross_validate
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import LabelEncoder, StandardScaler

from skltransfer import (
    DomainDataWarning,
    KMMReweighter,
    PooledEstimator,
    WithSource,
    WithTarget,
    stack_domains,
)
from tests.doubles import MeanAligner, Recorder


@pytest.fixture
def domains():
    rng = np.random.default_rng(0)
    X, X_target = rng.normal(500, 50, (60, 3)), rng.normal(530, 40, (40, 3))
    return X, (X[:, 0] > 500).astype(int), X_target, (X_target[:, 0] > 530).astype(int)


# --- what reaches the estimator --------------------------------------------------------


def test_with_target_passes_source_as_X_and_target_by_keyword(domains):
    X, y, X_target, y_target = domains
    seen = WithTarget(Recorder(), X_target=X_target, y_target=y_target).fit(X, y).estimator_.seen_
    assert seen["X"] is X
    assert seen["X_target"] is X_target
    assert seen["y_target"] is y_target
    np.testing.assert_array_equal(seen["y"], y)


def test_with_source_swaps_the_roles(domains):
    X, y, X_target, y_target = domains
    weights = np.linspace(1, 2, len(X))
    model = WithSource(Recorder(), X_source=X, y_source=y, source_sample_weight=weights)
    seen = model.fit(X_target, y_target).estimator_.seen_
    assert seen["X"] is X
    assert seen["X_target"] is X_target
    np.testing.assert_array_equal(seen["y"], y)
    np.testing.assert_array_equal(seen["y_target"], y_target)
    np.testing.assert_array_equal(seen["sample_weight"], weights)


def test_with_source_keeps_labels_back_when_use_y_is_false(domains):
    X, y, X_target, y_target = domains
    model = WithSource(Recorder(), X_source=X, y_source=y, use_y=False).fit(X_target, y_target)
    assert model.estimator_.seen_["y_target"] is None
    assert model.score(X_target, y_target) == accuracy_score(y_target, model.predict(X_target))


def test_earlier_steps_map_the_target_rows(domains):
    X, y, X_target, _ = domains
    pipeline = make_pipeline(StandardScaler(), Recorder())
    seen = WithTarget(pipeline, X_target=X_target).fit(X, y).estimator_[-1].seen_
    expected = StandardScaler().fit(X).transform(X_target)
    np.testing.assert_allclose(seen["X_target"], expected, rtol=1e-12)
    assert abs(seen["X_target"].mean()) < 2  # unscaled it would be about 530


def test_nested_pipelines_map_the_target_rows_at_each_level(domains):
    X, y, X_target, _ = domains
    doubled = StandardScaler(with_mean=False)
    pipeline = make_pipeline(doubled, make_pipeline(StandardScaler(), Recorder()))
    seen = WithTarget(pipeline, X_target=X_target).fit(X, y).estimator_[-1][-1].seen_
    expected = make_pipeline(clone(doubled), StandardScaler()).fit(X).transform(X_target)
    np.testing.assert_allclose(seen["X_target"], expected, rtol=1e-12)


def test_a_two_sided_step_maps_source_as_source_and_target_as_target(domains):
    X, y, X_target, _ = domains
    seen = WithTarget(make_pipeline(MeanAligner(), Recorder()), X_target=X_target).fit(X, y)
    seen = seen.estimator_[-1].seen_
    np.testing.assert_allclose(seen["X"].mean(axis=0), X_target.mean(axis=0))
    np.testing.assert_array_equal(seen["X_target"], X_target)


def test_fit_transform_maps_source_in_one_wrapper_and_target_in_the_other(domains):
    X, y, X_target, _ = domains
    source = WithTarget(MeanAligner(), X_target=X_target).fit_transform(X)
    np.testing.assert_allclose(source, X - X.mean(axis=0) + X_target.mean(axis=0))
    target = WithSource(MeanAligner(), X_source=X).fit_transform(X_target)
    np.testing.assert_array_equal(target, X_target)


def test_the_plain_step_behind_an_aligner_trains_on_adapted_source_rows(domains):
    X, y, X_target, y_target = domains
    pipeline = make_pipeline(StandardScaler(), MeanAligner(), LogisticRegression())
    fitted = WithTarget(pipeline, X_target=X_target).fit(X, y).estimator_
    scaler = StandardScaler().fit(X)
    Z, Z_target = scaler.transform(X), scaler.transform(X_target)
    expected = LogisticRegression().fit(Z - Z.mean(axis=0) + Z_target.mean(axis=0), y)
    np.testing.assert_allclose(fitted[-1].coef_, expected.coef_, rtol=1e-6)
    # unknown labels, or known ones, never reach the plain estimator
    swapped = WithSource(pipeline, X_source=X, y_source=y).fit(X_target, y_target).estimator_
    np.testing.assert_allclose(swapped[-1].coef_, expected.coef_, rtol=1e-6)


def test_missing_target_labels_are_no_class(domains):
    X, y, X_target, y_target = domains
    partial = np.where(np.arange(len(y_target)) < 10, y_target, np.nan)
    model = WithTarget(PooledEstimator(LogisticRegression()), X_target=X_target, y_target=partial)
    model.fit(X, y)
    np.testing.assert_array_equal(model.classes_, [0, 1])
    expected = LogisticRegression().fit(
        np.vstack([X, X_target[:10]]), np.concatenate([y, y_target[:10]])
    )
    np.testing.assert_array_equal(model.estimator_.estimator_.coef_, expected.coef_)


def test_minus_one_is_an_ordinary_label(domains):
    X, y, X_target, y_target = domains
    signs, signs_target = 2 * y - 1, 2 * y_target - 1
    model = WithTarget(PooledEstimator(LogisticRegression()), X_target, signs_target).fit(X, signs)
    np.testing.assert_array_equal(model.classes_, [-1, 1])
    expected = LogisticRegression().fit(
        np.vstack([X, X_target]), np.concatenate([signs, signs_target])
    )
    np.testing.assert_array_equal(model.estimator_.estimator_.coef_, expected.coef_)


# --- source weights --------------------------------------------------------------------


def test_source_weights_reach_the_adapting_steps_and_the_last_step_only(domains):
    X, y, X_target, _ = domains
    weights = np.linspace(0, 3, len(X))
    pipeline = make_pipeline(StandardScaler(), Recorder())
    fitted = WithTarget(pipeline, X_target=X_target).fit(X, y, sample_weight=weights).estimator_
    np.testing.assert_array_equal(fitted[-1].seen_["sample_weight"], weights)
    np.testing.assert_allclose(fitted[0].mean_, X.mean(axis=0))  # the scaler is not weighted
    plain_last = make_pipeline(StandardScaler(), MeanAligner(), LogisticRegression())
    weighted = WithTarget(plain_last, X_target=X_target).fit(X, y, sample_weight=weights)
    scaler = StandardScaler().fit(X)
    Z, Z_target = scaler.transform(X), scaler.transform(X_target)
    moved = Z - Z.mean(axis=0) + Z_target.mean(axis=0)
    expected = LogisticRegression().fit(moved, y, sample_weight=weights)
    np.testing.assert_allclose(weighted.estimator_[-1].coef_, expected.coef_, rtol=1e-6)


def test_a_request_the_user_set_is_respected(domains):
    X, y, X_target, _ = domains
    weights = np.linspace(0, 3, len(X))
    with sklearn.config_context(enable_metadata_routing=True):
        scaler = StandardScaler().set_fit_request(sample_weight=True)
    fitted = WithTarget(make_pipeline(scaler, Recorder()), X_target).fit(X, y, weights).estimator_
    np.testing.assert_allclose(fitted[0].mean_, np.average(X, axis=0, weights=weights))


def test_weights_reach_the_last_step_when_nothing_adapts(domains):
    X, y, X_target, _ = domains
    weights = np.linspace(0, 3, len(X))
    pipeline = make_pipeline(StandardScaler(), LogisticRegression())
    with pytest.warns(DomainDataWarning):
        model = WithTarget(pipeline, X_target=X_target).fit(X, y, weights)
    expected = clone(pipeline).fit(X, y, logisticregression__sample_weight=weights)
    np.testing.assert_array_equal(model.estimator_[-1].coef_, expected[-1].coef_)


def test_integer_weights_repeat_rows_where_weights_are_not_supported(domains):
    X, y, X_target, _ = domains
    counts = np.arange(len(X)) % 3
    with pytest.warns(DomainDataWarning):
        model = WithTarget(KNeighborsClassifier(4), X_target=X_target).fit(X, y, counts)
    expected = KNeighborsClassifier(4).fit(np.repeat(X, counts, axis=0), np.repeat(y, counts))
    np.testing.assert_array_equal(model.predict(X_target), expected.predict(X_target))
    with (
        pytest.warns(DomainDataWarning),
        pytest.raises(TypeError, match="KNeighborsClassifier does not support sample_weight"),
    ):
        WithTarget(KNeighborsClassifier(), X_target=X_target).fit(X, y, counts / 2)


def test_integer_weights_repeat_rows_behind_an_aligner_too(domains):
    X, y, X_target, _ = domains
    counts = np.arange(len(X)) % 3
    pipeline = make_pipeline(MeanAligner(), KNeighborsClassifier(4))
    model = WithTarget(pipeline, X_target=X_target).fit(X, y, counts)
    repeated = np.repeat(X, counts, axis=0), np.repeat(y, counts)
    expected = WithTarget(pipeline, X_target=X_target).fit(*repeated)
    np.testing.assert_array_equal(model.predict(X_target), expected.predict(X_target))
    with pytest.raises(TypeError, match="KNeighborsClassifier does not support sample_weight"):
        WithTarget(pipeline, X_target=X_target).fit(X, y, counts / 2)


def test_fit_transform_gives_one_row_for_each(domains):
    X, y, X_target, _ = domains
    model = WithTarget(MeanAligner(), X_target=X_target)
    with pytest.raises(TypeError, match="fit_transform cannot repeat rows"):
        model.fit_transform(X, y, np.full(len(X), 2))
    np.testing.assert_array_equal(
        model.fit_transform(X, y, np.ones(len(X))), model.fit_transform(X, y)
    )


@pytest.mark.parametrize(
    "weights, match",
    [
        ([1, 1, 1], "sample_weight.shape"),
        (np.ones((60, 2)), "1D"),
        (np.full(60, np.nan), "NaN"),
        (-np.ones(60), "[Nn]egative"),
    ],
)
@pytest.mark.parametrize("steps", [[], [MeanAligner()]], ids=["plain", "behind an aligner"])
@pytest.mark.filterwarnings("ignore::skltransfer.DomainDataWarning")
def test_repeated_rows_need_one_weight_each(domains, weights, match, steps):
    X, y, X_target, _ = domains
    pipeline = make_pipeline(*steps, KNeighborsClassifier(1))
    with pytest.raises(ValueError, match=match):
        WithTarget(pipeline, X_target=X_target).fit(X, y, weights)


def test_transform_input_of_the_user_stays(domains):
    X, y, X_target, _ = domains
    with sklearn.config_context(enable_metadata_routing=True):
        pipeline = Pipeline(
            [("scale", StandardScaler()), ("last", Recorder())], transform_input=["X_val"]
        )
        fitted = WithTarget(pipeline, X_target=X_target).fit(X, y).estimator_
    assert fitted.transform_input == ["X_target", "X_val"]


@pytest.mark.parametrize("kind", [list, tuple])
def test_a_nan_among_strings_in_a_list_is_a_missing_label(domains, kind):
    X, y, X_target, y_target = domains
    names = np.array(["no", "yes"])
    labels = kind([names[label] if i < 9 else np.nan for i, label in enumerate(y_target)])
    expected = np.concatenate([names[y], names[y_target[:9]]])
    for model in (
        WithSource(PooledEstimator(Recorder()), X, names[y]).fit(X_target, labels),
        WithTarget(PooledEstimator(Recorder()), X_target, labels).fit(X, names[y]),
    ):
        np.testing.assert_array_equal(model.estimator_.estimator_.seen_["y"], expected)
    with pytest.raises(ValueError, match="the labels of the source have to be known"):
        PooledEstimator(Recorder()).fit(X_target, labels, X_target=X, y_target=y)
    mixed = stack_domains(X, list(names[y]), X_target=X_target, y_target=labels)[1]
    assert [label for label in mixed[len(X) :] if label is not None] == list(labels[:9])


def test_labels_of_another_form_are_refused(domains):
    X, y, X_target, y_target = domains
    with pytest.raises(ValueError, match="y_source has shape .* labels of the same form"):
        WithSource(LogisticRegression(), X, y[:, None]).fit(X_target, y_target)
    with pytest.raises(ValueError, match="labels of the same form"):
        WithTarget(PooledEstimator(LogisticRegression()), X_target, y_target[:, None]).fit(X, y)


def test_held_columns_follow_the_order_of_those_given(domains):
    pandas = pytest.importorskip("pandas")
    X, y, X_target, y_target = domains
    names = ["a", "b", "c"]
    source, target = (pandas.DataFrame(Z, columns=names) for Z in (X, X_target))
    turned = target[["c", "a", "b"]]
    pipeline = make_pipeline(StandardScaler(), Recorder())
    seen = WithTarget(pipeline, turned).fit(source, y).estimator_[-1].seen_
    expected = StandardScaler().fit(X).transform(X_target)
    np.testing.assert_allclose(seen["X_target"], expected)
    model = WithSource(make_pipeline(StandardScaler(), LogisticRegression()), source, y)
    straight = clone(model).fit(target, y_target).predict(target)
    np.testing.assert_array_equal(model.fit(turned, y_target).predict(turned), straight)
    picked = ColumnTransformer([("scaled", StandardScaler(), ["a", "b"])])
    unused = WithSource(make_pipeline(picked, LogisticRegression()), source[["a", "b"]], y)
    assert unused.fit(target, y_target).predict(target).shape == (len(target),)


# --- nothing outside is touched --------------------------------------------------------


def test_clone_shares_the_held_data_and_copies_the_estimator(domains):
    X, y, X_target, y_target = domains
    target = WithTarget(Recorder(), X_target=X_target, y_target=y_target)
    source = WithSource(Recorder(), X, y, source_sample_weight=np.ones(len(X)), use_y=False)
    for wrapper in (target, source):
        twin = clone(wrapper)
        for name in wrapper._held:
            assert getattr(twin, name) is getattr(wrapper, name)
        assert twin.estimator is not wrapper.estimator
    assert clone(source).use_y is False
    fitted = clone(target).fit(X, y)
    assert not hasattr(clone(fitted), "estimator_")


def test_clone_keeps_requests_and_output_configuration(domains):
    X, _, X_target, _ = domains
    wrapper = WithTarget(MeanAligner(), X_target=X_target).set_output(transform="pandas")
    with sklearn.config_context(enable_metadata_routing=True):
        wrapper.set_fit_request(sample_weight=True)
        requests = clone(wrapper).get_metadata_routing().fit.requests
    assert requests["sample_weight"] is True
    names = list(clone(wrapper).fit(X).transform(X_target).columns)
    assert names == ["x0", "x1", "x2"]


def test_arguments_configuration_and_random_state_stay_as_they_were(domains):
    X, y, X_target, y_target = domains
    arrays = [array.copy() for array in domains]
    for array in arrays:
        array.flags.writeable = False
    config, state = sklearn.get_config(), np.random.get_state()[1].copy()
    inner = make_pipeline(StandardScaler(), KMMReweighter(LogisticRegression()))
    before = repr(inner.get_params())
    WithTarget(inner, arrays[2], arrays[3]).fit(arrays[0], arrays[1]).predict(arrays[2])
    WithSource(inner, arrays[0], arrays[1]).fit(arrays[2], arrays[3]).predict(arrays[2])
    for array, original in zip(arrays, domains, strict=True):
        np.testing.assert_array_equal(array, original)
    assert sklearn.get_config() == config
    np.testing.assert_array_equal(np.random.get_state()[1], state)
    assert repr(inner.get_params()) == before
    assert inner.transform_input is None
    assert not hasattr(inner[-1], "estimator_")


def test_configuration_is_restored_after_a_failed_fit(domains):
    X, y, X_target, _ = domains
    config = sklearn.get_config()
    with pytest.raises(ValueError, match="NaN"):
        WithTarget(KMMReweighter(), X_target=X_target * np.nan).fit(X, y)
    assert sklearn.get_config() == config


@pytest.mark.parametrize("routing", [False, True])
def test_routing_on_and_off_give_the_same_model(domains, routing):
    X, y, X_target, y_target = domains
    pipeline = make_pipeline(StandardScaler(), KMMReweighter(LogisticRegression(), max_weight=5))
    expected = WithSource(pipeline, X, y).fit(X_target, y_target).predict_proba(X_target)
    with sklearn.config_context(enable_metadata_routing=routing):
        wrapper = WithSource(pipeline, X, y)
        result = wrapper.fit(X_target, y_target).predict_proba(X_target)
        scores = cross_validate(wrapper, X_target, y_target, cv=3, error_score="raise")
    np.testing.assert_array_equal(result, expected)
    assert np.isfinite(scores["test_score"]).all()


def test_pickle_round_trip(domains):
    X, y, X_target, y_target = domains
    for wrapper in (
        WithTarget(KMMReweighter(LogisticRegression()), X_target).fit(X, y),
        WithSource(KMMReweighter(LogisticRegression()), X, y).fit(X_target, y_target),
    ):
        again = pickle.loads(pickle.dumps(wrapper))
        np.testing.assert_array_equal(again.predict_proba(X), wrapper.predict_proba(X))
        np.testing.assert_array_equal(
            clone(again).fit(X, y).predict(X), clone(wrapper).fit(X, y).predict(X)
        )


def test_fit_twice_is_fit_once_and_forgets_column_names(domains):
    pandas = pytest.importorskip("pandas")
    X, y, X_target, _ = domains
    wrapper = WithTarget(StandardScaler())
    with pytest.warns(DomainDataWarning):
        wrapper.fit(pandas.DataFrame(X, columns=list("abc")))
    assert list(wrapper.feature_names_in_) == ["a", "b", "c"]
    with pytest.warns(DomainDataWarning):
        wrapper.fit(X)
    assert not hasattr(wrapper, "feature_names_in_")


# --- what the wrapper is ---------------------------------------------------------------


def test_type_and_methods_follow_the_estimator(domains):
    X, y, X_target, _ = domains
    classifier = WithTarget(KMMReweighter(LogisticRegression()), X_target=X_target)
    assert sklearn.base.is_classifier(classifier)
    assert sklearn.base.is_regressor(WithTarget(KMMReweighter(Ridge()), X_target=X_target))
    assert hasattr(classifier, "predict_proba")
    assert not hasattr(classifier, "transform")
    assert not hasattr(WithTarget(MeanAligner()), "predict")
    assert hasattr(WithTarget(MeanAligner()), "fit_transform")


def test_score_takes_weights(domains):
    X, y, X_target, y_target = domains
    pipeline = make_pipeline(StandardScaler(), KMMReweighter(LogisticRegression()))
    model = WithTarget(pipeline, X_target).fit(X, y)
    weights = np.linspace(0, 1, len(y_target))
    expected = accuracy_score(y_target, model.predict(X_target), sample_weight=weights)
    for routing in (False, True):
        with sklearn.config_context(enable_metadata_routing=routing):
            assert model.score(X_target, y_target, sample_weight=weights) == pytest.approx(expected)


# --- data that nobody wants, or that is not there --------------------------------------


def test_target_data_that_no_step_wants_is_dropped_with_a_warning(domains):
    X, y, X_target, y_target = domains
    plain = make_pipeline(StandardScaler(), LogisticRegression())
    with pytest.warns(
        DomainDataWarning, match="StandardScaler, LogisticRegression asks for X_target"
    ):
        model = WithTarget(plain, X_target=X_target).fit(X, y)
    np.testing.assert_array_equal(model.predict(X_target), clone(plain).fit(X, y).predict(X_target))


def test_target_labels_that_no_step_wants_are_dropped_with_a_warning(domains):
    X, y, X_target, y_target = domains
    pipeline = make_pipeline(MeanAligner(), LogisticRegression())
    with pytest.warns(DomainDataWarning, match="asks for y_target"):
        WithTarget(pipeline, X_target=X_target, y_target=y_target).fit(X, y)


def test_with_source_around_a_plain_estimator_is_the_source_only_baseline(domains):
    X, y, X_target, y_target = domains
    weights = np.linspace(0, 3, len(X))
    model = WithSource(LogisticRegression(), X, y, source_sample_weight=weights)
    expected = LogisticRegression().fit(X, y, sample_weight=weights)
    np.testing.assert_array_equal(model.fit(X_target, y_target).estimator_.coef_, expected.coef_)


@pytest.mark.parametrize("wrapper", [WithTarget, WithSource])
@pytest.mark.parametrize("inner", [LogisticRegression(), KMMReweighter(LogisticRegression())])
def test_without_data_the_wrapper_warns_once_and_fits_the_base(domains, wrapper, inner):
    X, y, X_target, _ = domains
    with pytest.warns(DomainDataWarning) as caught:
        model = wrapper(inner).fit(X, y)
    assert len(caught) == 1
    if isinstance(inner, LogisticRegression):  # the wrapper itself warns, at the caller's line
        assert caught[0].filename == __file__
    np.testing.assert_allclose(
        model.predict_proba(X_target), LogisticRegression().fit(X, y).predict_proba(X_target)
    )


# --- refusals --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda X, y, Z, z: WithTarget(Recorder(), Z[:, :2]), r"X_target has 2 features.*3"),
        (lambda X, y, Z, z: WithTarget(Recorder(), Z[:0]), "X_target has 0 rows"),
        (lambda X, y, Z, z: WithTarget(Recorder(), Z, z[:-1]), "y_target has 39 entries.*40 rows"),
        (
            lambda X, y, Z, z: WithTarget(Recorder(), y_target=z),
            "y_target was given without X_target",
        ),
        (lambda X, y, Z, z: WithSource(Recorder(), Z[:, :2], z), r"X_source has 2 features.*3"),
        (lambda X, y, Z, z: WithSource(Recorder(), Z[:0], z[:0]), "X_source has 0 rows"),
        (lambda X, y, Z, z: WithSource(Recorder(), Z, z[:-1]), "y_source has 39 entries.*40 rows"),
        (lambda X, y, Z, z: WithSource(Recorder(), Z), "X_source was given without y_source"),
        (
            lambda X, y, Z, z: WithSource(Recorder(), y_source=z),
            "y_source was given without X_source",
        ),
        (
            lambda X, y, Z, z: WithSource(Recorder(), Z, z, source_sample_weight=[1.0]),
            "source_sample_weight has 1 entries.*40 rows",
        ),
        (
            lambda X, y, Z, z: WithSource(Recorder(), Z, z * np.nan),
            "labels of the source have to be known",
        ),
    ],
)
def test_bad_data_is_refused_by_name(domains, make, message):
    X, y, X_target, y_target = domains
    with pytest.raises(ValueError, match=message):
        make(X, y, X_target, y_target).fit(X, y)


def test_an_aligner_needs_no_source_labels(domains):
    X, _, X_target, _ = domains
    assert WithSource(MeanAligner(), X_source=X).fit(X_target).estimator_.target_mean_.shape == (3,)


def test_labels_that_have_been_numbered_are_told_from_held_labels(domains):
    X, y, X_target, y_target = domains
    names, names_target = np.array(["no", "yes"])[y], np.array(["no", "yes"])[y_target]
    with pytest.raises(ValueError, match="LabelEncoder"):
        WithTarget(Recorder(), X_target, names_target).fit(X, LabelEncoder().fit_transform(names))
    with pytest.raises(ValueError, match="no class in common.*LabelEncoder"):
        WithSource(Recorder(), X, names).fit(X_target, y_target)
    with pytest.warns(DomainDataWarning, match=r"y \(target\) holds the classes \[0\]"):  # and 1..2
        WithSource(Recorder(), X, y + 1).fit(X_target, y_target)
    WithTarget(Recorder(), X_target, names_target).fit(X, names)
    WithSource(Recorder(), X, y + 1).fit(X_target, y_target + 1)
    # regression targets are numbers, whatever their values
    WithSource(PooledEstimator(Ridge()), X, y + 0.5).fit(X_target, y_target)


def test_clone_carries_over_what_that_of_scikit_learn_does(domains):
    model = WithTarget(Recorder(), X_target=domains[2])
    callbacks, output = [object()], {"transform": "pandas"}
    model._skl_callbacks, model._sklearn_output_config = callbacks, output
    twin = clone(model)
    assert twin._skl_callbacks is callbacks
    assert twin._sklearn_output_config == output
    assert twin._sklearn_output_config is not output


@pytest.mark.parametrize("missing", ["None", "nan", "NA", "NaT"])
def test_every_mark_of_a_missing_label(domains, missing):
    pandas = pytest.importorskip("pandas")
    mark = {"None": None, "nan": np.nan, "NA": pandas.NA, "NaT": pandas.NaT}[missing]
    X, y, X_target, y_target = domains
    labels = np.array([*y_target[:-1].tolist(), mark], dtype=object)
    model = WithTarget(PooledEstimator(Recorder()), X_target, labels).fit(X, y)
    np.testing.assert_array_equal(
        model.estimator_.estimator_.seen_["y"], np.concatenate([y, y_target[:-1]])
    )


# --- scores and print ------------------------------------------------------------------


@pytest.mark.parametrize("kind", [float, object, "strings"])
def test_scores_leave_samples_without_a_label_out(domains, kind):
    X, y, X_target, y_target = domains
    known = np.arange(len(y_target)) % 3 > 0
    names = np.array(["no", "yes"], dtype=object)
    labels, partly = (
        (names[y], names[y_target]) if kind == "strings" else (y, y_target.astype(kind))
    )
    partly = np.where(known, partly, np.nan if kind is float else None)
    assert partly.dtype == (float if kind is float else object)
    model = WithSource(PooledEstimator(KNeighborsClassifier(3)), X, labels).fit(X_target, partly)
    expected = np.mean(model.predict(X_target[known]) == partly[known])
    assert 0 < expected < 1
    assert model.score(X_target, partly) == expected
    weights = np.linspace(1, 2, len(y_target))
    expected = np.average(model.predict(X_target)[known] == partly[known], weights=weights[known])
    assert model.score(X_target, partly, weights) == pytest.approx(expected)
    scores = cross_validate(model, X_target, partly, cv=KFold(3), error_score="raise")
    assert np.isfinite(scores["test_score"]).all()
    with pytest.raises(ValueError, match="y holds no known label"):
        model.score(X_target, np.full(len(y_target), np.nan))


def test_held_data_are_printed_as_shapes(domains):
    X, y, X_target, _ = domains
    wrapper = WithSource(KMMReweighter(LogisticRegression()), [X, X_target + 777777], [y, y[:40]])
    grid = GridSearchCV(wrapper, {"estimator__max_weight": [2]})
    for estimator in (wrapper, grid, make_pipeline(wrapper)):
        for text in (repr(estimator), estimator._repr_html_().replace("&lt;", "<")):
            assert "<ndarray (60, 3)>" in text.replace("&gt;", ">")
            assert "7777" not in text
    assert "<list of 2>" in repr(WithTarget(StandardScaler(), [[1.0], [2.0]]))
    assert wrapper.get_params()["X_source"] is wrapper.X_source

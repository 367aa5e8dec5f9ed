"""scikit-learn's callbacks on the meta-estimators, and through them."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from sklearn import config_context
from sklearn.base import BaseEstimator, clone
from sklearn.callback import (
    CallbackSupportMixin,
    ProgressBar,
    ScoringMonitor,
    with_callbacks,
)
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skltransfer import (
    FeatureStore,
    KMMReweighter,
    PooledEstimator,
    PretrainedFeatureTransformer,
    SelfSupervisedTransformer,
    WithSource,
    WithTarget,
)
from skltransfer.domains._callbacks import FitTask
from tests.doubles import Recorder


class Listener:
    """Writes what it is told to a file, so that worker processes tell it too."""

    def __init__(self, path):
        self.path = path

    def _write(self, event, estimator):
        with open(self.path, "a") as file:
            file.write(f"{event} {type(estimator).__name__}\n")

    def heard(self):
        return self.path.read_text().splitlines() if self.path.exists() else []

    def setup(self, estimator, context):
        self._write("setup", estimator)

    def teardown(self, estimator, context):
        self._write("teardown", estimator)

    def on_fit_task_begin(self, estimator, context):
        if is_whole_fit(estimator, context):
            self._write("begin", estimator)

    def on_fit_task_end(self, estimator, context):
        if is_whole_fit(estimator, context):
            self._write("end", estimator)


class PropagatedListener(Listener):
    max_propagation_depth = None


def is_whole_fit(estimator, context):
    return context.parent is None or context.source_estimator_name is not None


class Hooks:
    """Keeps what its hooks are given."""

    def __init__(self):
        self.begun, self.ended = [], []

    def setup(self, estimator, context):
        pass

    teardown = setup

    def on_fit_task_begin(self, estimator, context, *, X=None, y=None, metadata=None):
        self.begun.append((context.task_name, context.max_subtasks, X, y, metadata))

    def on_fit_task_end(self, estimator, context, *, fitted_estimator=None):
        self.ended.append((context.task_name, fitted_estimator))


class PropagatedHooks(Hooks):
    max_propagation_depth = None


@pytest.fixture
def domains():
    rng = np.random.default_rng(0)
    X, X_target = rng.normal(0, 1, (60, 3)), rng.normal(0.5, 0.8, (40, 3))
    return X, (X[:, 0] > 0).astype(int), X_target, (X_target[:, 0] > 0.5).astype(int)


def meta_estimators(domains, inner):
    """Return each meta-estimator around `inner`, with the arguments of its ``fit``."""
    X, y, X_target, y_target = domains
    target = {"X_target": X_target, "y_target": y_target}
    weighted = {"sample_weight": np.linspace(1, 2, len(X))}
    return {
        "target": (WithTarget(PooledEstimator(inner), **target), (X, y), {}),
        "target, plain": (WithTarget(inner), (X, y), weighted),
        "source": (WithSource(KMMReweighter(inner), X, y), (X_target, y_target), {}),
        "source, plain": (WithSource(inner, X, y), (X_target, y_target), {}),
        "kmm": (KMMReweighter(inner), (X, y), target | weighted),
        "kmm alone": (KMMReweighter(), (X, y), {"X_target": X_target}),
        "pooled": (PooledEstimator(inner), (X, y), target),
        "pooled, no target": (PooledEstimator(inner), (X, y), weighted),
    }


CASES = list(meta_estimators((np.zeros((1, 1)),) * 4, None))
LONELY = "kmm alone"
ignore_unadapted = pytest.mark.filterwarnings("ignore::skltransfer.DomainDataWarning")


def nested(names):
    """Return the events of fits of these classes, each within the one before."""
    return [f"begin {n}" for n in names] + [f"end {n}" for n in reversed(names)]


def levels(model):
    names = []
    while model is not None:
        names.append(type(model).__name__)
        model = getattr(model, "estimator", None)
    return names


@ignore_unadapted
@pytest.mark.parametrize("case", CASES)
def test_each_task_that_begins_ends_where_a_callback_propagates(domains, case):
    hooks = PropagatedHooks()
    model, args, kwargs = meta_estimators(domains, LogisticRegression())[case]
    model.set_callbacks(hooks).fit(*args, **kwargs)
    begun, ended = (sorted(task[0] for task in tasks) for tasks in (hooks.begun, hooks.ended))
    assert begun == ended
    assert begun.count("fit") == len(levels(model))


@ignore_unadapted
@pytest.mark.parametrize("case", CASES)
def test_a_propagated_callback_sees_every_fit_from_its_begin_to_its_end(domains, tmp_path, case):
    model, data, keywords = meta_estimators(domains, LogisticRegression())[case]
    listener = PropagatedListener(tmp_path / "heard")
    assert model.set_callbacks(listener).fit(*data, **keywords) is model
    name = type(model).__name__
    # Set up and torn down once, by the outermost.
    expected = [f"setup {name}", *nested(levels(model)), f"teardown {name}"]
    assert listener.heard() == expected


@ignore_unadapted
@pytest.mark.parametrize("case", CASES)
def test_another_callback_sees_the_fit_of_its_own_estimator_only(domains, tmp_path, case):
    model, data, keywords = meta_estimators(domains, LogisticRegression())[case]
    listener = Listener(tmp_path / "heard")
    model.set_callbacks(listener).fit(*data, **keywords)
    name = type(model).__name__
    assert listener.heard() == [f"setup {name}", *nested([name]), f"teardown {name}"]


@ignore_unadapted
@pytest.mark.parametrize("case", [case for case in CASES if case != LONELY])
def test_a_callback_set_inside_survives_the_clone(domains, tmp_path, case):
    listener = Listener(tmp_path / "heard")
    inner = LogisticRegression().set_callbacks(listener)
    model, data, keywords = meta_estimators(domains, inner)[case]
    clone(model).fit(*data, **keywords)
    name = "LogisticRegression"
    assert listener.heard() == [f"setup {name}", *nested([name]), f"teardown {name}"]


@ignore_unadapted
@pytest.mark.parametrize("case", CASES)
def test_callbacks_change_no_fit_and_leave_nothing_behind(domains, tmp_path, case):
    model, data, keywords = meta_estimators(domains, LogisticRegression())[case]
    plain = clone(model).fit(*data, **keywords)
    listener = PropagatedListener(tmp_path / "heard")
    model.set_callbacks(listener).fit(*data, **keywords)
    assert set(vars(model)) - set(vars(plain)) == {"_skl_callbacks"}
    assert model._skl_callbacks == [listener]
    assert clone(model)._skl_callbacks == [listener]
    if case != LONELY:
        assert set(vars(model.estimator_)) == set(vars(plain.estimator_))
        rows = domains[2]
        np.testing.assert_array_equal(model.predict_proba(rows), plain.predict_proba(rows))


@ignore_unadapted
@pytest.mark.parametrize("case", CASES)
def test_hooks_get_the_data_of_fit_and_an_estimator_that_predicts(domains, case):
    model, data, keywords = meta_estimators(domains, LogisticRegression())[case]
    tasks = Hooks()
    model.set_callbacks(tasks).fit(*data, **keywords)
    inner = [] if case == LONELY else ["fit-estimator"]
    assert [task[:2] for task in tasks.begun] == [("fit", len(inner)), *((n, 0) for n in inner)]
    for _, _, X, y, metadata in tasks.begun:
        assert X is data[0]
        assert y is data[1]
        assert (metadata is not None) == ("sample_weight" in keywords)
        if metadata is not None:
            np.testing.assert_array_equal(metadata["sample_weight"], keywords["sample_weight"])
    assert [name for name, _ in tasks.ended] == [*inner, "fit"]
    fitted = tasks.ended[-1][1]
    np.testing.assert_array_equal(vars(fitted).get("classes_"), vars(model).get("classes_"))
    if case != LONELY:
        np.testing.assert_array_equal(fitted.predict(domains[2]), model.predict(domains[2]))


@ignore_unadapted
@pytest.mark.parametrize("wrapper", [WithSource, WithTarget])
def test_a_fit_by_fit_transform_is_seen(domains, tmp_path, wrapper):
    listener = PropagatedListener(tmp_path / "heard")
    wrapper(StandardScaler()).set_callbacks(listener).fit_transform(domains[0])
    name = wrapper.__name__
    expected = [f"setup {name}", *nested([name, "StandardScaler"]), f"teardown {name}"]
    assert listener.heard() == expected


def test_a_failed_fit_tears_down_and_can_be_repeated(domains, tmp_path):
    X, y, X_target, _ = domains
    listener = PropagatedListener(tmp_path / "heard")
    model = WithTarget(KMMReweighter(LogisticRegression(), max_weight=0), X_target)
    with pytest.raises(ValueError, match="max_weight"):
        model.set_callbacks(listener).fit(X, y)
    begun = ["setup WithTarget", "begin WithTarget", "begin KMMReweighter"]
    assert listener.heard() == [*begun, "teardown WithTarget"]
    model.set_params(estimator__max_weight=10).fit(X, y)
    assert listener.heard()[4:7] == begun
    assert listener.heard()[-1] == "teardown WithTarget"


def test_an_estimator_without_callbacks_is_named(domains, tmp_path):
    X, y, X_target, y_target = domains
    model = WithTarget(PooledEstimator(GaussianNB()), X_target, y_target)
    with pytest.warns(UserWarning, match="GaussianNB does not support callbacks"):
        model.set_callbacks(PropagatedListener(tmp_path / "heard")).fit(X, y)
    WithTarget(PooledEstimator(Recorder()), X_target, y_target).fit(X, y)  # none set, none missed


def test_scoring_monitor_of_a_weighted_fit_inside_a_wrapper(domains):
    X, y, X_target, y_target = domains
    monitor, weights = ScoringMonitor(scoring="accuracy"), np.linspace(1, 2, len(X))
    pooled = PooledEstimator(LogisticRegression()).set_callbacks(monitor)
    model = WithTarget(pooled, X_target, y_target).fit(X, y, sample_weight=weights)
    scores = [row["accuracy"] for row in monitor.get_logs().data]
    assert scores == [model.score(X, y, sample_weight=weights)]


# --- inside a search -------------------------------------------------------------------


def search_around(domains, **settings):
    X, y, _, _ = domains
    inner = make_pipeline(StandardScaler(), PooledEstimator(LogisticRegression()))
    grid = {"estimator__pooledestimator__estimator__C": [0.1, 1.0]}
    return GridSearchCV(WithSource(inner, X, y), grid, cv=2, error_score="raise", **settings)


@pytest.mark.parametrize("routing", [False, True])
@pytest.mark.parametrize("n_jobs", [1, 2])
def test_a_callback_of_a_search_reaches_every_level(domains, tmp_path, n_jobs, routing):
    listener = PropagatedListener(tmp_path / "heard")
    search = search_around(domains, n_jobs=n_jobs).set_callbacks(listener)
    with config_context(enable_metadata_routing=routing):
        search.fit(domains[2], domains[3])
    heard = listener.heard()
    for name in (
        "WithSource",
        "Pipeline",
        "StandardScaler",
        "PooledEstimator",
        "LogisticRegression",
    ):
        assert heard.count(f"begin {name}") == heard.count(f"end {name}") == 5, name
    assert heard.count("setup GridSearchCV") == heard.count("teardown GridSearchCV") == 1
    assert not any(event.startswith("setup") for event in heard[1:])


@pytest.mark.parametrize("n_jobs", [1, 2])
@pytest.mark.parametrize("depth, shown", [(None, True), (2, False)])
def test_progress_bars_of_a_search(domains, capsys, n_jobs, depth, shown):
    search = search_around(domains, n_jobs=n_jobs).set_callbacks(ProgressBar(depth))
    search.fit(domains[2], domains[3])
    output = capsys.readouterr().out
    assert "WithSource" in output
    assert "Pipeline" in output
    assert ("LogisticRegression" in output) == shown


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_scoring_monitor_logs_the_wrapper_and_the_estimator_inside(domains, n_jobs):
    outer, inner = ScoringMonitor(scoring="accuracy"), ScoringMonitor(scoring="accuracy")
    search = search_around(domains, n_jobs=n_jobs)
    search.estimator.set_callbacks(outer)
    search.estimator.estimator[-1].estimator.set_callbacks(inner)
    search.fit(domains[2], domains[3])
    outer_log, inner_log = outer.get_logs(), inner.get_logs()
    assert len(outer_log.data) == 5
    assert inner_log.estimator_name == "GridSearchCV"  # in the search's tree of tasks
    refit = [row for row in outer_log.data if row["task_id_path"] == (0, 1)]
    assert [row["accuracy"] for row in refit] == [search.score(domains[2], domains[3])]
    assert len(inner_log.data) > len(outer_log.data)  # it logs iterations too


# --- a fit and its parts -----------------------------------------------------------------


class Parts(CallbackSupportMixin, BaseEstimator):
    """Learns in parts, and says so."""

    @with_callbacks
    def fit(self, X, y=None, sample_weight=None):
        task = FitTask.begin(self, X, y, sample_weight, max_subtasks=3)
        for number in range(3):
            part = task.part("part", max_subtasks=1)
            part.part("detail").end()
            if part.end(lambda: {"number_": number}):  # noqa: B023
                break
        self.number_ = number
        task.end({})
        return self


class StopsAfterTwo(Hooks):
    def on_fit_task_end(self, estimator, context, *, fitted_estimator=None):
        super().on_fit_task_end(estimator, context, fitted_estimator=fitted_estimator)
        return context.task_name == "part" and context.task_id == 1


@pytest.mark.parametrize("weights", [None, np.ones(1)])
def test_parts_of_a_fit_are_told_with_its_data_and_can_be_stopped(weights):
    hooks, X = StopsAfterTwo(), [[0.0]]
    model = Parts().set_callbacks(hooks).fit(X, sample_weight=weights)
    assert model.number_ == 1
    names = ["fit", "part", "detail", "part", "detail"]
    assert [task[0] for task in hooks.begun] == names
    assert [task[1] for task in hooks.begun] == [3, 1, 0, 1, 0]
    assert all(task[2] is X and task[3] is None for task in hooks.begun)
    metadata = None if weights is None else {"sample_weight": weights}
    assert all(task[4] == metadata for task in hooks.begun)
    assert [name for name, _ in hooks.ended] == ["detail", "part", "detail", "part", "fit"]
    fitted = [None if model is None else model.number_ for _, model in hooks.ended]
    assert fitted == [None, 0, None, 1, 1]


def test_what_a_part_has_learned_is_asked_for_only_by_callbacks_that_listen():
    def learned():
        raise AssertionError("nobody asked")

    class Silent(Parts):
        @with_callbacks
        def fit(self, X, y=None):
            FitTask.begin(self, X, y).end(learned)
            return self

    Silent().fit([[0.0]])
    with pytest.raises(AssertionError, match="nobody asked"):
        Silent().set_callbacks(Hooks()).fit([[0.0]])


# --- transforms of many samples --------------------------------------------------------------


class Batches(Hooks):
    """Counts the batches, and whether every task that begins ends."""

    max_propagation_depth = None

    def __init__(self):
        super().__init__()
        self.n_setups = self.n_teardowns = 0

    def setup(self, estimator, context):
        self.n_setups += 1

    def teardown(self, estimator, context):
        self.n_teardowns += 1

    def counts(self):
        begun = [name for name, *_ in self.begun]
        assert sorted(begun) == sorted(name for name, _ in self.ended)
        assert self.n_setups == self.n_teardowns
        return begun.count("transform"), begun.count("batch")


def test_a_long_transform_tells_of_each_batch():
    X = np.random.default_rng(0).normal(size=(20, 4))
    told, quiet = Batches(), PretrainedFeatureTransformer(network(), batch_size=8, store=None)
    features = clone(quiet).set_callbacks(told).fit(X)
    assert told.counts() == (0, 0)
    expected = quiet.fit(X).transform(X)
    np.testing.assert_array_equal(features.transform(X), expected)
    assert told.counts() == (1, 3)
    assert [most for name, most, *_ in told.begun if name == "batches"] == [3]
    np.testing.assert_array_equal(features.transform(X[:3]), expected[:3])
    assert told.counts() == (2, 4)
    assert not {name for name in vars(features) if name.startswith("_callback")}


def test_what_is_in_the_store_is_no_batch():
    X = np.random.default_rng(0).normal(size=(20, 4))
    told, store = Batches(), FeatureStore()
    features = PretrainedFeatureTransformer(network(), batch_size=8, store=store)
    features.fit(X).transform(X[:16])
    features.set_callbacks(told).transform(X)
    assert told.counts() == (1, 1)


def test_a_transform_inside_of_a_pipeline_is_told_once():
    X = np.random.default_rng(0).normal(size=(20, 4))
    features = PretrainedFeatureTransformer(network(), batch_size=8, store=None)
    told = Batches()
    model = make_pipeline(features, LogisticRegression()).set_callbacks(told)
    model.fit(X, X[:, 0] > 0)
    assert [name for name, *_ in told.begun].count("batch") == 3
    assert told.n_setups == told.n_teardowns == 1
    model.predict(X)  # the callbacks are the pipeline's, and have heard of its fit
    assert [name for name, *_ in told.begun].count("batch") == 3


def test_a_transform_that_fails_ends_its_callbacks():
    X = np.random.default_rng(0).normal(size=(20, 4))
    told = Batches()
    features = PretrainedFeatureTransformer(network(), store=None).fit(X).set_callbacks(told)
    X[3] = 1e39
    with pytest.raises(ValueError, match="float32"):
        features.transform(X)
    assert told.n_setups == told.n_teardowns


def test_threads_share_a_transformer_with_callbacks():
    X = np.random.default_rng(0).normal(size=(200, 4))
    features = PretrainedFeatureTransformer(network(), batch_size=1, store=None).fit(X)
    expected, told = features.transform(X), Batches()
    features.set_callbacks(told)
    with ThreadPoolExecutor(4) as threads:
        for found in threads.map(features.transform, [X] * 8):
            np.testing.assert_array_equal(found, expected)
    assert told.counts() == (8, 8 * 200)


def test_the_features_of_a_trained_network_are_told_after_its_fit():
    X = np.random.default_rng(0).normal(size=(20, 4))
    model = SelfSupervisedTransformer(method="denoising", max_epochs=1, store=None).fit(X)
    told = Batches()
    model.set_callbacks(told).transform(X)
    assert told.counts() == (1, 1)


def test_a_transform_that_a_callback_asks_for_is_not_told():
    class Transforms(Batches):
        def on_fit_task_end(self, estimator, context, *, X=None, fitted_estimator=None):
            self.ended.append((context.task_name, None))
            if context.task_name == "epoch":
                fitted_estimator.transform(X)

    X, told = np.random.default_rng(0).normal(size=(20, 4)), Transforms()
    model = SelfSupervisedTransformer(method="denoising", max_epochs=2, store=None)
    model.set_callbacks(told).fit(X)
    assert told.counts() == (0, 0) and told.n_setups == 1


def test_a_progress_bar_of_a_transform(capsys):
    X = np.random.default_rng(0).normal(size=(20, 4))
    features = PretrainedFeatureTransformer(network(), batch_size=8, store=None).fit(X)
    features.set_callbacks(ProgressBar()).transform(X)
    shown = capsys.readouterr().out
    assert "PretrainedFeatureTransformer - transform" in shown and "100%" in shown


def network():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.Tanh())

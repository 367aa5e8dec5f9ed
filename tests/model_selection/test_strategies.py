"""The menu of strategies: each does what its name says."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skltransfer import (
    CORAL,
    JDA,
    TCA,
    DiscriminativeReweighter,
    FeatureAugmenter,
    FineTunedClassifier,
    FineTunedRegressor,
    GaussianReweighter,
    GeodesicFlowKernel,
    KernelDensityReweighter,
    KLIEPReweighter,
    KMMReweighter,
    LabelShiftReweighter,
    NearestNeighborsReweighter,
    OptimalTransportMapper,
    PooledEstimator,
    PretrainedFeatureTransformer,
    RegularizedTransferClassifier,
    RegularizedTransferRegressor,
    SourceSelector,
    SubspaceAlignment,
    TrAdaBoostClassifier,
    TrAdaBoostRegressor,
    TransferLogisticRegressionCV,
    TransferRidgeCV,
    TwoStageTrAdaBoostRegressor,
    ULSIFReweighter,
    WithSource,
)
from skltransfer.model_selection import (
    Strategy,
    TransferTask,
    _strategies,
    image_strategies,
    table_strategies,
    text_strategies,
)


def _scaled(model, X_source, y_source, weights=None):
    return TransferTask(make_pipeline(StandardScaler(), model), X_source, y_source, weights)


def test_table_strategies():
    rng = np.random.default_rng(0)
    X_source, X = rng.normal(size=(80, 2)), rng.normal(1, 1, size=(30, 2))
    y_source, y = (X_source[:, 0] > 0).astype(int), (X[:, 0] > 1).astype(int)
    models = {
        strategy.name: strategy.build(_scaled(LogisticRegression(), X_source, y_source))
        for strategy in table_strategies("classification")
    }
    alone = [s.name for s in table_strategies() if not s.needs_source]
    assert alone == ["no transfer", "network, no transfer"]
    fitted = {name: model.fit(X, y) for name, model in models.items()}
    assert not isinstance(models["no transfer"], WithSource)
    np.testing.assert_allclose(fitted["no transfer"][0].mean_, X.mean(axis=0))
    np.testing.assert_allclose(fitted["source only"].estimator_[0].mean_, X_source.mean(axis=0))
    assert isinstance(fitted["source only"].estimator_[-1], LogisticRegression)
    assert isinstance(fitted["pooled"].estimator_[-1], PooledEstimator)
    assert isinstance(fitted["KMM"].estimator_[-1], KMMReweighter)
    assert isinstance(fitted["linear transfer"].estimator_[-1], TransferLogisticRegressionCV)
    predictions = {name: tuple(model.predict_proba(X)[:, 1]) for name, model in fitted.items()}
    assert len(set(predictions.values())) == len(predictions)
    labels_unknown = models["KMM without target labels"].fit(X, 1 - y).predict_proba(X)
    np.testing.assert_array_equal(labels_unknown[:, 1], predictions["KMM without target labels"])


def test_linear_transfer_of_numbers_is_a_regression():
    strategy = next(s for s in table_strategies() if s.name == "linear transfer")
    model = strategy.build(_scaled(Ridge(), np.eye(3), np.arange(3.0)))
    assert isinstance(model.estimator[-1], TransferRidgeCV)


def test_fine_tuned_networks_start_from_the_source():
    """The same as by hand: pretrain on the scaled source, train on the rows that have a label."""
    rng = np.random.default_rng(0)
    X_source, X = rng.normal(size=(80, 3)), rng.normal(1, 1, size=(30, 3))
    y_source, y = np.where(X_source[:, 0] > 0, "a", "b"), np.where(X[:, 0] > 1, "a", "b")
    labels = np.where(np.arange(30) < 12, y, None)
    scaler = StandardScaler().fit(X_source)
    pretrained = FineTunedClassifier().fit(scaler.transform(X_source), y_source)
    tuned = {
        "fine-tuned network": FineTunedClassifier(pretrained),
        "L2-SP network": RegularizedTransferClassifier(pretrained),
    }
    for strategy in table_strategies():
        if strategy.name in tuned:
            model = strategy.build(_scaled(LogisticRegression(), X_source, y_source))
            by_hand = tuned[strategy.name].fit(scaler.transform(X[:12]), y[:12])
            expected = by_hand.predict_proba(scaler.transform(X))
            np.testing.assert_array_equal(model.fit(X, labels).predict_proba(X), expected)
            assert model.classes_.tolist() == ["a", "b"]
            alone = model.fit(X, np.full(30, None, dtype=object)).predict_proba(X)
            np.testing.assert_array_equal(alone, pretrained.predict_proba(scaler.transform(X)))


@pytest.mark.parametrize("n_rows", [None, 2000, 2001])
def test_networks_of_large_tables_train_for_their_default_number_of_epochs(n_rows):
    rng = np.random.default_rng(0)
    task = _scaled(LogisticRegression(), rng.normal(size=(8, 2)), np.arange(8) % 2)
    is_large = n_rows == 2001
    for strategy in table_strategies("classification", n_rows):
        if strategy.family == "network":
            assert ("max_epochs" in repr(strategy.build(task))) is not is_large, strategy.name
            assert ("max_epochs" in (strategy.settings or "")) is not is_large, strategy.name


def test_every_limit_of_size_is_that_of_a_strategy():
    limited = {s.name: s.max_rows for s in table_strategies() if s.max_rows is not None}
    assert limited == _strategies._MAX_ROWS
    assert limited["kernel density"] < limited["fine-tuned network"]  # squares of the number


def test_networks_for_numbers_are_regressors():
    X, y = np.random.default_rng(0).normal(size=(30, 3)), np.arange(30.0)
    kinds = {
        "network, no transfer": FineTunedRegressor,
        "fine-tuned network": FineTunedRegressor,
        "L2-SP network": RegularizedTransferRegressor,
    }
    for strategy in table_strategies():
        if strategy.name.removesuffix(", linear") in kinds:
            model = strategy.build(_scaled(Ridge(), X, y)).fit(X[:10], y[:10])
            last = model.estimator_[-1].estimator_ if strategy.needs_source else model[-1]
            assert type(last) is kinds[strategy.name]
            assert model.predict(X).shape == (30,)


def test_networks_of_two_domains_see_both():
    rng = np.random.default_rng(0)
    X_source, X = rng.normal(size=(40, 3)), rng.normal(1, 1, size=(20, 3))
    y_source, y = X_source[:, 0], np.where(np.arange(20) < 10, X[:, 0] - 1, np.nan)
    for is_classification in (True, False):
        task = _scaled(
            LogisticRegression() if is_classification else Ridge(),
            X_source,
            (y_source > 0).astype(float) if is_classification else y_source,
        )
        labels = np.where(np.isnan(y), np.nan, y > 0) if is_classification else y
        kind = "classification" if is_classification else "regression"
        found = {}
        for strategy in table_strategies(kind):
            if strategy.name.split()[0] in ("DANN", "CDAN", "DAN", "Deep", "MCC"):
                model = strategy.build(task).set_params(
                    **{f"estimator__{_last(strategy, task)}__estimator__max_epochs": 2}
                )
                found[strategy.name] = model.fit(X, labels).predict(X)
                record = model.estimator_[-1].history_[-1]
                of_both = {name for name in record if name.endswith("_loss")}
                assert len(of_both - {"train_loss", "label_loss"}) == 1  # needs both domains
        assert len(found) == (5 if is_classification else 3)


def _last(strategy, task):
    return strategy.build(task).estimator.steps[-1][0]


def test_image_strategies():
    built = {
        strategy.name: strategy.build(
            TransferTask(LogisticRegression(), images={"image_shape": (8, 8)})
        )
        for strategy in image_strategies()
    }
    trained = {strategy.name for strategy in image_strategies() if strategy.trains_network}
    features = {name: model[0] for name, model in built.items() if name not in trained}
    assert all(isinstance(step, PretrainedFeatureTransformer) for step in features.values())
    assert {name: (step.backbone, step.weights) for name, step in features.items()} == {
        "pixels": (None, "default"),
        "linear probe": ("tiny", "default"),
        "linear probe, random": ("tiny", None),
    }
    models = {name: built[name] for name in trained}
    assert {name: (type(m), m.backbone, m.weights) for name, m in models.items()} == {
        "fine-tuned": (FineTunedClassifier, "tiny", "default"),
        "fine-tuned, random": (FineTunedClassifier, "tiny", None),
        "L2-SP": (RegularizedTransferClassifier, "tiny", "default"),
        "L2-SP, random": (RegularizedTransferClassifier, "tiny", None),
    }
    steps = [*features.values(), *models.values()]
    assert {step.image_shape for step in steps} == {(8, 8)}


def test_strategies_of_the_instance_family():
    X, y = np.random.default_rng(0).normal(size=(60, 2)), np.arange(60) % 2
    last = {
        strategy.name: strategy.build(_scaled(LogisticRegression(), X, y)).estimator[-1]
        for strategy in table_strategies("classification")
        if strategy.needs_source
    }
    expected = {
        "KMM": KMMReweighter,
        "KLIEP": KLIEPReweighter,
        "uLSIF": ULSIFReweighter,
        "RuLSIF": ULSIFReweighter,
        "discriminative": DiscriminativeReweighter,
        "nearest neighbours": NearestNeighborsReweighter,
        "Gaussian": GaussianReweighter,
        "kernel density": KernelDensityReweighter,
        "label shift": LabelShiftReweighter,
        "selected rows": SourceSelector,
        "TrAdaBoost": TrAdaBoostClassifier,
    }
    for name, kind in expected.items():
        assert type(last[name]) is kind
        assert isinstance(last[name].estimator, LogisticRegression)
    assert (last["uLSIF"].alpha, last["RuLSIF"].alpha) == (0.0, 0.1)


@pytest.mark.parametrize("n_rows", [90, 5000])
def test_aligners_pool_the_labelled_rows_of_both_domains(n_rows):
    rng = np.random.default_rng(0)
    X_source, X = rng.normal(size=(60, 4)), rng.normal(1, 2, size=(30, 4))
    X_source[:, 3] = X_source[:, 0] + X_source[:, 1]  # follows from others: no warning
    X[:, 3] = X[:, 0] + X[:, 1]
    y_source, y = (rows[:, 0] > rows[:, 1] for rows in (X_source, X))
    labels = [label if row < 10 else np.nan for row, label in enumerate(y.astype(float))]
    kinds = {
        "CORAL": CORAL,
        "subspace alignment": SubspaceAlignment,
        "geodesic flow kernel": GeodesicFlowKernel,
        "TCA": TCA,
        "JDA": JDA,
        "optimal transport": OptimalTransportMapper,
        "augmented": FeatureAugmenter,
    }
    steps = {}
    for strategy in table_strategies("classification", n_rows):
        if strategy.name.removesuffix(", linear") in kinds:
            task = _scaled(LogisticRegression(), X_source, y_source.astype(float))
            model = strategy.build(task)
            other = 1 - np.array(labels)
            predicted, of_others = (
                model.fit(X, known).predict_proba(X) for known in (labels, other)
            )
            assert not np.allclose(predicted, of_others)  # labels of the target are used
            *_, aligner, last = model.estimator
            name = strategy.name.removesuffix(", linear")
            steps[name] = aligner
            assert type(aligner) is kinds[name]
            is_default = aligner.get_params() == kinds[name]().get_params()
            assert is_default == (strategy.settings is None)
            assert type(last) is PooledEstimator
    assert steps.keys() == kinds.keys()
    is_small = n_rows == 90
    assert steps["optimal transport"].method == ("sinkhorn" if is_small else "linear")
    assert table_strategies("classification", n_rows)[0].needs is None


def test_several_networks_of_images():
    strategies = image_strategies(["tiny", ("resnet18", "a.pt")])
    assert [s.name for s in strategies if not s.trains_network] == [
        "pixels",
        "linear probe of tiny",
        "linear probe of tiny, random",
        "linear probe of resnet18",
        "linear probe of resnet18, random",
    ]
    probe, tuned = (s.build(TransferTask(LogisticRegression())) for s in strategies[7:9])
    assert (probe[0].backbone, probe[0].weights) == ("resnet18", "a.pt")
    assert (tuned.backbone, tuned.weights) == ("resnet18", "a.pt")
    assert [s.backbone for s in strategies] == [None] + ["tiny"] * 6 + ["resnet18"] * 6


def test_strategies_by_task():
    every, classes, numbers = (
        {s.name for s in table_strategies(task)} for task in (None, "classification", "regression")
    )
    assert every - classes == {"two-stage TrAdaBoost"}
    assert every - numbers == {"label shift", "JDA", "CDAN network", "MCC network"}
    build = {s.name: s.build for s in table_strategies("regression")}
    X, y = np.eye(3), np.arange(3.0)
    task = _scaled(Ridge(), X, y)
    boosted = build["TrAdaBoost"](task).estimator[-1]
    assert type(boosted) is TrAdaBoostRegressor
    twice = build["two-stage TrAdaBoost"](task).estimator[-1]
    assert type(twice) is TwoStageTrAdaBoostRegressor
    with pytest.raises(ValueError, match="task='clustering' is not 'classification'"):
        table_strategies("clustering")


@pytest.mark.parametrize("weighs", [False, True])
def test_a_strategy_fits_as_what_it_builds(weighs):
    """Work on the source that is kept changes no prediction, nor do its weights get lost."""
    rng = np.random.default_rng(0)
    X_source, X = rng.normal(size=(60, 3)), rng.normal(1, 1, size=(20, 3))
    noisy = (rows[:, 0] + rng.normal(size=len(rows)) > rows[:, 1] for rows in (X_source, X))
    y_source, y = (np.where(above, "b", "a") for above in noisy)
    weights = rng.integers(1, 5, size=60) if weighs else None
    task = _scaled(LogisticRegression(), X_source, y_source, weights)
    names = ["no transfer", "source only", "pooled", "KMM", "KMM without target labels", "CORAL"]
    names += ["TrAdaBoost", "augmented", "linear transfer"]
    for strategy in table_strategies("classification"):
        if strategy.name in names:
            names.remove(strategy.name)
            expected = strategy.build(task).fit(X, y)
            found = strategy.fit(task, X, y)
            assert found.classes_.tolist() == expected.classes_.tolist()
            np.testing.assert_allclose(
                found.predict_proba(X), expected.predict_proba(X), rtol=0, atol=1e-12
            )
    assert not names
    assert task.source_model is task.source_model


def test_unlabelled_rows_are_of_use_where_a_strategy_says_so():
    rng = np.random.default_rng(0)
    X_source, X = rng.normal(size=(60, 3)), rng.normal(1, 1, size=(30, 3))
    noisy = (rows[:, 0] + rng.normal(size=len(rows)) > rows[:, 1] for rows in (X_source, X))
    y_source, y = (above.astype(float) for above in noisy)
    labels = np.where(np.arange(30) < 15, y, np.nan)
    task = _scaled(LogisticRegression(), X_source, y_source)
    for strategy in table_strategies("classification"):
        if strategy.family in ("instance", "feature"):
            both = [
                strategy.build(task).fit(rows, known).predict_proba(X)
                for rows, known in ((X, labels), (X[:15], y[:15]))
            ]
            assert np.allclose(*both) != strategy.uses_unlabelled, strategy.name


def test_text_strategies():
    task = TransferTask(LogisticRegression(), ["good", "bad"] * 3, [1, 0] * 3)
    strategies = {s.name: s for s in text_strategies([("tiny-bert", "a.safetensors")])}
    alone, pooled = (strategies[name].build(task) for name in ("TF-IDF", "TF-IDF, pooled"))
    X, y = ["good day", "bad day", "no day"], [1, 0, 0]
    assert alone.fit(X, y).predict_proba(X).shape == (3, 2)
    assert isinstance(pooled.estimator[-1], PooledEstimator)
    assert not np.allclose(pooled.fit(X, y).predict_proba(X), alone.predict_proba(X))
    encoder, random = (strategies[f"tiny-bert{end}"].build(task)[0] for end in ("", ", random"))
    assert [step[0].weights for step in (encoder, random)] == ["a.safetensors", None]
    assert [s.needs_source for s in strategies.values()] == [False] * 3 + [True] * 3


def test_a_family_is_one_of_the_list():
    with pytest.raises(ValueError, match="family='magic' is none of 'baseline'"):
        Strategy("new", lambda task: task.estimator, "magic")

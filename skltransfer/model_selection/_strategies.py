"""The menu of strategies that are compared; a new one is one line here."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from numbers import Real
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.linear_model._base import LinearClassifierMixin, LinearModel
from sklearn.linear_model._stochastic_gradient import BaseSGD
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import skltransfer
from skltransfer.model_selection._pretrained_on_source import PretrainedOnSource
from skltransfer.model_selection._strategy import NO_TRANSFER, SOURCE_ONLY, Strategy
from skltransfer.model_selection._task import TransferTask
from skltransfer.parameter._linear import LinearTransfer

# Training epochs of a network; a fit has to take seconds.
N_EPOCHS = 30
# Iterations of L-BFGS for small tables: the optimum of a network is not worth waiting for.
N_ITERATIONS = 100
# Samples of both domains up to which that holds. Networks train in steps on more, for their default
# number of epochs.
_MAX_ROWS_OF_ITERATIONS = 2000
# Regularization of a network that is fitted on few samples.
_ALPHA = 1.0
# Samples of both domains up to which a transport plan, a number for each pair, is computed.
_MAX_PAIRED_ROWS = 3000
# Rounds of boosting.
_N_ROUNDS = 10
# Samples of both domains up to which a fit takes about ten seconds on one core
# (benchmarks/speed/scale.json).
_MAX_ROWS = {
    "KMM": 80_000,
    "KMM without target labels": 80_000,
    "KLIEP": 200_000,
    "nearest neighbours": 60_000,
    "kernel density": 80_000,
    "JDA": 90_000,
    "two-stage TrAdaBoost": 50_000,
    "fine-tuned network": 120_000,
    "L2-SP network": 120_000,
    "DANN network": 100_000,
    "CDAN network": 50_000,
    "DAN network": 70_000,
    "Deep CORAL network": 90_000,
    "MCC network": 100_000,
}


def _check_kind(task: str | None) -> None:
    if task not in (None, "classification", "regression"):
        raise ValueError(f"task={task!r} is not 'classification', 'regression' or None.")


def _no_transfer() -> Strategy:
    return Strategy(NO_TRANSFER, lambda task: clone(task.estimator), "baseline")


def _source_only() -> Strategy:
    return Strategy.two_domain(
        SOURCE_ONLY, "baseline", lambda task: clone(task.model), ignores_target=True
    )


def mixture_strategies(task: TransferTask) -> list[Strategy]:
    """Return the cheap strategies of which the transfer estimators are mixtures.

    Parameters
    ----------
    task : TransferTask
        Task of the strategies. If its model is not linear, linear models join beside it.

    Returns
    -------
    strategies : list of Strategy
        The baseline comes first.

    See Also
    --------
    TransferClassifier : Weighs them by their losses on samples that were left out.

    Examples
    --------
    >>> from sklearn.ensemble import HistGradientBoostingClassifier
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skltransfer.model_selection import TransferTask, mixture_strategies
    >>> [strategy.name for strategy in mixture_strategies(TransferTask(LogisticRegression()))][:5]
    ['no transfer', 'source only', 'recalibrated source', 'source score', 'pooled']
    >>> task = TransferTask(HistGradientBoostingClassifier())
    >>> [strategy.name for strategy in mixture_strategies(task)][-3:]
    ['no transfer, linear', 'pooled, linear', 'balanced, linear']
    """
    head = [
        _no_transfer(),
        _source_only(),
        _recalibrated(),
        _source_score(),
        _pooled(),
        _balanced(),
    ]
    if is_linear(task.model):
        return [
            *head,
            _anchored("anchored", 1.0),
            _anchored("anchored strongly", 10.0),
            _augmented(),
        ]
    return [
        *head,
        Strategy.alone("no transfer, linear", "baseline", _linear_model),
        _pooled("pooled, linear", _linear_model),
        _balanced("balanced, linear", _linear_model),
    ]


def is_linear(model) -> bool:
    """Tell whether a model is a linear one of scikit-learn or of this package."""
    return isinstance(model, LinearModel | LinearClassifierMixin | BaseSGD | LinearTransfer)


def _own_model(task: TransferTask):
    return clone(task.model)


def _linear_model(task: TransferTask):
    """Return a linear model for the columns of a model that is not."""
    model = LogisticRegression(max_iter=1000) if task.is_classification else Ridge()
    return make_pipeline(SimpleImputer(keep_empty_features=True), StandardScaler(), model)


def _pooled(name="pooled", model=_own_model) -> Strategy:
    return Strategy.two_domain(
        name, "instance", lambda task: skltransfer.PooledEstimator(model(task))
    )


def _balanced(name="balanced", model=_own_model) -> Strategy:
    return Strategy.two_domain(
        name,
        "instance",
        lambda task: skltransfer.PooledEstimator(model(task), target_weight="balanced"),
    )


def _recalibrated() -> Strategy:
    def model(task, source):
        scores = skltransfer.SourceScoreTransformer(source, passthrough=False)
        return make_pipeline(scores, LogisticRegression() if task.is_classification else Ridge())

    return _of_source_scores("recalibrated source", model)


def _source_score() -> Strategy:
    def model(task, source):
        return make_pipeline(skltransfer.SourceScoreTransformer(source), clone(task.model))

    return _of_source_scores("source score", model)


def _of_source_scores(name: str, model) -> Strategy:
    """Return a strategy whose model begins with the predictions of the source's."""

    def adapt(task):
        return model(task, task.source_model if task.steps is None else task.source_model[-1])

    def build(task):
        return model(task, task.source_model)

    return Strategy(name, build, "feature", needs_source=True, adapt=adapt, ignores_source=True)


def _augmented() -> Strategy:
    def adapt(task):
        pooled = skltransfer.PooledEstimator(clone(task.model))
        return make_pipeline(skltransfer.FeatureAugmenter(), pooled)

    return Strategy.two_domain("augmented", "feature", adapt)


def _anchored(name: str, factor: float) -> Strategy:
    """Pull the coefficients to the source's by `factor` times the penalty of the model."""

    def adapt(task):
        alpha = _penalty(task)
        kind = "TransferLogisticRegression" if task.is_classification else "TransferRidge"
        return getattr(skltransfer, kind)(alpha=factor * alpha, source_alpha=alpha)

    return Strategy.two_domain(name, "parameter", adapt)


def _penalty(task: TransferTask) -> float:
    """Return the strength of the model's L2 penalty; of one that is chosen, the source's choice."""
    model = task.model
    if task.is_classification:
        if hasattr(model, "Cs"):
            model = task.source_model[-1] if task.steps is not None else task.source_model
            return float(1 / np.mean(model.C_))
        strength = getattr(model, "C", 1.0)
        return 1 / strength if isinstance(strength, Real) and strength > 0 else 1.0
    if hasattr(model, "alphas"):
        model = task.source_model[-1] if task.steps is not None else task.source_model
        return float(np.mean(model.alpha_))
    strength = getattr(model, "alpha", 1.0)
    return float(strength) if isinstance(strength, Real) else 1.0


def table_strategies(task: str | None = None, n_rows: int | None = None) -> list[Strategy]:
    """Return strategies for labelled rows of another domain, the baseline first.

    Parameters
    ----------
    task : {"classification", "regression"} or None, default=None
        Task of the strategies. ``None`` returns all strategies.
    n_rows : int or None, default=None
        Number of rows of both domains. Above 2000, networks train for the number of epochs that is
        their default. Above 3000, optimal transport is linear, so that its memory does not grow
        with the square of the number, and the strategy is named so.

    Returns
    -------
    strategies : list of Strategy

    Examples
    --------
    >>> from skltransfer.model_selection import table_strategies
    >>> [strategy.name for strategy in table_strategies()][:5]
    ['no transfer', 'source only', 'pooled', 'KMM', 'KMM without target labels']
    >>> [strategy.name for strategy in table_strategies("regression")][-4:]
    ['L2-SP network', 'DANN network', 'DAN network', 'Deep CORAL network']
    """
    _check_kind(task)

    def by_task(task, classifier: str, regressor: str):
        return getattr(skltransfer, classifier if task.is_classification else regressor)

    def weighted(name, reweighter, *, settings=None, use_y=True, task=None):
        """Weigh the samples of the source by those of the target, with a label or without."""
        return Strategy.two_domain(
            name,
            "instance",
            lambda task: reweighter(clone(task.model)),
            use_y=use_y,
            settings=settings,
            task=task,
            uses_unlabelled=True,
        )

    def boosted(name, make, **options):
        return Strategy.two_domain(name, "instance", make, **options)

    def aligned(name, aligner, **options):
        """Map both domains, and pool the labelled rows of both in the space where they meet."""

        def adapt(task):
            return make_pipeline(aligner(), skltransfer.PooledEstimator(clone(task.model)))

        return Strategy.two_domain(name, "feature", adapt, **options)

    is_small = n_rows is None or n_rows <= _MAX_ROWS_OF_ITERATIONS
    iterations = {"max_epochs": N_ITERATIONS} if is_small else {}
    steps = {"optimizer": "adamw"} | ({"max_epochs": N_EPOCHS} if is_small else {})

    def trained(name, make):
        return Strategy.two_domain(name, "network", make, settings=_written(iterations))

    kmm = skltransfer.KMMReweighter
    relative = partial(skltransfer.ULSIFReweighter, alpha=0.1)

    def tradaboost(task):
        kind = by_task(task, "TrAdaBoostClassifier", "TrAdaBoostRegressor")
        return kind(clone(task.model), n_estimators=_N_ROUNDS)

    def boosted_twice(task):
        kind = skltransfer.TwoStageTrAdaBoostRegressor
        return kind(clone(task.model), n_estimators=_N_ROUNDS, n_steps=5, cv=3)

    def linear_transfer(task):
        return by_task(task, "TransferLogisticRegressionCV", "TransferRidgeCV")()

    def network(task):
        kind = by_task(task, "FineTunedClassifier", "FineTunedRegressor")
        return kind(**iterations)

    def fine_tuned(task):
        return PretrainedOnSource(network(task), network(task))

    def l2_sp(task):
        kind = by_task(task, "RegularizedTransferClassifier", "RegularizedTransferRegressor")
        return PretrainedOnSource(kind(**iterations), network(task))

    def adapted(name, method, *, task=None, **trade_off):
        """Train a network on both domains, in steps, as games of two networks ask for."""

        def adapt(task):
            kind = by_task(task, "FineTunedClassifier", "FineTunedRegressor")
            method_of_task = by_task(task, f"{method}Classifier", f"{method}Regressor")
            return method_of_task(kind(**steps), **trade_off)

        settings = _written(steps | trade_off)
        options = {"task": task, "settings": settings, "uses_unlabelled": True}
        return Strategy.two_domain(name, "network", adapt, **options)

    def transport():
        if n_rows is None or n_rows <= _MAX_PAIRED_ROWS:
            kind, options = skltransfer.OptimalTransportMapper, {}
            name = "optimal transport"
        else:
            kind = partial(skltransfer.OptimalTransportMapper, "linear")
            name, options = "optimal transport, linear", {"settings": "method='linear'"}
        return aligned(name, kind, needs="ot", uses_unlabelled=True, **options)

    unlabelled = {"uses_unlabelled": True}
    strategies = [
        _no_transfer(),
        _source_only(),
        _pooled(),
        weighted("KMM", kmm),
        weighted("KMM without target labels", kmm, use_y=False),
        weighted("KLIEP", skltransfer.KLIEPReweighter),
        weighted("uLSIF", skltransfer.ULSIFReweighter),
        weighted("RuLSIF", relative, settings="ULSIFReweighter(alpha=0.1)"),
        weighted("discriminative", skltransfer.DiscriminativeReweighter),
        weighted("nearest neighbours", skltransfer.NearestNeighborsReweighter),
        weighted("Gaussian", skltransfer.GaussianReweighter),
        weighted("kernel density", skltransfer.KernelDensityReweighter),
        weighted("label shift", skltransfer.LabelShiftReweighter, task="classification"),
        weighted("selected rows", skltransfer.SourceSelector),
        boosted("TrAdaBoost", tradaboost, settings=f"n_estimators={_N_ROUNDS}"),
        boosted(
            "two-stage TrAdaBoost",
            boosted_twice,
            task="regression",
            settings=f"n_estimators={_N_ROUNDS}, n_steps=5, cv=3",
        ),
        aligned("CORAL", skltransfer.CORAL, **unlabelled),
        aligned("subspace alignment", skltransfer.SubspaceAlignment, **unlabelled),
        aligned("geodesic flow kernel", skltransfer.GeodesicFlowKernel, **unlabelled),
        aligned("TCA", skltransfer.TCA, **unlabelled),
        aligned("JDA", skltransfer.JDA, task="classification", **unlabelled),
        transport(),
        _augmented(),
        Strategy.two_domain("linear transfer", "parameter", linear_transfer),
        Strategy.two_domain(
            "in context",
            "relation",
            lambda task: skltransfer.InContextTransferClassifier(),
            task="classification",
            uses_unlabelled=True,
        ),
        Strategy.two_domain(
            "in context",
            "relation",
            lambda task: skltransfer.InContextTransferRegressor(),
            task="regression",
            uses_unlabelled=True,
        ),
        Strategy.alone("network, no transfer", "network", network, settings=_written(iterations)),
        trained("fine-tuned network", fine_tuned),
        trained("L2-SP network", l2_sp),
        adapted("DANN network", "DANN"),
        adapted("CDAN network", "CDAN", task="classification"),
        adapted("DAN network", "DAN"),
        adapted("Deep CORAL network", "DeepCORAL", trade_off=1000.0),
        adapted("MCC network", "MCC", task="classification"),
    ]
    return [
        replace(s, max_rows=_MAX_ROWS.get(s.name))
        for s in strategies
        if task is None or s.task in (None, task)
    ]


def _written(settings: dict[str, Any]) -> str | None:
    """Return settings as they are written in a call."""
    return ", ".join(f"{name}={value!r}" for name, value in settings.items()) or None


def image_strategies(backbones: Any = ("tiny",)) -> list[Strategy]:
    """Return strategies with pretrained networks, first the baseline without a network.

    Parameters
    ----------
    backbones : sequence of str or of (str, str), default=("tiny",)
        Names of networks, or pairs of a name and weights. If there are several networks, the names
        of the strategies contain the name of the network.

    Returns
    -------
    strategies : list of Strategy
        The last step of the task's estimator is fitted on pixels and on frozen features, and is a
        linear probe if it is linear. Trained networks have an output layer of their own. The
        ``images`` of the task tell how images are given.

    Examples
    --------
    >>> from skltransfer.model_selection import image_strategies
    >>> [strategy.name for strategy in image_strategies()][:4]
    ['pixels', 'linear probe', 'fine-tuned', 'L2-SP']
    >>> [strategy.name for strategy in image_strategies()][4:]
    ['linear probe, random', 'fine-tuned, random', 'L2-SP, random']
    >>> [strategy.name for strategy in image_strategies(["tiny", "resnet18"])][1:3]
    ['linear probe of tiny', 'fine-tuned tiny']
    """
    strategies = [Strategy("pixels", _probe(None), "baseline")]
    for backbone in backbones:
        name, weights = (backbone, "default") if isinstance(backbone, str) else backbone
        of, own = ("", "") if len(backbones) == 1 else (f" of {name}", f" {name}")
        for suffix, start in (("", weights), (", random", None)):
            tuned = _trained("FineTunedClassifier", name, weights=start)
            held = _trained("RegularizedTransferClassifier", name, weights=start, alpha=_ALPHA)
            probe = _probe(name, weights=start)
            shared = {"backbone": name, "is_control": start is None}
            trained = {"trains_network": True, **shared}
            strategies += [
                Strategy(f"linear probe{of}{suffix}", probe, "feature", **shared),
                Strategy(f"fine-tuned{own}{suffix}", tuned, "network", **trained),
                Strategy(f"L2-SP{own}{suffix}", held, "network", **trained),
            ]
    return strategies


def _probe(backbone, **settings):
    def build(task):
        features = skltransfer.PretrainedFeatureTransformer(backbone, **settings, **task.images)
        return make_pipeline(features, StandardScaler(), clone(task.model))

    return build


def _trained(estimator: str, backbone, **settings):
    def build(task):
        network = getattr(skltransfer, estimator)
        return network(backbone, max_epochs=N_EPOCHS, **settings, **task.images)

    return build


def text_strategies(backbones: Any = ()) -> list[Strategy]:
    """Return TF-IDF, the baseline, and encoders; each alone, and pooled with a source.

    Parameters
    ----------
    backbones : sequence of str or of (str, str or None), default=()
        Names of encoders, or pairs of a name and weights.

    Returns
    -------
    strategies : list of Strategy
        The last step of the task's estimator is fitted on the representations; its first steps are
        not used.

    Examples
    --------
    >>> from skltransfer.model_selection import text_strategies
    >>> [strategy.name for strategy in text_strategies(["tiny-bert"])][:3]
    ['TF-IDF', 'tiny-bert', 'tiny-bert, random']
    >>> [strategy.name for strategy in text_strategies(["tiny-bert"])][3:]
    ['TF-IDF, pooled', 'tiny-bert, pooled', 'tiny-bert, random, pooled']
    """
    representations = [("TF-IDF", "baseline", TfidfVectorizer, {})]
    for backbone in backbones:
        name, weights = (backbone, "default") if isinstance(backbone, str) else backbone
        for suffix, start in (("", weights), (", random", None)):
            options = {"backbone": name, "is_control": start is None}
            representations.append((name + suffix, "feature", _encoder(name, start), options))
    alone = [
        Strategy(name, _text_alone(make), family, **options)
        for name, family, make, options in representations
    ]
    pooled = [
        Strategy(f"{name}, pooled", _text_pooled(make), "instance", needs_source=True, **options)
        for name, _, make, options in representations
    ]
    return alone + pooled


def _encoder(name: str, weights: str | None):
    def make():
        features = skltransfer.PretrainedFeatureTransformer(name, weights=weights)
        return make_pipeline(features, StandardScaler())

    return make


def _text_alone(make):
    return lambda task: make_pipeline(make(), clone(task.model))


def _text_pooled(make):
    def build(task):
        pipeline = make_pipeline(make(), skltransfer.PooledEstimator(clone(task.model)))
        return skltransfer.WithSource(
            pipeline,
            task.X_source,
            task.y_source,
            source_sample_weight=task.source_sample_weight,
        )

    return build

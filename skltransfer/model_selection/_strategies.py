"""The menu of strategies that are compared; a new one is one line here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from inspect import signature
from numbers import Real
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, clone
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.linear_model._base import LinearClassifierMixin, LinearModel
from sklearn.linear_model._stochastic_gradient import BaseSGD
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

import skltransfer
from skltransfer.domains._delegation import DelegatingMixin
from skltransfer.domains._refit import fits_anew
from skltransfer.domains._routing import fit_with_target
from skltransfer.domains._two_domains import given_weighted_target, labelled_rows
from skltransfer.domains._weights import fit_weighted
from skltransfer.model_selection._task import TransferTask
from skltransfer.parameter._linear import LinearTransfer

# Training epochs of a network; a fit has to take seconds.
N_EPOCHS = 30
# Iterations of L-BFGS for small tables: the optimum of a network is not worth waiting for.
N_ITERATIONS = 100
# Regularization of a network that is fitted on few samples.
_ALPHA = 1.0
# Samples of both domains up to which a transport plan, a number for each pair, is computed.
_MAX_PAIRED_ROWS = 3000
# Rounds of boosting.
_N_ROUNDS = 10


NO_TRANSFER, SOURCE_ONLY = "no transfer", "source only"
FAMILIES = ("baseline", "instance", "feature", "parameter", "network", "yours")


@dataclass(frozen=True)
class Strategy:
    """A way to use, or not to use, another domain or a pretrained network.

    Parameters
    ----------
    name : str
        Name in tables and plots.
    build : callable
        Function of a :class:`TransferTask` that returns an unfitted estimator for target samples:
        ``strategy.build(task).fit(X, y)``.
    family : {"baseline", "instance", "feature", "parameter", "network", "yours"}
        What is carried over: nothing or the source's own model; samples; a representation;
        coefficients; a network that is trained; or whatever an estimator of the user's own does.
    needs_source : bool, default=False
        Whether it needs samples of another domain.
    uses_unlabelled : bool, default=False
        Whether target samples without a label are of use: ``y`` may hold missing labels.
    trains_network : bool, default=False
        Whether each fit trains a network on images or texts, which takes seconds.
    task : {"classification", "regression"} or None, default=None
        Kind of task; ``None`` stands for both.
    backbone : str or None, default=None
        Name of the pretrained network, if any.
    needs : str or None, default=None
        Module of an extra that it imports.
    settings : str or None, default=None
        Settings in which its estimator differs from the defaults of the class, as they are written
        in the call.
    adapt : callable or None, default=None
        Function of a :class:`TransferTask` that returns the unfitted two-domain estimator, which
        asks for ``X_target``, behind the task's first steps.
    ignores_target : bool, default=False
        Whether it is the task's estimator, fitted on the source alone.
    is_control : bool, default=False
        Whether it only shows what another strategy owes to pretrained weights, by random ones. It
        is compared, but never recommended: the best of many random networks is best by luck.
    ignores_source : bool, default=False
        Whether ``adapt(task)`` holds all it needs of the source, and is fitted on the target.

    Examples
    --------
    >>> from sklearn.linear_model import Ridge
    >>> from skltransfer.model_selection import Strategy, TransferTask
    >>> strategy = Strategy("no transfer", lambda task: task.estimator, "baseline")
    >>> strategy.build(TransferTask(Ridge()))
    Ridge()
    """

    name: str
    build: Callable[[TransferTask], Any]
    family: str
    needs_source: bool = False
    uses_unlabelled: bool = False
    trains_network: bool = False
    task: str | None = None
    backbone: str | None = None
    needs: str | None = None
    settings: str | None = None
    adapt: Callable[[TransferTask], Any] | None = None
    ignores_target: bool = False
    is_control: bool = False
    ignores_source: bool = False

    def __post_init__(self):
        if self.family not in FAMILIES:
            raise ValueError(f"family={self.family!r} is none of {', '.join(map(repr, FAMILIES))}.")

    def fit(self, task: TransferTask, X, y, sample_weight=None):
        """Fit the strategy on target samples, without work that was done on the source before.

        The predictions are those of ``build(task).fit(X, y)``. The source is mapped once in the
        life of the task, and the task's estimator is fitted on the source alone once.

        Parameters
        ----------
        task : TransferTask
            The user's model, and the source.
        X : array-like of shape (n_samples, n_features)
            Target samples, as they enter the task's estimator.
        y : array-like of shape (n_samples,)
            Their labels.
        sample_weight : ndarray of shape (n_samples,), default=None
            Their weights.

        Returns
        -------
        estimator : estimator
            Fitted, for target samples as they enter the task's estimator.
        """
        if self.ignores_target:
            return task.source_model
        if self.adapt is None:
            return _fitted(self.build(task), X, y, sample_weight)
        return task.for_raw_rows(self.fit_mapped(task, task.map(X), y, sample_weight))

    def fit_mapped(self, task: TransferTask, rows, y, sample_weight=None):
        """Fit ``adapt(task)`` on target samples as they enter the last step of the estimator.

        Parameters
        ----------
        task : TransferTask
            The user's model, and the source.
        rows : array-like of shape (n_samples, n_features)
            Target samples, mapped by ``task.map``.
        y : array-like of shape (n_samples,)
            Their labels.
        sample_weight : ndarray of shape (n_samples,), default=None
            Their weights.

        Returns
        -------
        estimator : estimator
            Fitted, for target samples that are mapped so.
        """
        estimator = self.adapt(task)
        is_pipeline = isinstance(estimator, Pipeline)
        steps = [step for _, step in estimator.steps] if is_pipeline else [estimator]
        if self.ignores_source:
            for step in steps[:-1]:
                rows = step.fit_transform(rows, y)
            fit_weighted(steps[-1], rows, y, sample_weight)
            return estimator
        X, y_source, weights = task.source_rows, task.y_source, task.source_sample_weight
        if all(_asks_for_target(step) for step in steps):
            # Metadata routing would take longer than many fits.
            for step in steps[:-1]:
                X = step.fit_transform(X, y_source, X_target=rows)
                rows = step.transform(rows)
            given = {"sample_weight": weights, "target_sample_weight": sample_weight}
            given = {name: value for name, value in given.items() if value is not None}
            steps[-1].fit(X, y_source, X_target=rows, y_target=y, **given)
        else:
            target = {"X_target": rows, "y_target": y, "target_sample_weight": sample_weight}
            fit_with_target(estimator, X, y_source, sample_weight=weights, **target)
        return estimator

    @classmethod
    def two_domain(cls, name: str, family: str, adapt, *, use_y: bool = True, **options):
        """Return a strategy that fits ``adapt(task)`` on both domains, behind the task's steps.

        Parameters
        ----------
        name, family : str
            Name in tables and plots, and family of methods.
        adapt : callable
            Function of a task; see the class.
        use_y : bool, default=True
            Whether labels of the target are used.
        **options : dict
            Further fields of the strategy.
        """

        def build(task):
            return skltransfer.WithSource(
                task.behind_steps(adapt(task)),
                task.X_source,
                task.y_source,
                source_sample_weight=task.source_sample_weight,
                use_y=use_y,
            )

        if not use_y or options.get("ignores_target"):
            return cls(name, build, family, needs_source=True, **options)
        return cls(name, build, family, needs_source=True, adapt=adapt, **options)

    @classmethod
    def alone(cls, name: str, family: str, estimator, **options):
        """Return a strategy that fits ``estimator(task)`` on the target, behind the task's steps.

        Parameters
        ----------
        name, family : str
            Name in tables and plots, and family of methods.
        estimator : callable
            Function of a task that returns an unfitted estimator.
        **options : dict
            Further fields of the strategy.
        """
        return cls(name, lambda task: task.behind_steps(estimator(task)), family, **options)


def _fitted(estimator, X, y, sample_weight):
    fit_weighted(estimator, X, y, sample_weight)
    return estimator


def _asks_for_target(step) -> bool:
    """Tell whether the class of a step itself takes target samples."""
    return _takes_target(type(step))


@cache
def _takes_target(kind: type) -> bool:
    return "X_target" in signature(kind.fit).parameters


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
        Number of rows of both domains. Above 3000, optimal transport is linear, so that its memory
        does not grow with the square of the number, and the strategy is named so.

    Returns
    -------
    strategies : list of Strategy

    Examples
    --------
    >>> from skltransfer.model_selection import table_strategies
    >>> [strategy.name for strategy in table_strategies()][:5]
    ['no transfer', 'source only', 'pooled', 'KMM', 'KMM without target labels']
    >>> [strategy.name for strategy in table_strategies("regression")][-4:]
    ['linear transfer', 'network, no transfer', 'fine-tuned network', 'L2-SP network']
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

    def trained(name, make):
        settings = f"max_epochs={N_ITERATIONS}"
        return Strategy.two_domain(name, "network", make, settings=settings)

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
        return kind(max_epochs=N_ITERATIONS)

    def fine_tuned(task):
        return PretrainedOnSource(network(task), network(task))

    def l2_sp(task):
        kind = by_task(task, "RegularizedTransferClassifier", "RegularizedTransferRegressor")
        return PretrainedOnSource(kind(max_epochs=N_ITERATIONS), network(task))

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
        Strategy.alone(
            "network, no transfer", "network", network, settings=f"max_epochs={N_ITERATIONS}"
        ),
        trained("fine-tuned network", fine_tuned),
        trained("L2-SP network", l2_sp),
    ]
    return [s for s in strategies if task is None or s.task in (None, task)]


def image_strategies(backbones=("tiny",)) -> list[Strategy]:
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


def text_strategies(backbones=()) -> list[Strategy]:
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


class PretrainedOnSource(DelegatingMixin, BaseEstimator):
    """Fit one estimator on source rows, and hand it as the backbone to another one.

    Parameters
    ----------
    estimator : estimator
        Is fitted on the target rows with a label; has a parameter ``backbone``.
    pretrained : estimator
        Is fitted on the source rows.
    """

    __metadata_request__fit = {"X_target": True, "y_target": True, "target_sample_weight": True}

    def __init__(self, estimator, pretrained):
        self.estimator = estimator
        self.pretrained = pretrained

    @fits_anew
    def fit(
        self,
        X,
        y,
        sample_weight=None,
        *,
        X_target=None,
        y_target=None,
        target_sample_weight=None,
    ):
        """Fit both; without a labelled target row, the first alone.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Source rows.
        y : array-like of shape (n_samples,)
            Their labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Their weights.
        X_target : array-like of shape (n_target_samples, n_features), default=None
            Target rows.
        y_target : array-like of shape (n_target_samples,), default=None
            Labels of target rows, NaN where unknown.
        target_sample_weight : array-like of shape (n_target_samples,), default=None
            Weights of target rows.

        Returns
        -------
        self : estimator

        Raises
        ------
        TypeError
            If there are weights for an estimator that takes none.
        """
        target = given_weighted_target(X_target, y_target, target_sample_weight)
        fitted = clone(self.pretrained)
        fit_weighted(fitted, X, y, sample_weight)
        if target[0] is not None:
            rows, labels, weights = labelled_rows(*target[:2], y, target[2])
            if rows is not None:
                fitted = clone(self.estimator).set_params(backbone=fitted)
                fit_weighted(fitted, rows, labels, weights)
        self._adopt(fitted)
        return self

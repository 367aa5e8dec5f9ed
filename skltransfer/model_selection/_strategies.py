"""The menu of strategies that are compared; a new one is one line here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from sklearn.base import BaseEstimator, clone, is_classifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import skltransfer
from skltransfer.domains._delegation import DelegatingMixin
from skltransfer.domains._refit import fits_anew
from skltransfer.domains._two_domains import given_weighted_target, labelled_rows
from skltransfer.domains._weights import fit_weighted

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


@dataclass(frozen=True)
class Strategy:
    """A way to use, or not to use, another domain or a pretrained network.

    Parameters
    ----------
    name : str
        Name in tables and plots.
    build : callable
        Function that returns an estimator for target samples.
    needs_source : bool, default=False
        Whether it needs samples of another domain.
    trains_network : bool, default=False
        Whether each fit trains a network on images, which takes seconds.
    task : {"classification", "regression"} or None, default=None
        Kind of task; ``None`` stands for both.
    backbone : str or None, default=None
        Name of the pretrained network, if any.
    needs : str or None, default=None
        Module of an extra that it imports.
    settings : str or None, default=None
        Settings in which its estimator differs from the defaults of the class, as they are written
        in the call.

    Examples
    --------
    >>> from sklearn.linear_model import Ridge
    >>> from skltransfer.model_selection import Strategy
    >>> Strategy("no transfer", lambda model, X_source, y_source: model).build(Ridge(), None, None)
    Ridge()
    """

    name: str
    build: Callable[..., Any]
    needs_source: bool = False
    trains_network: bool = False
    task: str | None = None
    backbone: str | None = None
    needs: str | None = None
    settings: str | None = None


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
        ``build(steps, model, X_source, y_source)`` makes an estimator for target rows out of
        preprocessing steps (a transformer) and a model.

    Examples
    --------
    >>> from skltransfer.model_selection import table_strategies
    >>> [strategy.name for strategy in table_strategies()][:5]
    ['no transfer', 'source only', 'pooled', 'KMM', 'KMM without target labels']
    >>> [strategy.name for strategy in table_strategies("regression")][-4:]
    ['linear transfer', 'network, no transfer', 'fine-tuned network', 'L2-SP network']
    """
    if task not in (None, "classification", "regression"):
        raise ValueError(f"task={task!r} is not 'classification', 'regression' or None.")

    def from_source(name, adapt, *, task=None, settings=None, use_y=True):
        def build(steps, model, X_source, y_source):
            pipeline = make_pipeline(steps, adapt(model))
            return skltransfer.WithSource(pipeline, X_source, y_source, use_y=use_y)

        return Strategy(name, build, needs_source=True, task=task, settings=settings)

    def by_task(model, classifier: str, regressor: str):
        return getattr(skltransfer, classifier if is_classifier(model) else regressor)

    kmm = skltransfer.KMMReweighter
    relative = partial(skltransfer.ULSIFReweighter, alpha=0.1)
    boosted_twice = partial(
        skltransfer.TwoStageTrAdaBoostRegressor, n_estimators=_N_ROUNDS, n_steps=5, cv=3
    )

    def boosted(model):
        kind = by_task(model, "TrAdaBoostClassifier", "TrAdaBoostRegressor")
        return kind(model, n_estimators=_N_ROUNDS)

    def linear_transfer(model):
        return by_task(model, "TransferLogisticRegressionCV", "TransferRidgeCV")()

    def network(model):
        kind = by_task(model, "FineTunedClassifier", "FineTunedRegressor")
        return kind(max_epochs=N_ITERATIONS)

    def fine_tuned(model):
        return PretrainedOnSource(network(model), network(model))

    def l2_sp(model):
        kind = by_task(model, "RegularizedTransferClassifier", "RegularizedTransferRegressor")
        return PretrainedOnSource(kind(max_epochs=N_ITERATIONS), network(model))

    def aligned(name, aligner, **options):
        """Map both domains, and pool the labelled rows of both in the space where they meet."""

        def build(steps, model, X_source, y_source):
            pipeline = make_pipeline(steps, aligner(), skltransfer.PooledEstimator(model))
            return skltransfer.WithSource(pipeline, X_source, y_source)

        return Strategy(name, build, needs_source=True, **options)

    def transport():
        if n_rows is None or n_rows <= _MAX_PAIRED_ROWS:
            return aligned("optimal transport", skltransfer.OptimalTransportMapper, needs="ot")
        linear = partial(skltransfer.OptimalTransportMapper, "linear")
        name = "optimal transport, linear"
        return aligned(name, linear, needs="ot", settings="method='linear'")

    def alone(name, estimator, settings=None):
        def build(steps, model, *source):
            return make_pipeline(steps, estimator(model))

        return Strategy(name, build, settings=settings)

    strategies = [
        alone("no transfer", lambda model: model),
        from_source("source only", lambda model: model),
        from_source("pooled", skltransfer.PooledEstimator),
        from_source("KMM", kmm),
        from_source("KMM without target labels", kmm, use_y=False),
        from_source("KLIEP", skltransfer.KLIEPReweighter),
        from_source("uLSIF", skltransfer.ULSIFReweighter),
        from_source("RuLSIF", relative, settings="ULSIFReweighter(alpha=0.1)"),
        from_source("discriminative", skltransfer.DiscriminativeReweighter),
        from_source("nearest neighbours", skltransfer.NearestNeighborsReweighter),
        from_source("Gaussian", skltransfer.GaussianReweighter),
        from_source("kernel density", skltransfer.KernelDensityReweighter),
        from_source("label shift", skltransfer.LabelShiftReweighter, task="classification"),
        from_source("selected rows", skltransfer.SourceSelector),
        from_source("TrAdaBoost", boosted, settings=f"n_estimators={_N_ROUNDS}"),
        from_source(
            "two-stage TrAdaBoost",
            boosted_twice,
            task="regression",
            settings=f"n_estimators={_N_ROUNDS}, n_steps=5, cv=3",
        ),
        aligned("CORAL", skltransfer.CORAL),
        aligned("subspace alignment", skltransfer.SubspaceAlignment),
        aligned("geodesic flow kernel", skltransfer.GeodesicFlowKernel),
        aligned("TCA", skltransfer.TCA),
        aligned("JDA", skltransfer.JDA, task="classification"),
        transport(),
        aligned("augmented features", skltransfer.FeatureAugmenter),
        from_source("linear transfer", linear_transfer),
        alone("network, no transfer", network, settings=f"max_epochs={N_ITERATIONS}"),
        from_source("fine-tuned network", fine_tuned, settings=f"max_epochs={N_ITERATIONS}"),
        from_source("L2-SP network", l2_sp, settings=f"max_epochs={N_ITERATIONS}"),
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
        ``build(model, **images)`` makes an estimator for images, where `images` are parameters of
        their form, such as `image_shape` and `value_range`. The model is fitted on pixels and on
        frozen features, and is a linear probe if it is linear. Trained networks have an output
        layer of their own.

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
    strategies = [Strategy("pixels", _probe(None))]
    for backbone in backbones:
        name, weights = (backbone, "default") if isinstance(backbone, str) else backbone
        of, own = ("", "") if len(backbones) == 1 else (f" of {name}", f" {name}")
        for suffix, start in (("", weights), (", random", None)):
            tuned = _trained("FineTunedClassifier", name, weights=start)
            held = _trained("RegularizedTransferClassifier", name, weights=start, alpha=_ALPHA)
            probe = _probe(name, weights=start)
            trained = {"trains_network": True, "backbone": name}
            strategies += [
                Strategy(f"linear probe{of}{suffix}", probe, backbone=name),
                Strategy(f"fine-tuned{own}{suffix}", tuned, **trained),
                Strategy(f"L2-SP{own}{suffix}", held, **trained),
            ]
    return strategies


def _probe(backbone, **settings):
    def build(model, **images):
        features = skltransfer.PretrainedFeatureTransformer(backbone, **settings, **images)
        return make_pipeline(features, StandardScaler(), model)

    return build


def _trained(estimator: str, backbone, **settings):
    def build(model, **images):
        network = getattr(skltransfer, estimator)
        return network(backbone, max_epochs=N_EPOCHS, **settings, **images)

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

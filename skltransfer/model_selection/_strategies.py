"""The menu of strategies that are compared; a new one is one line here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sklearn.base import is_classifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import skltransfer
from skltransfer.model_selection._pretraining import PretrainedOnSource

# Passes over the rows where a network is trained: it has to be over in seconds.
N_EPOCHS = 30
# Of L-BFGS, for small tables: a network with a hidden layer has no optimum worth waiting for.
N_ITERATIONS = 100
# Strong enough to hold a network that sees a few rows.
_ALPHA = 1.0


@dataclass(frozen=True)
class Strategy:
    """One way to use, or not to use, what is known from elsewhere.

    Parameters
    ----------
    name : str
        What tables and plots call it.
    build : callable
        Makes the estimator, which is fitted on rows of the target task.
    needs_source : bool, default=False
        Whether it makes sense only with rows of another domain.
    trains_network : bool, default=False
        Whether each fit trains a network on images: seconds rather than milliseconds.

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


def table_strategies() -> list[Strategy]:
    """Return what can be done with labelled rows of another domain; the first is the baseline.

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
    >>> [strategy.name for strategy in table_strategies()][5:]
    ['linear transfer', 'network, no transfer', 'fine-tuned network', 'L2-SP network']
    """
    pooled, kmm = skltransfer.PooledEstimator, skltransfer.KMMReweighter

    def with_source(adapt, **settings):
        def build(steps, model, X_source, y_source):
            pipeline = make_pipeline(steps, adapt(model))
            return skltransfer.WithSource(pipeline, X_source, y_source, **settings)

        return build

    def linear_transfer(model):
        if is_classifier(model):
            return skltransfer.TransferLogisticRegressionCV()
        return skltransfer.TransferRidgeCV()

    def network(model):
        if is_classifier(model):
            return skltransfer.FineTunedClassifier(max_epochs=N_ITERATIONS)
        return skltransfer.FineTunedRegressor(max_epochs=N_ITERATIONS)

    def fine_tuned(model):
        return PretrainedOnSource(network(model), network(model))

    def l2_sp(model):
        if is_classifier(model):
            held = skltransfer.RegularizedTransferClassifier(max_epochs=N_ITERATIONS)
        else:
            held = skltransfer.RegularizedTransferRegressor(max_epochs=N_ITERATIONS)
        return PretrainedOnSource(held, network(model))

    def network_alone(steps, model, *source):
        return make_pipeline(steps, network(model))

    return [
        Strategy("no transfer", lambda steps, model, *source: make_pipeline(steps, model)),
        Strategy("source only", with_source(lambda model: model), needs_source=True),
        Strategy("pooled", with_source(pooled), needs_source=True),
        Strategy("KMM", with_source(kmm), needs_source=True),
        Strategy("KMM without target labels", with_source(kmm, use_y=False), needs_source=True),
        Strategy("linear transfer", with_source(linear_transfer), needs_source=True),
        Strategy("network, no transfer", network_alone),
        Strategy("fine-tuned network", with_source(fine_tuned), needs_source=True),
        Strategy("L2-SP network", with_source(l2_sp), needs_source=True),
    ]


def image_strategies() -> list[Strategy]:
    """Return what can be done with a pretrained network; the first is the baseline without one.

    Returns
    -------
    strategies : list of Strategy
        ``build(model, **images)`` makes an estimator for images; `images` are the parameters
        `image_shape` and `value_range` that say how they are given. The model is fitted on pixels
        and on frozen features (a linear probe, if it is linear); trained networks have an output
        layer of their own.

    Examples
    --------
    >>> from skltransfer.model_selection import image_strategies
    >>> [strategy.name for strategy in image_strategies()][:4]
    ['pixels', 'linear probe', 'fine-tuned', 'L2-SP']
    >>> [strategy.name for strategy in image_strategies()][4:]
    ['linear probe, random', 'fine-tuned, random', 'L2-SP, random']
    """
    tuned, l2_sp = skltransfer.FineTunedClassifier, skltransfer.RegularizedTransferClassifier

    def features(backbone, **settings):
        def build(model, **images):
            representation = skltransfer.PretrainedFeatureTransformer(
                backbone, **settings, **images
            )
            return make_pipeline(representation, StandardScaler(), model)

        return build

    def trained(estimator, **settings):
        def build(model, **images):
            return estimator("tiny", max_epochs=N_EPOCHS, **settings, **images)

        return build

    return [
        Strategy("pixels", features(None)),
        Strategy("linear probe", features("tiny")),
        Strategy("fine-tuned", trained(tuned), trains_network=True),
        Strategy("L2-SP", trained(l2_sp, alpha=_ALPHA), trains_network=True),
        Strategy("linear probe, random", features("tiny", weights=None)),
        Strategy("fine-tuned, random", trained(tuned, weights=None), trains_network=True),
        Strategy("L2-SP, random", trained(l2_sp, weights=None, alpha=_ALPHA), trains_network=True),
    ]

"""The menu of strategies that are compared; a new one is one line here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sklearn.base import is_classifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import skltransfer


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
    >>> [strategy.name for strategy in table_strategies()]
    ['no transfer', 'source only', 'pooled', 'KMM', 'KMM without target labels', 'linear transfer']
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

    return [
        Strategy("no transfer", lambda steps, model, *source: make_pipeline(steps, model)),
        Strategy("source only", with_source(lambda model: model), needs_source=True),
        Strategy("pooled", with_source(pooled), needs_source=True),
        Strategy("KMM", with_source(kmm), needs_source=True),
        Strategy("KMM without target labels", with_source(kmm, use_y=False), needs_source=True),
        Strategy("linear transfer", with_source(linear_transfer), needs_source=True),
    ]


def image_strategies() -> list[Strategy]:
    """Return the representations of images that are compared; the first is the baseline.

    Returns
    -------
    strategies : list of Strategy
        ``build(model, **images)`` makes an estimator for images; `images` are parameters of
        :class:`~skltransfer.PretrainedFeatureTransformer` that say how they are given.

    Examples
    --------
    >>> from skltransfer.model_selection import image_strategies
    >>> [strategy.name for strategy in image_strategies()]
    ['pixels', 'tiny', 'tiny, random']
    """

    def features(backbone, **settings):
        def build(model, **images):
            representation = skltransfer.PretrainedFeatureTransformer(
                backbone, **settings, **images
            )
            return make_pipeline(representation, StandardScaler(), model)

        return build

    return [
        Strategy("pixels", features(None)),
        Strategy("tiny", features("tiny")),
        Strategy("tiny, random", features("tiny", weights=None)),
    ]

"""Fitted estimators with every kind of backbone, and networks of a user's own."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.datasets import load_diabetes, load_digits
from sklearn.linear_model import LogisticRegression, Ridge
from torch import nn

from skltransfer import (
    CORAL,
    JDA,
    TCA,
    Backbone,
    DiscriminativeReweighter,
    FeatureAugmenter,
    FineTunedClassifier,
    FineTunedRegressor,
    GaussianReweighter,
    GeodesicFlowKernel,
    InContextTransferClassifier,
    InContextTransferRegressor,
    KernelDensityReweighter,
    KLIEPReweighter,
    KMMReweighter,
    LabelShiftReweighter,
    MultiTaskClassifier,
    MultiTaskRegressor,
    NearestNeighborsReweighter,
    OptimalTransportMapper,
    Preprocessing,
    PretrainedFeatureTransformer,
    RegularizedTransferClassifier,
    SelfSupervisedTransformer,
    SourceSelector,
    SubspaceAlignment,
    TrAdaBoostClassifier,
    TrAdaBoostRegressor,
    TransferLogisticRegressionCV,
    TransferRidge,
    TwoStageTrAdaBoostRegressor,
    ULSIFReweighter,
    WordVectorTransformer,
)
from tests.tiny_bert import save_tiny_bert

TEXTS = ["good film", "bad plot", "a dull film", "the very great film was good"] * 4
VECTORS = {word: np.cos(np.arange(3) + i) for i, word in enumerate(["good", "bad", "film", "a"])}
_X, _y = load_digits(return_X_y=True)
DIGITS, LABELS = _X[:40], np.array(["even", "odd", "third"], dtype=object)[_y[:40] % 3]
COLUMNS, NUMBERS = (v[:60] for v in load_diabetes(return_X_y=True))
LINEAR = np.sign(COLUMNS[:, 2])
LONG = np.column_stack([np.arange(60) % 3, COLUMNS])
IMAGES = {"image_shape": (8, 8), "value_range": (0, 16)}
SHORT = {"max_epochs": 2, "optimizer": "adamw"}


class Columns(nn.Module):
    """A network of the user's own, with a setting and an argument."""

    def __init__(self, n_columns=64, width=8):
        super().__init__()
        self.power = 2
        self.layers = nn.Sequential(nn.Linear(n_columns, width), nn.Tanh())

    def forward(self, x):
        return self.layers(x) ** self.power


def build_columns():
    return nn.Sequential(nn.Linear(64, 8), nn.ReLU())


def seeded(build):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build()


def _classifier(backbone=None, **parameters):
    return FineTunedClassifier(backbone, **SHORT | parameters).fit(DIGITS, LABELS)


def _record():
    module = seeded(lambda: nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4))).eval()
    return Backbone("own", module, Preprocessing(10, 8, (0.5,), (0.25,)), stages=("0",))


def _text(folder, **parameters):
    return FineTunedClassifier(save_tiny_bert(folder), **SHORT | parameters).fit(
        TEXTS, [1, 0, 0, 1] * 4
    )


# How each is made (in a folder of its own), and the rows that it predicts. Those in TRUSTED need
# names at load.
MODELS = {
    "table": (lambda _: _classifier(), DIGITS),
    "table, mlp head": (lambda _: _classifier(head="mlp", dropout=0.1), DIGITS),
    "table, cosine head": (lambda _: _classifier(head="cosine"), DIGITS),
    "table, regressor": (lambda _: FineTunedRegressor(**SHORT).fit(COLUMNS, NUMBERS), COLUMNS),
    "tiny": (lambda _: _classifier("tiny", **IMAGES), DIGITS),
    "tiny, head alone": (lambda _: _classifier("tiny", unfreeze="head", **IMAGES), DIGITS),
    "tiny, probe": (
        lambda _: _classifier("tiny", strategy="linear_probe", **IMAGES, lr=0.01),
        DIGITS,
    ),
    "torchvision": (
        lambda _: _classifier("resnet18", weights=None, input_size=32, **IMAGES),
        DIGITS,
    ),
    "sequence": (lambda _: _classifier(seeded(build_columns)), DIGITS),
    "record": (lambda _: _classifier(_record(), **IMAGES), DIGITS),
    "estimator": (lambda _: _classifier(_classifier("tiny", **IMAGES), **IMAGES), DIGITS),
    "text": (_text, TEXTS),
    "text, head alone": (lambda folder: _text(folder, unfreeze="head"), TEXTS),
    "features": (lambda _: PretrainedFeatureTransformer("tiny", **IMAGES).fit(DIGITS), DIGITS),
    "features, timm": (
        lambda _: PretrainedFeatureTransformer(
            _classifier("timm:test_vit", weights=None, **IMAGES), pooling="gem", **IMAGES
        ).fit(DIGITS[:8]),
        DIGITS[:8],
    ),
    "timm": (lambda _: _classifier("timm:test_resnet", weights=None, **IMAGES), DIGITS),
    "features, module": (
        lambda _: PretrainedFeatureTransformer(seeded(build_columns)).fit(DIGITS),
        DIGITS,
    ),
    "features, text": (
        lambda folder: PretrainedFeatureTransformer(save_tiny_bert(folder)).fit(TEXTS),
        TEXTS,
    ),
    "self-supervised": (
        lambda _: SelfSupervisedTransformer(
            "tiny", "rotation", max_epochs=1, input_size=16, **IMAGES
        ).fit(DIGITS),
        DIGITS,
    ),
    "self-supervised, table": (
        lambda _: SelfSupervisedTransformer(method="masked", max_epochs=2).fit(COLUMNS),
        COLUMNS,
    ),
    "words": (
        lambda _: WordVectorTransformer(VECTORS, pooling="sif", oov="mean").fit(TEXTS),
        TEXTS,
    ),
    "logistic": (
        lambda _: TransferLogisticRegressionCV(
            source=_classifier_of_scikit_learn(), alphas=[0.1, 1.0], cv=2
        ).fit(DIGITS / 16, LABELS),
        DIGITS / 16,
    ),
    "ridge": (
        lambda _: TransferRidge(source=np.ones(COLUMNS.shape[1])).fit(COLUMNS, NUMBERS),
        COLUMNS,
    ),
    "regularized": (
        lambda _: RegularizedTransferClassifier(_classifier(), penalty="delta", **SHORT).fit(
            DIGITS, LABELS
        ),
        DIGITS,
    ),
    "tasks": (lambda _: MultiTaskRegressor(task_column=0).fit(LONG, NUMBERS), LONG),
    "tasks, trace norm": (
        lambda _: MultiTaskClassifier("trace_norm", task_column=0).fit(LONG, NUMBERS > 150),
        LONG,
    ),
    "tasks, network": (
        lambda _: MultiTaskClassifier("network", task_column=0, **SHORT).fit(LONG, NUMBERS > 150),
        LONG,
    ),
    "tasks, wide network": (
        lambda _: MultiTaskRegressor("network", task_weight="uncertainty", **SHORT).fit(
            COLUMNS, np.column_stack([NUMBERS, -NUMBERS])
        ),
        COLUMNS,
    ),
    "class": (lambda _: _classifier(Columns), DIGITS),
    "instance": (lambda _: _classifier(seeded(lambda: Columns(64, 5))), DIGITS),
    "function": (lambda _: _classifier(build_columns), DIGITS),
}
MODELS |= {
    kind.__name__: (
        lambda _, kind=kind: kind(LogisticRegression(C=1e4)).fit(
            COLUMNS[:40], NUMBERS[:40] > 150, X_target=COLUMNS[40:]
        ),
        COLUMNS,
    )
    for kind in (
        KMMReweighter,
        KLIEPReweighter,
        ULSIFReweighter,
        DiscriminativeReweighter,
        NearestNeighborsReweighter,
        GaussianReweighter,
        KernelDensityReweighter,
        LabelShiftReweighter,
        SourceSelector,
    )
}
MODELS |= {
    type(booster).__name__: (
        lambda _, booster=booster: booster.fit(
            COLUMNS[:40], LINEAR[:40], X_target=COLUMNS[40:], y_target=LINEAR[40:]
        ),
        COLUMNS,
    )
    for booster in (
        TrAdaBoostClassifier(LogisticRegression(C=100), n_estimators=3),
        TrAdaBoostRegressor(Ridge(1e-6), n_estimators=3),
        TwoStageTrAdaBoostRegressor(Ridge(1e-6), n_estimators=2, n_steps=2, cv=2),
    )
}
MODELS |= {
    type(aligner).__name__: (
        lambda _, aligner=aligner: aligner.fit(COLUMNS[:40], X_target=COLUMNS[40:]),
        COLUMNS,
    )
    for aligner in (
        CORAL(),
        FeatureAugmenter(),
        GeodesicFlowKernel(),
        OptimalTransportMapper("exact"),
        SubspaceAlignment(),
    )
}
MODELS |= {
    "in context": (
        lambda _: InContextTransferClassifier().fit(
            COLUMNS[:40], LINEAR[:40], X_target=COLUMNS[40:], y_target=LINEAR[40:]
        ),
        COLUMNS,
    ),
    "numbers in context": (
        lambda _: InContextTransferRegressor().fit(
            COLUMNS[:40], COLUMNS[:40, 0], X_target=COLUMNS[40:], y_target=COLUMNS[40:, 1]
        ),
        COLUMNS,
    ),
    "TCA": (
        lambda _: TCA(3, kernel="rbf", gamma=0.1).fit(COLUMNS[:40], X_target=COLUMNS[40:]),
        COLUMNS,
    ),
    "JDA": (
        lambda _: JDA(3, estimator=LogisticRegression()).fit(
            COLUMNS[:40], LINEAR[:40], X_target=COLUMNS[40:]
        ),
        COLUMNS,
    ),
}
MODELS["transport"] = (
    lambda _: OptimalTransportMapper("exact").fit(COLUMNS[:40], X_target=COLUMNS[40:]),
    COLUMNS,
)
_HERE = "tests.persistence.models"
TRUSTED = {
    "class": [f"{_HERE}.Columns"],
    "instance": [f"{_HERE}.Columns"],
    "function": [f"{_HERE}.build_columns"],
}


def _classifier_of_scikit_learn():
    return LogisticRegression(max_iter=1000).fit(DIGITS / 16, LABELS)


def outputs(model, X):
    """Return all that a model says about rows, in one array."""
    if hasattr(model, "predict_proba"):
        return np.hstack([model.predict_proba(X), model.predict(X)[:, None]])
    return model.predict(X) if hasattr(model, "predict") else model.transform(X)

"""scikit-learn's own checks over every public estimator, those of two domains with a target."""

import inspect

import numpy as np
import pytest
from sklearn.base import BaseEstimator
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import KFold
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils.estimator_checks import parametrize_with_checks

import skltransfer
from skltransfer import (
    CORAL,
    JDA,
    TCA,
    CDANClassifier,
    DANClassifier,
    DANNClassifier,
    DANNRegressor,
    DANRegressor,
    DeepCORALClassifier,
    DeepCORALRegressor,
    DiscriminativeReweighter,
    DomainDataWarning,
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
    MAMLClassifier,
    MAMLRegressor,
    MCCClassifier,
    MultiTaskClassifier,
    MultiTaskRegressor,
    NearestNeighborsReweighter,
    OptimalTransportMapper,
    PooledEstimator,
    PretrainedFeatureTransformer,
    PrototypicalClassifier,
    RegularizedTransferClassifier,
    RegularizedTransferRegressor,
    SelfSupervisedTransformer,
    SourceScoreTransformer,
    SourceSelector,
    SpectrogramTransformer,
    SubspaceAlignment,
    TrAdaBoostClassifier,
    TrAdaBoostRegressor,
    TransferClassifier,
    TransferLogisticRegression,
    TransferLogisticRegressionCV,
    TransferRegressor,
    TransferRidge,
    TransferRidgeCV,
    TwoStageTrAdaBoostRegressor,
    ULSIFReweighter,
    WithSource,
    WithTarget,
    WordVectorTransformer,
    ZeroShotClassifier,
)
from skltransfer.domains._routing import consumed_keywords
from tests.doubles import (
    WORD_VECTORS,
    MeanAligner,
    NumbersAsText,
    Recorder,
    SignClassifier,
    SumRegressor,
    TableNetwork,
    with_two_domains,
)


def expand():
    """Return a step without statistics: behind it a weight of two is a repeated row."""
    return PolynomialFeatures(2, include_bias=False)


# Networks train with their own number of epochs once for each kind, and shortly elsewhere.
ESTIMATORS = [
    CORAL(),
    CORAL(shrinkage="ledoit_wolf", reg_covar=0.0, match_means=False),
    FeatureAugmenter(),
    GeodesicFlowKernel(),
    GeodesicFlowKernel(n_components=1),
    SubspaceAlignment(),
    SubspaceAlignment(n_components=1),
    CDANClassifier(FineTunedClassifier(max_epochs=10)),
    DANClassifier(FineTunedClassifier(max_epochs=10)),
    DANNClassifier(FineTunedClassifier(max_epochs=10)),
    DANNRegressor(FineTunedRegressor(max_epochs=10)),
    DANRegressor(FineTunedRegressor(max_epochs=10)),
    DeepCORALClassifier(FineTunedClassifier(max_epochs=10)),
    DeepCORALRegressor(FineTunedRegressor(max_epochs=10)),
    MCCClassifier(FineTunedClassifier(max_epochs=10)),
    DiscriminativeReweighter(),
    DiscriminativeReweighter(Ridge(), classifier=LogisticRegression(), calibration="isotonic"),
    DiscriminativeReweighter(
        HistGradientBoostingClassifier(max_iter=5, min_samples_leaf=1),  # not counted by weight
        classifier=HistGradientBoostingClassifier(),
    ),
    FineTunedClassifier(),
    FineTunedClassifier(TableNetwork, head="mlp", max_epochs=50),
    FineTunedClassifier(TableNetwork, strategy="lp_ft", max_epochs=50),
    FineTunedClassifier(TableNetwork, strategy="linear_probe"),
    FineTunedRegressor(),
    RegularizedTransferClassifier(),
    RegularizedTransferClassifier(TableNetwork, penalty="delta", alpha=0.1, max_epochs=50),
    RegularizedTransferRegressor(),
    RegularizedTransferRegressor(TableNetwork, penalty="l2_sp_fisher", max_epochs=50),
    FineTunedRegressor(TableNetwork, unfreeze=1, max_epochs=50),
    InContextTransferClassifier(),
    InContextTransferClassifier(n_members=3),
    InContextTransferRegressor(),
    InContextTransferRegressor(n_members=3),
    JDA(),
    JDA(estimator=LogisticRegression(), kernel="rbf", regularization=0.1, normalize_rows=False),
    KLIEPReweighter(),
    KLIEPReweighter(LogisticRegression(), gamma=[0.1, 1.0], n_centers=20),
    GaussianReweighter(),
    GaussianReweighter(LogisticRegression(), covariance="diag", shrinkage=0.1),
    KernelDensityReweighter(),
    KernelDensityReweighter(Ridge(), bandwidth=0.5, kernel="exponential"),
    LabelShiftReweighter(),
    LabelShiftReweighter(LogisticRegression(), method="rlls"),
    LabelShiftReweighter(LogisticRegression(), classifier=GaussianNB(), method="em"),
    NearestNeighborsReweighter(),
    NearestNeighborsReweighter(LogisticRegression(), n_neighbors=1),
    KMMReweighter(),
    KMMReweighter(LogisticRegression()),
    KMMReweighter(Ridge(), max_weight=10, sum_tolerance=0.1),
    KMMReweighter(Ridge(), kernel="laplacian", tol=1e-2, dtype="float32"),
    MAMLClassifier(FineTunedClassifier(max_epochs=3), episodes_per_epoch=8, inner_lr=2.0),
    MAMLRegressor(FineTunedRegressor(max_epochs=4, lr=0.01), episodes_per_epoch=8, inner_lr=0.5),
    MultiTaskClassifier(),
    MultiTaskClassifier(alpha=0.1, class_weight="balanced", task_weight="balanced"),
    MultiTaskClassifier("trace_norm"),
    MultiTaskClassifier("network", max_epochs=50),
    MultiTaskClassifier("network", backbone=TableNetwork, task_weight="uncertainty", max_epochs=50),
    MultiTaskRegressor(),
    MultiTaskRegressor(alpha=0.1, shared_alpha=0.1, fit_intercept=False),
    MultiTaskRegressor("trace_norm"),
    MultiTaskRegressor("network", max_epochs=50),
    MultiTaskRegressor("network", backbone=TableNetwork, task_weight="uncertainty", max_epochs=50),
    OptimalTransportMapper(),
    OptimalTransportMapper("group_lasso", entropy=0.5, max_iter=100),
    OptimalTransportMapper("linear", shrinkage=0.1),
    PretrainedFeatureTransformer(),
    PretrainedFeatureTransformer(TableNetwork, store=None),
    PretrainedFeatureTransformer(TableNetwork, layers=["0", "2"], precision="float64"),
    PooledEstimator(LogisticRegression()),
    PooledEstimator(Ridge()),
    PrototypicalClassifier(FineTunedClassifier(max_epochs=4), episodes_per_epoch=5),
    PrototypicalClassifier(
        FineTunedClassifier(TableNetwork), metric="cosine", episodes_per_epoch=0
    ),
    SelfSupervisedTransformer(),
    SelfSupervisedTransformer(method="denoising", noise="gaussian", max_epochs=20),
    SelfSupervisedTransformer(TableNetwork, "barlow", max_epochs=20, batch_size=16),
    SelfSupervisedTransformer(method="masked", hidden_layer_sizes=(32, 16), max_epochs=20),
    SourceScoreTransformer(SignClassifier()),
    SourceScoreTransformer(SumRegressor(), passthrough=False),
    SourceSelector(),
    SourceSelector(LogisticRegression(), keep=0.5, use_weights=True),
    SourceSelector(Ridge(), keep="neighbors"),
    SpectrogramTransformer(),
    SpectrogramTransformer(100, n_mels=3, frame_length=0.05, f_min=1, f_max=40, dynamic_range=40),
    TransferClassifier(),
    TransferClassifier(strategies=["balanced", "anchored"], cv=2, baseline_share=0.5),
    TransferRegressor(),
    TransferRegressor(Ridge(10.0), strategies=["source only", "pooled", "augmented"], cv=KFold(2)),
    TransferLogisticRegression(),
    TransferLogisticRegression(source_alpha=0.1, penalize_intercept=False, class_weight="balanced"),
    TransferLogisticRegressionCV(),
    TransferLogisticRegressionCV(alphas=[0.1, 10.0], cv=KFold(2), scoring="accuracy"),
    TransferRidge(),
    TransferRidge(source_alpha=0.1, fit_intercept=False),
    TransferRidgeCV(),
    TransferRidgeCV(alphas=[0.1, 10.0], cv=2, scoring="neg_mean_absolute_error"),
    ULSIFReweighter(),
    ULSIFReweighter(Ridge(), alpha=0.1, regularization=0.1),
    TCA(),
    TCA(kernel="rbf", regularization=0.1),
    TCA(form="primal"),
    TrAdaBoostClassifier(),
    TrAdaBoostClassifier(DecisionTreeClassifier(max_depth=2)),
    TrAdaBoostClassifier(LogisticRegression(), n_estimators=5, store_weights=False),
    TrAdaBoostRegressor(),
    TrAdaBoostRegressor(Ridge(), n_estimators=5, loss="square"),
    WithSource(make_pipeline(expand(), TrAdaBoostClassifier(DecisionTreeClassifier(max_depth=2)))),
    WithTarget(make_pipeline(expand(), TrAdaBoostRegressor(n_estimators=5, random_state=0))),
    TwoStageTrAdaBoostRegressor(),
    TwoStageTrAdaBoostRegressor(Ridge(), loss="exponential", n_estimators=3, n_steps=2, cv=3),
    WithTarget(KMMReweighter(LogisticRegression())),
    WithTarget(make_pipeline(expand(), KMMReweighter(LogisticRegression(max_iter=1000)))),
    WithTarget(make_pipeline(expand(), KMMReweighter(Ridge(100.0)))),
    WithTarget(make_pipeline(MeanAligner(), Ridge())),
    WithSource(make_pipeline(StandardScaler(), JDA())),
    WithSource(make_pipeline(StandardScaler(), TCA(kernel="rbf"))),
    WithSource(KMMReweighter(Ridge())),
    WithSource(make_pipeline(StandardScaler(), KMMReweighter(LogisticRegression()))),
    WithSource(make_pipeline(StandardScaler(), MeanAligner())),
    WithSource(make_pipeline(StandardScaler(), LogisticRegression())),
    WordVectorTransformer(),
    # Where it takes texts, the checks reach it behind what turns their numbers into texts.
    WithSource(make_pipeline(NumbersAsText(), WordVectorTransformer(WORD_VECTORS))),
    WithSource(
        make_pipeline(NumbersAsText(), WordVectorTransformer(WORD_VECTORS, weights="tfidf"))
    ),
    WithSource(make_pipeline(NumbersAsText(), WordVectorTransformer(WORD_VECTORS, pooling="sif"))),
    WithSource(make_pipeline(NumbersAsText(), WordVectorTransformer(WORD_VECTORS, pooling="max"))),
    ZeroShotClassifier(),
    ZeroShotClassifier(logit_scale=100.0),
]


def takes_two_domains(estimator):
    return isinstance(estimator, WithSource | WithTarget) or bool(
        consumed_keywords(estimator, "fit", ["X_target"])
    )


FIRST_OF_ITS_CLASS = list({type(estimator): estimator for estimator in ESTIMATORS[::-1]}.values())
# The checks know nothing of a second domain: such a fit is the unadapted one and says so. One
# configuration of each class is enough.
AS_THEY_ARE = [e for e in ESTIMATORS if not takes_two_domains(e) or e in FIRST_OF_ITS_CLASS]
ADAPTED = [with_two_domains(e) for e in ESTIMATORS if takes_two_domains(e)]

SPLITS_THE_TARGET = "its folds are the target's rows, and the check passes folds of the source's"
WEIGHT_IS_NO_REPETITION = {
    "TwoDomainDiscriminativeReweighter": "its folds are of the rows of both domains",
    "TwoDomainKLIEPReweighter": SPLITS_THE_TARGET,
    "TwoDomainLabelShiftReweighter": "it holds out rows of each class, and the check has one row",
    "TwoDomainTransferClassifier": SPLITS_THE_TARGET,
    "TwoDomainTransferLogisticRegressionCV": SPLITS_THE_TARGET,
    "TwoDomainTransferRegressor": SPLITS_THE_TARGET,
    "TwoDomainTransferRidgeCV": SPLITS_THE_TARGET,
    "TwoDomainTwoStageTrAdaBoostRegressor": SPLITS_THE_TARGET,
    "MeanAligner": "aligners take no weights, and a repeated row moves the mean",
}


def expected_failures(estimator):
    return {
        f"check_sample_weight_equivalence_on_{form}_data": reason
        for name, reason in WEIGHT_IS_NO_REPETITION.items()
        for form in ("dense", "sparse")
        if name in repr(estimator)
    }


def skip_without_gpu(check):
    """Skip a check on CUDA where there is no device: scikit-learn asks only how torch was built."""
    if "'cuda'" in repr(list(check.keywords.values())):
        torch = pytest.importorskip("torch")
        if not torch.cuda.is_available():
            pytest.skip("no CUDA device")


# scikit-learn's checks are not written for warnings that are errors.
@pytest.mark.filterwarnings("ignore")
@parametrize_with_checks(AS_THEY_ARE)
def test_scikit_learn_checks(estimator, check):
    skip_without_gpu(check)
    check(estimator)


@pytest.mark.filterwarnings("ignore")
@parametrize_with_checks(ADAPTED, expected_failed_checks=expected_failures)
def test_scikit_learn_checks_with_two_domains(estimator, check):
    skip_without_gpu(check)
    check(estimator)


def test_the_adapted_checks_give_half_of_each_class():
    X, y = np.arange(12.0).reshape(6, 2), np.array([0, 1, 0, 1, 0, 1])
    for source, labels, weight in (
        (X, y, [3, 1, 1, 2, 0, 1]),
        (X[[0, 0, 0, 1, 2, 3, 3, 5]], y[[0, 0, 0, 1, 2, 3, 3, 5]], None),
    ):
        seen = with_two_domains(Recorder()).fit(source, labels, weight).seen_
        np.testing.assert_array_equal(seen["X"], source)
        np.testing.assert_array_equal(seen["X_target"][:, 0], [0, 10, 6])
        np.testing.assert_array_equal(seen["y_target"], [0, 1, 1])
    for wrapper in (WithTarget(Recorder()), WithSource(Recorder())):
        seen = with_two_domains(wrapper).fit(X, y).estimator_.seen_
        np.testing.assert_array_equal(seen["X"], X)
        np.testing.assert_array_equal(seen["y_target"], [0, 0, 1, 1])


def test_every_public_estimator_is_checked():
    public = {
        name
        for name in skltransfer.__all__
        if inspect.isclass(value := getattr(skltransfer, name)) and issubclass(value, BaseEstimator)
    }
    assert public == {type(estimator).__name__ for estimator in ESTIMATORS}


def test_warning_is_a_user_warning():
    assert issubclass(DomainDataWarning, UserWarning)

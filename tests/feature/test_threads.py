"""Threads share frozen networks: tracing one for other layers must not disturb a pass."""

from threading import Thread

import joblib
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from skltransfer import PretrainedFeatureTransformer, load_backbone

LAYERS = ["stem", "stage1", "stage2", "stem.0", "stem.1", "stage1.conv1", "stage1.bn1", "stage3"]


def test_building_extractors_does_not_disturb_a_pass_in_another_thread():
    module = load_backbone("tiny").module
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    X = np.random.default_rng(0).integers(0, 256, (16, 32, 32, 3), dtype=np.uint8)
    transformer = PretrainedFeatureTransformer("tiny", layers="stage3", store=None).fit(X[:1])
    expected = transformer.transform(X)
    results, errors = [], []

    def extract():
        try:
            while builder.is_alive():
                results.append(np.array_equal(transformer.transform(X), expected))
        except Exception as error:
            errors.append(error)

    def build():
        try:
            for i in range(60):  # more than are kept, so that all are traced again and again
                pair = [LAYERS[i % 8], LAYERS[(i + 1 + i // 8 % 7) % 8]]
                PretrainedFeatureTransformer("tiny", layers=pair, store=None).fit(X[:1])
        except Exception as error:
            errors.append(error)

    builder = Thread(target=build)
    reader = Thread(target=extract)
    builder.start()
    reader.start()
    builder.join()
    reader.join()
    assert not errors
    assert results
    assert all(results)
    for name, tensor in module.state_dict().items():
        assert np.array_equal(tensor.numpy(), before[name].numpy()), name
    assert not any(part.training for part in module.modules())


def test_a_search_over_layers_with_threads_scores_as_without():
    rng = np.random.default_rng(0)
    X, y = rng.integers(0, 256, (30, 16, 16), dtype=np.uint8), np.arange(30) % 2
    pipeline = make_pipeline(
        PretrainedFeatureTransformer("tiny", store=None), LogisticRegression(max_iter=1000)
    )
    grid = {"pretrainedfeaturetransformer__layers": ["stem", "stage1", "stage2", "stage3"]}
    search = GridSearchCV(pipeline, grid, cv=2, error_score="raise")
    alone = search.fit(X, y).cv_results_["mean_test_score"]
    with joblib.parallel_config("threading", n_jobs=4):
        together = search.fit(X, y).cv_results_["mean_test_score"]
    np.testing.assert_array_equal(alone, together)

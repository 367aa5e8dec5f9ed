"""Texts, images and numbers side by side; neighbours and clusters of features."""

import numpy as np
import pytest
from PIL import Image
from sklearn.cluster import KMeans
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import adjusted_rand_score
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsTransformer, NearestNeighbors
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer, StandardScaler

from skltransfer import PretrainedFeatureTransformer, feature_store
from tests.tiny_bert import save_tiny_bert

pd = pytest.importorskip("pandas")
pl = pytest.importorskip("polars")
pytest.importorskip("transformers")


@pytest.fixture(autouse=True)
def _empty_store():
    feature_store.clear()


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Each of the three columns tells one of the three bits of the label."""
    folder = tmp_path_factory.mktemp("table")
    rng = np.random.default_rng(0)
    bits = np.array([[i & 1, i >> 1 & 1, i >> 2 & 1] for i in range(8)] * 6)
    paths = []
    for row, (_, is_disc, _) in enumerate(bits):
        pixels = rng.integers(0, 60, (32, 32), dtype=np.uint8)
        if is_disc:
            pixels[8:24, 8:24] = 255
        else:
            pixels[:, 14:18] = 255
        paths.append(str(folder / f"{row}.png"))
        Image.fromarray(pixels).save(paths[-1])
    words = [("good great film", "dull bad plot")[bit] for bit in bits[:, 0]]
    columns = {"review": words, "photo": paths, "price": bits[:, 2] + rng.normal(0, 0.1, len(bits))}
    bert = save_tiny_bert(folder / "bert")
    return columns, bits @ [1, 2, 4], bert


def model_of(bert):
    columns = ColumnTransformer(
        [
            ("text", make_pipeline(PretrainedFeatureTransformer(bert), StandardScaler()), "review"),
            ("image", make_pipeline(PretrainedFeatureTransformer("tiny"), Normalizer()), "photo"),
            ("number", StandardScaler(), ["price"]),
        ],
        transformer_weights={"image": 10},
    )
    return make_pipeline(columns, LogisticRegression(C=10, max_iter=500))


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame], ids=["pandas", "polars"])
def test_a_search_over_texts_images_and_numbers(table, frame):
    columns, y, bert = table
    X = frame(columns)
    grid = {
        "columntransformer__text__pretrainedfeaturetransformer__pooling": ["avg", "max"],
        "columntransformer__image__pretrainedfeaturetransformer__layers": ["stage3", "all_stages"],
    }
    search = GridSearchCV(model_of(bert), grid, cv=3).fit(X, y)
    assert search.best_score_ > 0.95
    for name in ("text", "image", "number"):  # each column is needed
        without = model_of(bert).set_params(**{f"columntransformer__{name}": "drop"})
        assert without.fit(X[:32], y[:32]).score(X[32:], y[32:]) < 0.7


def test_frames_come_out_with_names(table):
    columns, _, bert = table
    features = ColumnTransformer(
        [
            ("text", PretrainedFeatureTransformer(bert), "review"),
            ("image", PretrainedFeatureTransformer("tiny", layers="stage1"), "photo"),
            ("number", "passthrough", ["price"]),
        ]
    ).set_output(transform="pandas")
    frame = features.fit_transform(pd.DataFrame(columns))
    assert list(frame.columns[[0, 32, -1]]) == [
        "text__output_0",
        "image__stage1_0",
        "number__price",
    ]
    assert frame.shape == (48, 32 + 32 * 4 + 1)


# --- retrieval and clustering need no class -------------------------------------------------


def test_neighbours_of_images(table):
    columns, _, _ = table
    is_disc = np.array([[i >> 1 & 1 for i in range(8)] * 6]).ravel()
    features = make_pipeline(PretrainedFeatureTransformer("tiny"), Normalizer())
    search = make_pipeline(features, NearestNeighbors(n_neighbors=4)).fit(columns["photo"])
    distances, found = search[-1].kneighbors(search[:-1].transform(columns["photo"][:8]))
    assert list(found[:, 0]) == list(range(8))
    np.testing.assert_allclose(distances[:, 0], 0, atol=1e-3)
    assert (is_disc[found] == is_disc[:8, None]).all()
    # By hand.
    vectors = features.transform(columns["photo"])
    similarity = vectors[:8].astype(float) @ vectors.T.astype(float)
    order = np.argsort(-similarity, axis=1)[:, :4]
    assert [set(row) for row in order] == [set(row) for row in found]
    # As a transformer of a pipeline, without a second call.
    graph = make_pipeline(features, KNeighborsTransformer(n_neighbors=3)).fit(columns["photo"])
    assert graph.transform(columns["photo"][:2]).shape == (2, 48)


def test_clusters_of_images(table):
    columns, _, _ = table
    is_disc = np.array([[i >> 1 & 1 for i in range(8)] * 6]).ravel()
    model = make_pipeline(
        PretrainedFeatureTransformer("tiny"), Normalizer(), KMeans(2, n_init=5, random_state=0)
    )
    assert adjusted_rand_score(is_disc, model.fit_predict(columns["photo"])) == 1.0

"""What a file may hold: settings of every type, and contents that agree with each other."""

import datetime
import io
from collections import OrderedDict
from decimal import Decimal
from functools import partial

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn import config_context
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_selector
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.feature_selection import SelectKBest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils.metadata_routing import get_routing_for_object

import skltransfer
from tests.persistence.test_hostile_files import members_of, write_members

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 3))
Y = (X[:, 0] > 0).astype(int)

VALUES = {
    "numpy scalars": [np.float32(0.5), np.int64(3), np.bool_(True), np.str_("a")],
    "types": [np.float32, np.dtype("float32"), np.dtype([("a", "f4")]), np.number, int, object],
    "functions": [np.log1p, np.mean, np.clip, rbf_kernel],
    "dates": [datetime.date(2020, 1, 2), datetime.timedelta(1), np.datetime64("2020")],
    "others": [Decimal("1.5"), range(3), frozenset("a")],
    "keys of numbers": {0: 1, 1: 5, np.int64(2): 3, 1.5: "b"},
    "keys of bools": {False: 1.0, True: 5.0},
    "keys of numpy bools": {np.False_: 1, np.True_: 2},
    "keys of several types": {None: 1, "a": 2, 3: 4},
    "dictionaries": OrderedDict(a={"b": (1, [None, float("inf")])}),
    "missing": np.array(["a", None, pd.NA, np.nan], dtype=object),
}


@pytest.mark.parametrize("name", VALUES)
def test_settings_of_many_types_come_back_as_they_were(name, tmp_path):
    model = FunctionTransformer(kw_args={"value": VALUES[name]})
    twin = skltransfer.load(skltransfer.save(model, tmp_path / "model"))
    assert repr(twin.kw_args) == repr(model.kw_args)


def test_states_of_random_generators_come_back(tmp_path):
    for state in (np.random.RandomState(3), np.random.default_rng(3)):
        model = FunctionTransformer(kw_args={"state": state})
        twin = skltransfer.load(skltransfer.save(model, tmp_path / "model")).kw_args["state"]
        np.testing.assert_array_equal(twin.normal(size=5), state.normal(size=5))


def test_selectors_of_columns_sparse_matrices_and_partial_functions_come_back(tmp_path):
    frame = pd.DataFrame({"a": [1.0], "b": pd.Categorical(["x"])})
    for matrix in (sparse.csr_matrix(np.eye(3)), sparse.coo_array(np.eye(3))):
        values = [make_column_selector(dtype_include="category"), matrix, partial(np.clip, a_min=0)]
        model = FunctionTransformer(kw_args={"values": values})
        path = skltransfer.save(model, tmp_path / "model")
        select, twin, clip = skltransfer.load(path).kw_args["values"]
        assert select(frame) == ["b"] and clip(-1, a_max=1) == 0
        assert type(twin) is type(matrix) and (twin != matrix).nnz == 0


def test_requests_of_metadata_come_back(tmp_path):
    with config_context(enable_metadata_routing=True):
        model = LogisticRegression().set_fit_request(sample_weight=True)
        twin = skltransfer.load(skltransfer.save(model, tmp_path / "model"))
        assert get_routing_for_object(twin).consumes("fit", ["sample_weight"]) == {"sample_weight"}


def test_what_holds_itself_is_refused(tmp_path):
    circle = []
    circle.append(circle)
    with pytest.raises(TypeError, match="cannot be saved as data: maximum recursion"):
        skltransfer.save(FunctionTransformer(kw_args={"circle": circle}), tmp_path / "model")


def test_keys_that_would_become_one_are_refused(tmp_path):
    model = FunctionTransformer(kw_args={"weights": {1: "a", "1": "b"}})
    with pytest.raises(TypeError, match=r"alike as texts.*kw_args\['weights'\]"):
        skltransfer.save(model, tmp_path / "model")


MODELS = {
    "forest": RandomForestClassifier(3, max_depth=2),
    "histograms": HistGradientBoostingClassifier(max_iter=2, categorical_features=[2]),
    "neighbors": KNeighborsClassifier(3, algorithm="kd_tree"),
    "ball tree": KNeighborsClassifier(3, algorithm="ball_tree", metric="manhattan"),
    "calibrated": CalibratedClassifierCV(LogisticRegression(), cv=2),
    "network": MLPClassifier(2, max_iter=2000, tol=0.1),
    "selected": make_pipeline(SelectKBest(k=2), LogisticRegression()),
}


def fitted(name):
    columns = X.copy()
    columns[:, 2] = columns[:, 2].round() % 4
    return MODELS[name].fit(columns, Y), columns


@pytest.mark.parametrize("name", MODELS)
def test_usual_models_of_scikit_learn_need_no_trust(name, tmp_path):
    model, columns = fitted(name)
    twin = skltransfer.load(skltransfer.save(model, tmp_path / "model"))
    np.testing.assert_array_equal(twin.predict_proba(columns), model.predict_proba(columns))


def rewritten(path, change):
    """Change the arrays of a file, where `change` returns one."""
    members = members_of(path)
    n_changed = 0
    for name in [name for name in members if name.endswith(".npy")]:
        array = np.load(io.BytesIO(members[name]))
        if (array := change(array)) is not None:
            n_changed += 1
            buffer = io.BytesIO()
            np.save(buffer, array)
            members[name] = buffer.getvalue()
    assert n_changed
    write_members(path, members)


def field(name, value, place=0):
    def change(array):
        if array.dtype.names is None or name not in array.dtype.names:
            return None
        array[name][place] = value
        return array

    return change


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("forest", field("left_child", 10**6)),
        ("forest", field("right_child", 0)),  # around in a circle
        ("forest", field("feature", 10**6)),
        ("forest", field("feature", -3)),
        ("histograms", field("left", 10**6)),
        ("histograms", field("feature_idx", 3)),
        ("histograms", field("is_categorical", 1)),
        ("neighbors", field("idx_end", 10**6)),
        ("neighbors", field("is_leaf", 0, -1)),
    ],
)
def test_trees_that_would_read_beyond_their_ends_are_refused(name, change, tmp_path):
    path = skltransfer.save(fitted(name)[0], tmp_path / "model")
    rewritten(path, change)
    with pytest.raises(ValueError, match=r"model cannot be read.*do not agree"):
        skltransfer.load(path)


def test_trees_that_read_more_features_than_there_are_are_refused(tmp_path):
    tree = DecisionTreeClassifier(random_state=0).fit(X[:, ::-1], Y)
    path = skltransfer.save(tree, tmp_path / "model")
    members = members_of(path)
    tree.n_features_in_ = 1
    members["schema.json"] = members_of(skltransfer.save(tree, path))["schema.json"]
    with pytest.raises(ValueError, match=r"model cannot be read.*do not agree"):
        skltransfer.load(path)


def test_sparse_matrices_with_entries_outside_are_refused(tmp_path):
    matrix = sparse.csr_matrix(np.eye(3))
    matrix.indices[1] = 10**6
    model = FunctionTransformer(kw_args={"matrix": matrix})
    path = skltransfer.save(model, tmp_path / "model")
    with pytest.raises(ValueError, match="model cannot be read"):
        skltransfer.load(path)


def test_arrays_that_say_another_size_than_they_have_are_refused_before_memory_is_taken(tmp_path):
    path = skltransfer.save(FunctionTransformer(kw_args={"a": np.zeros(8)}), tmp_path / "model")
    members = members_of(path)
    (name,) = (name for name in members if name.endswith(".npy"))
    for shape in (b"(9,)", b"(7,)", b"(2305843009213693952, 8)", b"(-8,)"):
        header = members[name].replace(b"(8,), }" + b" " * (len(shape) - 4), shape + b", }")
        write_members(path, members | {name: header})
        with pytest.raises(ValueError, match=r"model cannot be read"):
            skltransfer.load(path)


def test_a_sparse_matrix_is_not_compressed_and_a_compressed_one_not_unpacked(tmp_path):
    matrix = sparse.csr_matrix(np.ones((1000, 1000)))
    path = skltransfer.save(FunctionTransformer(kw_args={"a": matrix}), tmp_path / "model")
    assert path.stat().st_size > 1000 * 1000 * 8
    assert (skltransfer.load(path).kw_args["a"] != matrix).nnz == 0
    members = members_of(path)
    (name,) = (name for name in members if name.endswith(".npz"))
    buffer = io.BytesIO()
    sparse.save_npz(buffer, matrix, compressed=True)
    write_members(path, members | {name: buffer.getvalue()})
    with pytest.raises(ValueError, match=r"model cannot be read.*compressed"):
        skltransfer.load(path)

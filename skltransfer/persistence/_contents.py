"""What a file of an estimator may hold, and what is checked before it is used.

skops makes sure that a file names trusted types only. That their contents agree with each other is
checked here where library code takes it for granted: compiled code reads nodes of trees and entries
of sparse matrices by the numbers in them, without looking whether they lie inside.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from zipfile import ZipFile

import numpy as np
import sklearn.feature_selection
import sklearn.gaussian_process.kernels
import sklearn.metrics
import sklearn.metrics.pairwise
import sklearn.model_selection
from scipy import sparse
from sklearn.base import BaseEstimator
from sklearn.ensemble import IsolationForest
from sklearn.ensemble._forest import BaseForest
from sklearn.ensemble._gb import BaseGradientBoosting
from sklearn.ensemble._hist_gradient_boosting.common import PREDICTOR_RECORD_DTYPE
from sklearn.ensemble._hist_gradient_boosting.predictor import TreePredictor
from sklearn.tree._tree import Tree

import skltransfer
from skltransfer._files import check_stored
from skltransfer._networks._built import Built
from skltransfer._networks._labels import Classes, Numbers
from skltransfer._persisted import FRAMES, LeftOut
from skltransfer._table_columns import TableColumns
from skltransfer._torch._depth import DepthMap
from skltransfer.parameter._multitask_network import MultiTaskNetwork, TaskClasses, TaskNumbers
from skltransfer.persistence._library_networks import TokenizerData
from skltransfer.persistence._modules import ModuleData, name_of

_DATA = (
    Built,
    Classes,
    DepthMap,
    LeftOut,
    ModuleData,
    MultiTaskNetwork,
    Numbers,
    TableColumns,
    TaskClasses,
    TaskNumbers,
    TokenizerData,
)
_NA = "pandas.api.typing.NAType"
# Types inside of fitted estimators and their settings that skops does not trust by itself; making
# one of them runs nothing.
_OTHERS = (
    "builtins.NoneType",
    "builtins.frozenset",
    "builtins.object",
    "builtins.range",
    "collections.Counter",
    "datetime.date",
    "datetime.datetime",
    "datetime.timedelta",
    "decimal.Decimal",
    "fractions.Fraction",
    "functools.partial",  # of a function that has to be trusted itself
    "numpy.bytes_",
    "numpy.dtype",
    "numpy.floating",
    "numpy.integer",
    "numpy.number",
    _NA,
    "scipy.sparse._bsr.bsr_array",
    "scipy.sparse._bsr.bsr_matrix",
    "scipy.sparse._coo.coo_array",
    "scipy.sparse._coo.coo_matrix",
    "scipy.sparse._csc.csc_array",
    "scipy.sparse._csc.csc_matrix",
    "scipy.sparse._csr.csr_array",
    "scipy.sparse._csr.csr_matrix",
    "scipy.sparse._dia.dia_array",
    "scipy.sparse._dia.dia_matrix",
    "sklearn._loss.loss.HalfTweedieLoss",
    "sklearn._loss.loss.HalfTweedieLossIdentity",
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
    "sklearn.calibration._TemperatureScaling",
    "sklearn.compose._column_transformer.make_column_selector",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.gaussian_process._gpc._BinaryGaussianProcessClassifierLaplace",
    "sklearn.metrics._dist_metrics.ChebyshevDistance64",
    "sklearn.metrics._dist_metrics.EuclideanDistance64",
    "sklearn.metrics._dist_metrics.ManhattanDistance64",
    "sklearn.metrics._scorer._CurveScorer",
    "sklearn.metrics._scorer._PassthroughScorer",
    "sklearn.metrics._scorer._Scorer",
    "sklearn.multiclass._ConstantPredictor",
    "sklearn.neighbors._ball_tree.BallTree",
    "sklearn.neighbors._kd_tree.KDTree",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
    "sklearn.tree._tree.Tree",
    "sklearn.utils._bunch.Bunch",
    "sklearn.utils._metadata_requests.MetadataRequest",
    "sklearn.utils._metadata_requests.MethodMetadataRequest",
    "sklearn.utils.validation.check_array",
    "skltransfer.model_selection._comparison.Comparison",
    "skltransfer.model_selection._comparison.StrategyResult",
    "skltransfer.model_selection._pretrained_on_source.PretrainedOnSource",
    "skltransfer.model_selection._transfer_mixture.Estimate",
    "skltransfer.relation._in_context_inputs.Fits",
    "skltransfer.relation._in_context_inputs.Kernel",
    "skltransfer.relation._in_context_inputs.Standardization",
    "skltransfer.relation._in_context_network.InContextNetwork",
    "skltransfer.relation._in_context_numbers.Units",
)
# Parts of skrub's TableVectorizer with its defaults.
_OF_SKRUB = (
    "skrub._apply_to_each_col.ApplyToEachCol",
    "skrub._check_input.CheckInputDataFrame",
    "skrub._clean_categories.CleanCategories",
    "skrub._clean_null_strings.CleanNullStrings",
    "skrub._dataframe._common.is_any_date",
    "skrub._dataframe._common.is_categorical",
    "skrub._dataframe._common.is_numeric",
    "skrub._datetime_encoder.DatetimeEncoder",
    "skrub._drop_uninformative.DropUninformative",
    "skrub._duration_to_float.DurationToFloat",
    "skrub._string_encoder.StringEncoder",
    "skrub._table_vectorizer.PassThrough",
    "skrub._table_vectorizer.ShortReprDict",
    "skrub._table_vectorizer.TableVectorizer",
    "skrub._table_vectorizer._created_by_predicate",
    "skrub._to_categorical.ToCategorical",
    "skrub._to_datetime.ToDatetime",
    "skrub._to_float.ToFloat",
    "skrub._to_str.ToStr",
    "skrub.selectors._base.All",
    "skrub.selectors._base.And",
    "skrub.selectors._base.Cols",
    "skrub.selectors._base.Filter",
    "skrub.selectors._base.Sub",
    "skrub.selectors._selectors._cardinality_below",
)
# Functions of numpy that compute, beside its ufuncs.
_OF_NUMPY = ("average", "clip", "cumsum", "diff", "max", "mean", "median", "min", "nan_to_num")
_OF_NUMPY += ("percentile", "prod", "quantile", "ravel", "reshape", "round", "std", "sum", "var")
_METRICS = ("_score", "_loss", "_error")
_PAIRWISE = ("_kernel", "_distances", "_similarity")
_SCORES_OF_FEATURES = ("f_classif", "f_regression", "chi2", "r_regression")


def known_types() -> list[str]:
    """Return the full names of the types that a file may hold and skops does not trust.

    They are types of this package, scikit-learn's splitters, metrics, scorers and kernels, and
    types inside of its fitted estimators.
    """
    public = [getattr(skltransfer, name) for name in skltransfer.__all__]
    estimators = [v for v in public if isinstance(v, type) and issubclass(v, BaseEstimator)]
    others = (skltransfer.Backbone, skltransfer.FeatureStore, skltransfer.Preprocessing)
    splitters = [
        value
        for value in vars(sklearn.model_selection).values()
        if isinstance(value, type) and hasattr(value, "get_n_splits")
    ]
    functions = [
        value
        for module, endings in (
            (sklearn.metrics, _METRICS),
            (sklearn.metrics.pairwise, _PAIRWISE),
            (sklearn.feature_selection, _SCORES_OF_FEATURES),
        )
        for name, value in vars(module).items()
        if name.endswith(endings) and not name.startswith("_") and callable(value)
    ]
    kernels = [
        value
        for value in vars(sklearn.gaussian_process.kernels).values()
        if isinstance(value, type) and issubclass(value, sklearn.gaussian_process.kernels.Kernel)
    ]
    kinds = (*estimators, *others, *_DATA, *splitters, *functions, *kernels)
    return [*_OTHERS, *_OF_SKRUB, *(f"numpy.{name}" for name in _OF_NUMPY), *map(name_of, kinds)]


def nodes_of(root) -> Iterator:
    """Yield the nodes of a tree of skops, each once."""
    seen, waiting = set(), [root]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            waiting += node.values()
        elif isinstance(node, list):
            waiting += node
        elif hasattr(node, "children") and id(node) not in seen:
            seen.add(id(node))
            yield node
            waiting.append(node.children)
            if (cached := getattr(node, "cached", None)) is not None:
                waiting.append(cached)


def construct(root):
    """Return the object that a tree of skops describes, all of whose types are trusted.

    Raises
    ------
    ValueError
        If contents do not agree with each other.
    """
    nodes = list(nodes_of(root))
    for node in nodes:
        kind = type(node).__name__
        if kind == "DictNode":
            node.key_types = _Keys(node.key_types)
        elif kind == "TreeNode":  # before it is made: its constructor reads what it is told
            _check_tree(node.args.construct(), node.attrs.construct())
        elif node.format() == _NA:
            import pandas as pd

            node._constructed = pd.NA  # there is but one
        elif node.format() in _NEIGHBOR_TREES:
            _check_neighbor_tree(*node.attrs.construct())
    value = root.construct()
    for node in nodes:
        part = node.construct() if type(node).__name__ in _MADE else None
        if sparse.issparse(part):
            _check_sparse(part)
        elif isinstance(part, TreePredictor):
            _check_predictor(part)
        elif isinstance(part, BaseEstimator):
            _check_widths(part)
    return value


_MADE = ("ObjectNode", "SparseMatrixNode")


class _Keys:
    """Types of the keys of a dictionary, which JSON has turned into texts."""

    def __init__(self, node):
        self._node = node

    def construct(self) -> list:
        kinds = getattr(self._node, "cached", self._node).content
        return [_FROM_TEXT.get(kind.format()) or kind.construct() for kind in kinds]


_FROM_TEXT = {
    "builtins.bool": lambda key: key == "true",
    "numpy.bool": lambda key: np.bool_(key == "true"),
    "builtins.NoneType": lambda key: None,
}


def _check_tree(arguments, state) -> None:
    n_features, n_classes, n_outputs = arguments
    nodes, n = state["nodes"], len(state["nodes"])
    left, right = nodes["left_child"], nodes["right_child"]
    is_inner = left != -1
    _require(
        isinstance(n_classes, np.ndarray)
        and n_classes.shape == (n_outputs,)
        and n_classes.dtype.kind == "i"
        and n_outputs > 0
        and (n_classes > 0).all()
        and n_features > 0
        and state["node_count"] == n > 0
    )
    _check_nodes(left, right, nodes["feature"], is_inner, n_features)
    level, depth = np.zeros(1, int), 0
    while (level := level[is_inner[level]]).size:
        level, depth = np.concatenate([left[level], right[level]]), depth + 1
        _require(depth <= state["max_depth"])


_NEIGHBOR_TREES = ("sklearn.neighbors._ball_tree.BallTree", "sklearn.neighbors._kd_tree.KDTree")


def _check_neighbor_tree(data, order, nodes, bounds, *rest) -> None:
    _, _, n_nodes, *_, weights = rest
    n, start, end = len(data), nodes["idx_start"], nodes["idx_end"]
    has_children = nodes["is_leaf"] == 0
    _require(
        data.ndim == 2
        and order.shape == (n,)
        and ((order >= 0) & (order < n)).all()
        and nodes.shape == (n_nodes,)
        and bounds.ndim == 3
        and bounds.shape[1:] == (n_nodes, data.shape[1])
        and ((start >= 0) & (start <= end) & (end <= n)).all()
        and (2 * np.flatnonzero(has_children) + 2 < n_nodes).all()
        and weights is None
    )


def _check_predictor(predictor: TreePredictor) -> None:
    nodes = predictor.nodes
    _require(nodes.dtype == PREDICTOR_RECORD_DTYPE and nodes.ndim == 1)
    is_inner = nodes["is_leaf"] == 0
    features = nodes["feature_idx"]
    _check_nodes(nodes["left"], nodes["right"], features, is_inner, np.iinfo(np.int32).max)
    for name in ("binned_left_cat_bitsets", "raw_left_cat_bitsets"):
        bitsets, sets = getattr(predictor, name), nodes["bitset_idx"][nodes["is_categorical"] != 0]
        _require(bitsets.dtype == np.uint32 and bitsets.ndim == 2 and bitsets.shape[1] == 8)
        _require((sets < len(bitsets)).all())


def _check_nodes(left, right, features, is_inner, n_features) -> None:
    """Let children come after their parents, inside of the tree, and features be there."""
    place = np.arange(len(is_inner))[is_inner]
    for child in (left[is_inner].astype(np.int64), right[is_inner].astype(np.int64)):
        _require(((child > place) & (child < len(is_inner))).all())
    features = features[is_inner].astype(np.int64)
    _require(((features >= 0) & (features < n_features)).all())


_ENSEMBLES_OF_TREES = (BaseForest, BaseGradientBoosting, IsolationForest)


def _check_widths(estimator: BaseEstimator) -> None:
    """Let no tree of an estimator read features that its input has not."""
    members = [estimator]
    if isinstance(estimator, _ENSEMBLES_OF_TREES):  # which call the trees without their checks
        members = np.ravel(np.asarray(getattr(estimator, "estimators_", []), object)).tolist()
    trees = [tree for e in members if isinstance(tree := getattr(e, "tree_", None), Tree)]
    n_read = [tree.n_features for tree in trees]
    for predictors in getattr(estimator, "_predictors", []):
        for predictor in predictors:
            inner = predictor.nodes[predictor.nodes["is_leaf"] == 0]
            n_read.append(int(inner["feature_idx"].max(initial=-1)) + 1)
    if n_read:
        _require(max(n_read) <= estimator.n_features_in_)
    for features, tree in zip(getattr(estimator, "estimators_features_", []), trees, strict=False):
        _require(tree.n_features <= len(features))


def _check_sparse(matrix) -> None:
    if hasattr(matrix, "check_format"):
        matrix.check_format(full_check=True)
    elif matrix.format == "coo":
        for axis, coordinates in enumerate(matrix.coords):
            _require(((coordinates >= 0) & (coordinates < matrix.shape[axis])).all())


def _require(is_so) -> None:
    if not is_so:
        raise ValueError("the contents of an estimator do not agree with each other")


def check_members(archive: ZipFile, n_bytes: int) -> None:
    """Raise a ValueError if a zip file, or an array in it, is larger in memory than on the disk.

    Parameters
    ----------
    archive : ZipFile
    n_bytes : int
        Size of the file.
    """
    check_stored(archive, n_bytes)
    for member in archive.infolist():
        if member.filename.endswith(".npy"):
            with archive.open(member) as file:
                _check_array(file, member.file_size)
        elif member.filename.endswith(".npz"):
            with ZipFile(io.BytesIO(archive.read(member))) as inner:
                check_members(inner, member.file_size)


def _check_array(file, n_bytes: int) -> None:
    version = np.lib.format.read_magic(file)
    if version[0] == 1:
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    else:  # the third differs from the second by the letters of names alone
        shape, _, dtype = np.lib.format.read_array_header_2_0(file)
    n_declared = dtype.itemsize
    for length in shape:  # as whole numbers of Python, which do not overflow
        n_declared *= length
    if n_declared != n_bytes - file.tell():
        raise ValueError("an array has another size than it says")


def with_stored_members(content: bytes) -> bytes:
    """Return a zip file whose members, those in sparse matrices too, are not compressed.

    Such a file takes as much memory as on the disk.
    """
    buffer = io.BytesIO()
    with ZipFile(io.BytesIO(content)) as given, ZipFile(buffer, "w") as archive:
        for name in given.namelist():
            member = given.read(name)
            archive.writestr(name, with_stored_members(member) if name.endswith(".npz") else member)
    return buffer.getvalue()


def check_schema(schema: bytes) -> None:
    """Raise a TypeError if skops has written something that it could not read again as it was.

    These are frames, and dictionaries whose keys are alike as texts, which JSON makes of them.
    """

    def check(node: dict) -> dict:
        kind = f"{node.get('__module__')}.{node.get('__class__')}"
        if kind.partition(".")[0] in FRAMES and kind != _NA:
            raise TypeError(f"a {kind} has no form as data")
        if node.get("__loader__") == "DictNode":
            if len(node["content"]) < len(node["key_types"].get("content", ())):
                raise TypeError(
                    f"a dictionary has keys that are alike as texts, among {list(node['content'])}."
                )
        return node

    json.loads(schema, object_hook=check)

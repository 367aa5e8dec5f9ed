"""Fitted estimators and pipelines as ONNX files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from sklearn.base import is_classifier
from sklearn.pipeline import make_pipeline

from skltransfer._files import write_whole
from skltransfer._messages import explained, require
from skltransfer._torch._engine_onnx import OPSET, onnx_model
from skltransfer._torch._extraction import network_lock
from skltransfer.persistence._graph import Graph, graph_of, split_steps

_ML_OPSET = 3


def export_onnx(estimator, path, X) -> Path:
    """Export a fitted estimator with a network, or a pipeline with one, as an ONNX file.

    The inputs of the graph are the arrays that :func:`export_inputs` returns, for any number of
    samples. Its outputs are ``label`` and ``probabilities`` (n_samples, n_classes) of a
    classifier, ``prediction`` of a regressor in the units of ``y``, or ``features`` of a
    transformer. The graph normalises images, but does not decode, resize or tokenize. Steps of
    scikit-learn before and after the network are converted by skl2onnx.

    Parameters
    ----------
    estimator : estimator
        Fitted classifier or regressor with a network, such as
        :class:`~skltransfer.FineTunedClassifier`, fitted
        :class:`~skltransfer.PretrainedFeatureTransformer`, or a pipeline or search with one of
        these.
    path : str or Path
        Path of the file. An existing file is replaced.
    X : array-like
        At least one sample in the form of later inputs: float32 or float64, pixels as uint8 or
        floats, a frame or an array.

    Returns
    -------
    path : Path
        Path of the file.

    Raises
    ------
    TypeError
        If there is no network, or skl2onnx cannot convert a step; the message names it.
    ValueError
        If the network cannot be traced by torch.export.
    ImportError
        If a package of the extra ``export`` is missing.

    Notes
    -----
    Outputs agree with the estimator to 1e-4. A graph for a float64 table computes in float64, which
    some runtimes lack. For these, pass `X` in float32 and set ``precision="float32"``.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> import onnxruntime
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from skltransfer import FineTunedClassifier
    >>> from skltransfer.persistence import export_inputs, export_onnx
    >>> X, y = load_iris(return_X_y=True)
    >>> model = make_pipeline(StandardScaler(), FineTunedClassifier(optimizer="adamw")).fit(X, y)
    >>> with TemporaryDirectory() as folder:
    ...     path = export_onnx(model, f"{folder}/iris.onnx", X)
    ...     session = onnxruntime.InferenceSession(path)
    >>> label, probabilities = session.run(None, export_inputs(model, X[:3]))
    >>> bool(abs(probabilities - model.predict_proba(X[:3])).max() < 1e-4)
    True
    """
    onnx = _import("onnx")
    before, network, after = split_steps(estimator)
    models = []
    rows = X
    if before is not None:
        first, rows = _convert_before(before, X)
        models.append(first)
    graph = graph_of(network, rows, features_only=after is not None)
    if before is not None and not graph.is_table:
        raise TypeError(
            f"{type(before[0]).__name__} comes before a network that takes images or texts, which "
            "are resized or tokenized outside of the graph. Export the network's step alone."
        )
    models.append(_convert_network(graph))
    if after is not None:
        models.append(_convert_after(after, network.transform(rows[:2])))
    model = models[0]
    for number, following in enumerate(models[1:]):
        model = _join(onnx, model, following, f"step{number}_")
    onnx.checker.check_model(model)
    path = Path(path).expanduser()
    with write_whole(path) as temporary:
        onnx.save_model(model, temporary)
    return path


def _import(name: str):
    return require(name, "export", "export_onnx")


def _convert_network(graph: Graph):
    """Return the ONNX model of a network, with labels instead of numbers."""
    _import("onnxscript")
    program = graph.exported()
    with network_lock:
        model = onnx_model(program, list(graph.inputs), graph.outputs, graph.dynamic_shapes)
    if graph.classes is not None:
        _name_labels(model, graph.classes)
    return model


def _name_labels(model, classes: np.ndarray) -> None:
    """Let the output ``label`` hold classes instead of their numbers."""
    from onnx import TensorProto, helper, numpy_helper

    classes = np.asarray(classes)
    if classes.dtype.kind in "OU" and all(isinstance(label, str) for label in classes.tolist()):
        kind = TensorProto.STRING
        table = helper.make_tensor("classes", kind, [len(classes)], [c.encode() for c in classes])
    elif classes.dtype.kind in "iufb":
        table = numpy_helper.from_array(classes, "classes")
        kind = table.data_type
    else:
        raise TypeError(
            f"Classes of dtype {classes.dtype} cannot be written in ONNX. Fit on strings or "
            "numbers."
        )
    _rename(model.graph, "label", "label_number")
    model.graph.initializer.append(table)
    model.graph.node.append(helper.make_node("Gather", ["classes", "label_number"], ["label"]))
    shape = [d.dim_param or d.dim_value for d in model.graph.output[0].type.tensor_type.shape.dim]
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("label", kind, shape))


def _rename(graph, old: str, new: str) -> None:
    """Rename a tensor of a graph."""
    for node in graph.node:
        for names in (node.input, node.output):
            for i, name in enumerate(names):
                if name == old:
                    names[i] = new
    for value in (*graph.input, *graph.output, *graph.value_info):
        if value.name == old:
            value.name = new


def _convert_before(steps: list, X):
    """Return the ONNX model of the steps before the network, and the rows that they make."""
    model = _convert_steps(steps, X[:2])
    rows = make_pipeline(*steps).transform(X[:2])
    from onnx import helper

    if len(model.graph.output) != 1:
        raise TypeError(f"{type(steps[-1]).__name__} gives several outputs in ONNX.")
    dtype = helper.tensor_dtype_to_np_dtype(model.graph.output[0].type.tensor_type.elem_type)
    rows = rows.toarray() if hasattr(rows, "toarray") else rows
    return model, (rows if hasattr(rows, "columns") else np.asarray(rows)).astype(dtype)


def _convert_after(steps: list, features: np.ndarray):
    """Return the ONNX model of the steps after the network."""
    model = _convert_steps(steps, np.asarray(features))
    if not is_classifier(steps[-1]):
        name = "prediction" if hasattr(steps[-1], "predict") else "features"
        _rename(model.graph, model.graph.output[0].name, name)
    return model


def _convert_steps(steps: list, X):
    skl2onnx = _import("skl2onnx")
    options = {id(steps[-1]): {"zipmap": False}} if is_classifier(steps[-1]) else None
    for number, step in enumerate(steps, start=1):
        with explained(
            f"The step {type(step).__name__} cannot be converted by skl2onnx",
            "Export the step with the network alone, and run the others in scikit-learn.",
            TypeError,
        ):
            model = skl2onnx.to_onnx(
                make_pipeline(*steps[:number]),
                X,
                options=options if number == len(steps) else None,
                target_opset={"": OPSET, "ai.onnx.ml": _ML_OPSET},
            )
    return model


def _join(onnx, first, second, prefix: str):
    """Return two models as one, in which the second takes the output of the first."""
    first = onnx.compose.add_prefix(
        first, prefix, rename_inputs=False, rename_outputs=True, rename_functions=False
    )
    if len(second.graph.input) != 1:
        raise TypeError("A network that takes texts cannot follow other steps.")
    second.ir_version = first.ir_version = max(first.ir_version, second.ir_version)
    source, target = first.graph.output[0].name, second.graph.input[0].name
    # Both graphs may call their input X.
    _rename(second.graph, target, f"{prefix}input")
    return onnx.compose.merge_models(first, second, io_map=[(source, f"{prefix}input")])

"""Fitted estimators as programs of torch.export."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import torch

from skltransfer._files import write_whole
from skltransfer.persistence._graph import (
    graph_of,
    has_network,
    innermost,
    rows_of,
    split_steps,
    tensors_of,
)


def export_torch(estimator, path, X) -> Path:
    """Write the network of a fitted estimator as a program that runs without this package.

    ``torch.export.load(path).module()`` takes the arrays that :func:`export_inputs` returns, as
    tensors, for any number of samples. It returns ``(label, probabilities)`` of a classifier, the
    predictions of a regressor in the units of ``y``, or the features of a transformer. A label is a
    position in ``classes_``, which the file holds as ``extra/classes.json``.

    Parameters
    ----------
    estimator : estimator
        Fitted classifier or regressor with a network, such as
        :class:`~skltransfer.FineTunedClassifier`, or fitted
        :class:`~skltransfer.PretrainedFeatureTransformer`.
    path : str or Path
        Path of the file, by custom with the suffix ``.pt2``. An existing file is replaced.
    X : array-like
        At least one sample in the form of later inputs, with pixels as uint8 or floats.

    Returns
    -------
    path : Path
        Path of the file.

    Raises
    ------
    TypeError
        If the estimator has no network, or is a pipeline with other steps.
    ValueError
        If the network cannot be traced by torch.export.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> import torch
    >>> from sklearn.datasets import load_iris
    >>> from skltransfer import FineTunedClassifier
    >>> from skltransfer.persistence import export_inputs, export_torch
    >>> X, y = load_iris(return_X_y=True)
    >>> model = FineTunedClassifier(optimizer="adamw").fit(X, y)
    >>> with TemporaryDirectory() as folder:
    ...     path = export_torch(model, f"{folder}/iris.pt2", X)
    ...     program = torch.export.load(path).module()
    >>> label, probabilities = program(torch.tensor(export_inputs(model, X[:3])["X"]))
    >>> bool(abs(probabilities.numpy() - model.predict_proba(X[:3])).max() < 1e-4)
    True
    """
    estimator = innermost(estimator)
    if not has_network(estimator):
        raise TypeError(
            f"A {type(estimator).__name__} is not a single network. Pass the step that has one, or "
            "use export_onnx, which takes pipelines."
        )
    graph = graph_of(estimator, X)
    program = graph.exported()
    classes = None if graph.classes is None else np.asarray(graph.classes).tolist()
    files = {"classes.json": json.dumps(classes, default=str)}
    path = Path(path).expanduser()
    with write_whole(path) as temporary:
        buffer = io.BytesIO()  # torch has no word of its own for a full disk
        torch.export.save(program, buffer, extra_files=files)
        temporary.write_bytes(buffer.getbuffer())
    return path


def export_inputs(estimator, X) -> dict[str, np.ndarray]:
    """Return the arrays that an exported estimator takes for the samples of `X`, by name.

    Parameters
    ----------
    estimator : estimator
        Fitted estimator or pipeline that was exported.
    X : array-like
        Samples in any form that the estimator takes.

    Returns
    -------
    inputs : dict of str to ndarray
        For tables it is ``X`` (n_samples, n_features). For images it is ``pixels`` (n_samples,
        channels, height, width), resized and not normalised. For texts it is ``input_ids`` and
        ``attention_mask`` (n_samples, length). A pipeline with steps before the network takes
        ``X``, or one array for each column of a data frame.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skltransfer import PretrainedFeatureTransformer
    >>> from skltransfer.persistence import export_inputs
    >>> X, _ = load_digits(return_X_y=True)
    >>> features = PretrainedFeatureTransformer("tiny", image_shape=(8, 8), value_range=(0, 16))
    >>> export_inputs(features.fit(X), X[:5])["pixels"].shape
    (5, 1, 32, 32)
    """
    before, network, _ = split_steps(estimator)
    if before is None:
        rows, fitted = rows_of(network, X)
        return {name: t.numpy() for name, t in tensors_of(rows, fitted.preprocessing).items()}
    if hasattr(X, "columns"):
        return {str(name): np.asarray(X[name]).reshape(-1, 1) for name in X.columns}
    return {"X": np.asarray(X)}

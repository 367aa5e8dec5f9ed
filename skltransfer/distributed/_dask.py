"""Outputs of an estimator over the partitions of a Dask frame."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from skltransfer._messages import explained, require
from skltransfer.distributed._outputs import (
    check_method,
    check_no_clash,
    columns_of,
    columns_to_read,
    names_without_samples,
)


def dask_extract(
    estimator,
    frame,
    *,
    method: str = "transform",
    columns: str | Sequence[str] | None = None,
    keep: Sequence[str] = (),
    dtype=None,
):
    """Apply a fitted transformer or model to the partitions of a Dask frame, lazily.

    Parameters
    ----------
    estimator : estimator
        Fitted transformer, predictor or pipeline. It is sent to each worker once.
    frame : dask.dataframe.DataFrame
        Samples in partitions of any size. Empty partitions stay empty.
    method : {"transform", "predict", "predict_proba", "decision_function"}, default="transform"
        Method of `estimator` that is called.
    columns : str or list of str, default=None
        Column with the texts, or the paths or bytes of the images; or the columns of a table.
        ``None`` takes those that the estimator was fitted with.
    keep : list of str, default=()
        Columns that stand beside the outputs, such as an id.
    dtype : dtype, default=None
        Type of the outputs. ``None`` asks the estimator about two made-up samples, which cannot be
        images.

    Returns
    -------
    outputs : dask.dataframe.DataFrame
        Frame with the partitions and the index of `frame`, and a column for each output: the names
        of ``get_feature_names_out``, ``prediction``, ``probability_CLASS`` or ``decision_CLASS``.
        Nothing is computed yet.

    Raises
    ------
    NotFittedError
        If `estimator` is not fitted.
    TypeError
        If `frame` is no Dask frame, or `estimator` lacks the method.
    ValueError
        If a column is missing, or a kept one has the name of an output, or `dtype` is needed.
    ImportError
        If Dask is not installed.

    See Also
    --------
    ray_extract : Writes features of a collection to files, and goes on after an interruption.

    Notes
    -----
    Outputs equal those of the estimator for the whole frame: bit for bit where it treats samples
    one by one, within rounding where a network takes them in batches.

    Workers with one thread each are best (``dask worker --nthreads 1``, which also gives torch one
    thread). Results are not kept: write them by ``to_parquet``.

    Examples
    --------
    >>> import dask.dataframe as dd
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skltransfer.distributed import dask_extract
    >>> X, y = load_iris(return_X_y=True, as_frame=True)
    >>> model = LogisticRegression(max_iter=500).fit(X, y)
    >>> frame = dd.from_pandas(X.assign(id=X.index), npartitions=3)
    >>> outputs = dask_extract(model, frame, method="predict", keep=["id"])
    >>> outputs.columns.tolist(), outputs.npartitions
    (['id', 'prediction'], 3)
    >>> bool((outputs.compute(scheduler="sync").prediction == model.predict(X)).all())
    True
    """
    dask = require("dask", "distributed", "skltransfer.distributed.dask_extract")
    require("dask.dataframe", "distributed", "skltransfer.distributed.dask_extract")
    if not hasattr(frame, "map_partitions"):
        raise TypeError(
            f"frame is a {type(frame).__name__}. Pass a Dask frame: dask.dataframe.from_pandas(X, "
            "npartitions=2), or dask.dataframe.read_parquet(PATH)."
        )
    check_method(estimator, method)
    columns, keep = columns_to_read(estimator, columns), list(keep)
    wanted = [*([columns] if isinstance(columns, str) else columns), *keep]
    missing = [name for name in wanted if name not in frame.columns]
    if missing:
        raise ValueError(f"frame has no column {missing[0]!r}, only {list(frame.columns)}.")
    some = frame._meta_nonempty[columns]
    if dtype is None:
        with explained(
            "The type of the outputs cannot be found with made-up samples",
            "Pass dtype=, for example dtype='float32' for features of images.",
        ):
            outputs = columns_of(estimator, method, some)
        types = {name: values.dtype for name, values in outputs.items()}
    else:
        types = dict.fromkeys(names_without_samples(estimator, method), np.dtype(dtype))
    check_no_clash(keep, types)
    empty = {name: np.empty(0, kind) for name, kind in types.items()}
    meta = _beside(frame._meta[keep], empty)
    return frame.map_partitions(
        _of_partition,
        dask.delayed(estimator, pure=True, traverse=False),
        method,
        columns,
        keep,
        meta,
        meta=meta,
    )


def _of_partition(part, estimator, method: str, columns, keep: list[str], meta):
    """Return the outputs for one partition, as pandas has it."""
    if len(part) == 0:
        return meta
    outputs = columns_of(estimator, method, part[columns])
    return _beside(part[keep], outputs).astype(meta.dtypes[list(outputs)])


def _beside(kept, outputs: dict[str, np.ndarray]):
    """Return a frame of pandas with further columns, put beside it at once."""
    import pandas as pd

    return pd.concat([kept, pd.DataFrame(outputs, index=kept.index)], axis=1)

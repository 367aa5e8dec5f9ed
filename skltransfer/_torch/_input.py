"""Reading of X into rows: tables, images in an array or one by one, texts."""

from __future__ import annotations

import numpy as np
from sklearn.utils.validation import check_array, validate_data

from skltransfer._texts import as_texts, remember_column
from skltransfer._torch._rows import (
    EncodedImageRows,
    ImageArrayRows,
    Rows,
    TableRows,
    as_items,
    as_missing_items,
    check_not_single,
)
from skltransfer._torch._text import TextRows


def read_rows(
    estimator, X, *, reset: bool, image_shape=None, value_range=None, is_text=False
) -> Rows:
    """Read `X` in whatever form it comes, and let the estimator remember or check its width.

    Parameters
    ----------
    estimator : BaseEstimator
        Gets ``n_features_in_`` and ``feature_names_in_``, or has them.
    X : array-like
    reset : bool
        Whether the estimator is being fitted.
    image_shape, value_range : tuple or None
        How images are given, see :class:`~skltransfer.PretrainedFeatureTransformer`.
    is_text : bool, default=False
        Whether strings are texts, not paths of images; nothing else is accepted then.
    """
    if is_text:
        backbone = getattr(estimator, "backbone", None)
        texts = as_texts(X, str(getattr(backbone, "name", backbone)))
        remember_column(estimator, X, reset)
        return TextRows(texts)
    check_not_single(X)
    if isinstance(X, list | tuple) and not X:
        raise ValueError("Found array with 0 sample(s) while a minimum of 1 is required.")
    items = as_items(X) or as_missing_items(X)
    if items is not None:
        remember_column(estimator, X, reset)
        return EncodedImageRows(items)
    if hasattr(X, "detach"):  # a tensor, on any device
        X = X.detach().cpu()
        X = (X.float() if X.dtype.itemsize == 2 and X.is_floating_point() else X).numpy()
    if n_dimensions(X) > 2:
        X = check_array(X, allow_nd=True, dtype=None, input_name="X")
        if X.ndim > 4:
            raise ValueError(
                f"X has {X.ndim} dimensions. Pass images as (n, height, width), "
                "(n, height, width, channels) or (n, channels, height, width)."
            )
        if reset:
            estimator.n_features_in_ = int(np.prod(X.shape[1:]))
            estimator.__dict__.pop("feature_names_in_", None)
        return ImageArrayRows(X, value_range)
    X = validate_data(estimator, X, reset=reset)
    if image_shape is None:
        return TableRows(X)
    shape = tuple(image_shape)
    if len(shape) not in (2, 3) or np.prod(shape) != X.shape[1]:
        raise ValueError(
            f"image_shape={image_shape!r} does not describe rows of {X.shape[1]} values. "
            "Pass (height, width), (height, width, channels) or (channels, height, width)."
        )
    return ImageArrayRows(X.reshape(len(X), *shape), value_range)


def check_images_for(backbone_name: str, preprocessing, rows: Rows) -> None:
    """Raise a ValueError if a network that takes images is given rows of a table."""
    if isinstance(rows, TableRows) and preprocessing is not None:
        raise ValueError(
            f"X has shape {(len(rows), *rows.shape)}, and {backbone_name!r} takes images. For "
            "images flattened into rows pass image_shape=(height, width), or pass them as "
            "arrays of 3 or 4 dimensions, paths, PIL images or encoded bytes."
        )


def n_dimensions_of_images(X) -> int | None:
    """Return the number of dimensions of an array of images, None for other rows."""
    return X.ndim if getattr(X, "ndim", 0) > 2 else None


def check_dimensions(fitted: int | None, X) -> None:
    """Raise a ValueError if images have another number of dimensions than in `fit`."""
    given = n_dimensions_of_images(X)
    if fitted is not None and given is not None and fitted != given:
        raise ValueError(
            f"X has {given} dimensions, and this estimator was fitted on images in an array "
            f"of {fitted}. Pass a single image as X[None], and grey images among colour ones "
            "as X[..., None]."
        )


def n_dimensions(X) -> int:
    """Return the number of dimensions of an array-like."""
    if hasattr(X, "ndim"):
        return X.ndim
    try:
        return np.asarray(X).ndim
    except ValueError as error:
        raise ValueError(
            "X holds arrays of different shapes. Resize them to one shape, or pass PIL images, "
            "paths or encoded bytes."
        ) from error

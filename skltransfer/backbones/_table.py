"""The network for tables, with random weights, and what turns rows into a table for it."""

from __future__ import annotations

import numpy as np
import torch
import xxhash

from skltransfer._messages import first_line
from skltransfer._torch._layers import TableNetwork
from skltransfer._torch._pooling import OWN
from skltransfer._torch._rows import ImageArrayRows, Rows, TableRows
from skltransfer.backbones._random import seeded
from skltransfer.backbones._record import Backbone


def table_record(rows: Rows, hidden_layer_sizes, seed: int, weights) -> Backbone:
    """Return the record of a network for tables with random weights."""
    table = as_table(rows)
    with seeded(seed):
        module = TableNetwork(table.shape[1], hidden_layer_sizes)
    module.double()
    module.columns.learn(
        torch.from_numpy(np.asarray(table, np.float64)),
        None if weights is None else torch.tensor(weights),
    )
    # Sizes and weights say all of it, and are read in less time than any module's code.
    tensors = b"".join(tensor.numpy().tobytes() for tensor in module.state_dict().values())
    sizes = (table.shape[1], *hidden_layer_sizes)
    return Backbone(
        "table network",
        module.eval().requires_grad_(False),
        stages=tuple(module.stages),
        pooling=OWN,
        n_features=module.n_features,
        fingerprint=f"table network {sizes} {xxhash.xxh128_hexdigest(tensors)}",
    )


def as_table(rows: Rows) -> np.ndarray:
    """Return the numbers of a table, shape (n, n_columns)."""
    return rows.batch(range(len(rows)), None).numpy()


def flatten_images(rows: ImageArrayRows) -> TableRows:
    """Return images of an array as rows of a table."""
    table = rows.batch(range(len(rows)), None).flatten(1).numpy()
    return TableRows(table.astype(np.float64) / (255 if table.dtype == np.uint8 else 1))


def check_shape(backbone: Backbone, shape: tuple[int, ...], forward, name: str = "X"):
    """Return the result of `forward`; raise a ValueError if the network takes no such samples.

    Parameters
    ----------
    backbone : Backbone
    shape : tuple of int
        Shape of one sample as it enters the network.
    forward : callable
        Passes one sample through the network.
    name : str, default="X"
        Argument that holds the samples.
    """
    module = backbone.module
    try:
        # It would broadcast an only column.
        if isinstance(module, TableNetwork) and shape != module.columns.mean.shape:
            raise RuntimeError(f"it was trained on {len(module.columns.mean)} columns")
        return forward()
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:  # what torch says when sizes do not fit
        raise ValueError(
            f"The backbone {backbone.name!r} cannot take rows of shape {shape}: "
            f"{first_line(error)}. Give {name} as many columns, or images of the size and "
            "channels, as it was made for, or choose another backbone."
        ) from error

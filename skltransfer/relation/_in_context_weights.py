"""Files of weights of the in-context network."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open

from skltransfer.relation._in_context_inputs import N_SCORES, N_SUMMARY_INPUTS, N_TOKEN_INPUTS
from skltransfer.relation._in_context_network import InContextNetwork

_FOLDER = Path(__file__).with_name("weights")
# By what the labels of the tasks were in training.
DEFAULTS = {
    "classes": _FOLDER / "in_context.safetensors",
    "numbers": _FOLDER / "in_context_numbers.safetensors",
}
_INPUTS = {
    "token.weight": N_TOKEN_INPUTS,
    "summary.weight": N_SUMMARY_INPUTS,
}


def load_network(weights, labels: str) -> InContextNetwork:
    """Return the network of a file.

    Parameters
    ----------
    weights : "default" or path
        A safetensors file; its metadata has ``n_heads``, and ``labels`` if they are numbers.
    labels : {"classes", "numbers"}
        What the network has to have been trained for.

    Raises
    ------
    ValueError
        If the file does not exist, or holds no weights of such a network.
    """
    if weights == "default":
        return _default_network(labels)
    if not isinstance(weights, str | os.PathLike):
        raise ValueError(
            f"weights={weights!r} is no path. Pass 'default', or the path of a safetensors file."
        )
    path = Path(weights)
    if not path.is_file():
        raise ValueError(
            f"weights={str(weights)!r} is no file. Pass 'default' for the weights of the package, "
            "or the path of a safetensors file."
        )
    return _read(path, labels)


@cache
def _default_network(labels: str) -> InContextNetwork:
    return _read(DEFAULTS[labels], labels)


def _read(path: Path, labels: str) -> InContextNetwork:
    try:
        with safe_open(path, framework="numpy") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}
            metadata = file.metadata() or {}
    except SafetensorError as error:
        raise ValueError(f"weights={str(path)!r} is no safetensors file ({error}).") from error
    wrong = _what_is_wrong(tensors, metadata, labels)
    if wrong:
        raise ValueError(
            f"weights={str(path)!r} holds no in-context network: {wrong}. Pass 'default', or a "
            "file that the recipe of the weights has written."
        )
    return InContextNetwork(tensors, int(metadata["n_heads"]))


def _what_is_wrong(
    tensors: dict[str, np.ndarray], metadata: dict[str, str], labels: str
) -> str | None:
    if not metadata.get("n_heads", "").isdigit():
        return "its metadata has no n_heads"
    trained_for = metadata.get("labels", "classes")
    if trained_for != labels:
        return f"it was trained for {trained_for}, not for {labels}"
    for name, n_inputs in _INPUTS.items():
        if name not in tensors:
            return f"{name} is missing"
        if tensors[name].ndim != 2 or tensors[name].shape[1] != n_inputs:
            return f"{name} has the shape {tensors[name].shape}, not (width, {n_inputs})"
    width = len(tensors["token.weight"])
    if tensors.get("head.weight", np.empty(0)).shape != (1 + N_SCORES, width):
        return f"head.weight is not of the shape {(1 + N_SCORES, width)}"
    if not all(np.isfinite(tensor).all() for tensor in tensors.values()):
        return "it has weights that are not finite"
    return None

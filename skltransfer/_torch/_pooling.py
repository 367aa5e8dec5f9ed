"""From feature maps and tokens to one vector per row."""

from __future__ import annotations

import torch
from torch import nn

# As the network itself does it, where it has a head of its own before its last layer.
OWN = "own"
POOLINGS = ("avg", "max", "gem", "cls", "mean_tokens", "grid2", "flatten")
# Smaller values are raised to it before the generalised mean.
_SMALLEST = 1e-6


def pool(activations: torch.Tensor, pooling: str, prefix_tokens=None) -> torch.Tensor:
    """Turn a layer's output into one vector per row, shape (n, n_features).

    Parameters
    ----------
    activations : Tensor of shape (n, n_features), (n, tokens, n_features) or (n, channels, h, w)
    pooling : {"avg", "max", "gem", "cls", "mean_tokens", "grid2", "flatten", "own"}
        Mean, maximum or generalised mean over positions; the first token; mean over the tokens of
        patches; mean over each quarter of the image; all values in order. "own" is "mean_tokens"
        for what the network has not pooled itself. Vectors stay as they are.
    prefix_tokens : tuple of str, optional
        Kinds of the tokens that precede the patches' tokens, ``"cls"`` or another name; ``None``
        if unknown.

    Notes
    -----
    The generalised mean follows Radenović, Tolias and Chum (TPAMI 2019, equation 3) with power 3.
    Values below 1e-6, also negative ones, are raised to 1e-6 before.
    """
    if activations.ndim == 2 or pooling == "flatten":
        return activations.flatten(1)
    is_tokens = activations.ndim == 3
    if pooling == "cls":
        if not is_tokens:
            raise ValueError("pooling='cls' needs tokens; this layer gives feature maps.")
        if prefix_tokens is not None and prefix_tokens[:1] != ("cls",):
            raise ValueError(
                "pooling='cls' needs a class token, and this network has none. Pass "
                "pooling='mean_tokens'."
            )
        return activations[:, 0]
    if pooling == "grid2":
        if is_tokens:
            raise ValueError("pooling='grid2' needs feature maps; this layer gives tokens.")
        return nn.functional.adaptive_avg_pool2d(activations, 2).flatten(1)
    if pooling == "mean_tokens" and is_tokens and prefix_tokens is None:
        raise ValueError(
            "pooling='mean_tokens' has to know which tokens are no patches, and this network does "
            "not say so. Pass a Backbone record with prefix_tokens, () for none, or pooling='avg'."
        )
    if pooling in ("mean_tokens", OWN) and is_tokens:
        activations = activations[:, len(prefix_tokens or ()) :]
    positions = 1 if is_tokens else (2, 3)
    if pooling == "max":
        return activations.amax(positions)
    if pooling == "gem":
        x = activations.to(torch.promote_types(activations.dtype, torch.float32))
        x = x.clamp_min(_SMALLEST)
        return _cube_root((x * x * x).mean(positions)).to(activations.dtype)
    return activations.mean(positions)


def _cube_root(x: torch.Tensor) -> torch.Tensor:
    """Return ``x ** (1 / 3)`` of positive numbers, the same bits wherever they stand in a batch.

    ``pow`` rounds the last numbers of an array, which fill no register, in another way than the
    rest. Products, quotients and square roots have one right result.
    """
    fourth = x.sqrt().sqrt()
    sixteenth = fourth.sqrt().sqrt()
    root = fourth * sixteenth * sixteenth.sqrt().sqrt()  # x ** (21 / 64)
    for _ in range(6):  # Newton's steps, enough for float64 from 1e-18 to 1e30
        root = (root + root + x / (root * root)) / 3
    return root

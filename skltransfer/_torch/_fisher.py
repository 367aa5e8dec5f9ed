"""How much each weight of a network matters: the diagonal of its Fisher information."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from skltransfer._torch._extraction import network_lock

# Outputs up to which the expectation over labels is exact; beyond, one draw per row.
_MAX_EXACT = 4


def fisher_diagonal(
    outputs_of: Callable[[torch.Tensor], torch.Tensor],
    parameters: list[nn.Parameter],
    rows: list[torch.Tensor],
    kind: str,
    generator: torch.Generator,
) -> list[torch.Tensor]:
    r"""Estimate :math:`F_j = E[(\partial \log p(y \mid x) / \partial w_j)^2]`.

    The expectation is over the given rows and over labels as the network itself predicts them
    (Kirkpatrick et al., PNAS 2017, equation 3): no label is needed. With :math:`J` the derivative
    of the outputs and :math:`H` the second derivative of the loss by them, it is the mean diagonal
    of :math:`J^T H J`.

    Parameters
    ----------
    outputs_of : callable
        The network, in evaluation mode: (1, ...) to (1, n_outputs).
    parameters : list of Parameter
    rows : list of Tensor of shape (1, ...)
    kind : {"softmax", "binary", "gaussian"}
        What the outputs are: logits of exclusive classes, logits of independent labels, or means
        with unit variance.
    generator : torch.Generator

    Returns
    -------
    diagonal : list of Tensor
        In the shapes of `parameters`.
    """
    total = [torch.zeros_like(p) for p in parameters]
    with network_lock, torch.enable_grad():
        for x in rows:
            outputs = outputs_of(x)
            for direction, share in _directions(outputs.detach()[0], kind, generator):
                slopes = torch.autograd.grad(
                    outputs[0] @ direction, parameters, retain_graph=True, allow_unused=True
                )
                for sum_, slope in zip(total, slopes, strict=True):
                    if slope is not None:
                        sum_.addcmul_(slope, slope, value=share / len(rows))
    return [sum_.detach() for sum_ in total]


def _directions(outputs: torch.Tensor, kind: str, generator: torch.Generator):
    """Return vectors and shares whose weighted sum of squares is the loss's second derivative."""
    n = len(outputs)
    unit = torch.eye(n, dtype=outputs.dtype, device=outputs.device)
    if kind == "softmax":
        p = outputs.softmax(0)
        if n <= _MAX_EXACT:
            return [(unit[c] - p, float(p[c])) for c in range(n)]
        drawn = int(torch.multinomial(p.double().cpu(), 1, generator=generator))
        return [(unit[drawn] - p, 1.0)]
    spread = torch.ones_like(outputs)
    if kind == "binary":
        p = outputs.sigmoid()
        spread = (p * (1 - p)).sqrt()
    if n <= _MAX_EXACT:
        return [(unit[k] * spread[k], 1.0) for k in range(n)]
    signs = torch.randint(0, 2, (n,), generator=generator).to(outputs) * 2 - 1
    return [(signs * spread, 1.0)]

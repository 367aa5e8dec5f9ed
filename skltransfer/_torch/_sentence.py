"""The parts of sentence encoders: how tokens are pooled, and what the vectors pass then."""

from __future__ import annotations

import torch
from torch import nn

from skltransfer._torch._pooling import OWN
from skltransfer._torch._text import TokenEncoder

TOKEN_POOLINGS = ("cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken")


class DenseLayer(nn.Module):
    """A linear layer and an activation, with the input added where that is asked for.

    Parameters
    ----------
    linear, activation : Module
    residual : Module or None
        What the input passes before it is added; ``Identity`` for the input itself.
    """

    def __init__(self, linear: nn.Module, activation: nn.Module, residual: nn.Module | None = None):
        super().__init__()
        self.linear, self.activation, self.residual = linear, activation, residual

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (n, n_outputs) for (n, n_inputs)."""
        output = self.activation(self.linear(x))
        return output if self.residual is None else output + self.residual(x)


class UnitLength(nn.Module):
    """Vectors of length one; zeros stay."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the vectors, divided by their length."""
        return nn.functional.normalize(x, dim=-1)


class SentenceEncoder(TokenEncoder):
    """A transformer, a pooling of its tokens, and layers behind that, as in sentence-transformers.

    Parameters
    ----------
    model : Module
        As in :class:`TokenEncoder`.
    modes : list of str
        Members of `TOKEN_POOLINGS`, whose vectors stand side by side.
    layers : Module
        What the vectors pass then.
    pooling : str, default="own"
        "own" is all of the above; another one that of :class:`TokenEncoder`, without `layers`.
    """

    def __init__(self, model: nn.Module, modes, layers: nn.Module, pooling: str = OWN):
        super().__init__(model, pooling)
        self.modes, self.layers = list(modes), layers

    def with_pooling(self, pooling: str) -> TokenEncoder:
        """Return an encoder with the same model, pooled in another way."""
        if pooling != OWN:
            return super().with_pooling(pooling)
        return SentenceEncoder(self.model, self.modes, self.layers).train(self.training)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return one vector per text, shape (n, n_features), for `x` of shape (n, 2, length)."""
        if self.pooling != OWN:
            return super().forward(x)
        ids, mask = x[:, 0], x[:, 1]
        tokens = self.model(input_ids=ids, attention_mask=mask).last_hidden_state
        return self.layers(torch.cat([_pooled(tokens, mask, mode) for mode in self.modes], dim=1))


def _pooled(tokens: torch.Tensor, mask: torch.Tensor, mode: str) -> torch.Tensor:
    """Pool tokens (n, length, width) whose mask is 1, then 0 for the padding behind them."""
    if mode == "cls":
        return tokens[:, 0]
    if mode == "lasttoken":
        last = (mask.sum(1) - 1).view(-1, 1, 1).expand(-1, 1, tokens.shape[2])
        return tokens.gather(1, last).squeeze(1)
    is_padding = (mask == 0).unsqueeze(-1)
    if mode == "max":
        return tokens.masked_fill(is_padding, -torch.inf).amax(1)
    weights = mask.to(tokens.dtype).unsqueeze(-1)
    if mode == "weightedmean":  # later tokens count more
        weights = weights.cumsum(1) * weights
    total = weights.sum(1)
    total = total.sqrt() if mode == "mean_sqrt_len_tokens" else total
    return (tokens.masked_fill(is_padding, 0) * weights).sum(1) / total

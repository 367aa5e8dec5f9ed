"""The in-context network in torch, to be trained; the package runs the same in numpy."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from skltransfer.relation._in_context_inputs import N_SCORES, N_SUMMARY_INPUTS, N_TOKEN_INPUTS


class Block(nn.Module):
    """Attention to the context, then two dense layers, each added to its input."""

    def __init__(self, width: int, n_heads: int):
        super().__init__()
        self.n_heads = n_heads
        self.attention_norm = nn.LayerNorm(width)
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.mix = nn.Linear(width, width)
        self.dense_norm = nn.LayerNorm(width)
        self.expand = nn.Linear(width, 2 * width)
        self.contract = nn.Linear(2 * width, width)
        with torch.no_grad():  # blocks begin near the identity
            self.mix.weight.mul_(0.3)
            self.contract.weight.mul_(0.3)

    def forward(self, samples: torch.Tensor, n_context: int, keep: slice) -> torch.Tensor:
        """Return the kept samples after they have attended to the context.

        Parameters
        ----------
        samples : Tensor of shape (n_tasks, n_samples, width)
            Context samples first.
        n_context : int
        keep : slice
        """
        normal = self.attention_norm(samples)
        keys, values = self.key_value(normal[:, :n_context]).chunk(2, dim=-1)
        samples, normal = samples[:, keep], normal[:, keep]
        heads = [self._split(part) for part in (self.query(normal), keys, values)]
        mixed = F.scaled_dot_product_attention(*heads).transpose(1, 2).flatten(2)
        samples = samples + self.mix(mixed)
        return samples + self.contract(F.gelu(self.expand(self.dense_norm(samples))))

    def _split(self, part: torch.Tensor) -> torch.Tensor:
        return part.unflatten(-1, (self.n_heads, -1)).transpose(1, 2)


class InContextNetwork(nn.Module):
    """A transformer over the samples of a task; one class against the rest at a time.

    Parameters
    ----------
    width, n_layers, n_heads : int
    """

    def __init__(self, width: int, n_layers: int, n_heads: int):
        super().__init__()
        self.token = nn.Linear(N_TOKEN_INPUTS, width)
        self.summary = nn.Linear(N_SUMMARY_INPUTS, width)
        self.blocks = nn.ModuleList(Block(width, n_heads) for _ in range(n_layers))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 1 + N_SCORES)
        with torch.no_grad():
            self.head.weight.mul_(0.1)

    def forward(self, tokens: torch.Tensor, summary: torch.Tensor, n_context: int) -> torch.Tensor:
        """Return the logits of the samples behind the context.

        Parameters
        ----------
        tokens : Tensor of shape (n, n_samples, N_TOKEN_INPUTS)
            Context samples first; `n` is the number of tasks times that of their classes.
        summary : Tensor of shape (n, N_SUMMARY_INPUTS)
        n_context : int

        Returns
        -------
        logits : Tensor of shape (n, n_samples - n_context)
        """
        samples = self.token(tokens) + self.summary(summary)[:, None]
        for number, block in enumerate(self.blocks):
            is_last = number + 1 == len(self.blocks)
            samples = block(samples, n_context, slice(n_context, None) if is_last else slice(None))
        outputs = self.head(self.norm(samples))
        scores = tokens[:, n_context:, :N_SCORES]
        return outputs[..., 0] + (outputs[..., 1:] * scores).sum(dim=-1)

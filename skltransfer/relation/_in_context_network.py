"""The in-context network in numpy: reads its weights, and predicts without torch."""

from __future__ import annotations

import numpy as np
from scipy.special import erf

# Queries of one chunk, so that the attention of all heads stays in the cache.
_CHUNK = 128
_LARGEST_PRODUCT = 500.0


class InContextNetwork:
    """A transformer over the samples of a task; one class against the rest at a time.

    Context samples attend to each other, and queries to the context alone. What the queries need
    of the context is computed once, by :meth:`read`.

    Parameters
    ----------
    weights : dict of str to ndarray
        By the names of the module that was trained.
    n_heads : int
        Attention heads of each block.

    Notes
    -----
    Arithmetic is float64: a sample then has the same probabilities, to 1e-7, whatever samples are
    predicted with it, as scikit-learn's checks ask.
    """

    def __init__(self, weights: dict[str, np.ndarray], n_heads: int):
        self.weights = {name: value.astype(np.float64) for name, value in weights.items()}
        self.n_heads = n_heads

    @property
    def n_layers(self) -> int:
        """Number of blocks."""
        return len({name.split(".")[1] for name in self.weights if name.startswith("blocks.")})

    def read(self, tokens, summary) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return keys and values of the context, for each block.

        Parameters
        ----------
        tokens : ndarray of shape (n, n_context, N_TOKEN_INPUTS)
        summary : ndarray of shape (n, N_SUMMARY_INPUTS)

        Returns
        -------
        context : list of (ndarray of shape (n, n_heads, d, n_context), (n, n_heads, n_context, d))
        """
        samples, context = self._embed(tokens, summary), []
        for number in range(self.n_layers):
            block = f"blocks.{number}."
            normal = self._normalize(samples, block + "attention_norm")
            keys, values = np.split(self._linear(normal, block + "key_value"), 2, axis=-1)
            # Of one layout: a model that comes back from a file has the same bits.
            heads = self._heads(keys).swapaxes(-1, -2), self._heads(values)
            context.append(tuple(map(np.ascontiguousarray, heads)))
            if number + 1 < self.n_layers:
                samples = self._block(samples, normal, block, *context[-1])
        return context

    def predict(self, tokens, summary, context) -> np.ndarray:
        """Return the logits of queries, of shape (n, n_queries).

        Parameters
        ----------
        tokens : ndarray of shape (n, n_queries, N_TOKEN_INPUTS)
        summary : ndarray of shape (n, N_SUMMARY_INPUTS)
        context : list
            From :meth:`read`.
        """
        logits = np.empty(tokens.shape[:2])
        for start in range(0, tokens.shape[1], _CHUNK):
            rows = slice(start, start + _CHUNK)
            logits[:, rows] = self._predict(tokens[:, rows], summary, context)
        return logits

    def _predict(self, tokens, summary, context) -> np.ndarray:
        samples = self._embed(tokens, summary)
        for number, (keys, values) in enumerate(context):
            block = f"blocks.{number}."
            normal = self._normalize(samples, block + "attention_norm")
            samples = self._block(samples, normal, block, keys, values)
        outputs = self._linear(self._normalize(samples, "norm"), "head")
        scores = tokens[..., : outputs.shape[-1] - 1]
        return outputs[..., 0] + (outputs[..., 1:] * scores).sum(axis=-1)

    def _embed(self, tokens, summary) -> np.ndarray:
        return self._linear(tokens, "token") + self._linear(summary, "summary")[:, None]

    def _block(self, samples, normal, block, keys, values) -> np.ndarray:
        queries = self._heads(self._linear(normal, block + "query")) * values.shape[-1] ** -0.5
        attention = queries @ keys
        if not _are_small(queries, keys):
            attention -= attention.max(axis=-1, keepdims=True)
        np.exp(attention, out=attention)
        mixed = (attention @ values) / attention.sum(axis=-1, keepdims=True)
        mixed = mixed.swapaxes(1, 2)
        mixed = mixed.reshape(*mixed.shape[:2], -1)
        samples = samples + self._linear(mixed, block + "mix")
        normal = self._normalize(samples, block + "dense_norm")
        hidden = self._linear(normal, block + "expand")
        hidden *= 0.5 + 0.5 * erf(hidden * 0.5**0.5)
        return samples + self._linear(hidden, block + "contract")

    def _linear(self, inputs, name) -> np.ndarray:
        return inputs @ self.weights[name + ".weight"].T + self.weights[name + ".bias"]

    def _normalize(self, samples, name) -> np.ndarray:
        centred = samples - samples.mean(axis=-1, keepdims=True)
        variance = (centred**2).mean(axis=-1, keepdims=True)
        normal = centred / np.sqrt(variance + 1e-5)
        return normal * self.weights[name + ".weight"] + self.weights[name + ".bias"]

    def _heads(self, part) -> np.ndarray:
        return part.reshape(*part.shape[:-1], self.n_heads, -1).swapaxes(1, 2)


def _are_small(queries, keys) -> bool:
    """Tell whether exp takes all products of queries and keys."""
    squares = (queries**2).sum(axis=-1).max() * (keys**2).sum(axis=-2).max()
    return squares < _LARGEST_PRODUCT**2

"""Texts as rows, and the encoders that turn their tokens into vectors."""

from __future__ import annotations

import hashlib
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import xxhash
from torch import nn

from skltransfer._locks import ThreadLock
from skltransfer._torch._pooling import OWN
from skltransfer._warnings import warn

TEXT_POOLINGS = ("avg", "max", "cls", "mean_tokens")
# Digests of the texts that were cut, for each way to preprocess, and how many are kept.
_cut_texts: dict[TextPreprocessing, set[bytes]] = {}
_MAX_CUT_TEXTS = 2**20
# A tokenizer keeps its truncation as a state, and refuses a second thread meanwhile.
_tokenizer_lock = ThreadLock()


class TruncatedTextWarning(UserWarning):
    """Texts were cut, because they are longer than a network reads.

    Estimators raise it once per call for all texts. Two texts that differ behind the cut have the
    same features. ``load_backbone(name).preprocessing.is_cut(texts)`` tells which texts are cut.

    Examples
    --------
    >>> import warnings
    >>> from skltransfer import TruncatedTextWarning
    >>> with warnings.catch_warnings():  # the first words of a text are enough
    ...     warnings.simplefilter("ignore", TruncatedTextWarning)
    """


@dataclass(frozen=True)
class TextPreprocessing:
    """Turn texts into token ids, as the weights were trained.

    Parameters
    ----------
    tokenizer : transformers.PreTrainedTokenizerBase
        Held, not copied.
    max_length : int
        Tokens of a text beyond it are dropped.
    digest : str, default=""
        Stands for the tokenizer's content. Computed if left empty.
    prompt : str, default=""
        Put before each text.
    lower_case : bool, default=False
        Whether texts are put into lower case before the tokenizer.
    """

    tokenizer: object = field(repr=False, compare=False)
    max_length: int
    digest: str = ""
    prompt: str = ""
    lower_case: bool = False

    def __post_init__(self):
        if not self.digest:
            object.__setattr__(self, "digest", _digest_of(self.tokenizer))

    @property
    def pad_id(self) -> int:
        """The id that fills up short texts; the mask hides it."""
        pad = self.tokenizer.pad_token_id
        return 0 if pad is None else pad

    def token_ids(self, texts: list[str]) -> list[np.ndarray]:
        """Return the ids of each text's tokens, at least one and at most `max_length`."""
        given, texts = texts, [self.prompt + text for text in texts]
        texts = [text.lower() for text in texts] if self.lower_case else texts
        with _tokenizer_lock:
            encoded = self.tokenizer(
                texts,
                truncation=True,
                max_length=self.max_length,
                return_attention_mask=False,
                return_token_type_ids=False,
            )
            ids = encoded["input_ids"]
            full = [row for row, tokens in enumerate(ids) if len(tokens) >= self.max_length]
            if full and self.tokenizer.is_fast:
                full = [row for row in full if encoded.encodings[row].overflowing]
            elif full:
                whole = self.tokenizer([texts[row] for row in full], verbose=False)["input_ids"]
                full = [
                    row
                    for row, tokens in zip(full, whole, strict=True)
                    if len(tokens) > self.max_length
                ]
            if full:
                known = _cut_texts.setdefault(self, set())
                if len(known) > _MAX_CUT_TEXTS:
                    known.clear()
                known.update(_digest(given[row]) for row in full)
        return [np.array(tokens or [self.pad_id], dtype=np.int32) for tokens in ids]

    def is_cut(self, texts) -> np.ndarray:
        """Tell which texts have more than `max_length` tokens.

        Parameters
        ----------
        texts : iterable of str, shape (n_samples,)

        Returns
        -------
        is_cut : ndarray of shape (n_samples,), bool
        """
        texts = list(texts)
        self.token_ids(texts)
        return self.was_cut(texts)

    def was_cut(self, texts: list[str]) -> np.ndarray:
        """Tell which texts, all turned into tokens before, were cut, shape (n_samples,), bool."""
        known = _cut_texts.get(self, ())
        return np.array([bool(known) and _digest(text) in known for text in texts], dtype=bool)

    def padded_length(self, n_tokens: int) -> int:
        """Return the length that a text is padded to, in steps of 16 tokens, or 64 from 128 on.

        At least one token is padding, except in the longest texts: attention takes another path,
        with other bits, where a batch has none.
        """
        step = 16 if n_tokens < 128 else 64
        return min((n_tokens // step + 1) * step, self.max_length)

    def blank(self, dtype: torch.dtype) -> torch.Tensor:
        """Return a text without content, shape (1, 2, 1)."""
        return torch.tensor([[[self.pad_id], [1]]])

    def normalize(self, x: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        """Return token ids unchanged: `dtype` is the network's."""
        return x


def _digest(text: str) -> bytes:
    return xxhash.xxh3_128_digest(text.encode())


def _digest_of(tokenizer) -> str:
    settings = [tokenizer.pad_token_id, tokenizer.truncation_side, tokenizer.is_fast]
    content = hashlib.sha256(repr(settings).encode())
    if tokenizer.is_fast:
        with _tokenizer_lock:
            tokenizer.backend_tokenizer.no_truncation()
            tokenizer.backend_tokenizer.no_padding()
            content.update(tokenizer.backend_tokenizer.to_str().encode())
    else:  # written in Python: the files that it is made of
        with tempfile.TemporaryDirectory() as folder:
            tokenizer.save_pretrained(folder)
            for path in sorted(Path(folder).iterdir()):
                content.update(path.name.encode() + path.read_bytes())
    return content.hexdigest()[:32]


class TextRows:
    """Texts, one per row."""

    form = "texts"
    shape = None

    def __init__(self, texts: list[str]):
        self._texts = texts
        self._tokens: dict[int, np.ndarray] = {}
        self._tokens_of: TextPreprocessing | None = None

    def __len__(self) -> int:
        return len(self._texts)

    def subset(self, indices: np.ndarray) -> TextRows:
        """Return some of the texts."""
        chosen = TextRows([self._texts[i] for i in indices])
        chosen._tokens_of = self._tokens_of
        chosen._tokens = {
            new: self._tokens[old] for new, old in enumerate(indices) if old in self._tokens
        }
        return chosen

    def digests(self) -> list[bytes]:
        """Return one digest per text."""
        return [_digest(text) for text in self._texts]

    def groups(self, indices, preprocessing: TextPreprocessing) -> list[np.ndarray]:
        """Return positions in `indices` of rows that may share a batch, one array per length.

        Rows of a group have the same padded length, and all of them padding, or none. A row's
        group depends on its own text alone, so that its features do, within rounding.
        """
        lengths = [len(tokens) for tokens in self._tokenized(indices, preprocessing)]
        groups: dict[tuple[int, bool], list[int]] = {}
        for position, length in enumerate(lengths):
            padded = preprocessing.padded_length(length)
            groups.setdefault((padded, length == padded), []).append(position)
        return [np.array(groups[key]) for key in sorted(groups)]

    def batch(self, indices, preprocessing: TextPreprocessing) -> torch.Tensor:
        """Return token ids and mask of the rows at `indices`, (len(indices), 2, length), int64."""
        tokens = self._tokenized(indices, preprocessing)
        length = preprocessing.padded_length(max(map(len, tokens)))
        x = np.zeros((len(tokens), 2, length), dtype=np.int64)
        x[:, 0] = preprocessing.pad_id
        for row, ids in zip(x, tokens, strict=True):
            row[0, : len(ids)] = ids
            row[1, : len(ids)] = 1
        return torch.from_numpy(x)

    def n_cut(self, preprocessing: TextPreprocessing) -> int:
        """Return the number of texts, all turned into tokens before, that were cut."""
        return int(preprocessing.was_cut(self._texts).sum())

    def tokenize(self, preprocessing: TextPreprocessing) -> None:
        """Turn all texts into tokens, which are kept."""
        self._tokenized(range(len(self)), preprocessing)

    def _tokenized(self, indices, preprocessing: TextPreprocessing) -> list[np.ndarray]:
        """Return the token ids of rows; each is tokenized once."""
        if self._tokens_of != preprocessing:
            self._tokens, self._tokens_of = {}, preprocessing
        indices = [int(i) for i in indices]
        missing = [i for i in dict.fromkeys(indices) if i not in self._tokens]
        if missing:
            ids = preprocessing.token_ids([self._texts[i] for i in missing])
            self._tokens.update(zip(missing, ids, strict=True))
        return [self._tokens[i] for i in indices]


def warn_of_cut_texts(parts, preprocessing: TextPreprocessing, name: str) -> None:
    """Warn once if some texts were cut.

    Parameters
    ----------
    parts : iterable of Rows or None
        Rows of any kind, all turned into tokens before if they are texts.
    preprocessing : TextPreprocessing
    name : str
        Name of the network.
    """
    parts = [rows for rows in parts if isinstance(rows, TextRows)]
    n_cut = sum(rows.n_cut(preprocessing) for rows in parts)
    if n_cut:
        n_texts = sum(map(len, parts))
        warn(
            f"{n_cut} of {n_texts} texts ({n_cut / n_texts:.0%}) have more tokens than {name!r} "
            f"reads, {preprocessing.max_length}, and what follows is cut off. Split long texts, or "
            "take an encoder of longer texts.",
            TruncatedTextWarning,
        )


class TokenEncoder(nn.Module):
    """A transformer that turns token ids into one vector per text.

    Parameters
    ----------
    model : Module
        Takes ``input_ids`` and ``attention_mask``, and returns ``last_hidden_state``.
    pooling : {"avg", "max", "cls", "mean_tokens"}
        Mean or maximum over the tokens that are no padding, or the first token; "mean_tokens" is
        "avg".
    """

    def __init__(self, model: nn.Module, pooling: str = "avg"):
        super().__init__()
        self.model = model
        self.pooling = pooling

    @property
    def token_model(self) -> nn.Module:
        """Return the part of the network that tokens pass."""
        return self.model

    def with_pooling(self, pooling: str) -> TokenEncoder:
        """Return an encoder with the same model, pooled in another way."""
        return TokenEncoder(self.model, pooling).train(self.training)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return one vector per text, shape (n, n_features), for `x` of shape (n, 2, length)."""
        return _pooled(self.tokens(x), x[:, 1], self.pooling)

    def tokens(self, x: torch.Tensor) -> torch.Tensor:
        """Return the vectors of the tokens, shape (n, length, width)."""
        return self.model(input_ids=x[:, 0], attention_mask=x[:, 1]).last_hidden_state


TOKEN_POOLINGS = ("cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken")


class DenseLayer(nn.Module):
    """A linear layer and an activation, with the input added where that is asked for.

    Parameters
    ----------
    linear, activation : Module
    residual : Module or None
        Map of the input before it is added; ``Identity`` for the input itself.
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
        Layers behind the pooling.
    pooling : str, default="own"
        "own" uses `modes` and `layers`; other poolings are as in :class:`TokenEncoder`.
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
        tokens = self.tokens(x)
        pooled = [_pooled(tokens, x[:, 1], mode) for mode in self.modes]
        return self.layers(torch.cat(pooled, dim=1))


def _pooled(tokens: torch.Tensor, mask: torch.Tensor, mode: str) -> torch.Tensor:
    """Pool tokens (n, length, width) whose mask is 1, then 0 for the padding behind them.

    Modes that are not named here are the mean.
    """
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

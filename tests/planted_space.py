"""A joint space of images and texts that is known by formula, with a text encoder as a backbone."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from skltransfer import Backbone
from skltransfer._torch._text import TextPreprocessing
from tests.tiny_bert import SPECIAL, quiet, save_tokenizer

CLASSES = ("bird", "boat", "car", "cat", "dog", "horse", "plane", "truck")
FILLERS = ("a", "photo", "of", "the", "drawing")
WIDTH = 32
# Lengths of what a name does not tell of its class, of chance, and of the gap to all texts.
_SHIFT, _NOISE, _GAP = 0.6, 2.5, 1.5


class WordMeans(nn.Module):
    """Texts as the sum of the vectors of their words, shape (n, 2, length) to (n, WIDTH)."""

    def __init__(self, vectors: np.ndarray):
        super().__init__()
        self.words = nn.Embedding.from_pretrained(torch.tensor(vectors, dtype=torch.float32))

    def forward(self, x):
        """Return one vector per text; unknown words and padding are 0."""
        return (self.words(x[:, 0]) * x[:, 1:].transpose(1, 2)).sum(1)


def planted_text_encoder(folder, seed=0) -> Backbone:
    """Return a text encoder for the names of `CLASSES`; its tokenizer is kept in `folder`."""
    from transformers import AutoTokenizer

    with quiet():
        save_tokenizer(folder, (*CLASSES, *FILLERS), 16)
        tokenizer = AutoTokenizer.from_pretrained(folder)
    rng = np.random.default_rng(seed)
    vectors = np.zeros((len(SPECIAL) + len(CLASSES) + len(FILLERS), WIDTH))
    vectors[len(SPECIAL) : len(SPECIAL) + len(CLASSES)] = concepts(seed)
    vectors[-len(FILLERS) :] = rng.normal(size=(len(FILLERS), WIDTH)) * 0.3 / np.sqrt(WIDTH)
    return Backbone("planted", WordMeans(vectors).eval(), TextPreprocessing(tokenizer, 16))


def concepts(seed=0) -> np.ndarray:
    """Return the vector of each class's name, of length about one, shape (n_classes, WIDTH)."""
    rng = np.random.default_rng([seed, 1])
    return rng.normal(size=(len(CLASSES), WIDTH)) / np.sqrt(WIDTH)


def planted_images(n_per_class, seed=0, *, space_seed=0):
    """Return embeddings of images, of length one, and their labels.

    An image lies at its class's name, moved by what a name does not tell of its class's pictures,
    and away from texts as a whole, as the images of CLIP do.
    """
    rng = np.random.default_rng([space_seed, 2])
    shift = rng.normal(size=(len(CLASSES), WIDTH)) * _SHIFT / np.sqrt(WIDTH)
    gap = rng.normal(size=WIDTH) * _GAP / np.sqrt(WIDTH)
    y = np.repeat(np.arange(len(CLASSES)), n_per_class)
    noise = np.random.default_rng([seed, 3]).normal(size=(len(y), WIDTH)) * _NOISE / np.sqrt(WIDTH)
    X = concepts(space_seed)[y] + shift[y] + gap + noise
    return X / np.linalg.norm(X, axis=1, keepdims=True), np.array(CLASSES)[y]

"""Folders with tiny, randomly initialised encoders of transformers, as `save_pretrained` writes."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path

import torch

WORDS = ("good", "bad", "film", "plot", "a", "the", "was", "very", "not", "and", "dull", "great")
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


@contextmanager
def quiet():
    """No progress bars or messages of transformers inside the block."""
    from transformers.utils import logging

    verbosity, has_bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if has_bars:
            logging.enable_progress_bar()


def save_tokenizer(folder, vocabulary=WORDS, max_length=64) -> int:
    """Write a tokenizer whose tokens are whole words; return the size of its vocabulary."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    ids = {word: i for i, word in enumerate((*SPECIAL, *vocabulary))}
    tokenizer = Tokenizer(models.WordLevel(ids, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        **({} if max_length is None else {"model_max_length": max_length}),
    ).save_pretrained(folder)
    return len(ids)


def save_model(folder, config, seed=0, model_class=None) -> None:
    """Write a network with random weights of a larger scale than at the start of training."""
    from transformers import AutoModel

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModel.from_config(config) if model_class is None else model_class(config)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.2)
    model.save_pretrained(folder)


def save_tiny_bert(
    folder, vocabulary=WORDS, *, seed=0, n_layers=2, hidden_size=32, max_length=64, model_class=None
) -> str:
    """Write a BERT with its tokenizer into `folder`; return its ``hf:`` name.

    Parameters
    ----------
    folder : str or Path
        Created if needed.
    vocabulary : iterable of str
        The words that it knows, in lower case; all others are one unknown word.
    seed : int
        Of its random weights.
    n_layers, hidden_size, max_length : int
        Transformer blocks, their width, and tokens of the longest text.
    model_class : type, optional
        ``BertModel`` unless given; ``BertForSequenceClassification`` has a head, for example.
    """
    from transformers import BertConfig

    Path(folder).mkdir(parents=True, exist_ok=True)
    with quiet():
        n_tokens = save_tokenizer(folder, vocabulary, max_length)
        config = BertConfig(
            vocab_size=n_tokens,
            hidden_size=hidden_size,
            num_hidden_layers=n_layers,
            num_attention_heads=2,
            intermediate_size=2 * hidden_size,
            max_position_embeddings=max_length,
        )
        save_model(folder, config, seed, model_class)
    return f"hf:{folder}"

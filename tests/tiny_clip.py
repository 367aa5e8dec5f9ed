"""Folders with tiny, randomly initialised networks of two towers, as `save_pretrained` writes."""

from __future__ import annotations

from pathlib import Path

from tests.tiny_bert import WORDS, quiet, save_model, save_tokenizer

SIZE = 32  # pixels of an image's side
KINDS = ("clip", "siglip", "chinese_clip")


def save_two_towers(folder, kind="clip", vocabulary=WORDS, *, seed=0, max_length=20) -> str:
    """Write a network with its tokenizer and image processor; return its ``hf:`` name.

    Parameters
    ----------
    folder : str or Path
        Created if needed.
    kind : {"clip", "siglip", "chinese_clip"}
    vocabulary : iterable of str
        Words that its tokenizer knows.
    seed : int
        Seed of its random weights.
    max_length : int
        Tokens of the longest text.
    """
    import transformers

    Path(folder).mkdir(parents=True, exist_ok=True)
    with quiet():
        n_tokens = save_tokenizer(folder, vocabulary, max_length)
        side = {"height": SIZE, "width": SIZE}
        transformers.CLIPImageProcessor(size=side, crop_size=side).save_pretrained(folder)
        sizes = {
            "hidden_size": 16,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "intermediate_size": 32,
        }
        text = sizes | {
            "vocab_size": n_tokens,
            "max_position_embeddings": max_length,
            "pad_token_id": 0,
            "bos_token_id": 2,
            "eos_token_id": 3,
        }
        vision = sizes | {"image_size": SIZE, "patch_size": 8}
        shared = {} if kind == "siglip" else {"projection_dim": 24}
        config = transformers.AutoConfig.for_model(
            kind, text_config=text, vision_config=vision, **shared
        )
        save_model(folder, config, seed)
    return f"hf:{folder}"

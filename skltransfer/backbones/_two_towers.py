"""The towers of networks that embed images and texts in one space, such as CLIP."""

from __future__ import annotations

import torch
from torch import nn

from skltransfer._torch._pooling import OWN
from skltransfer._torch._text import TokenEncoder

# Model types of transformers whose `get_image_features` and `get_text_features` are embeddings in
# one space. Other networks have methods of these names as well.
MODEL_TYPES = ("chinese_clip", "clip", "siglip")
TOWERS = ("image", "text")
# Trained on texts that are padded to the full length, without a mask.
_PADDED = ("siglip",)


def split_tower(name: str) -> tuple[str, str | None]:
    """Return the name of a network, and which of its towers a suffix such as "#text" names."""
    network, mark, tower = name.rpartition("#")
    return (network, tower) if mark and tower in TOWERS else (name, None)


def is_two_towers(config) -> bool:
    """Tell whether a configuration of transformers is of a network with two towers."""
    return config.model_type in MODEL_TYPES


def tower_of(model: nn.Module, tower: str, pad_id: int = 0) -> nn.Module:
    """Return one tower of a network of transformers.

    Parameters
    ----------
    model : Module
    tower : {"image", "text"}
    pad_id : int, default=0
        Id of the token that fills up short texts.
    """
    if tower == "image":
        return ImageTower(model)
    is_padded = model.config.model_type in _PADDED
    length = model.config.text_config.max_position_embeddings if is_padded else None
    return TextTower(model, pad_to=length, pad_id=pad_id)


class _Calibrated:
    """How cosines of the space become logits, as the towers were trained."""

    @property
    def logit_scale(self) -> float:
        """The factor of a cosine."""
        return self.model.logit_scale.exp().item()

    @property
    def logit_bias(self) -> float:
        """The number that is added to the scaled cosine."""
        bias = getattr(self.model, "logit_bias", None)
        return 0.0 if bias is None else bias.item()


class ImageTower(_Calibrated, nn.Module):
    """Images to vectors of length one in the joint space.

    Parameters
    ----------
    model : Module
        Network of transformers with both towers; that of texts may have been dropped.
    """

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (n, n_features) for images (n, channels, height, width)."""
        return _unit(self.model.get_image_features(pixel_values=x))


class TextTower(_Calibrated, TokenEncoder):
    """Texts to vectors of length one in the joint space.

    Parameters
    ----------
    model : Module
        Network of transformers with both towers; that of images may have been dropped.
    pooling : str, default="own"
        "own" is the embedding in the joint space. Other poolings are of the tokens, as in
        :class:`TokenEncoder`.
    pad_to : int, default=None
        Number of tokens that all texts are filled up to, and attended to. ``None``: the mask hides
        the tokens that fill up.
    pad_id : int, default=0
    """

    def __init__(self, model: nn.Module, pooling: str = OWN, pad_to=None, pad_id: int = 0):
        super().__init__(model, pooling)
        self.pad_to, self.pad_id = pad_to, pad_id

    @property
    def token_model(self) -> nn.Module:
        """Return the part of the network that tokens pass."""
        return self.model.text_model

    def with_pooling(self, pooling: str) -> TextTower:
        """Return a tower with the same model, pooled in another way."""
        return TextTower(self.model, pooling, self.pad_to, self.pad_id).train(self.training)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return one vector per text, shape (n, n_features), for `x` of shape (n, 2, length)."""
        if self.pooling != OWN:
            return super().forward(x)
        return _unit(self.model.get_text_features(**self._inputs(x)))

    def tokens(self, x: torch.Tensor) -> torch.Tensor:
        """Return the vectors of the tokens, shape (n, length, width)."""
        return self.token_model(**self._inputs(x)).last_hidden_state[:, : x.shape[2]]

    def _inputs(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        if self.pad_to is None:
            return {"input_ids": x[:, 0], "attention_mask": x[:, 1]}
        missing = (0, self.pad_to - x.shape[2])
        return {"input_ids": nn.functional.pad(x[:, 0], missing, value=self.pad_id)}


def _unit(output) -> torch.Tensor:
    """Return embeddings of length one; releases of transformers before 5 return no more."""
    return nn.functional.normalize(getattr(output, "pooler_output", output), dim=-1)

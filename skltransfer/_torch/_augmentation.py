"""Random changes of training rows: named policies of torchvision, MixUp and CutMix."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torchvision.transforms import v2

from skltransfer._messages import near_names
from skltransfer._torch._batches import Batch

POLICIES = ("flip", "crop", "trivial", "rand", "auto", "color", "erase")
MIXES = ("mixup", "cutmix")
_MIX_CONCENTRATION = {"mixup": 0.2, "cutmix": 1.0}


def _policy(name: str, side: tuple[int, int]):
    """Return torchvision's transform for one image, (channels, height, width)."""
    make = {
        "flip": lambda: v2.RandomHorizontalFlip(),
        "crop": lambda: v2.RandomCrop(side, padding=max(1, min(side) // 8), padding_mode="reflect"),
        "trivial": lambda: v2.TrivialAugmentWide(),
        "rand": lambda: v2.RandAugment(),
        "auto": lambda: v2.AutoAugment(),
        "color": lambda: v2.ColorJitter(0.4, 0.4, 0.4),
        "erase": lambda: v2.RandomErasing(p=0.25),
    }
    return make[name]()


def names_of(augment) -> list:
    """Return the list of policies that is meant; a name, a callable, a list of these or None."""
    if augment is None:
        return []
    given = list(augment) if isinstance(augment, list | tuple) else [augment]
    for policy in given:
        if isinstance(policy, str):
            if policy not in (*POLICIES, *MIXES):
                raise ValueError(
                    f"augment={augment!r}: there is no policy {policy!r}."
                    f"{near_names(policy, [*POLICIES, *MIXES])} Pass one of "
                    f"{', '.join(POLICIES + MIXES)}, a list of them, or a callable that takes and "
                    "returns a batch."
                )
        elif not callable(policy):
            raise TypeError(
                f"augment={augment!r} is neither the name of a policy, a callable, nor a list of "
                "these."
            )
    if sum(policy in MIXES for policy in given if isinstance(policy, str)) > 1:
        raise ValueError(f"augment={augment!r}: choose one of mixup and cutmix.")
    return given


class Augmentation:
    """Changes the rows of each batch at random.

    Chance is torch's global generator, which the training seeds and gives back as it was.

    Parameters
    ----------
    policies : list of str or callable
        See :func:`names_of`. In this order; MixUp and CutMix have to come last, as they mix rows.
    are_images : bool
        Whether rows are images, which all named policies but MixUp need.
    """

    def __init__(self, policies: list, are_images: bool):
        for policy in policies:
            if isinstance(policy, str) and policy != "mixup" and not are_images:
                raise ValueError(
                    f"augment={policy!r} changes images, and these rows are none. Tables take "
                    "'mixup' or a callable."
                )
        self.policies = policies
        self._mix = next((p for p in policies if isinstance(p, str) and p in MIXES), None)
        self._policies = [p for p in policies if not (isinstance(p, str) and p in MIXES)]
        self._made: dict[tuple, Callable] = {}

    def __call__(self, batch: Batch) -> Batch:
        """Return the changed batch."""
        x = batch.inputs
        for policy in self._policies:
            x = policy(x) if callable(policy) else self._each(policy, x)
        if x.shape[0] != len(batch.targets):
            raise ValueError(
                f"augment returned {x.shape[0]} rows for a batch of {len(batch.targets)}. It has "
                "to keep rows and their order."
            )
        batch = replace(batch, inputs=x)
        return batch if self._mix is None else _mixed(batch, self._mix)

    def _each(self, name: str, x: torch.Tensor) -> torch.Tensor:
        key = (name, tuple(x.shape[2:]))
        if key not in self._made:
            self._made[key] = _policy(name, key[1])
        return torch.stack([self._made[key](image) for image in x])


def _mixed(batch: Batch, kind: str) -> Batch:
    """Mix each row with another one (Zhang et al., ICLR 2018; Yun et al., ICCV 2019)."""
    concentration = torch.tensor(_MIX_CONCENTRATION[kind])
    share = float(torch.distributions.Beta(concentration, concentration).sample())
    partner = torch.randperm(len(batch), device=batch.inputs.device)
    x = batch.inputs
    if kind == "mixup":
        as_float = x if x.is_floating_point() else x.float() / 255
        x = share * as_float + (1 - share) * as_float[partner]
    else:
        x, share = _with_patch(x, partner, share)
    own = torch.full((len(batch),), share, dtype=torch.float32, device=batch.inputs.device)
    other = 1 - own
    if batch.weights is not None:  # the loop multiplies by the weight of the row itself
        other = other * batch.weights[partner] / batch.weights
    return replace(batch, inputs=x, partners=batch.targets[partner], share=own, partner_share=other)


def _with_patch(x: torch.Tensor, partner: torch.Tensor, share: float):
    """Paste a rectangle of the partner's image; return the true share of the own."""
    height, width = x.shape[-2:]
    part = (1 - share) ** 0.5
    tall, wide = int(height * part), int(width * part)
    top = int(torch.randint(height - tall + 1, ()))
    left = int(torch.randint(width - wide + 1, ()))
    x = x.clone()
    rows, columns = slice(top, top + tall), slice(left, left + wide)
    x[..., rows, columns] = x[partner][..., rows, columns]
    return x, 1 - tall * wide / (height * width)

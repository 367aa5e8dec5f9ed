"""Tensors of a file into a network: under which prefix they are, and which it can do without."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from skltransfer._warnings import warn

# What output layers, which features do not need, are called.
_HEADS = (
    "fc",
    "classifier",
    "head",
    "heads",
    "head_dist",
    "linear",
    "last_linear",
    "logits",
    "output",
    "projector",
    "projection_head",
    "predictor",
    "AuxLogits",
    "aux1",
    "aux2",
)


def load_state(
    module: nn.Module,
    state: dict[str, torch.Tensor],
    name: str,
    path=None,
    *,
    unused: Iterable[str] = (),
) -> None:
    """Load tensors into a module, all that its features depend on and no others.

    All may have a common prefix, as training frameworks write it (``module.``, ``_orig_mod.``,
    ``backbone.``). Counters of batch normalisation may be missing: they do not enter the output.

    Parameters
    ----------
    module : Module
    state : dict of str to Tensor
    name : str
        The network's, for messages.
    path : str or Path, optional
        The file that `state` is from, for messages.
    unused : iterable of str, default=()
        Parts of the module that features do not depend on, such as its output layer. They keep
        their own weights where the file has none, or some of another shape.

    Raises
    ------
    ValueError
        If the tensors are of another architecture, are there several times, or are not finite.
    """
    source = "The weights" if path is None else f"The weights in {str(path)!r}"
    own, unused = module.state_dict(), tuple(f"{part}." for part in unused)
    needed = {
        key: tuple(tensor.shape)
        for key, tensor in own.items()
        if not key.startswith(unused) and not key.endswith("num_batches_tracked")
    }
    prefix = _prefix(needed, state, name, source)
    found = {key[len(prefix) :]: value for key, value in state.items() if key.startswith(prefix)}
    parts = {key.partition(".")[0] for key in own}
    missing = [key for key in needed if key not in found]
    surplus = [
        key
        for key in found
        if key not in own
        and not key.startswith(unused)
        and ((part := key.partition(".")[0]) in parts or part not in _HEADS)
    ]
    changed = [key for key in own if key in found and found[key].shape != own[key].shape]
    left = [key for key in own if key.startswith(unused) and (key in changed or key not in found)]
    problems = [
        f"{len(keys)} {what}, such as {keys[0]}"
        for what, keys in (
            ("missing", missing),
            ("unknown", surplus),
            (
                "of another shape",
                [
                    f"{key} {tuple(found[key].shape)} instead of {tuple(own[key].shape)}"
                    for key in changed
                    if key in needed
                ],
            ),
        )
        if keys
    ]
    if problems:
        raise ValueError(
            f"{source} are for another architecture than {name!r}: tensors "
            f"{'; '.join(problems)}. Name the network that they were saved from; for one of your "
            "own, pass the module, or what builds it, together with weights='PATH', and put "
            "torch.nn.Identity() in place of an output layer that the file does not have."
        )
    taken = {key: value for key, value in found.items() if key in own and key not in left}
    for key, tensor in taken.items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise ValueError(
                f"{source} hold NaN or infinity, in the tensor {prefix}{key}: their training has "
                "diverged, or the file is damaged. Pass an earlier checkpoint."
            )
    if left := [key for key in left if not key.endswith("num_batches_tracked")]:
        warn(
            f"{source} have no output layer for {name!r} ({', '.join(left[:2])}). Features do not "
            "need it; it keeps the weights that it had.",
            UserWarning,
        )
    module.load_state_dict(taken, strict=False)


def _prefix(needed: dict[str, tuple], state: dict, name: str, source: str) -> str:
    """Return what stands before the names of the module's tensors in the file."""
    if not needed:
        return ""
    # A tensor that few others are named like: "weight" alone ends many names.
    probes = sorted(needed, key=lambda key: -key.count("."))[:1] + list(needed)[:1]
    candidates = {
        key[: len(key) - len(probe)]
        for probe in probes
        for key in state
        if key == probe or key.endswith(f".{probe}")
    }
    n_fitting = {
        prefix: sum(
            prefix + key in state and tuple(state[prefix + key].shape) == shape
            for key, shape in needed.items()
        )
        for prefix in {"", *candidates}
    }
    whole = sorted(prefix for prefix, n in n_fitting.items() if n == len(needed))
    if len(whole) > 1 and "" not in whole:
        raise ValueError(
            f"{source} hold {name!r} {len(whole)} times, under {', '.join(map(repr, whole))}. Save "
            "the tensors of one of them alone."
        )
    return whole[0] if whole else max(sorted(n_fitting), key=n_fitting.get)

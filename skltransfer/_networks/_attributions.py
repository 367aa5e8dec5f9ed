"""Which pixels or tokens an output of a trained network rests on."""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np
import torch
from torch.nn import functional

from skltransfer._messages import require
from skltransfer._networks._built import Built
from skltransfer._torch._extraction import FeatureNetwork, network_lock
from skltransfer._torch._rows import Rows
from skltransfer._torch._taps import HookedLayers
from skltransfer._torch._text import TextRows, TokenEncoder
from skltransfer.backbones._extractors import resolve_layers

# Points of a path that pass the network together.
_BATCH = 32


class Attributed(NamedTuple):
    """Attributions of some rows.

    Parameters
    ----------
    inputs : list
        What the network has seen: an image of shape (height, width, channels) with values in
        [0, 1], or a list of tokens, for each row.
    values : list of ndarray
        Attribution of each pixel, (height, width), or of each token, (n_tokens,).
    gaps : ndarray of shape (n_rows,) or None
        Difference of the output between the row and the baseline, less the sum of its attributions.
    """

    inputs: list
    values: list
    gaps: np.ndarray | None


def grad_cam(built: Built, rows: Rows, outputs, signs, layer: str | None) -> Attributed:
    """Return the maps of gradient-weighted class activations (Selvaraju et al. 2017).

    The activations ``A_k`` of a layer are weighed by the mean gradient of the output over their
    positions, and summed; what speaks against the output is left out (equations 1 and 2).

    Parameters
    ----------
    built : Built
    rows : Rows
        Images.
    outputs, signs : ndarray of shape (n_rows,)
        Output of each row, and whether it is taken as it is (1) or negated (-1).
    layer : str or None
        Layer with feature maps. None is the deepest stage that has some.
    """
    pixels, x = _images(built, rows)
    with network_lock, torch.enable_grad():
        maps, values = _maps_and_outputs(built, x, layer)
        chosen = _chosen(values, outputs, signs)
        (gradient,) = torch.autograd.grad(chosen.sum(), maps)
        features = built.network.features
        maps, gradient = (features.channels_first(part.detach()) for part in (maps, gradient))
        cam = functional.relu((gradient.mean((2, 3), keepdim=True) * maps).sum(1, keepdim=True))
        cam = functional.interpolate(
            cam, size=x.shape[2:], mode="bilinear", align_corners=False
        ).squeeze(1)
    return Attributed(pixels, list(cam.double().cpu().numpy()), None)


def _maps_and_outputs(built: Built, x: torch.Tensor, layer: str | None):
    """Return the feature maps of a layer, as a part of the graph of the outputs, and the latter."""
    if layer is not None:
        names = resolve_layers(built.record, layer)
    else:
        names = {name: built.record.aliases.get(name, name) for name in built.depth.stages[::-1]}
    for node in names.values():
        maps, outputs = _one_layer(built, x, node)
        if maps is not None and maps.ndim == 4 and min(maps.shape[2:]) > 1:
            return maps, outputs
    which = f"layer={layer!r} gives none" if layer is not None else "no stage gives any"
    raise ValueError(
        f"Grad-CAM needs feature maps of several pixels, and {which} in {built.record.name!r}. "
        "Name another layer (layer=), or pass method='integrated_gradients'."
    )


def _one_layer(built: Built, x: torch.Tensor, node: str):
    """Return a layer's activations and the outputs; None for a layer that plays no part in them."""
    network, features = built.network, built.network.features
    is_hooked = isinstance(features.trunk, HookedLayers) or not features.nodes
    if is_hooked:  # a module is called for every layer that has a name
        seen = []

        def keep(_module, _inputs, output):
            seen.append(output[0] if isinstance(output, tuple) else output)

        try:
            part = features.module.get_submodule(node)
        except AttributeError:
            return None, None
        with part.register_forward_hook(keep):
            outputs = network.outputs(features(x))
        maps = seen[0] if seen else None
    else:  # a graph: the layer becomes one more of its outputs
        nodes = dict(zip(features.names, features.nodes, strict=True))
        tapped = FeatureNetwork(
            features.module,
            nodes | {"attributed": node},
            features.pooling,
            features.channels_last,
            features.prefix_tokens,
        )
        every = tapped.run(x)
        maps = every[node]
        blocks = [every[name] for name in features.nodes]
        blocks = [block if block.ndim == 2 else features.pooled(block) for block in blocks]
        outputs = network.outputs(torch.cat(blocks, dim=1))
    if not isinstance(maps, torch.Tensor) or not maps.requires_grad:
        return None, None
    (gradient,) = torch.autograd.grad(outputs.sum(), maps, allow_unused=True, retain_graph=True)
    return (None, None) if gradient is None else (maps, outputs)


def integrated_gradients(built: Built, rows: Rows, outputs, signs, n_steps: int) -> Attributed:
    """Return integrated gradients (Sundararajan, Taly and Yan 2017), by captum.

    The path leads from a black image to the image, or from a text whose words are padding to the
    text, in the space of the embeddings. The attributions of a row sum up to the difference of the
    output between both ends.

    Parameters
    ----------
    built : Built
    rows : Rows
        Images or texts.
    outputs, signs : ndarray of shape (n_rows,)
        As for `grad_cam`.
    n_steps : int
        Points of the path.
    """
    captum = require("captum.attr", "explain", "method='integrated_gradients'")
    network = built.network

    def output_of(x, output, sign):
        # captum repeats rows for the points of the path.
        return _chosen(network.outputs(network.features(x)), output, sign)

    places = torch.as_tensor(outputs), torch.as_tensor(signs)
    with network_lock, torch.enable_grad(), warnings.catch_warnings():
        # captum sets gradients where there are none, and says so.
        warnings.filterwarnings("ignore", module="captum")
        if isinstance(rows, TextRows):
            return _of_texts(captum, built, rows, output_of, places, n_steps)
        pixels, x = _images(built, rows)
        blank, dtype = torch.zeros_like(_batch(built, rows)), network.dtype
        baseline = (
            blank.to(dtype)
            if network.preprocessing is None
            else network.preprocessing.normalize(blank, dtype)
        ).to(x.device)
        values, gaps = captum.IntegratedGradients(output_of).attribute(
            x, baseline, additional_forward_args=tuple(p.to(x.device) for p in places),
            n_steps=n_steps, internal_batch_size=max(_BATCH, len(rows)),
            return_convergence_delta=True,
        )  # fmt: skip
    values = values.detach().sum(1).double().cpu().numpy()
    return Attributed(pixels, list(values), gaps.detach().double().cpu().numpy())


def _of_texts(captum, built: Built, rows: TextRows, output_of, places, n_steps) -> Attributed:
    encoder = built.network.features.trunk
    if not isinstance(encoder, TokenEncoder) or not hasattr(
        encoder.token_model, "get_input_embeddings"
    ):
        raise TypeError(
            f"{built.record.name!r} does not tell which of its layers embeds tokens. Tokens are "
            "explained for encoders of transformers ('hf:NAME') and sentence-transformers "
            "('st:NAME')."
        )
    preprocessing = built.network.preprocessing
    tokenizer = preprocessing.tokenizer
    special = torch.tensor(sorted(set(tokenizer.all_special_ids)))
    integrated = captum.LayerIntegratedGradients(
        output_of, encoder.token_model.get_input_embeddings()
    )
    texts, values, gaps = [], [], []
    for row in range(len(rows)):
        x = rows.batch([row], preprocessing)
        ids, mask = x[0]
        baseline = x.clone()
        baseline[0, 0] = torch.where(torch.isin(ids, special), ids, preprocessing.pad_id)
        found, gap = integrated.attribute(
            x, baseline, additional_forward_args=tuple(p[row : row + 1] for p in places),
            n_steps=n_steps, internal_batch_size=_BATCH, return_convergence_delta=True,
        )  # fmt: skip
        is_token = mask.bool()
        texts.append(tokenizer.convert_ids_to_tokens(ids[is_token].tolist()))
        values.append(found.detach()[0].sum(-1)[is_token].double().cpu().numpy())
        gaps.append(float(gap))
    return Attributed(texts, values, np.array(gaps))


def _chosen(outputs: torch.Tensor, places, signs) -> torch.Tensor:
    """Return one output of each row, shape (n,)."""
    places, signs = torch.as_tensor(places), torch.as_tensor(signs)
    rows = torch.arange(len(outputs), device=outputs.device)
    return outputs[rows, places.to(outputs.device)] * signs.to(outputs.device)


def _batch(built: Built, rows: Rows) -> torch.Tensor:
    return rows.batch(range(len(rows)), built.network.preprocessing)


def _images(built: Built, rows: Rows) -> tuple[list, torch.Tensor]:
    """Return images as they are seen, and as the network takes them."""
    network, pixels = built.network, _batch(built, rows)
    if pixels.ndim != 4:
        raise TypeError(
            f"The samples have {pixels.ndim - 1} dimensions and are no images. Attributions are "
            "shown for images and texts; permutation_importance of scikit-learn is for tables."
        )
    device = next((t.device for t in network.parameters()), torch.device("cpu"))
    x = pixels.to(device)
    if network.preprocessing is None:
        x = x.to(network.dtype) / (255 if x.dtype == torch.uint8 else 1)
    else:
        x = network.preprocessing.normalize(x, network.dtype)
    white = 255 if pixels.dtype == torch.uint8 else 1
    shown = (pixels.double() / white).clamp(0, 1).permute(0, 2, 3, 1).numpy()
    return list(shown), x.detach().requires_grad_(True)

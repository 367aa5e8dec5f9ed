"""Attacks on a trained network, by adversarial-robustness-toolbox (ART)."""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import nn

from skltransfer._messages import require
from skltransfer._networks._built import Built
from skltransfer._torch._extraction import network_lock
from skltransfer._torch._preprocessing import unit_range
from skltransfer._torch._rows import ImageArrayRows, TableRows
from skltransfer.backbones._random import seeded

# Length of a step of PGD, in parts of epsilon over the number of steps (Madry et al. 2018).
_STEP = 2.5


def in_units(rows: TableRows | ImageArrayRows) -> np.ndarray:
    """Return samples in the units of epsilon, float32.

    Parameters
    ----------
    rows : TableRows or ImageArrayRows
        Columns are standardised; images are (n, channels, height, width) with values in [0, 1].
    """
    values = rows.batch(range(len(rows)), None)
    if isinstance(rows, ImageArrayRows):
        return unit_range(values, torch.float32).numpy()
    mean, scale = _columns(rows)
    return ((values.numpy() - mean) / np.where(scale > 0, scale, 1.0)).astype(np.float32)


def shifted(rows: TableRows | ImageArrayRows, change: np.ndarray) -> np.ndarray:
    """Return samples with a change that is given in the units of epsilon, in their own units.

    Parameters
    ----------
    rows : TableRows or ImageArrayRows
    change : ndarray
        Of the shape that `in_units` returns.

    Returns
    -------
    samples : ndarray
        A table of float64, or images in their own form and type.
    """
    if isinstance(rows, ImageArrayRows):
        return rows.shifted(change)
    return rows.batch(range(len(rows)), None).double().numpy() + change * _columns(rows)[1]


def _columns(rows: TableRows) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation of each column."""
    table = rows.batch(range(len(rows)), None).double().numpy()
    # The deviation of equal numbers may be a rounding error.
    scale = np.where(np.ptp(table, axis=0) > 0, table.std(axis=0), 0.0)
    if not scale.any():
        raise ValueError(
            f"X has no column whose values differ, in {len(table)} sample(s). Epsilon is in "
            "standard deviations of its columns: pass more samples."
        )
    return table.mean(axis=0), scale


def changes(
    built: Built,
    rows: TableRows | ImageArrayRows,
    codes: np.ndarray,
    *,
    method: str,
    epsilon: float,
    n_steps: int,
    batch_size: int,
    is_flat: bool = False,
) -> np.ndarray:
    """Return the changes of samples by which a network errs the more, in the units of epsilon.

    Parameters
    ----------
    built : Built
        A classifier's network. It is not changed.
    rows : TableRows or ImageArrayRows
    codes : ndarray of shape (n_rows,)
        Number of each row's class.
    method : {"fgsm", "pgd"}
    epsilon : float
    n_steps : int
        Steps of PGD.
    batch_size : int
    is_flat : bool, default=False
        Whether the network takes images as rows of a table.

    Returns
    -------
    change : ndarray of shape (n_rows, ...)
        No entry is larger than `epsilon`. Columns without any variance are left alone.
    """
    evasion = require("art.attacks.evasion", "robustness", "adversarial_examples")
    classification = require("art.estimators.classification", "robustness", "adversarial_examples")
    x = in_units(rows)
    is_image = isinstance(rows, ImageArrayRows)
    with seeded(0), network_lock, torch.enable_grad():
        network = copy.deepcopy(built.network).eval().requires_grad_(False)
        columns = None if is_image else _columns(rows)
        module = _InUnits(network, columns, is_flat)
        device = next((t.device for t in network.parameters()), torch.device("cpu"))
        with torch.no_grad():
            n_classes = module(torch.from_numpy(x[:1]).to(device)).shape[1]
        classifier = classification.PyTorchClassifier(
            module,
            loss=_OtherClasses(),
            input_shape=x.shape[1:],
            nb_classes=n_classes,
            clip_values=(0.0, 1.0) if is_image else None,
            device_type="gpu" if device.type == "cuda" else "cpu",
        )
        settings = {"eps": float(epsilon), "batch_size": batch_size}
        if method == "fgsm":
            attack = evasion.FastGradientMethod(classifier, **settings)
        else:
            attack = evasion.ProjectedGradientDescent(
                classifier,
                eps_step=_STEP * float(epsilon) / n_steps,
                max_iter=n_steps,
                verbose=False,
                **settings,
            )
        found = attack.generate(x, np.eye(n_classes, dtype=np.float32)[codes])
    change = np.clip(found.astype(np.float64) - x, -epsilon, epsilon)
    return change if is_image else np.where(columns[1] > 0, change, 0.0)


class _InUnits(nn.Module):
    """A network as attacks see it: samples in the units of epsilon to logits of all classes.

    Parameters
    ----------
    network : TransferNetwork
    columns : tuple of (ndarray, ndarray) or None
        Mean and scale of the columns of a table; None for images.
    is_flat : bool
        Whether the network takes images as rows of a table.
    """

    def __init__(self, network, columns, is_flat: bool):
        super().__init__()
        self.network, self.is_image, self.is_flat = network, columns is None, is_flat
        for name, values in zip(("mean", "scale"), columns or (), strict=False):
            self.register_buffer(name, torch.from_numpy(values))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        network = self.network
        if not self.is_image:
            x = x * self.scale + self.mean
        elif network.preprocessing is not None:
            x = network.preprocessing.resize(x)
        elif self.is_flat:
            x = x.flatten(1)
        outputs = network(x)
        if outputs.shape[1] == 1:  # the logit of the second of two classes
            outputs = torch.cat([torch.zeros_like(outputs), outputs], dim=1)
        return outputs.double()


class _OtherClasses(nn.Module):
    """The logit of all other classes together against the true one's: an attack makes it larger.

    The cross-entropy is ``log(1 + exp(L))`` of this ``L``, so that both gradients have one
    direction. That of ``L`` does not vanish where a network is sure, and so hides no weakness.
    """

    def forward(self, logits: torch.Tensor, is_true: torch.Tensor) -> torch.Tensor:
        is_true = is_true > 0.5
        others = logits.masked_fill(is_true, -torch.inf).logsumexp(dim=1)
        return (others - logits[is_true]).sum()

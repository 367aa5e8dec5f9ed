"""The network of the shared ResNet-20 weights, without its linear layer."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional as F

from skltransfer import Backbone, Preprocessing


class Block(nn.Module):
    """Two convolutions beside a shortcut without parameters (He et al., 2016, option A)."""

    def __init__(self, n_in: int, n_out: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(n_in, n_out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(n_out)
        self.conv2 = nn.Conv2d(n_out, n_out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(n_out)
        self.stride, self.n_new = stride, n_out - n_in

    def forward(self, x):
        """Return the activations of a block."""
        out = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.n_new:
            half = self.n_new // 2
            x = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, half, half))
        return F.relu(out + x)


class ResNet20(nn.Module):
    """Three stages of three blocks, with 16, 32 and 64 channels, for 32 x 32 images."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = nn.Sequential(*(Block(16, 16, 1) for _ in range(3)))
        self.layer2 = nn.Sequential(Block(16, 32, 2), Block(32, 32, 1), Block(32, 32, 1))
        self.layer3 = nn.Sequential(Block(32, 64, 2), Block(64, 64, 1), Block(64, 64, 1))
        for part in self.modules():
            if isinstance(part, nn.Conv2d):
                nn.init.kaiming_normal_(part.weight)

    def forward(self, x):
        """Return the last feature map."""
        x = F.relu(self.bn1(self.conv1(x)))
        return self.layer3(self.layer2(self.layer1(x)))


def resnet20(weights: Path | None, seed: int = 0) -> Backbone:
    """Return the network with the weights of a file, or with random ones.

    Parameters
    ----------
    weights : Path or None
    seed : int
        Of random weights.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        module = ResNet20()
    if weights is not None:
        state = load_file(weights)
        module.load_state_dict({k: v for k, v in state.items() if not k.startswith("linear.")})
    return Backbone(
        "resnet20" if weights is not None else "random resnet20",
        module.eval().requires_grad_(False),
        Preprocessing((32, 32), 32, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
        stages=("conv1", "layer1", "layer2", "layer3"),
        layers=("layer3",),
        pooling="avg",
        n_features=64,
    )

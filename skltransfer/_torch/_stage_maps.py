"""The feature maps of a network's stages, taken on the way to its features."""

from __future__ import annotations

import torch
from torch import nn

from skltransfer._torch._extraction import FeatureNetwork


class StageMaps(nn.Module):
    """A feature network that also keeps the output of each stage of its last batch.

    Parameters
    ----------
    features : FeatureNetwork
        Shares its tensors.
    stages : list of str
        Names inside the module. Empty: the features themselves are the one map.
    """

    def __init__(self, features: FeatureNetwork, stages: list[str]):
        super().__init__()
        module, nodes, *settings = features._made_from
        self._handles, self.maps = [], []
        self._wanted, self._nodes = stages, list(nodes.values())
        if nodes:
            together = {name: name for name in dict.fromkeys([*stages, *self._nodes])}
            self.network = FeatureNetwork(module, together, *settings)
        else:
            self.network = features
            parts = dict(module.named_modules())
            for stage in stages:
                self._handles.append(parts[stage].register_forward_hook(self._keep))

    @property
    def module(self) -> nn.Module:
        """Return the module that the network is made of."""
        return self.network.module

    def _keep(self, _module, _inputs, output) -> None:
        self.maps.append(output[0] if isinstance(output, tuple) else output)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the features, shape (n, n_features); ``maps`` then holds the stages' outputs."""
        self.maps = []
        if self._nodes:
            outputs = self.network.trunk(x)
            self.maps = [outputs[stage] for stage in self._wanted]
            pooled = [self.network.pooled(outputs[node]) for node in self._nodes]
            features = torch.cat(pooled, dim=1)
        else:
            features = self.network(x)
        if not self._wanted:
            self.maps = [features]
        return features

    def close(self) -> None:
        """Take the hooks out of the module."""
        for handle in self._handles:
            handle.remove()

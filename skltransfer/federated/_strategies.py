"""Flower's strategies, as this package uses them. Imported only where Flower is installed."""

from __future__ import annotations

import numpy as np
from flwr.app import Array, ArrayRecord, Message, MessageType, MetricRecord, RecordDict
from flwr.serverapp.strategy import FedAvg, FedProx

from skltransfer._solvers._consensus import Consensus


def to_arrays(weights: dict[str, np.ndarray]) -> ArrayRecord:
    """Return weights as Flower sends them."""
    return ArrayRecord({name: Array(np.ascontiguousarray(w)) for name, w in weights.items()})


def to_weights(arrays: ArrayRecord) -> dict[str, np.ndarray]:
    """Return weights that Flower has brought."""
    return {name: array.numpy() for name, array in arrays.items()}


def check_replies(replies, n_clients: int) -> list[Message]:
    """Return the replies of all clients; raise a RuntimeError if one has failed."""
    replies = list(replies)
    failed = [reply for reply in replies if reply.has_error()]
    if failed:
        raise RuntimeError(
            f"{len(failed)} of {n_clients} clients failed: "
            + ", ".join(f"{m.metadata.src_node_id} ({m.error.reason})" for m in failed)
            + ". Their own logs say why."
        )
    if len(replies) < n_clients:
        raise RuntimeError(
            f"{len(replies)} of {n_clients} clients replied in time. Raise timeout, or start the "
            "others again."
        )
    return replies


class AllClients:
    """Ask the same clients in every round, and take no mean over fewer of them.

    Parameters
    ----------
    nodes : list of int
        Nodes of the clients.
    **settings
        Of the strategy of Flower.
    """

    def __init__(self, nodes: list[int], **settings):
        n_clients = len(nodes)
        super().__init__(
            min_train_nodes=n_clients,
            min_available_nodes=n_clients,
            fraction_evaluate=0.0,
            **settings,
        )
        self.nodes = nodes

    def configure_train(self, server_round, arrays, config, grid):
        """Return the messages of a round, all with the same weights."""
        return self._messages(server_round, [arrays] * len(self.nodes), config)

    def _messages(self, server_round, arrays, config) -> list[Message]:
        config["server-round"] = server_round
        return [
            Message(
                RecordDict({self.arrayrecord_key: weights, self.configrecord_key: config}),
                dst_node_id=node,
                message_type=MessageType.TRAIN,
            )
            for node, weights in zip(self.nodes, arrays, strict=True)
        ]

    def aggregate_train(self, server_round, replies):
        """Return the mean of the weights of all clients, weighted by their counts."""
        return super().aggregate_train(server_round, check_replies(replies, len(self.nodes)))


class FedAvgOfAll(AllClients, FedAvg):
    """Federated averaging (McMahan et al., 2017)."""


class FedProxOfAll(AllClients, FedProx):
    """FedAvg with a proximal term at the clients (Li et al., 2020)."""

    def _messages(self, server_round, arrays, config):
        config["proximal-mu"] = self.proximal_mu
        return super()._messages(server_round, arrays, config)


class FedADMM(FedProxOfAll):
    """FedProx with an anchor for each client, so that all agree on the pooled optimum.

    Parameters
    ----------
    examples : dict of int to float
        Count of each client, by its node.
    tol : float
        Residual below which clients are asked no further.
    **settings
        Of Flower's FedProx.
    """

    def __init__(self, examples: dict[int, float], tol: float, **settings):
        super().__init__(list(examples), **settings)
        self.tol, self.residual = tol, np.inf
        self._shares = np.array(list(examples.values()), dtype=float)
        self._shares /= self._shares.sum()
        self._consensus, self._best = None, None

    @property
    def has_converged(self) -> bool:
        """Tell whether the clients agree."""
        return self.residual <= self.tol

    def configure_train(self, server_round, arrays, config, grid):
        """Send each client its anchor; nothing, once they agree."""
        if self.has_converged:
            return []
        if self._consensus is None:
            weights = to_weights(arrays)
            self._shapes = {name: w.shape for name, w in weights.items()}
            self._consensus = Consensus(self._shares, self._flat(weights))
        anchors = [to_arrays(self._unflat(anchor)) for anchor in self._consensus.anchors()]
        return self._messages(server_round, anchors, config)

    def aggregate_train(self, server_round, replies):
        """Return the mean of the weights in the round in which they were closest so far."""
        if self.has_converged:
            return None, None
        replies = list(replies)
        mean, _ = super().aggregate_train(server_round, replies)
        by_node = {reply.metadata.src_node_id: reply for reply in replies}
        weights = [
            self._flat(to_weights(by_node[node].content[self.arrayrecord_key]))
            for node in self.nodes
        ]
        if self._consensus.update(np.stack(weights)):
            self.residual = min(self.residual, self._consensus.residual)
            self._best = mean
        return self._best, MetricRecord({"residual": self._consensus.residual})

    def _flat(self, weights):
        return np.concatenate([weights[name].ravel() for name in self._shapes])

    def _unflat(self, vector):
        weights, start = {}, 0
        for name, shape in self._shapes.items():
            size = int(np.prod(shape))
            weights[name] = vector[start : start + size].reshape(shape)
            start += size
        return weights

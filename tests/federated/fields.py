"""Clients for tests: samples cut into parts, and a grid that keeps all messages."""

import numpy as np

from skltransfer.federated import client_app, server_app, simulate


def loader(*parts):
    """Return a `load_data` that gives each client its part."""
    return lambda context: parts[context.node_config["partition-id"]]


def federated(estimator, parts, **settings):
    """Return the model that clients with these parts and a server arrive at."""
    client = client_app(estimator, loader(*parts))
    server = server_app(estimator, n_clients=len(parts), **settings)
    return simulate(client, server, len(parts))


def regression(sizes=(40, 70, 25), d=6, seed=0):
    """Return parts whose columns and coefficients differ between clients."""
    rng = np.random.default_rng(seed)
    parts = []
    for n in sizes:
        X = rng.normal(size=(n, d)) + rng.normal(size=d)
        w = 1 + 0.5 * rng.normal(size=d)
        parts.append((X, X @ w + rng.normal(size=n) + 2))
    return parts


def classification(n=200, d=5, n_classes=3, seed=0):
    """Return parts of which each holds other classes for the most part."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d))
    y = (X @ rng.normal(size=(d, n_classes)) + rng.gumbel(size=(n, n_classes))).argmax(axis=1)
    client = (y + (rng.random(n) < 0.2)) % n_classes
    return [(X[client == k], y[client == k]) for k in range(n_classes)]


def stacked(parts):
    """Return all samples, labels and weights (if there are any) together."""
    return tuple(np.concatenate(values) for values in zip(*parts, strict=True))

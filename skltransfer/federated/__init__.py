"""Transfer across clients that keep their samples, as apps of Flower."""

from skltransfer.federated._client import client_app
from skltransfer.federated._server import server_app
from skltransfer.federated._simulation import simulate

__all__ = ["client_app", "server_app", "simulate"]

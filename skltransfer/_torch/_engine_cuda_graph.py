"""A frozen network as a CUDA graph: one call starts all kernels of a batch."""

from __future__ import annotations

import torch

from skltransfer._locks import ThreadLock

# Passes before the one that is recorded, in which libraries choose kernels and take memory.
_WARM_UP = 3


class CudaGraph:
    """A feature network on a GPU, for batches of one shape; one thread runs it at a time.

    Small networks compute faster than Python starts their kernels one by one. The kernels of one
    pass are recorded with the memory that they read and write, and replayed for each batch.

    Parameters
    ----------
    network : FeatureNetwork
        On the GPU. It is kept, because the graph reads its weights where they lie.
    example : Tensor
        A batch, on the same device and of the same type.
    """

    def __init__(self, network, example: torch.Tensor):
        self.key = f"cuda_graph {torch.__version__}"
        self._network, self._inputs, self._in_use = network, example.clone(), ThreadLock()
        self._graph, device = torch.cuda.CUDAGraph(), example.device
        # Not in inference mode, whose tensors could not be written to outside of it.
        with torch.cuda.device(device), torch.no_grad():
            beside = torch.cuda.Stream()
            beside.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(beside):
                for _ in range(_WARM_UP):
                    network(self._inputs)
            torch.cuda.current_stream().wait_stream(beside)
            with torch.cuda.graph(self._graph):
                self._outputs = network(self._inputs)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Return the features of a batch, shape (n, n_features), on its device."""
        with self._in_use, torch.no_grad():
            self._inputs.copy_(x)
            self._graph.replay()
            return self._outputs.clone()  # the next batch is written to the same place

"""Searches, extraction and training beyond one machine, on existing engines."""

from skltransfer.distributed._dask import dask_extract
from skltransfer.distributed._data_parallel import data_parallel
from skltransfer.distributed._ray import ray_extract

__all__ = ["dask_extract", "data_parallel", "ray_extract"]

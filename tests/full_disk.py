"""A disk that is full after so many bytes of a file."""

import resource
from contextlib import contextmanager


@contextmanager
def full_disk(n_bytes):
    """Let no file grow beyond `n_bytes` inside the block, whatever writes it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

"""Data with a shift between two domains, and readers of data of one's own."""

from skltransfer.datasets._breast_cancer import load_biased_breast_cancer
from skltransfer.datasets._image_folder import load_image_folder

__all__ = ["load_biased_breast_cancer", "load_image_folder"]

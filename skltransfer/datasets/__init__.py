"""Data with a shift between two domains, and readers of data of one's own."""

from skltransfer.datasets._breast_cancer import load_biased_breast_cancer
from skltransfer.datasets._image_folder import load_image_folder
from skltransfer.datasets._review_sentences import load_review_sentences

__all__ = ["load_biased_breast_cancer", "load_image_folder", "load_review_sentences"]

"""Data with a shift between two domains, made from data of scikit-learn."""

from skltransfer.datasets._breast_cancer import load_biased_breast_cancer

__all__ = ["load_biased_breast_cancer"]

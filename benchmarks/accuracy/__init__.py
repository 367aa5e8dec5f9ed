"""Accuracy on real data, beside baselines."""

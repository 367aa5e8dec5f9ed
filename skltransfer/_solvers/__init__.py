"""Numerics of the shallow methods: numpy and scipy only, each result with its certificate."""

"""Time and memory, beside peers and limits."""

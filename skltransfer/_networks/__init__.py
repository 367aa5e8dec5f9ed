"""How a network is built and trained on labels, or on none: the workshop below the families."""

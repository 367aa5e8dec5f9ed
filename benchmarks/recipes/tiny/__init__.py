"""How the embedded network ``tiny`` was trained, and how good its features are."""

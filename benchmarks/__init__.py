"""One script for each claim on speed or accuracy, with the numbers it measured beside it.

``python -m benchmarks`` lists the claims. ``python -m benchmarks.speed.kmm`` runs one script and
replaces its JSON file; with ``--quick`` it runs small sizes and replaces nothing.
"""

"""Train the network of ``InContextTransferRegressor`` on pairs of tables made by formula.

    python -m benchmarks.recipes.incontext.pretrain_numbers [--seeds 0 1 2] [--weights PATH]

The recipe is that of the classifier's network (``pretrain.py``), on tasks whose labels are numbers.
They are learned sooner, so that fewer tasks are drawn.
"""

from __future__ import annotations

from benchmarks._measure import make_parser, write
from benchmarks.recipes.incontext.pretrain import Recipe, add_options, pretrain

CLAIMS = [
    {
        "claim": "training of the in-context network of numbers, each seed",
        "beside": "limit",
        "value": ["cpu_minutes_per_seed"],
        "at_most": 120,
        "unit": "min",
    },
    {
        "claim": "file of the weights of the in-context network of numbers",
        "beside": "limit",
        "value": ["file_bytes"],
        "at_most": 300_000,
        "unit": "bytes",
    },
]
RECIPE = Recipe(n_batches=2000, n_late_batches=1500)


def main(options) -> None:
    """Train the network of numbers."""
    name, is_quick = "in_context_numbers.safetensors", options.quick
    record = pretrain(options, RECIPE, name, has_classes=False, is_quick=is_quick)
    write(__file__, record, options)


if __name__ == "__main__":
    main(add_options(make_parser(__doc__)).parse_args())

"""Small tables of two domains for tests of the command line."""

import numpy as np
import pandas as pd

# Options that make a comparison short.
SHORT = ("--quick", "--strategies", "pooled", "source only")


def table(n, seed, shift=0.0, **columns):
    rng = np.random.default_rng(seed)
    x = rng.normal(shift, 1, n)
    frame = pd.DataFrame({"x": x, "z": rng.normal(size=n), "place": rng.choice(["a", "b", "c"], n)})
    frame["sick"] = np.where(x + 0.5 * rng.normal(size=n) > 0, "yes", "no")
    return frame.assign(**columns)


def write_both(n_target=40, n_source=80):
    """Write target.csv, ten of whose rows have no label, and source.csv."""
    target = table(n_target, 0, 0.5)
    target.loc[:9, "sick"] = None
    target.to_csv("target.csv", index=False)
    table(n_source, 1).to_csv("source.csv", index=False)

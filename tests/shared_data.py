"""Where the real data sets and weights lie, beside the checkout; they may be absent."""

from pathlib import Path

SHARED_DATA = Path(__file__).resolve().parents[1] / ".." / "shared" / "data"

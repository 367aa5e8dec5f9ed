"""matplotlib, imported when something is drawn."""

from __future__ import annotations

from skltransfer._messages import require


def divide_axes(name: str, ax, figsize: tuple[float, float], *shape: int, **settings):
    """Divide a subplot, of a new figure if `ax` is None; return its parts and the figure.

    Parameters
    ----------
    name : str
        Name of the display, for messages.
    ax : matplotlib Axes or None
    figsize : (float, float)
        Width and height of a new figure in inches.
    *shape : int
        Rows and columns of parts.
    **settings : dict
        ``sharex`` and arguments of ``subgridspec``.
    """
    plt = require("matplotlib.pyplot", "cli", name)
    sharex = settings.pop("sharex", False)
    if ax is None:
        _, ax = plt.subplots(figsize=figsize, layout="constrained")
    ax.set_axis_off()
    grid = ax.get_subplotspec()
    if grid is None:
        raise ValueError(
            "ax has to be a subplot of a figure (plt.subplots), so that it can be divided."
        )
    return grid.subgridspec(*shape, **settings).subplots(sharex=sharex), ax.figure

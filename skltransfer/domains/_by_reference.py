"""Parameters that a clone shares instead of copying."""

from __future__ import annotations


class HoldsByReference:
    """Hold some parameters by reference, so that a clone shares them with their fitted state.

    A subclass names them in `_held`.
    """

    _held: tuple[str, ...] = ()

    def get_params(self, deep: bool = True):
        """Return the parameters, without the parameters of an estimator that is held by reference.

        Parameters
        ----------
        deep : bool, default=True
            Whether to return the parameters of nested estimators too.

        Returns
        -------
        params : dict of str to object
            Names and values.
        """
        params = super().get_params(deep=deep)
        if not deep:
            return params
        return {name: value for name, value in params.items() if not self._is_inside(name)}

    def set_params(self, **params):
        """Set parameters, other than the parameters of an estimator that is held by reference.

        Parameters
        ----------
        **params : dict
            Names and values.

        Returns
        -------
        self : estimator
            The estimator itself.
        """
        for name in filter(self._is_inside, params):
            held = name.partition("__")[0]
            raise ValueError(
                f"{name!r} is a parameter of the estimator in {held}, which clones share as it was "
                f"fitted. Set {held} to another one."
            )
        return super().set_params(**params)

    def _is_inside(self, name: str) -> bool:
        held, delimiter, _ = name.partition("__")
        return bool(delimiter) and held in self._held

    def __sklearn_clone__(self):
        empty = object.__new__(type(self))
        vars(empty).update(vars(self) | dict.fromkeys(self._held))
        twin = super(HoldsByReference, empty).__sklearn_clone__()
        vars(twin).update({name: getattr(self, name) for name in self._held})
        return twin

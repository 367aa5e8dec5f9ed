"""An estimator as the Python code that makes it."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from typing import Any

import numpy as np
from sklearn.pipeline import Pipeline, make_pipeline

import skltransfer

_WIDTH, _INDENT = 88, 4


def python_code(estimator, held: dict[str, Any]) -> str:
    """Return code that makes an estimator and fits it.

    Parameters
    ----------
    estimator : estimator
        Unfitted estimator. Fitted ones among its parameters are taken to be fitted on the source,
        and are written with a call of `fit`.
    held : dict of str to object
        Objects that stand in the code by their names, such as the samples of the source.

    Returns
    -------
    code : str
        Imports, ``model = ...`` and ``model.fit(X, y)``.

    Raises
    ------
    ValueError
        If a parameter cannot be written, such as a lambda or a network.

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> print(python_code(make_pipeline(StandardScaler(), LogisticRegression(C=0.1)), {}))
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    <BLANKLINE>
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1))
    model.fit(X, y)
    """
    writer = _Writer(held)
    expression = writer.write(estimator)
    body = f"model = {_laid_out(expression, len('model = '), 0)}\nmodel.fit(X, y)"
    return f"{writer.imports()}\n\n{body}".lstrip("\n")


@dataclass
class _Call:
    """A call, or a list in brackets, whose arguments may stand on lines of their own."""

    opening: str
    arguments: list[tuple[str, Any]]
    closing: str = ")"

    def __str__(self) -> str:
        parts = [f"{name}{part}" for name, part in self.arguments]
        return f"{self.opening}{', '.join(parts)}{self.closing}"


def _laid_out(expression, column: int, indent: int) -> str:
    text = str(expression)
    if column + len(text) <= _WIDTH or not isinstance(expression, _Call) or "\n" in text:
        return text
    inner = indent + _INDENT
    lines = [
        f"{' ' * inner}{name}{_laid_out(part, inner + len(name), inner)},"
        for name, part in expression.arguments
    ]
    return "\n".join([expression.opening, *lines, " " * indent + expression.closing])


@dataclass
class _Writer:
    """Expressions of values, and the imports that they need."""

    held: dict[str, Any]
    _names: dict[str, set[str]] = field(default_factory=dict)
    _is_inside_fit: bool = False

    def imports(self) -> str:
        lines = [
            "import numpy as np"
            if module == "numpy"
            else f"from {module} import {', '.join(sorted(names))}"
            for module, names in sorted(self._names.items())
        ]
        return "\n".join(lines)

    def write(self, value):
        for name, held in self.held.items():
            if value is held and held is not None:
                return name
        if isinstance(value, np.generic):
            value = value.item()
        if isinstance(value, str):
            return repr(value) if {"'", '"'} & set(value) else f'"{repr(value)[1:-1]}"'
        if value is None or isinstance(value, bool | int | bytes):
            return repr(value)
        if isinstance(value, float):
            return repr(value) if np.isfinite(value) else f'float("{value}")'
        if isinstance(value, np.ndarray) and value.dtype.kind in "biufU":
            return self._call(np.array, [("", self.write(value.tolist()))])
        if isinstance(value, list):
            return _Call("[", [("", self.write(entry)) for entry in value], "]")
        if isinstance(value, tuple):
            closing = ",)" if len(value) == 1 else ")"
            return _Call("(", [("", self.write(entry)) for entry in value], closing)
        if isinstance(value, dict):
            entries = [(f"{self.write(name)}: ", self.write(v)) for name, v in value.items()]
            return _Call("{", entries, "}")
        if isinstance(value, partial):
            options = [(f"{name}=", self.write(entry)) for name, entry in value.keywords.items()]
            parts = [("", self.write(part)) for part in (value.func, *value.args)]
            return self._call(partial, parts + options)
        if isinstance(value, slice):
            parts = (value.start, value.stop, value.step)
            return self._call(slice, [("", self.write(part)) for part in parts])
        if callable(value) and hasattr(value, "__name__"):
            return self._named(value)
        if hasattr(value, "get_params"):
            return self._estimator(value)
        raise ValueError(
            f"A {type(value).__module__}.{type(value).__qualname__} among the parameters cannot be "
            "written as code."
        )

    def _estimator(self, estimator) -> _Call:
        if self._is_inside_fit or not _is_fitted(estimator):
            return self._constructor(estimator)
        self._is_inside_fit = True  # parts of what is fitted are fitted with it
        call = self._constructor(estimator)
        self._is_inside_fit = False
        source = [name for name in ("X_source", "y_source") if name in self.held]
        call.closing += f".fit({', '.join(source)})"
        return call

    def _constructor(self, estimator) -> _Call:
        if type(estimator) is Pipeline:
            steps = [step for _, step in estimator.steps]
            usual = make_pipeline(*steps)
            is_usual = [name for name, _ in usual.steps] == [name for name, _ in estimator.steps]
            if is_usual and len(_set_parameters(estimator)) == 1:
                return self._call(make_pipeline, [("", self.write(step)) for step in steps])
        # The first parameter is written without its name, as people write it.
        first = next(iter(_signature(estimator).values()), None)
        bare = first.name if first is not None and first.kind is not first.KEYWORD_ONLY else None
        arguments = [
            ("" if name == bare else f"{name}=", self.write(value))
            for name, value in _set_parameters(estimator).items()
        ]
        return self._call(type(estimator), arguments)

    def _call(self, function, arguments) -> _Call:
        return _Call(f"{self._named(function)}(", arguments)

    def _named(self, value) -> str:
        """Return the name of a function or class, whose import is noted."""
        name, module = getattr(value, "__qualname__", ""), getattr(value, "__module__", None)
        if module == "builtins":
            return name
        if module == "numpy" or isinstance(value, np.ufunc):
            self._names.setdefault("numpy", set())
            return f"np.{value.__name__}"
        if module is None or not name.isidentifier():
            raise ValueError(
                f"The function {name or value!r} cannot be written as code, because it has no name "
                "in a module. Define it in a module."
            )
        for public in _public_modules(module, name):
            if getattr(import_module(public), name, None) is value:
                self._names.setdefault(public, set()).add(name)
                return name
        raise ValueError(
            f"{module}.{name} cannot be written as code: another object has this name there."
        )


def _is_fitted(estimator) -> bool:
    if type(estimator) is Pipeline:
        return any(_is_fitted(step) for _, step in estimator.steps)
    return any(name.endswith("_") and not name.startswith("_") for name in vars(estimator))


def _public_modules(module: str, name: str) -> list[str]:
    """Return the modules that may show a name, the one to import it from first."""
    if module.startswith("skltransfer.") and name in skltransfer.__all__:
        return ["skltransfer"]
    parts = module.split(".")
    private = [i for i, part in enumerate(parts) if part.startswith("_") and i > 0]
    return [".".join(parts[: private[0]]), module] if private else [module]


def _signature(estimator) -> dict[str, inspect.Parameter]:
    return dict(inspect.signature(type(estimator)).parameters)


def _set_parameters(estimator) -> dict[str, Any]:
    """Return the parameters that are not their defaults, in the order of the constructor."""
    parameters, signature = estimator.get_params(deep=False), _signature(estimator)
    return {
        name: parameters[name]
        for name in signature
        if name in parameters and not _is_default(parameters[name], signature[name].default)
    }


def _is_default(value, default) -> bool:
    if value is default:
        return True
    simple = bool | int | float | str | tuple | type(None)
    if not isinstance(value, simple) or type(value) is not type(default):
        return False
    return value == default or value != value and default != default

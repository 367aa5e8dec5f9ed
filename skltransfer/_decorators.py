"""scikit-learn's decorators of methods, under which type checkers see the method itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    Method = TypeVar("Method", bound=Callable[..., Any])

    def available_if(check: Callable[[Any], bool]) -> Callable[[Method], Method]: ...

    def with_callbacks(method: Method) -> Method: ...
else:
    from sklearn.callback import with_callbacks
    from sklearn.utils.metaestimators import available_if

__all__ = ["available_if", "with_callbacks"]

"""The parameter `store` of estimators: in memory, on disk, or none."""

from __future__ import annotations

import os
from difflib import get_close_matches

from skltransfer._parameters import Parameter
from skltransfer._persisted import SavedAsData, is_saved
from skltransfer._torch._disk_store import DiskFeatureStore
from skltransfer._torch._store import FeatureStore, feature_store

# Words that a user may take for a setting, and that would silently become the name of a folder.
_NO_FOLDERS = ("memory", "disk", "auto", "default", "none")


def resolve_store(store) -> FeatureStore | DiskFeatureStore | None:
    """Return the store that a parameter means: "memory", a path, a store or None."""
    if isinstance(store, str) and store == "memory":
        return feature_store
    return DiskFeatureStore(store) if isinstance(store, str | os.PathLike) else store


def _is_like_a_setting(word: str) -> bool:
    return bool(get_close_matches(word.lower(), _NO_FOLDERS, cutoff=0.8))


class StoreParameter(Parameter):
    """Parameter `store` of an estimator: "memory", the path of a folder, a store or None."""

    def __init__(self):
        super().__init__(unset=("memory", None))

    def accepts(self, value) -> bool:
        if isinstance(value, str):
            is_word = os.path.basename(value) == value
            return not is_word or bool(value) and not _is_like_a_setting(value)
        return isinstance(value, os.PathLike | FeatureStore | DiskFeatureStore)

    def check(self, name: str, value) -> None:
        """Raise an error also for a folder that cannot be a store, before any work."""
        super().check(name, value)
        resolve_store(value)

    def describe(self) -> str:
        return "a path or a FeatureStore or a DiskFeatureStore"

    def hint(self, value) -> str:
        is_word = isinstance(value, str) and value
        return f" For a folder of that name write {os.path.join('.', value)!r}." if is_word else ""


class KeepsFeatures(SavedAsData):
    """An estimator with a parameter `store`, whose folder is not written into files.

    A file is read on other computers, where the estimator would write to that path without a word.
    """

    def __getstate__(self):
        state = super().__getstate__()
        if is_saved() and isinstance(state.get("store"), str | os.PathLike | DiskFeatureStore):
            state["store"] = "memory"
        return state

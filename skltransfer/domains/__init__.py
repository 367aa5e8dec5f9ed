"""The data contract: how the data of the other domain reach the estimators that ask for them."""

from skltransfer.domains._data import DomainDataWarning
from skltransfer.domains._stacking import split_domains, stack_domains
from skltransfer.domains._wrappers import WithSource, WithTarget

__all__ = ["DomainDataWarning", "WithSource", "WithTarget", "split_domains", "stack_domains"]

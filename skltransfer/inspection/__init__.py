"""Pictures of the two domains and of the weights."""

from skltransfer.inspection._domain_shift import DomainShiftDisplay
from skltransfer.inspection._sample_weight import SampleWeightDisplay

__all__ = ["DomainShiftDisplay", "SampleWeightDisplay"]

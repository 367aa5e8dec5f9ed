"""Pictures of the two domains, of weights, of a training, and of what predictions rest on."""

from skltransfer.inspection._attribution import AttributionDisplay
from skltransfer.inspection._domain_shift import DomainShiftDisplay
from skltransfer.inspection._sample_weight import SampleWeightDisplay
from skltransfer.inspection._training import TrainingDisplay

__all__ = [
    "AttributionDisplay",
    "DomainShiftDisplay",
    "SampleWeightDisplay",
    "TrainingDisplay",
]

"""Pictures of the two domains, of the weights and of a training."""

from skltransfer.inspection._domain_shift import DomainShiftDisplay
from skltransfer.inspection._sample_weight import SampleWeightDisplay
from skltransfer.inspection._training import TrainingDisplay

__all__ = ["DomainShiftDisplay", "SampleWeightDisplay", "TrainingDisplay"]

"""Pictures of domains, weights, trainings and attributions, and accuracy under attack."""

from skltransfer.inspection._attribution import AttributionDisplay
from skltransfer.inspection._domain_shift import DomainShiftDisplay
from skltransfer.inspection._robustness import (
    AttackResult,
    RobustnessReport,
    adversarial_examples,
    robustness_report,
)
from skltransfer.inspection._sample_weight import SampleWeightDisplay
from skltransfer.inspection._training import TrainingDisplay

__all__ = [
    "AttackResult",
    "AttributionDisplay",
    "DomainShiftDisplay",
    "RobustnessReport",
    "SampleWeightDisplay",
    "TrainingDisplay",
    "adversarial_examples",
    "robustness_report",
]

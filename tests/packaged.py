"""What tests of the networks that are packages share: a mark, and sentences."""

import pytest

from skltransfer.backbones._packaged import PACKAGED, is_installed

needs_networks = pytest.mark.skipif(
    not all(map(is_installed, PACKAGED)), reason="the extra networks is not installed"
)
# Of things of two kinds; hardly a word is in two sentences.
ANIMALS = (
    "The cat sleeps. A puppy barks. Horses graze. An owl hoots at night. The lamb follows its "
    "mother. Wolves hunt together. A salmon swims upstream. Bees gather nectar. Her rabbit eats "
    "carrots. Elephants remember."
).split(". ")
MACHINES = (
    "My laptop crashed. This engine needs oil. Trains run late. Some printer jammed again. Rockets "
    "burn fuel. Our fridge hums. That drill broke. He repaired his bicycle. Turbines spin "
    "fast. Robots weld doors."
).split(". ")

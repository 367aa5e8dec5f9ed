"""Fingerprints: equal for copies, different for whatever changes the output."""

import copy

import numpy as np
import torch
from torch import nn

from skltransfer._torch._fingerprint import fingerprint


class Scaled(nn.Module):
    def __init__(self, scale=1.0, activation=None, table=None):
        super().__init__()
        self.linear = nn.Linear(3, 3)
        with torch.no_grad():
            self.linear.weight.fill_(0.5)
            self.linear.bias.fill_(0.1)
        self.scale = scale
        self.activation = activation
        self.table = table
        self.register_buffer("shift", torch.zeros(3), persistent=False)

    def forward(self, x):
        return self.linear(x) * self.scale + self.shift


def test_copies_and_modes_are_equal():
    module = Scaled()
    first = fingerprint(module)
    assert fingerprint(copy.deepcopy(module)) == first
    assert fingerprint(Scaled()) == first
    assert fingerprint(copy.deepcopy(module).train()) == fingerprint(copy.deepcopy(module).eval())
    with_function = [Scaled(activation=torch.relu), Scaled(activation=torch.relu)]
    assert fingerprint(with_function[0]) == fingerprint(with_function[1])


def test_everything_that_changes_the_output_changes_the_fingerprint():
    weights, buffer, hooked = Scaled(), Scaled(), Scaled()
    with torch.no_grad():
        weights.linear.weight[1, 2] += 1e-6
        buffer.shift[0] = 1
    hooked.register_forward_hook(lambda module, inputs, output: output + 1)
    other_hook = Scaled()
    other_hook.register_forward_hook(lambda module, inputs, output: output + 2)

    class Renamed(Scaled):
        def forward(self, x):
            return super().forward(x) - 1

    patched = Scaled()
    patched.forward = lambda x: x
    variants = [
        Scaled(),
        weights,
        buffer,
        hooked,
        other_hook,
        Renamed(),
        patched,
        Scaled().double(),
        Scaled(scale=2.0),
        Scaled(activation=torch.relu),
        Scaled(activation=lambda x: x + 1),
        Scaled(activation=lambda x: x + 2),
        Scaled(table=np.arange(3)),
        Scaled(table=np.arange(3) + 1),
        Scaled(table={"a": [1, (2, None)]}),
        Scaled(table=torch.ones(2)),
        nn.Sequential(nn.Linear(3, 3), nn.ReLU()),
        nn.Sequential(nn.Linear(3, 3), nn.GELU()),
        nn.Sequential(nn.Linear(3, 3), nn.LeakyReLU(0.1)),
        nn.Sequential(nn.Linear(3, 3), nn.LeakyReLU(0.2)),
    ]
    assert len({fingerprint(module) for module in variants}) == len(variants)


def test_values_in_a_closure_count():
    def scaled_by(factor):
        return lambda x: x * factor

    assert fingerprint(Scaled(activation=scaled_by(2))) != fingerprint(
        Scaled(activation=scaled_by(3))
    )
    assert fingerprint(Scaled(activation=scaled_by(2))) == fingerprint(
        Scaled(activation=scaled_by(2))
    )


def test_unknown_objects_are_never_equal():
    class Unpicklable:
        def __reduce__(self):
            raise TypeError

    module = Scaled(table=Unpicklable())
    assert fingerprint(module) != fingerprint(module)

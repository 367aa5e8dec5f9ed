"""Fingerprints: equal for copies, different for whatever changes the output."""

import copy
import os
import subprocess
import sys
from functools import partial

import numpy as np
import torch
from torch import nn
from torchvision.models.feature_extraction import create_feature_extractor

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


def test_unknown_objects_are_equal_to_themselves_only():
    class Unpicklable:
        def __reduce__(self):
            raise TypeError

    module = Scaled(table=Unpicklable())
    assert fingerprint(module) == fingerprint(module)
    assert fingerprint(module) != fingerprint(Scaled(table=Unpicklable()))

    class Slotted(Unpicklable):
        __slots__ = ()
        __hash__ = None

    module = Scaled(table=Slotted())
    assert fingerprint(module) == fingerprint(module)


class Holder:
    def __init__(self, factor):
        self.factor = factor

    def __call__(self, x):
        return x * self.factor

    def scale(self, x):
        return x * self.factor


def built(source, **names):
    """Return a module of a class that `source` defines."""
    names = {"nn": nn, "torch": torch, "__name__": __name__, **names}
    exec(source, names)
    return names["Net"]()


NET = """
class Net(nn.Module):
    {attribute}
    def forward(self, x, k={default}):
        return helper(x) * self.factor * k * LIMIT
    @property
    def factor(self):
        return {factor}
    @staticmethod
    def other(x):
        return x + {static}

def helper(x):
    return x + {helper}

LIMIT = {limit}
"""
SETTINGS = {
    "attribute": "k = 1",
    "default": 1.0,
    "factor": 2.0,
    "static": 3,
    "helper": 4,
    "limit": 5,
}


def test_all_parts_of_code_count():
    variants = [SETTINGS] + [{**SETTINGS, name: f"{value}1"} for name, value in SETTINGS.items()]
    prints = [fingerprint(built(NET.format(**settings))) for settings in variants]
    assert len(set(prints)) == len(prints)
    assert fingerprint(built(NET.format(**SETTINGS))) == prints[0]


def test_counters_and_logs_do_not_count():
    source = """
class Net(nn.Module):
    calls = 0
    def forward(self, x):
        global total
        Net.calls += 1
        total += 1
        log.append(x)
        return x
total = 0
log = []
"""
    module = built(source)
    before = fingerprint(module)
    module(torch.ones(1))
    assert type(module).calls == 1
    assert fingerprint(module) == before


def test_neighbouring_values_do_not_run_into_each_other():
    relu, linear = nn.ReLU(), nn.Linear(3, 3)
    pairs = [
        ((1, 11), (11, 1)),
        ([1, 12], [11, 2]),
        ({"a": [1, 2]}, {"a": [12]}),
        (["x", "y"], ["x''y"]),
        ([1, [2]], [[1], 2]),
        ([torch.ones(2, 3)], [torch.ones(3, 2)]),
        (1, 1.0),
        (1, "1"),
        (Holder(1).scale, Holder(2).scale),
        (Holder(1), Holder(2)),
        (partial(max, 1), partial(max, 2)),
        (partial(lambda x, s: x * s, s=2.0), partial(lambda x, s: x * s, s=3.0)),
        ({"a", "b"}, {"ab"}),
        ([linear], [nn.Linear(3, 3)]),
    ]
    for first, second in pairs:
        module = Scaled(table=first)
        assert fingerprint(module) == fingerprint(copy.deepcopy(module))
        assert fingerprint(module) != fingerprint(Scaled(table=second)), first
    twice, once = nn.Sequential(linear, relu, linear, relu), nn.Sequential(linear, relu, linear)
    assert fingerprint(twice) != fingerprint(once)


def test_private_settings_count():
    first, second = Scaled(), Scaled()
    first._width, second._width = 1, 2
    assert fingerprint(first) != fingerprint(second)


def test_cycles_come_to_an_end():
    module = Scaled()
    module.table = {"self": module, "loop": []}
    module.table["loop"].append(module.table["loop"])
    module.step = module.forward
    assert fingerprint(module) == fingerprint(module)


def test_the_same_in_every_process():
    """A set in a constant has another order under another hash seed."""
    code = """
import torch
from torch import nn
from skltransfer._torch._fingerprint import fingerprint
class Net(nn.Module):
    kinds = {"avg", "max", "cls"}
    def forward(self, x):
        return x if self.mode in {"avg", "max", "cls", "grid"} else -x
net = Net()
net.mode, net.names = "avg", frozenset(["a", "b", "c", "d"])
print(fingerprint(net))
"""
    prints = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": str(seed)},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in (1, 2, 3)
    }
    assert len(prints) == 1


def test_modules_made_by_torch_fx_are_told_apart():
    module = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 3)).eval()
    first, second = (create_feature_extractor(module, {name: "out"}) for name in ("0", "1"))
    assert fingerprint(first) == fingerprint(copy.deepcopy(first))
    assert fingerprint(first) != fingerprint(second)


def test_copies_of_recurrent_and_hooked_modules_are_equal():
    lstm = nn.LSTM(3, 4)
    assert fingerprint(lstm) == fingerprint(copy.deepcopy(lstm))
    hooked = [Scaled(), Scaled()]
    for module in hooked:  # the keys of hooks count up over the process
        module.register_forward_hook(torch.relu)
    assert fingerprint(hooked[0]) == fingerprint(hooked[1])

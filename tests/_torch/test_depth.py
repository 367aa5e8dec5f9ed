"""The depth map against which stage's output depends on which parameter; freezing."""

import numpy as np
import pytest
import torch
from torch import nn

from skltransfer._networks._built import copy_network
from skltransfer._torch._depth import Freezing, map_depth
from skltransfer._torch._rows import ImageArrayRows
from skltransfer.backbones import load_backbone
from skltransfer.backbones._extractors import extractor

# Of each kind of network one that is quick to build.
NETWORKS = {
    "tiny": 32,
    "resnet18": 64,
    "mobilenet_v3_small": 64,
    "squeezenet1_0": 64,
    "swin_t": 64,
    "googlenet": 64,
}


def build(name, size, layers=None):
    record = load_backbone(name, None)
    images = np.random.default_rng(0).integers(0, 256, (2, size, size, 3)).astype(np.uint8)
    rows = ImageArrayRows(images)
    source = extractor(record, layers=layers, input_size=size, device="cpu", precision="float32")
    built = copy_network(record, rows, source)
    return built, built.network.entered(rows.batch([0, 1], source.preprocessing))


def depends_on(output, parameters):
    torch.manual_seed(0)
    gradients = torch.autograd.grad(
        (output * torch.randn_like(output)).sum(), parameters, allow_unused=True, retain_graph=True
    )
    return [gradient is not None for gradient in gradients]


@pytest.mark.parametrize("name", NETWORKS)
def test_stages_are_what_the_outputs_of_stages_depend_on(name):
    """A stage's output depends on the parameters of this and shallower stages, and on no others.

    That is read off the graph of autograd, which knows nothing of stages.
    """
    built, x = build(name, NETWORKS[name])
    module, depth = built.backbone, built.depth
    names, parameters = zip(*module.named_parameters(), strict=True)
    stage_of = {}
    for stage, group in enumerate(depth.parameters(module)):
        assert group, depth.stages[stage]
        stage_of |= {id(p): stage for p in group}
    outputs, parts = {}, dict(module.named_modules())
    for stage in depth.stages:
        if stage in parts:
            parts[stage].register_forward_hook(
                lambda _m, _i, output, stage=stage: outputs.__setitem__(stage, output.clone())
            )
    with torch.random.fork_rng():
        module(x)
        features = built.network.features(x)
        for number, stage in enumerate(depth.stages[:-1]):
            used = depends_on(outputs[stage], parameters)
            for p, given, is_used in zip(parameters, names, used, strict=True):
                assert is_used == (stage_of.get(id(p), np.inf) <= number), (stage, given)
        used = depends_on(features, parameters)
    for p, given, is_used in zip(parameters, names, used, strict=True):
        assert is_used == (id(p) in stage_of), given
    assert set(depth.unused) == {n for n, is_used in zip(names, used, strict=True) if not is_used}


def test_the_old_output_layer_is_no_stage():
    built, _ = build("resnet18", 64)
    assert built.depth.stages == ("relu", "layer1", "layer2", "layer3", "layer4")
    assert set(built.depth.unused) == {"fc.weight", "fc.bias"}


def test_layers_that_come_after_the_features_are_no_stage():
    built, _ = build("resnet18", 64, layers=["layer2"])
    assert built.depth.stages == ("relu", "layer1", "layer2")


class Odd(nn.Module):
    """Parts defined in another order than they are called in, one without a name among stages."""

    def __init__(self):
        super().__init__()
        self.last = nn.Linear(4, 4)
        self.scale = nn.Parameter(torch.ones(4))
        self.first = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5))
        self.norm = nn.LayerNorm(4)
        self.between = nn.Linear(4, 4)

    def forward(self, x):
        x = self.between(self.first(x * self.scale[:3])).tanh()
        return self.norm(self.last(x))


def odd(stages=("first", "last", "norm")):
    module = Odd().eval()
    return module, map_depth(module, stages, torch.zeros(2, 3))


def test_stages_follow_the_order_of_calls():
    module, depth = odd()
    assert depth.stages == ("first", "last")  # a stage of norms alone joins the one before
    stages = {id(p): s for s, ps in enumerate(depth.parameters(module)) for p in ps}
    found = {name: stages[id(p)] for name, p in module.named_parameters()}
    assert found == {
        "scale": 0,
        "first.0.weight": 0,
        "first.0.bias": 0,
        "first.1.weight": 0,
        "first.1.bias": 0,
        "between.weight": 1,
        "between.bias": 1,
        "last.weight": 1,
        "last.bias": 1,
        "norm.weight": 1,
        "norm.bias": 1,
    }


def test_without_stages_the_network_is_one():
    module, depth = odd(stages=())
    assert depth.stages == ("network",)
    assert len(depth.parameters(module)[0]) == len(list(module.parameters()))


def test_a_shared_parameter_belongs_to_its_first_stage():
    module, _ = odd()
    module.last.weight = module.between.weight = nn.Parameter(torch.eye(4))
    depth = map_depth(module, ("first", "last"), torch.zeros(2, 3))
    groups = depth.parameters(module)
    assert sum(len(group) for group in groups) == len(list(module.parameters()))


def test_hooks_are_gone_and_nothing_has_moved():
    module, _ = odd()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    map_depth(module, ("first",), torch.ones(2, 3))
    for part in module.modules():
        assert not part._forward_hooks and not part._forward_pre_hooks
        assert not part.training
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


@pytest.mark.parametrize("n_trained", [0, 1, 2])
def test_frozen_parts_are_in_evaluation_mode(n_trained):
    module, depth = odd()
    Freezing(module, module, depth, n_trained).apply(module, 0)
    # Norms and dropout of a frozen stage neither learn nor draw.
    for part in (module.first, *module.first):
        assert part.training == (n_trained == 2)
    for part in (module.last, module.between, module.norm):
        assert part.training == (n_trained >= 1)
    for stage, group in enumerate(depth.parameters(module)):
        assert all(p.requires_grad == (stage >= 2 - n_trained) for p in group)


def test_gradual_unfreezing_adds_a_stage_every_so_many_epochs():
    module, depth = odd()
    freezing = Freezing(module, module, depth, n_trained=2, epochs_per_stage=3)
    assert [freezing.first_trained(epoch) for epoch in range(9)] == [2, 2, 2, 1, 1, 1, 0, 0, 0]
    freezing = Freezing(module, module, depth, n_trained=1, epochs_per_stage=1)
    assert [freezing.first_trained(epoch) for epoch in range(4)] == [2, 1, 1, 1]
    for epoch in (0, 1, 0):
        freezing.apply(module, epoch)
        assert module.last.training == module.last.weight.requires_grad == (epoch == 1)

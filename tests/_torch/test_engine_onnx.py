"""Graphs for engines: the same numbers, with products in place of small convolutions."""

import numpy as np
import onnx
import pytest
import torch
from onnx.reference import ReferenceEvaluator
from torch import nn

from skltransfer._torch._engine_onnx import feature_graph
from tests.exports import share_operators

share_operators()


def conv(*arguments, **settings):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Conv2d(*arguments, **settings).eval()


@pytest.mark.parametrize(
    ("module", "size", "is_product"),
    [
        (conv(4, 5, 3, padding=1), (2, 2), True),
        (conv(4, 5, 3, padding=1, bias=False), (1, 1), True),
        (conv(4, 5, 3, padding=(1, 0), stride=(1, 2)), (1, 4), True),
        (conv(4, 5, (5, 3), padding=(4, 2), dilation=(2, 2)), (2, 1), True),
        (conv(4, 5, 5, stride=3, padding=2), (4, 3), True),
        (conv(4, 5, 1), (1, 1), True),
        (conv(4, 5, 3, padding=1), (4, 4), False),
        (conv(4, 5, 1), (2, 2), False),
        (conv(4, 4, 3, padding=1, groups=2), (2, 2), False),
    ],
    ids=lambda v: f"{v.kernel_size}" if isinstance(v, nn.Module) else str(v),
)
def test_small_convolutions_become_products_with_the_same_result(module, size, is_product):
    x = torch.randn(3, 4, *size, generator=torch.Generator().manual_seed(1))
    model = onnx.load_from_string(feature_graph(module, x, None))
    onnx.checker.check_model(model, full_check=True)
    kinds = [node.op_type for node in model.graph.node]
    assert ("Gemm" in kinds) == is_product
    assert ("Conv" in kinds) != is_product
    with torch.no_grad():
        expected = module(x).numpy()
    (found,) = ReferenceEvaluator(model).run(None, {"x": x.numpy()})
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_a_weight_that_two_convolutions_share_stays_for_the_other():
    class Shared(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = conv(4, 4, 3, padding=1)

        def forward(self, x):
            return self.conv(nn.functional.avg_pool2d(self.conv(x), 4)).flatten(1)

    module, x = Shared().eval(), torch.ones(2, 4, 8, 8)
    model = onnx.load_from_string(feature_graph(module, x, None))
    onnx.checker.check_model(model, full_check=True)
    assert {"Gemm", "Conv"} <= {node.op_type for node in model.graph.node}
    with torch.no_grad():
        expected = module(x).numpy()
    (found,) = ReferenceEvaluator(model).run(None, {"x": x.numpy()})
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)

"""What an export to ONNX does anew each time, done once for all tests."""

from functools import cache


def share_operators() -> None:
    """Keep torch's table of ONNX operators, whose making takes half of a small export."""
    try:
        from torch.onnx._internal.exporter._registration import ONNXRegistry
    except ImportError:  # onnxscript is absent, or torch has it elsewhere
        return
    ONNXRegistry.from_torchlib = staticmethod(cache(ONNXRegistry.from_torchlib))

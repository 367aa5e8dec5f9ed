"""A feature network as an ONNX graph of one batch shape, which engines run."""

from __future__ import annotations

import warnings

import numpy as np
import torch

OPSET = 18


def onnx_model(program, inputs: list[str], outputs: list[str], axes):
    """Return a program of torch.export as an ONNX model; `axes` may have any length."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on what torch and onnxscript are about to change
        return torch.onnx.export(
            program,
            input_names=inputs,
            output_names=outputs,
            dynamic_shapes=axes,
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        ).model_proto


def feature_graph(network: torch.nn.Module, x: torch.Tensor, max_length: int | None) -> bytes:
    """Return the ONNX model of a network for batches of one shape, serialised.

    Parameters
    ----------
    network : FeatureNetwork
        On the CPU, in float32; it is traced, and no other thread may run it meanwhile.
    x : Tensor
        A batch. All batches have its shape, but for the length of texts.
    max_length : int or None
        Largest length of a text in tokens, the last axis of `x`; None if `x` is no text.
    """
    axes = None if max_length is None else ({2: torch.export.Dim("length", max=max_length)},)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on what torch is about to change
        program = torch.export.export(network, (x,), dynamic_shapes=axes)
        model = onnx_model(program, ["x"], ["features"], axes)
    _small_maps_as_products(model)
    return model.SerializeToString()


def _small_maps_as_products(model) -> None:
    """Write convolutions over maps as small as their kernel as matrix products, in place.

    Kernels for convolutions fill registers with neighbouring pixels of one image, of which there
    are too few here; a product takes the rows of the batch instead. (ResNet-18 at 64 pixels ends in
    maps of 2 x 2, on which both engines spend half of their time.)
    """
    from onnx import helper, numpy_helper

    graph = model.graph
    shapes = {
        value.name: [d.dim_value for d in value.type.tensor_type.shape.dim]
        for value in (*graph.input, *graph.value_info, *graph.output)
    }
    constants = {tensor.name: tensor for tensor in graph.initializer}
    nodes = []
    for node in graph.node:
        before, after = (shapes.get(name, ()) for name in (*node.input[:1], *node.output[:1]))
        settings = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        if (
            node.op_type != "Conv"
            or len(before) != 4
            or len(after) != 4
            or not all((*before, *after))
            or settings.get("group", 1) != 1
            or settings.get("auto_pad", b"NOTSET") != b"NOTSET"
            or any(name and name not in constants for name in node.input[1:])
        ):
            nodes.append(node)
            continue
        weight = constants[node.input[1]]
        if np.prod(before[2:]) * np.prod(after[2:]) > 2 * np.prod(weight.dims[2:]):
            nodes.append(node)
            continue
        dense = _dense(numpy_helper.to_array(weight), before, after, settings)
        bias = np.zeros(after[1], np.float32)
        if len(node.input) == 3:
            bias = numpy_helper.to_array(constants[node.input[2]])
        name = f"{node.output[0]}_product"
        for part, array in {
            "weight": dense,
            "bias": np.repeat(bias, after[2] * after[3]),
            "before": np.array([before[0], -1]),
            "after": np.array(after),
        }.items():
            graph.initializer.append(numpy_helper.from_array(array, f"{name}_{part}"))
        nodes += [
            helper.make_node("Reshape", [node.input[0], f"{name}_before"], [f"{name}_rows"]),
            helper.make_node(
                "Gemm", [f"{name}_rows", f"{name}_weight", f"{name}_bias"], [f"{name}_flat"]
            ),
            helper.make_node("Reshape", [f"{name}_flat", f"{name}_after"], [node.output[0]]),
        ]
    del graph.node[:]
    graph.node.extend(nodes)
    used = {name for node in nodes for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)


def _dense(weight: np.ndarray, before: list, after: list, settings: dict) -> np.ndarray:
    """Return the matrix of a convolution, shape (values of an image before, and after)."""
    strides, dilations = (settings.get(n, [1, 1]) for n in ("strides", "dilations"))
    pads = settings.get("pads", [0, 0, 0, 0])
    dense = np.zeros((*before[1:], *after[1:]), weight.dtype)
    for y, x, i, j in np.ndindex(*before[2:], *after[2:]):
        tap = []
        for axis, (given, made) in enumerate(((y, i), (x, j))):
            offset = given + pads[axis] - made * strides[axis]
            at, rest = divmod(offset, dilations[axis])
            if rest == 0 and 0 <= at < weight.shape[2 + axis]:
                tap.append(at)
        if len(tap) == 2:
            dense[:, y, x, :, i, j] = weight[:, :, tap[0], tap[1]].T
    return dense.reshape(np.prod(before[1:]), np.prod(after[1:]))

"""Fitted estimators in files: saved as data, and exported for other runtimes."""

from skltransfer.persistence._file import load, save
from skltransfer.persistence._onnx import export_onnx
from skltransfer.persistence._torch_program import export_inputs, export_torch

__all__ = ["export_inputs", "export_onnx", "export_torch", "load", "save"]

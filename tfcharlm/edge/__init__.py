"""One step of a model as a file for small runtimes, LiteRT and ONNX. What loops over it stands in `examples/`.

Text, sampling and the loop stay outside: they are a screen of any language, and the file is matrix products and little
else. LiteRT's converter traces `model.step`, so it takes any cell. ONNX is written down from the weights, which needs
the package `onnx` and no second converter; it knows the cells that `onnx_step.py` has equations for.
"""

from tfcharlm.edge.litert import export_litert
from tfcharlm.edge.onnx_step import export_onnx

__all__ = ["export_litert", "export_onnx"]

"""The recurrences in C: the same passes as those of the pure kernels, compiled for the vectors of the processor.

The pure kernels say what is right. These are faster, and are used where a compiler was there when the package was
installed.
"""

from tfcharlm.kernels.native.library import library, native_kernels, why_not_native, why_portable
from tfcharlm.kernels.native.passes import CELLS, run

__all__ = ["CELLS", "library", "native_kernels", "run", "why_not_native", "why_portable"]

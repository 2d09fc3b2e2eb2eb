"""`tfcharlm --show-config`."""

from tfcharlm.kernels import show_config

__all__ = ["show_config"]

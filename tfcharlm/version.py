"""The version, where setup.cfg and the exported models both read it."""

__version__ = "0.1.0"

"""What all tests and doctests need."""

import os

# Before anything imports TensorFlow, which otherwise logs what the processor and the graphics card can do.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

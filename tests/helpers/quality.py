"""A text of random letters, and what a run of `benchmarks/quality.py` records about itself."""

import random

TEXT = "".join(random.Random(0).choices("abcdefg \n", weights=range(1, 10), k=2_000))
TRAINING, VALIDATION = TEXT[:1_800], TEXT[1_800:]
SETTINGS = {"corpus": "tinyshakespeare.txt", "units": 7, "layers": 1, "seed": 0, "val_loss": 1.0, "clip_norm": 1.0}
SETTINGS["val_bits_per_character"] = 1.4

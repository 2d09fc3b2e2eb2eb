"""Options of trials that take seconds."""

SMALL = {
    "layers": 1, "embedding_dim": 4, "dropout": 0.0, "cell": "rnn", "batch_size": 4, "sequence_length": 16,
    "schedule": "cosine", "clip_norm": 1.0, "learning_rate": 0.01,
}  # fmt: skip

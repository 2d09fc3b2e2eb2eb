"""A model for servers, and a client of an application without a network."""

import numpy as np
from fastapi.testclient import TestClient

import tfcharlm
from tfcharlm.serving import create_app
from tfcharlm.text import Vocabulary

LETTERS = "abcdefghijklmnop .,\n"


def make_served_model(seed=3):
    model = tfcharlm.CharLM(Vocabulary(LETTERS), [tfcharlm.LSTMCell(19)], embedding_dim=7)
    rng = np.random.default_rng(seed)
    model.set_weights([rng.normal(0, 0.8, w.shape) for w in model.get_weights()])
    return model


def make_client(model, **options):
    """A client of a server with this model under the name "letters"; it runs while the client is open."""
    return TestClient(create_app({"letters": model}, **options), base_url="http://localhost")

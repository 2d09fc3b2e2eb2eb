"""Serves models over HTTP with OpenAI's completions protocol. It needs the extra `serve`."""

from tfcharlm.serving.addresses import check_address, listening_socket
from tfcharlm.serving.app import create_app
from tfcharlm.serving.engine import Engine, QueueFullError, Ticket
from tfcharlm.serving.requests import Piece, TextRequest, TokenScore
from tfcharlm.serving.server import run

__all__ = [
    "Engine",
    "Piece",
    "QueueFullError",
    "TextRequest",
    "Ticket",
    "TokenScore",
    "check_address",
    "create_app",
    "listening_socket",
    "run",
]

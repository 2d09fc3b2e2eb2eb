"""Where a server listens. It needs no TensorFlow."""

import contextlib
import socket

LOOPBACK = ("127.0.0.1", "localhost", "::1")


def check_address(host: str, api_key: str | None) -> None:
    """Checks that only this machine can reach a server without a key.

    Args:
        host: the address to listen on.
        api_key: the key, or None.

    Raises:
        ValueError: other machines can reach the address, and no key is given. Or the key is too short.

    Example:

    >>> from tfcharlm.serving import check_address
    >>> check_address("127.0.0.1", None)
    """
    if api_key is None and host not in LOOPBACK:
        raise ValueError(
            f"--host {host} lets other machines in, which needs a key; give --api-key KEY, or set TFCHARLM_API_KEY."
        )
    if api_key is not None and (len(api_key) < 8 or not api_key.isascii() or not api_key.isprintable()):
        raise ValueError("the API key must have 8 or more printable ASCII characters.")


def listening_socket(host: str, port: int) -> socket.socket:
    """A socket that listens; a port that is taken is found before the models are compiled.

    Raises:
        ValueError: the address cannot be used.
    """
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with contextlib.ExitStack() as on_error:
            listening = on_error.enter_context(socket.socket(family))
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(address)
            listening.listen(2048)
            on_error.pop_all()
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ValueError(f"--host {host} --port {port} cannot be used: {reason}; give another port.") from error
    return listening

"""The role of this process in a search on several machines, as Keras Tuner's environment variables give it."""

import os
import re

from tfcharlm.training import parse_address

VARIABLES = ("KERASTUNER_TUNER_ID", "KERASTUNER_ORACLE_IP", "KERASTUNER_ORACLE_PORT")
CHIEF = "chief"


def role_from_environment() -> str | None:
    """The role that Keras Tuner's environment variables give this process.

    A launcher sets the variables, or a chief that starts its workers on this machine. An id that begins with "chief"
    is the chief's. Keras Tuner takes every id with "chief" in it for one, such as "mischief"; here that is an error.

    Returns:
        "chief", the id of a worker, or None if the variables are not set.

    Raises:
        ValueError: only some of the variables are set, or one of them cannot be right.

    Example:

    >>> from tfcharlm.tuning import role_from_environment
    >>> print(role_from_environment())
    None
    """
    given = {name: os.environ[name] for name in VARIABLES if name in os.environ}
    if not given:
        return None
    if len(given) < len(VARIABLES):
        received = " ".join(f"{name}={value:.40}" for name, value in given.items())
        raise ValueError(
            f"a search on several machines needs {', '.join(VARIABLES)}, such as worker0, 10.0.0.1 and 8000; "
            f"received {received!r:.120}."
        )
    chief_address()
    name = given[VARIABLES[0]]
    if not re.fullmatch(r"[\w.:@+-]{1,100}", name, re.ASCII):
        raise ValueError(
            f"{VARIABLES[0]} must be a name of letters, digits and .:@+-, such as worker0; received {name!r:.80}."
        )
    if CHIEF in name and not name.startswith(CHIEF):
        raise ValueError(
            f"{VARIABLES[0]} must be {CHIEF}, or the id of a worker without the word {CHIEF}, such as worker0; "
            f"received {name!r}."
        )
    return CHIEF if name.startswith(CHIEF) else name


def chief_address() -> tuple[str, int]:
    """The host and the port of the chief, from the environment.

    Raises:
        ValueError: they are not an address.
    """
    host, port = os.environ[VARIABLES[1]], os.environ[VARIABLES[2]]
    bracketed = f"[{host}]" if ":" in host and not host.startswith("[") else host
    try:
        return parse_address(f"{bracketed}:{port}")
    except ValueError:
        pass
    try:
        parse_address(f"{bracketed}:1")
    except ValueError:
        raise ValueError(
            f"{VARIABLES[1]} must be the address of the chief, such as 10.0.0.1 or host0; received {host!r:.80}."
        ) from None
    raise ValueError(f"{VARIABLES[2]} must be a port from 1 to 65535, such as 8000; received {port!r:.40}.")

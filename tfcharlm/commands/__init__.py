"""What the commands of the command line do. A command is a function here, and its options are in `tfcharlm/cli`.

Nothing is imported here: a command imports only what it needs.
"""

__all__: list[str] = []

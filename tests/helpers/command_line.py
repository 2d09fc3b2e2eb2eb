"""The command line without a process: what click makes of arguments, and the commands that pages show."""

import re
import shlex
import sys

from tfcharlm import cli
from tfcharlm.commands import train as train_command

# A text that a model of the command line learns in seconds.
BARN = "".join(
    f"the {size} {animal} said {word} to the {other}\n"
    for size in ("big", "old", "red")
    for animal in ("cat", "dog", "hen", "fox")
    for word in ("yes", "no", "why")
    for other in ("cow", "pig", "owl")
)
# The command in a process of its own, in which warnings are errors, except those of Keras about the future of NumPy.
COMMAND = [sys.executable, "-W", "error", "-W", "ignore::DeprecationWarning", "-m", "tfcharlm_command"]
SMALL = ["--units", "16", "--batch-size", "4", "--sequence-length", "16"]


def parsed(arguments):
    """The context of a command line, in which click has found nothing wrong."""
    group, names = cli.commands, list(arguments)
    while hasattr(group, "commands"):
        name = names.pop(0)
        group = group.commands[name]
    return group.make_context(name, names)


def shell_commands(text):
    """The lines in the `sh` blocks of a page of Markdown, as lists of words, without variables before the program."""
    blocks = re.findall(r"^```sh\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    lines = [line for block in blocks for line in whole_lines(block.replace("\\\n", " "))]
    commands = [shlex.split(line.rstrip("& "), comments=True) for line in lines]
    commands = [command[next((i for i, word in enumerate(command) if "=" not in word), 0) :] for command in commands]
    return [command for command in commands if command]


def whole_lines(block):
    """The lines of a block; a text in quotation marks may go over several."""
    whole = ""
    for line in block.splitlines():
        whole += line
        if re.sub(r"'[^']*'|\"[^\"]*\"|#.*", "", whole).count("'") == 0:
            yield whole
            whole = ""
    assert not whole, whole


def interrupt_at_evaluation(monkeypatch, count):
    """Presses Ctrl-C in the place of printing an evaluation, the `count`-th from now on; returns all their numbers."""
    print_evaluation, numbers = train_command._print_evaluation, []

    def interrupt(console, evaluation, number, *others):
        numbers.append(number)
        if len(numbers) == count:
            raise KeyboardInterrupt
        print_evaluation(console, evaluation, number, *others)

    monkeypatch.setattr("tfcharlm.commands.train._print_evaluation", interrupt)
    return numbers

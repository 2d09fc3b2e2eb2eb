"""Options of the command line follow from the fields of `TrainingConfig`, and errors have the names of options."""

import re

import click
import pytest
import tensorflow as tf
from helpers.command_line import parsed

from tfcharlm import cli
from tfcharlm.checks import Bounds
from tfcharlm.cli import UserError
from tfcharlm.cli.errors import FLAGS, WORDS
from tfcharlm.cli.shared import as_options
from tfcharlm.commands.errors import one_line_errors
from tfcharlm.model import WorkerLostError
from tfcharlm.training import BUDGETS, OPTIONS, SEARCHED_AROUND, SUGGESTED, TUNABLE, TrainingConfig
from tfcharlm.tuning import SEARCHED


def options_of(command):
    return {parameter.name: parameter for parameter in command.params if isinstance(parameter, click.Option)}


TRAIN, TUNE = options_of(cli.train.train), options_of(cli.tune.tune)


@pytest.mark.parametrize("name", OPTIONS)
def test_every_field_is_an_option_of_train(name):
    """Its name, its type, its help text and its default are those of the field."""
    option, field = TRAIN[name], OPTIONS[name]
    flag, values = "--" + name.replace("_", "-"), field.metadata["values"]
    text = field.metadata["help"]
    assert option.help.startswith(f"{text[0].upper()}{text[1:]}.")
    if values is None:
        assert (option.opts, option.secondary_opts) == ([flag], [f"--no-{flag[2:]}"]) and option.is_flag
    else:
        assert option.opts == [flag]
    if isinstance(values, list):
        assert list(option.type.choices) == values
    elif values is not None:
        assert option.type is (click.INT if values.whole else click.FLOAT)
    if name in TUNABLE:
        otherwise = f"suited to --minutes, else {field.default}" if name in SUGGESTED else str(field.default).lower()
        assert option.default is None and option.help.endswith(f"[default: {otherwise}]")
    else:
        assert option.default == field.default


@pytest.mark.parametrize("name", TUNABLE)
def test_every_option_of_a_model_is_one_of_tune(name):
    """One value fixes it, several are searched; the help shows a value and what happens without one."""
    default = getattr(TrainingConfig, name)
    text = str(default).lower()
    assert TUNE[name].opts == ["--" + name.replace("_", "-")]
    around, fixed = ("searched" if name in names else text for names in (SEARCHED_AROUND, SEARCHED))
    assert TUNE[name].help.endswith(f"[default: {f'{around} with --minutes, else ' * (around != fixed)}{fixed}]")
    context = parsed(["tune", "text.txt", "--name", "x", TUNE[name].opts[0], f"{text},{text}"])
    assert context.params[name] == [default, default]
    assert all(type(value) is type(default) for value in context.params[name])


@pytest.mark.parametrize("name", ["level", "validation_fraction", "seed"])
def test_what_all_trials_share_is_an_option_of_tune_with_its_default(name):
    assert TUNE[name].default == getattr(TrainingConfig, name)
    assert TUNE[name].type.to_info_dict() == TRAIN[name].type.to_info_dict()


def test_what_is_not_typed_leaves_the_defaults_of_a_configuration():
    given = {k: v for k, v in parsed(["train", "x.txt", "--steps", "5", "--name", "x"]).params.items() if v is not None}
    assert TrainingConfig(**{k: v for k, v in given.items() if k in OPTIONS}) == TrainingConfig(steps=5)


def test_settings_are_typed_as_they_are_read():
    config = TrainingConfig(
        steps=7, units=9, cell="rnn", dropout=0.25, skip_connections=True, random_start=False, unigram_output_bias=False
    )
    changed = {k: v for k, v in vars(config).items() if v != getattr(TrainingConfig, k)}
    line = as_options(changed)
    assert "--skip-connections" in line and "--no-random-start" in line and "--no-unigram-output-bias" in line
    given = parsed(["train", "x.txt", "--name", "x", *line.split()]).params
    assert {k: v for k, v in given.items() if k in OPTIONS and v is not None} == changed | {
        k: getattr(TrainingConfig, k) for k in ("level", "validation_fraction", "seed")
    }


def test_every_bound_is_checked_by_the_configuration_and_named_as_it_is_typed(command, tmp_path):
    (tmp_path / "text.txt").write_text("to be or not to be\n" * 9)
    for name, field in OPTIONS.items():
        if isinstance(field.metadata["values"], Bounds):
            flag = FLAGS[name]
            budget = [] if name in BUDGETS else ["--steps", 5]
            status, _, error = command("train", "text.txt", "--name", "x", *budget, flag, -1)
            assert status == 2 and error.startswith(f"tfcharlm: {flag} must be {field.metadata['values']}; received -1")


def test_errors_have_the_names_of_options():
    # Except for names that errors use as words.
    assert set(OPTIONS) - set(FLAGS) == {"cell", "level"} < set(WORDS)
    with pytest.raises(UserError) as error, one_line_errors():
        raise ValueError("batch_size must be 1,\n not units/steps; received batch_size=0, max_length=-1 and a cell.")
    expected = "--batch-size must be 1, not units/steps; received --batch-size 0, --length -1 and a cell."
    assert error.value.format_message() == expected
    with (
        pytest.raises(UserError, match=r"^give --lines or --join, not --separator 'q', for lines\.$"),
        one_line_errors(),
    ):
        raise ValueError("give lines=True or join=True, not separator='q', for lines.")


@pytest.mark.parametrize(
    "error",
    [WorkerLostError(), tf.errors.UnavailableError(None, None, "Socket closed"), ValueError("TF_CONFIG must be JSON")],
    ids=lambda error: type(error).__name__,
)
def test_a_launcher_can_tell_a_lost_worker_from_a_wrong_option(error, command, monkeypatch):
    """Also before training begins. Started again, the same command can succeed."""

    def join_cluster():
        raise error

    monkeypatch.setattr("tfcharlm.commands.train.join_cluster", join_cluster)
    status, output, message = command("train", "text.txt", "--steps", 5, "--name", "x")
    wrong = isinstance(error, ValueError)
    assert (status, output, message.count("\n")) == (2 if wrong else 1, "", 1)
    assert message == f"tfcharlm: {error}\n" if wrong else "another worker does not answer" in message


@pytest.mark.parametrize("name", ["train", "tune", "sample", "score", "inspect", "plot"])
def test_help_names_every_option(command, name):
    status, output, error = command(name, "--help")
    assert (status, error) == (0, "")
    for parameter in cli.commands.commands[name].params:
        for flag in parameter.opts if isinstance(parameter, click.Option) else []:
            assert re.search(rf"(^|[\s,]){re.escape(flag)}\b", output), flag


LONG = "x" * 100_000


@pytest.mark.parametrize(
    "arguments",
    [["train", LONG], ["train", "corpus", "--cell", LONG], ["sample", LONG], ["score", "names", "--text", LONG],
     ["inspect", "a/" * 10_000], ["plot", "curve", LONG], ["tune", LONG, "--tuner", LONG], [LONG]],
    ids=lambda arguments: " ".join(argument[:10] for argument in arguments),
)  # fmt: skip
def test_every_error_is_one_line_of_at_most_300_characters(command, arguments):
    if arguments[0] == "score":
        arguments[-1] += "\U0001f600"  # a character that the model does not know
    status, _, error = command(*arguments)
    assert status == 2 and error.startswith("tfcharlm: ")
    assert error.count("\n") == 1 and len(error) <= 301

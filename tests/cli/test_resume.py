"""`tfcharlm train --resume`: an interrupted run ends as if it had not been interrupted."""

import functools
import itertools
import json
import os
import re
import signal
import subprocess
import types

import numpy as np
import pytest
from helpers.command_line import BARN, COMMAND, SMALL, interrupt_at_evaluation
from helpers.processes import environment

import tfcharlm
from tfcharlm.commands import train as train_command
from tfcharlm.text import TextSplit
from tfcharlm.training import StepTiming, planning, suggest_config


@pytest.mark.slow
def test_an_interruption_keeps_the_best_model_so_far(command, barn, monkeypatch, tmp_path, without_samples):
    """By real signals: one after the first evaluation, and one more while the model is being saved."""
    print_evaluation, export = train_command._print_evaluation, train_command.export_saved_model

    def interrupt_then(function, *arguments):
        os.kill(os.getpid(), signal.SIGINT)
        return function(*arguments)

    interrupted = functools.partial(interrupt_then, print_evaluation)
    monkeypatch.setattr("tfcharlm.commands.train._print_evaluation", interrupted)
    monkeypatch.setattr("tfcharlm.commands.train.export_saved_model", functools.partial(interrupt_then, export))
    status, output, error = command("train", "barn.txt", "--epochs", 200, "--name", "barn", "--cell", "rnn", *SMALL)
    assert (status, error) == (130, "")
    assert "Interrupted; saving the best model so far." in output and "Model: saved_models/barn/1\n" in output
    check_interrupted(tmp_path / "saved_models" / "barn")


def check_interrupted(directory):
    model = tfcharlm.load_model(directory)
    logits, _ = model.step(model.vocabulary.encode("the")[None], model.initial_state(1))
    assert np.isfinite(logits).all()
    assert not list(directory.glob("*partial*"))


@pytest.mark.slow
def test_an_interruption_of_a_process_keeps_the_best_model_so_far(barn, tmp_path):
    command = [
        *COMMAND,
        "train",
        "barn.txt",
        "--epochs",
        "200",
        "--name",
        "barn",
        *SMALL,
    ]
    process = subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=environment(PYTHONUNBUFFERED="1"),
    )  # fmt: skip
    for line in process.stdout:
        if "validation" in line or "Interrupted" in line:
            process.send_signal(signal.SIGINT)  # and once more while the model is being saved
        if "Interrupted" in line:
            break
    output, error = process.communicate(timeout=60)
    assert (process.returncode, error) == (130, "")
    assert "Model: saved_models/barn/1" in output
    check_interrupted(tmp_path / "saved_models" / "barn")


def test_a_run_resumes_where_it_was_interrupted(command, barn, monkeypatch, tmp_path, light_exports):
    """And nowhere else; a run that is finished is not run again."""
    run = ["train", "barn.txt", *SMALL, "--cell", "rnn", "--steps", 12, "--checkpoint-seconds", 1e-6]
    status, output, _ = command(*run, "--name", "whole", "--resume")
    assert status == 0 and "There is no checkpoint in saved_models/whole/checkpoints; the run starts" in output
    numbers = interrupt_at_evaluation(monkeypatch, 7)
    status, output, _ = command(*run, "--name", "barn")
    assert status == 130 and "Saved at step 6; the same command with --resume continues from there." in output
    for options, message in (
        ([], "saved at step 6; type --resume"),
        (["--resume", "--units", 17], "--units was 16 and"),
    ):
        status, _, error = command(*run, "--name", "barn", *options)
        assert status == 2 and message in error and error.count("\n") == 1
    status, output, _ = command(*run, "--name", "barn", "--resume")
    assert status == 0 and "saved_models/barn/checkpoints: the run resumes after step 6." in output
    assert numbers == [*range(1, 8), *range(7, 13)]
    versions = [tmp_path / "saved_models" / name for name in ("whole/1", "barn/2")]
    for one, other in zip(*map(light_exports, versions), strict=True):
        np.testing.assert_array_equal(one, other)
    assert command(*run, "--name", "barn", "--resume")[:2] == (0, "The run is finished. Model: saved_models/barn/2\n")
    barn.write_text(BARN[::-1])
    status, _, error = command(*run, "--name", "barn", "--resume")
    assert status == 2 and "corpus_sha256 was" in error


@pytest.mark.slow
def test_minutes_choose_a_size_and_a_resumed_run_keeps_it(command, barn, monkeypatch, tmp_path, light_exports):
    """On a machine that is found to be faster when the run resumes, by a clock that advances by 50 ms at every look."""
    clock = itertools.count(1000.0, 0.05)
    monkeypatch.setattr("tfcharlm.model.replicas.time", types.SimpleNamespace(monotonic=lambda: next(clock)))
    on_step, calls = train_command.RunProgress.on_step, []

    def interrupt(*arguments):
        calls.append(arguments)
        if len(calls) == 3:
            raise KeyboardInterrupt
        on_step(*arguments)

    monkeypatch.setattr("tfcharlm.commands.progress.RunProgress.on_step", interrupt)
    given = ["--cell", "rnn", "--layers", 2, "--weight-drop", 0.25, "--level", "word"]
    command_line = ["train", "barn.txt", "--minutes", 0.1, "--name", "barn", "--checkpoint-seconds", 1e-6, *given]
    outputs = []
    for speed, options, expected in [(1e7, [], 130), (5e12, ["--resume"], 0)]:
        monkeypatch.setattr(planning, "measured_speed", lambda speed=speed: speed)
        status, output, _ = command(*command_line, *options)
        assert status == expected
        outputs.append(output)
    assert "the run resumes after step" in outputs[1]
    split = TextSplit.from_text(BARN, level="word")
    sizes = {"tokens": len(split.train_ids), "vocabulary_size": len(split.vocabulary), "layers": 2, "cell": "rnn"}
    sizes["characters"] = split.train_characters
    suggested = suggest_config(6, 1e7, **sizes) | {"weight_drop": 0.25}
    assert suggested["dropout"] != suggest_config(6, 5e12, **sizes)["dropout"]
    for output in outputs:
        assert f"Chosen to suit the time: --units {suggested['units']} " in output
    training = json.loads((tmp_path / "saved_models/barn/2/assets.extra/training.json").read_text())
    assert suggested.items() <= training.items() and training["layers"] == 2


@pytest.mark.slow
def test_a_resumed_run_keeps_the_size_that_was_chosen_again(command, barn, monkeypatch, tmp_path, light_exports):
    """Steps that take much longer than planned; they are not timed when the run resumes."""
    clock = itertools.count(1000.0, 0.05)
    monkeypatch.setattr("tfcharlm.model.replicas.time", types.SimpleNamespace(monotonic=lambda: next(clock)))
    monkeypatch.setattr(planning, "SHORTEST_TRIED", 0)
    monkeypatch.setattr(planning, "measured_speed", lambda: 1e12)
    on_step, fractions = train_command.RunProgress.on_step, []

    def interrupt(progress, fraction):
        fractions.append(fraction)
        if len(fractions) == 9:
            raise KeyboardInterrupt
        on_step(progress, fraction)

    monkeypatch.setattr("tfcharlm.commands.progress.RunProgress.on_step", interrupt)
    timed, outputs = [], []
    monkeypatch.setattr(planning, "time_steps", lambda *_: timed.append(1) or StepTiming(0.1, 5.0, 0.625))
    command_line = ["train", "barn.txt", "--minutes", 0.2, "--name", "barn", "--checkpoint-seconds", 1e-6]
    for options, expected in [([], 130), (["--resume"], 0)]:
        status, output, _ = command(*command_line, *options)
        assert status == expected
        outputs.append(output)
    assert len(timed) == 1
    again = r"so it was chosen again: .*--weight-drop 0\b.* \(instead of .*--weight-drop 0\.5\b.*\)\."
    assert re.search(again, outputs[0]) and "chosen again" not in outputs[1]
    assert (
        "The machine is busy: for 62% of the time, training waits for cores. There are no samples meanwhile."
        in outputs[0]
    )
    chosen = r"Chosen to suit the time: --units 32 .*--weight-drop 0\b"
    assert all(re.search(chosen, output) for output in outputs)
    assert fractions[9] >= fractions[8] and fractions[-1] == 1
    training = json.loads((tmp_path / "saved_models/barn/2/assets.extra/training.json").read_text())
    assert training["units"] == 32 and training["dropout"] == 0

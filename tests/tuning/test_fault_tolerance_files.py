"""Files of a search that are torn, zeroed or missing cost nothing that was finished."""

import contextlib
import json
import shutil

import pytest
from helpers.fake_searches import Fake
from helpers.oracles import assert_complete, begin, ended, play, values_of

from tfcharlm.tuning import search


def after_some_trials(directory, kind="random"):
    """A search with four finished trials and two that run."""
    oracle = begin(directory, kind)
    for _ in range(2):
        for worker, trial in [(worker, oracle.create_trial(worker)) for worker in ("worker0", "worker1")]:
            oracle.end_trial(ended(trial, worker))
    for worker in ("worker0", "worker1"):
        assert oracle.create_trial(worker).status == "RUNNING"
    return oracle


@pytest.mark.parametrize("kind", ["random", "hyperband"])
def test_a_torn_state_costs_nothing(tmp_path, kind, rng):
    """The newest state, cut off anywhere, and made a zero anywhere."""
    directory = tmp_path / "search"
    finished = set(after_some_trials(directory, kind).end_order)
    original = {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}
    state = original[directory / "oracle.json"]
    cuts = [0, 1, len(state) - 1, *rng.integers(2, len(state) - 1, size=20)]
    for damaged in [state[:cut] for cut in cuts] + [b"\0" * len(state), b"[]", b"{}", b"null", b'{"trials": 3}', None]:
        shutil.rmtree(directory)
        for path, content in original.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        if damaged is None:
            (directory / "oracle.json").unlink()
        else:
            (directory / "oracle.json").write_bytes(damaged)
        messages = []
        oracle = begin(directory, kind, reload=True, messages=messages)
        assert len(messages) == 1 and "\n" not in messages[0]
        assert finished <= set(oracle.end_order)
        assert_complete(play(oracle), 7)


def test_what_the_state_before_does_not_know_comes_from_the_trials(tmp_path):
    """The newest state is the first that has the end of a trial, and it is lost."""
    directory = tmp_path / "search"
    oracle = begin(directory)
    trial = oracle.create_trial("worker0")
    oracle.end_trial(ended(trial, "worker0"))
    (directory / "oracle.json").write_bytes(b"{")
    assert trial.trial_id not in json.loads((directory / "oracle.json.previous").read_bytes())["end_order"]
    oracle = begin(directory, reload=True)
    assert oracle.end_order == [trial.trial_id]
    assert_complete(play(oracle), 7)


def test_both_states_torn(tmp_path):
    directory = tmp_path / "search"
    before = after_some_trials(directory)
    for name in ("oracle.json", "oracle.json.previous"):
        (directory / name).write_bytes(b'{"trials": ')
    messages = []
    oracle = begin(directory, reload=True, messages=messages)
    assert oracle.end_order == before.end_order
    assert messages == ["oracle.json and oracle.json.previous were damaged: 4 finished trials were recovered."]
    oracle = play(oracle)
    assert_complete(oracle, 7)
    assert values_of(oracle)[:4] == values_of(before)[:4]
    assert len({tuple(sorted(values.items())) for values in values_of(oracle)}) == 7


def test_both_states_torn_while_an_early_trial_runs(tmp_path):
    directory = tmp_path / "search"
    oracle = begin(directory)
    early, late = oracle.create_trial("worker0"), oracle.create_trial("worker1")
    oracle.end_trial(ended(late, "worker1"))
    for name in ("oracle.json", "oracle.json.previous"):
        (directory / name).write_bytes(b"")
    oracle = begin(directory, reload=True)
    again = oracle.create_trial("worker0")
    assert (again.trial_id, again.hyperparameters.values) == (early.trial_id, early.hyperparameters.values)
    oracle.end_trial(ended(again, "worker0"))
    assert_complete(play(oracle), 7)


def test_both_states_and_a_trial_torn(tmp_path):
    directory = tmp_path / "search"
    after_some_trials(directory)
    for name in ("oracle.json", "oracle.json.previous", "trial_1/trial.json"):
        (directory / name).write_bytes(b'{"trial_id": "1"')
    oracle = play(begin(directory, reload=True))
    assert [trial.status for trial in oracle.trials.values()] == ["COMPLETED", "FAILED"] + 5 * ["COMPLETED"]
    assert oracle.trials["1"].message == "its files were damaged"


def test_nothing_readable_is_one_line_and_no_change(tmp_path):
    directory = tmp_path / "search"
    begin(directory)
    for name in ("oracle.json", "oracle.json.previous"):
        (directory / name).write_bytes(b"torn")
    with pytest.raises(ValueError, match=r"no file of the search in .* can be read") as error:
        begin(directory, reload=True)
    assert "\n" not in str(error.value)
    assert [(directory / name).read_bytes() for name in ("oracle.json", "oracle.json.previous")] == [b"torn"] * 2


def test_a_state_that_is_json_and_damaged_costs_nothing(tmp_path, rng):
    """Values exchanged, as a bad disk or an editor does. The state before is whole."""
    directory = tmp_path / "search"
    finished = set(after_some_trials(directory).end_order)
    path = directory / "oracle.json"
    text = path.read_text()
    digits = [at for at, sign in enumerate(text) if sign.isdigit()]
    for at in rng.choice(digits, size=20, replace=False):
        damaged = f"{text[:at]}{(int(text[at]) + 1) % 10}{text[at + 1 :]}"
        with contextlib.suppress(ValueError):
            if json.loads(damaged) == json.loads(text):  # the last digit of a number may not count
                continue
        path.write_text(damaged)
        messages = []
        oracle = begin(directory, reload=True, messages=messages)
        assert messages[0].startswith("oracle.json was damaged: ") and finished <= set(oracle.end_order)
    path.write_text("[" * 100_000)
    assert finished <= set(begin(directory, reload=True).end_order)


def test_a_state_of_an_earlier_version_has_no_sum(tmp_path):
    directory = tmp_path / "search"
    finished = after_some_trials(directory).end_order
    for name in ("oracle.json", "oracle.json.previous"):
        state = json.loads((directory / name).read_text())
        del state["sha256"]
        (directory / name).write_text(json.dumps(state))
    messages = []
    assert begin(directory, reload=True, messages=messages).end_order == finished and messages == []


def test_copies_that_are_no_trials_are_left_out(tmp_path):
    """Both states are torn, and so are copies, in ways that are JSON."""
    directory = tmp_path / "search"
    after_some_trials(directory)
    for name in ("oracle.json", "oracle.json.previous"):
        (directory / name).write_bytes(b"torn")
    whole = json.loads((directory / "trial_1" / "trial.json").read_text())
    for key, value in [("trial_id", "x"), ("trial_id", "2"), ("hyperparameters", 3), ("status", None), ("metrics", [])]:
        (directory / "trial_1" / "trial.json").write_text(json.dumps(whole | {key: value}))
        oracle = begin(directory, reload=True)
        assert oracle.trials["1"].message == "its files were damaged", key


def test_weights_that_are_damaged_are_named(tmp_path):
    tuner = search(Fake(tmp_path), "random", tmp_path / "search", trials=1)
    (trial,) = tuner.oracle.trials.values()
    path = tmp_path / "search" / "trial_0" / "best.weights.h5"
    content = path.read_bytes()
    for damaged in (content[: len(content) // 2], b"", b"\0" * len(content)):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"the weights of trial 0 in \S+/trial_0/best.weights.h5 are damaged"):
            tuner.load_model(trial)
    path.unlink()
    with pytest.raises(ValueError, match=r"best.weights.h5 are missing"):
        tuner.load_model(trial)

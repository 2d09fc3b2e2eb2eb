"""Files of a search that are torn, zeroed or missing cost nothing that was finished."""

import json
import shutil

import pytest
from helpers.oracles import assert_complete, begin, ended, play, values_of


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

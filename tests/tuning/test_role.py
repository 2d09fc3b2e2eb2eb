"""The role that the environment gives a process."""

import pytest

from tfcharlm.tuning import role_from_environment
from tfcharlm.tuning.role import chief_address

NAMES = ("KERASTUNER_TUNER_ID", "KERASTUNER_ORACLE_IP", "KERASTUNER_ORACLE_PORT")


@pytest.fixture
def given(monkeypatch):
    def give(*values):
        for name, value in zip(NAMES, values, strict=True):
            monkeypatch.delenv(name, raising=False)
            if value is not None:
                monkeypatch.setenv(name, value)

    return give


@pytest.mark.parametrize(
    ("values", "role", "address"),
    [
        (("chief", "10.0.0.1", "8000"), "chief", ("10.0.0.1", 8000)),
        (("chief-0", "host0", "1"), "chief", ("host0", 1)),  # as Keras Tuner takes it
        (("worker0", "::1", "65535"), "worker0", ("::1", 65535)),
        (("node7.cluster:3", "[fe80::1]", "08000"), "node7.cluster:3", ("fe80::1", 8000)),
    ],
)
def test_roles(values, role, address, given):
    given(*values)
    assert role_from_environment() == role and chief_address() == address


def test_without_variables_there_is_no_role(given):
    given(None, None, None)
    assert role_from_environment() is None


WRONG = {
    "only an id": (("worker0", None, None), "needs KERASTUNER_TUNER_ID, .*; received 'KERASTUNER_TUNER_ID=worker0'"),
    "no port": (("worker0", "host0", None), "needs .*KERASTUNER_ORACLE_PORT, such as"),
    "empty id": (("", "host0", "8000"), "KERASTUNER_TUNER_ID must be a name .*; received ''"),
    "empty host": (("chief", "", "8000"), "KERASTUNER_ORACLE_IP must be the address .*; received ''"),
    "empty port": (("chief", "host0", ""), "KERASTUNER_ORACLE_PORT must be a port .*; received ''"),
    "all empty": (("", "", ""), "KERASTUNER_ORACLE_IP must be"),
    "no number": (("chief", "host0", "http"), "KERASTUNER_ORACLE_PORT must be .*; received 'http'"),
    "other digits": (("chief", "host0", "٨٠٠٠"), "KERASTUNER_ORACLE_PORT must be"),
    "a fraction": (("chief", "host0", "80.5"), "KERASTUNER_ORACLE_PORT must be .*; received '80.5'"),
    "negative": (("chief", "host0", "-1"), "KERASTUNER_ORACLE_PORT must be .*; received '-1'"),
    "0": (("chief", "host0", "0"), "KERASTUNER_ORACLE_PORT must be .*; received '0'"),
    "too large": (("chief", "host0", "65536"), "KERASTUNER_ORACLE_PORT must be .*; received '65536'"),
    "a URL": (("chief", "http://host0", "8000"), "KERASTUNER_ORACLE_IP must be .*; received 'http://host0'"),
    "host with port": (("chief", "host0:8000", "8000"), "KERASTUNER_ORACLE_IP must be .*; received 'host0:8000'"),
    "host with a blank": (("chief", "host 0", "8000"), "KERASTUNER_ORACLE_IP must be"),
    "a path": (("../worker0", "host0", "8000"), "KERASTUNER_TUNER_ID must be a name"),
    "two lines": (("worker\n0", "host0", "8000"), "KERASTUNER_TUNER_ID must be a name"),
    "long": (("w" * 10_000, "host0", "8000"), "KERASTUNER_TUNER_ID must be a name"),
    "mischief": (("mischief", "host0", "8000"), "KERASTUNER_TUNER_ID must be chief, .*; received 'mischief'"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_variable_is_one_line(case, given):
    values, line = WRONG[case]
    given(*values)
    with pytest.raises(ValueError, match=line) as error:
        role_from_environment()
    assert "\n" not in str(error.value) and len(str(error.value)) <= 300

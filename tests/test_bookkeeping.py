"""Files that a run wrote about itself are read whole, or named in one line."""

import json
import os

import pytest
from helpers.damaged_files import CONTENTS, DAMAGES

from tfcharlm.bookkeeping import DamagedFileError, read_file, read_object


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_not_an_object_is_named_in_one_line(tmp_path, damage):
    path = tmp_path / "state.json"
    DAMAGES[damage](path)
    try:
        expected = json.loads(CONTENTS[damage])
    except (KeyError, ValueError, RecursionError):
        expected = None
    if isinstance(expected, dict):
        assert read_object(path) == expected
        return
    with pytest.raises((DamagedFileError, FileNotFoundError)) as error:
        read_object(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value) and len(str(error.value)) < 300


def test_a_file_is_read_up_to_its_limit(tmp_path):
    path = tmp_path / "state.json"
    path.write_bytes(b"12345")
    assert read_file(path, limit=5) == b"12345"
    with pytest.raises(DamagedFileError, match="must have at most 4 bytes; received 5"):
        read_file(path, limit=4)
    # A file of holes: none of it is read.
    os.truncate(path, 1 << 40)
    with pytest.raises(DamagedFileError, match="received 1,099,511,627,776"):
        read_object(path)


def test_a_file_that_may_not_be_read_is_named(tmp_path, monkeypatch):
    def refuse(*arguments):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(PermissionError, match=r"state.json cannot be read: Permission denied\."):
        read_file(tmp_path / "state.json")

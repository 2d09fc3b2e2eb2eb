"""Names and numbers that the command line shows before TensorFlow has started are those of what they name."""

from tfcharlm import names
from tfcharlm.artefact import FORMATS
from tfcharlm.checkpoint import SECONDS
from tfcharlm.cli.train import CHECKPOINT_SECONDS
from tfcharlm.layers import CELLS


def test_cells_and_the_options_that_only_they_have():
    assert list(names.CELL_OPTIONS) == list(CELLS)
    for name, options in names.CELL_OPTIONS.items():
        assert [option for option in ("cap_input_gate",) if option in CELLS[name].config_types] == list(options)


def test_formats():
    assert tuple(FORMATS) == names.EXPORT_FORMATS


def test_seconds_between_checkpoints():
    assert CHECKPOINT_SECONDS == SECONDS

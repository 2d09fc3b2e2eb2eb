"""Model cards: Markdown with a YAML header, whatever the names and texts are."""

import json
import re

import pytest
from helpers.letters import make_letters_model

import tfcharlm
from tfcharlm.artefact import model_card
from tfcharlm.text import Vocabulary


def header(card):
    """The YAML header, of which every line is a key and JSON."""
    lines = re.match(r"---\n(.*?)---\n", card, re.S)[1].splitlines()
    return {line.split(": ", 1)[0]: json.loads(line.split(": ", 1)[1]) for line in lines}


def test_a_card_tells_what_is_known():
    model = tfcharlm.CharLM(Vocabulary.from_text("ab"), [tfcharlm.RNNCell(3), tfcharlm.RNNCell(3)], members=2)
    facts = {"Loss": "1.5 nats", "Corpus": "a|b\n<script>"}
    card = model_card(model, "my *model*", facts, "A\n~~~~\nB", "tfcharlm train 'a b.txt'", 'mine: "own"\n')
    assert header(card)["license"] == 'mine: "own"\n' and header(card)["pipeline_tag"] == "text-generation"
    assert "# my \\*model\\*" in card and "| Corpus | a\\|b \\<script\\> |" in card and "| Loss | 1.5 nats |" in card
    assert "RNNCell(3), RNNCell(3) in 2 networks" in card and "30 tokens at level char, which spell" in card
    assert "~~~~~text\nA\n~~~~\nB\n~~~~~" in card and "tfcharlm train 'a b.txt'" in card


def test_every_export_has_a_card(tmp_path):
    directory = make_letters_model().export(tmp_path / "letters" / "1")
    card = (directory / "README.md").read_text()
    assert "# letters" in card and "not stated" in card and "license" not in header(card)
    assert tfcharlm.inspect_model(directory).is_plain_export


@pytest.mark.slow
def test_the_card_of_a_run(command, tmp_path):
    (tmp_path / "barn.txt").write_text("the cow, the pig and the hen\n" * 300)
    status, _, err = command("train", "barn.txt", "--steps", 3, "--units", 8, "--name", "barn", "--license", "cc0-1.0")
    assert status == 0, err
    card = (tmp_path / "saved_models" / "barn" / "1" / "README.md").read_text()
    assert header(card)["license"] == "cc0-1.0"
    assert "tfcharlm train barn.txt --steps 3 --units 8 --name barn --license cc0-1.0" in card
    for part in ("| Corpus | barn.txt", "nats per token", "| Date | 20", "A sample, at temperature 0.8:"):
        assert part in card

"""The tables of benchmarks/quality.py, and that the pages agree with what was measured."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import quality
import quality_page as tables
import quality_plot
import quality_runs as runs
from helpers.quality import SETTINGS
from matplotlib.figure import Figure

AVX2 = quality.RESULTS.with_name("quality-avx2.json")
ROOT = Path(__file__).parents[2]


def run_of(stream, seed=0, minutes=10, **settings):
    return {
        "stream": stream,
        "cold": stream + 0.02,
        "seconds": 60.0 * minutes + 15 + seed,
        "updates": 2_000 + seed,
        "parameters": 1_219_201,
        "arguments": ["train", "tinyshakespeare.txt"],
        "settings": SETTINGS | {"seed": seed, "units": 512} | settings,
        "environment": "a processor",
    }


@pytest.fixture
def results():
    """Of two sittings, in no order."""
    return {
        "tinyshakespeare/30/seed0": run_of(1.43, minutes=30),
        "tinyshakespeare/10/seed2": run_of(1.46, seed=2),
        "tinyshakespeare/10/seed0": run_of(1.45),
        "tinyshakespeare/10/seed0/without nothing": run_of(1.451) | {"left_out": "", "environment": "a new processor"},
        "tinyshakespeare/10/seed0/without dropout": run_of(1.4813) | {"left_out": "--dropout 0"},
        "tinyshakespeare/kneser-ney": {"stream": 1.5, "cold": 1.53, "order": 7, "environment": "another processor"},
        "names/10/seed0": {name: value for name, value in run_of(1.9).items() if name != "cold"} | {"loss": 1.875},
    }


def test_tables_have_means_seeds_bits_and_what_was_not_run_here(results):
    page = tables.page(results)
    ten = "| `tfcharlm train`, 10 minutes | 616 | 1 x 512 | 1,219,201 | 2,001 | **1.4550** (1.4500, 1.4600) "
    assert f"{ten}| **1.4750** (1.4700, 1.4800) |  | {1.455 / math.log(2):.3f} / {1.475 / math.log(2):.3f} |" in page
    assert page.index("10 minutes |") < page.index("30 minutes |") < page.index("Kneser-Ney, 7-gram")
    assert "| nanoGPT, CPU recipe (not run here: its README, about 3 minutes on a laptop) |  |  | 800,000 |" in page
    assert "|  | 1.88 |  | 2.712 |" in page
    assert (
        f"| `tfcharlm train`, 10 minutes | 615 | 1 x 512 | 1,219,201 | 2,000 | 1.8750 | {1.875 / math.log(2):.3f} |"
        in page
    )
    assert "repeated for this comparison. a new processor; or a processor." in page
    assert "| all ingredients |  | 2,000 | 1.4510 | +0.0000 | 1.4710 | +0.0000 |" in page
    assert "| without dropout | --dropout 0 | 2,000 | 1.4813 | +0.0303 | 1.5013 | +0.0303 |" in page
    assert "2 seeds differ by at most 0.0100 (carried state) and 0.0100 (windows)" in page
    assert "cell lstm, units 512, layers 1, embedding_dim 64, " in page and "unigram_output_bias True, " in page
    assert "  a processor.\n" in page
    assert "- the others: another processor.\n" in page
    results["tinyshakespeare/nanogpt"] = {"cold": 1.8857, "seconds": 91.2, "environment": "a processor"}
    results["tinyshakespeare/10/seed2"] = run_of(1.46, seed=2, units=256) | {"parameters": 1_000}
    page = tables.page(results)
    assert "| nanoGPT, CPU recipe | 91 |  |  |  |  | 1.8857 |  | 2.720 |" in page
    assert "| 616 | 1 x 256 to 512 | 1,000 to 1,219,201 | 2,001 |" in page
    assert "cell lstm, units 256 to 512, layers 1, embedding_dim 64, " in page


def rows_of(path):
    """The tables of a page: the cells of every row by its first cell, without empty cells and without emphasis."""
    lines = [line for line in path.read_text().replace("*", "").splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {name: [cell for cell in cells if cell] for name, *cells in rows}


@pytest.fixture(scope="module")
def measured():
    """(the results, the name of the processor in tables, the minutes that were run), of each machine."""
    return [
        (json.loads(quality.RESULTS.read_text()), "AVX-512", runs.MINUTES),
        (json.loads(AVX2.read_text()), "AVX2", (1.5, 10.0)),
    ]


def test_committed_tables_are_those_of_the_committed_results(measured):
    for path, (results, *_) in zip((quality.RESULTS, AVX2), measured, strict=True):
        assert path.with_suffix(".md").read_text() == tables.page(results)


def test_losses_in_the_pages_are_those_that_were_measured(measured):
    """Every run, in docs/results.md and in docs/training-recipe.md; the README has some of them."""
    readme, losses = rows_of(ROOT / "README.md"), rows_of(ROOT / "docs" / "results.md")
    described = (ROOT / "docs" / "training-recipe.md").read_text()
    in_readme = 0
    for results, processor, all_minutes in measured:
        runs_of = tables.repeated(results, "tinyshakespeare")
        assert set(runs_of) == set(all_minutes) and all(len(records) == 3 for records in runs_of.values())
        for minutes, records in runs_of.items():
            parameters = dict.fromkeys(f"{record['parameters'] / 1e6:.2f}" for record in records)
            means = [f"{tables.mean(records, protocol):.4f}" for protocol in tables.PROTOCOLS]
            row = [f"{' to '.join(sorted(parameters))} M", *means]
            assert losses[f"`--minutes {minutes:g}`, {processor}"] == row
            name = f"`tfcharlm train --minutes {minutes:g}`, {processor}"
            in_readme += name in readme
            assert readme.get(name, row) == row
            sizes = [tables.span([record["settings"]["units"] for record in records])]
            sizes += [tables.span([record["parameters"] for record in records])]
            sizes += [tables.span([tables.mean(records, "updates")]), *means]
            assert f"| {processor} | {minutes:g} | {' | '.join(sizes)} |" in described
    assert in_readme == len([name for name in readme if name.startswith("`tfcharlm train --minutes")]) > 2


def test_what_the_pages_compare_with_is_what_was_measured(measured):
    results = measured[0][0]
    pages = [rows_of(ROOT / "README.md"), rows_of(ROOT / "docs" / "results.md")]
    found = set()
    for key, name, record in tables.beside(results, "tinyshakespeare"):
        expected = [f"{record[protocol]:.4f}" for protocol in tables.PROTOCOLS if protocol in record]
        for losses in pages:
            for row in {name, name.replace(",", "")} & losses.keys():
                assert losses[row] == expected, key
                found.add(row)
    assert {"Kneser-Ney, 7-gram", "Kneser-Ney 7-gram", "bzip2"} <= found


def test_the_ablation_in_the_pages_is_the_one_that_was_measured(measured):
    results, page = measured[0][0], ROOT / "docs" / "results.md"
    parts = tables.ablation_runs(results)
    whole = parts.pop(f"without {runs.NOTHING}")
    expected = {name: [f"{record['stream'] - whole['stream']:+.4f}"] for name, record in parts.items()}
    assert {name: numbers for name, numbers in rows_of(page).items() if name.startswith("without")} == expected
    assert len(expected) == 8
    of_ten = [record["stream"] for record in tables.repeated(results, "tinyshakespeare")[runs.ABLATION_MINUTES]]
    assert f"lie within {max(of_ten) - min(of_ten):.4f}" in page.read_text()


def test_losses_of_names_in_the_pages_are_those_that_were_measured(measured):
    results = measured[0][0]
    names = tables.repeated(results, "names")[runs.NAMES_MINUTES]
    assert len(names) == 3
    of_names = f"**{tables.mean(names, 'loss'):.4f}**"
    text = " ".join((ROOT / "docs" / "results.md").read_text().split())
    assert f"{of_names} nats" in text and of_names in (ROOT / "docs" / "training-recipe.md").read_text()
    assert f"Kneser-Ney 6-gram {results['names/kneser-ney']['loss']:.4f}" in text


def test_a_page_and_a_plot_need_no_runs(tmp_path):
    assert "nanoGPT" in tables.page({})
    quality_plot.plot({}, tmp_path / "plot.png")
    assert not list(tmp_path.iterdir())


def test_names_of_lines_make_room_for_each_other():
    axes = Figure().add_subplot()
    lines = [(loss, f"at {loss}", "red", ":") for loss in (1.52, 1.51, 1.53, 1.88)]
    quality_plot.reference_lines(axes, lines)
    names = {text.get_text(): text.xyann[1] for text in axes.texts}
    assert list(names) == ["at 1.51", "at 1.52", "at 1.53", "at 1.88"]
    assert np.diff(list(names.values())).min() > 0.015
    assert [text.xy[1] for text in axes.texts] == [1.51, 1.52, 1.53, 1.88]
    assert (names["at 1.51"], names["at 1.88"]) == (1.51, 1.88)
    assert axes.get_ylim()[0] < 1.51 < 1.88 < axes.get_ylim()[1]

"""The loss on unseen text after minutes of training, compared with n-grams, compressors and nanoGPT.

    python benchmarks/quality.py tinyshakespeare.txt --names names.txt --ablation   # four hours and a quarter
    python benchmarks/quality.py tinyshakespeare.txt --minutes 1.5 --seeds 0        # the shortest run
    python benchmarks/quality.py --table                                            # only the table and the plot

The files are char-rnn's data/tinyshakespeare/input.txt and makemore's names.txt. The script needs the extras bench and
plots. Every run is a process of its own, one after the other. Each result is saved at once, and a result that exists is
not measured again, so a script that was stopped can be started again. Give a file of its own for another machine, such
as `--results quality.json`. The table and the plot are written beside that file.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import quality_runs as runs
from alternating import environment
from quality_page import TITLES, page
from quality_plot import plot

RESULTS = Path(__file__).parent / "results" / "quality.json"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", nargs="?", help="the file of tinyshakespeare")
    parser.add_argument("--names", metavar="FILE", help="makemore's names; 10 minutes per seed")
    parser.add_argument("--minutes", type=float, nargs="+", action="extend", help=f"default: {runs.MINUTES}")
    parser.add_argument("--seeds", type=int, nargs="+", default=runs.SEEDS, help=f"default: {runs.SEEDS}")
    parser.add_argument(
        "--ablation", action="store_true", help="10 minutes with seed 0, without each ingredient in turn"
    )
    parser.add_argument("--nanogpt", metavar="CHECKOUT", help="run nanoGPT's configuration for a CPU in this checkout")
    parser.add_argument(
        "--results", metavar="FILE", type=Path, default=RESULTS, help="default: the results of this repository"
    )
    parser.add_argument("--again", action="store_true", help="repeat the runs that have results")
    parser.add_argument("--table", action="store_true", help="only write the table and the plot")
    arguments = parser.parse_args()
    if not (arguments.table or arguments.corpus or arguments.names):
        parser.error("give the file of tinyshakespeare, --names FILE, or --table.")
    path = arguments.results
    results = json.loads(path.read_text()) if path.exists() else {}
    failed = [] if arguments.table else work_off(runs.jobs(arguments, results), results, path, arguments.again)
    path.with_suffix(".md").write_text(page(results))
    plot(results, path.with_suffix(".png"))
    if failed:
        sys.exit(f"These runs failed: {', '.join(failed)}.")


def work_off(wanted, results, path, again=False):
    """Runs what has no result yet, saves each result at once, and returns the keys of the runs that failed."""
    failed = []
    for key in wanted if again else [key for key in wanted if key not in results]:
        print(f"\n{key}", flush=True)
        try:
            record = wanted[key]()
        except (subprocess.CalledProcessError, runs.MissingResultError) as error:
            # The other runs, which may take hours, should not be lost.
            print(error, file=sys.stderr)
            failed.append(key)
            continue
        print(", ".join(f"{loss} {record[loss]:.4f}" for loss in TITLES if loss in record))
        results[key] = record | {"environment": environment()}
        new = path.with_suffix(".new")
        new.write_text(json.dumps(results, indent=1) + "\n")
        new.replace(path)
    return failed


if __name__ == "__main__":
    main()

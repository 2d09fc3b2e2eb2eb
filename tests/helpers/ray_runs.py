"""Runs examples/ray/train.py, and kills worker 1 once. Arguments: the example, a file as a mark, and its own ones."""

import os
import runpy
import signal
import sys
import threading
import time
from pathlib import Path

# Worker 1 dies when it has saved this step or a later one.
AFTER = 50


def killed_once(train, file):
    """The same function; worker 1 dies in it after some steps, unless the file exists."""

    def train_or_die(config):
        import ray.train

        saved = Path(config["output"], "checkpoints", "worker-1")

        def die():
            while not any(int(path.name[-10:]) >= AFTER for path in saved.glob("checkpoint-*")):
                time.sleep(0.01)
            file.touch()
            os.kill(os.getpid(), signal.SIGKILL)

        if ray.train.get_context().get_world_rank() == 1 and not file.exists():
            threading.Thread(target=die, daemon=True).start()
        train(config)

    return train_or_die


if __name__ == "__main__":
    example_file, killed, *arguments = sys.argv[1:]
    example = runpy.run_path(example_file)
    # The dictionary in which `main` looks up what it calls.
    example["main"].__globals__["train"] = killed_once(example["train"], Path(killed))
    sys.argv = [example_file, *arguments]
    example["main"]()

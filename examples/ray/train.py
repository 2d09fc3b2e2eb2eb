"""Trains one model with Ray: python examples/ray/train.py CORPUS OUTPUT --workers 8.

Ray starts the workers, tells them of each other in TF_CONFIG, and starts all of them again when one is lost. They then
continue from the last checkpoint. OUTPUT must be a directory that all machines share.
"""

import argparse
from pathlib import Path

import ray.train
from ray.train.tensorflow import TensorflowTrainer


def train(config):
    """What every worker runs. Modules are imported here: a worker must not use TensorFlow before it has TF_CONFIG."""
    import keras

    import tfcharlm
    from tfcharlm.training import strategy_from_environment

    tfcharlm.configure_threads(config["cores"])
    strategy = strategy_from_environment()  # waits for the other workers
    text = tfcharlm.text.load_corpus(config["corpus"])
    vocabulary = tfcharlm.text.Vocabulary.from_text(text)
    keras.utils.set_random_seed(0)
    data = tfcharlm.text.stream_dataset(
        vocabulary.encode(text), batch_size=config["batch_size"], sequence_length=64, seed=0, epochs=None
    )
    with strategy.scope():
        model = tfcharlm.CharLM(vocabulary, [tfcharlm.LSTMCell(config["units"])], dropout=0.2)
        model.compile(keras.optimizers.Adam(2e-3, global_clipnorm=1.0))
    output = Path(config["output"])
    report = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: ray.train.report({"epoch": epoch, **logs}))
    checkpoint = tfcharlm.Checkpoint(output / "checkpoints", seconds=config["checkpoint_seconds"])
    model.fit(data, epochs=config["epochs"], steps_per_epoch=config["steps"], verbose=0, callbacks=[report, checkpoint])
    if model.replicas.is_chief:
        model.export(output / "1")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("corpus", help="a name such as shakespeare, or the path of a text that all machines have")
    parser.add_argument("output", type=lambda path: str(Path(path).absolute()))
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--cores", type=int, default=1, help="of each worker")
    parser.add_argument("--units", type=int, default=256)
    parser.add_argument("--batch-size", type=int, default=128, help="of all workers together")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--steps", type=int, default=500, help="of each epoch")
    parser.add_argument("--checkpoint-seconds", type=float, default=30)
    arguments = parser.parse_args()
    TensorflowTrainer(
        train,
        train_loop_config=vars(arguments),
        scaling_config=ray.train.ScalingConfig(
            num_workers=arguments.workers, resources_per_worker={"CPU": arguments.cores}
        ),
        run_config=ray.train.RunConfig(
            storage_path=f"{arguments.output}/ray", failure_config=ray.train.FailureConfig(max_failures=20)
        ),
    ).fit()
    print(f"Model: {arguments.output}/1")


if __name__ == "__main__":
    main()

"""What directories that a stranger wrote cost: seconds and memory of `load_model` and `inspect_model`.

    python benchmarks/hostile_directories.py

Each directory is an export with something spoiled, and a manifest that agrees. Memory is the peak above that before the
call; the honest directories at the top show what an export costs. The bound for a directory of less than 20 MB is two
seconds and 100 MB more than the honest one of its size; for a larger one, twice the weights.
"""

import hashlib
import json
import shutil
import struct
import tempfile
import time
from pathlib import Path

import google_crc32c
import numpy as np
from alternating import environment
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

import tfcharlm

CONFIG, MANIFEST, GRAPH = "assets.extra/config.json", "assets.extra/manifest.json", "saved_model.pb"
INDEX, DATA = "variables/variables.index", "variables/variables.data-00000-of-00001"
MEGABYTE = 2**20
MOST_SECONDS, MOST_MEGABYTES = 2.0, 100


def main():
    print(environment())
    print("\n| directory | size, MB | load: s | MB | inspect: s | MB | answers |\n|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as scratch:
        honest = {name: make().export(Path(scratch, name, "1")) for name, make in HONEST.items()}
        bounds = {name: row(name, directory, None) for name, directory in honest.items()}
        # The second time nothing is imported or compiled for the first time.
        bounds = {name: row(f"{name}, again", directory, None) for name, directory in honest.items()}
        for name, (base, spoil) in HOSTILE.items():
            directory = Path(shutil.copytree(honest[base], Path(scratch, "hostile", "1")))
            if spoil(directory) is not UNSEALED:
                seal(directory)
            row(name, directory, bounds[base])
            shutil.rmtree(directory.parent)


def row(name, directory, bound):
    """Prints one row; returns `(seconds, megabytes)` of both functions."""
    size = sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())
    (load, loaded), (inspect, inspected) = measured(load_model, directory), measured(inspect_model, directory)
    above = [
        cost[i] - (bound[j][i] if bound else 0) > most
        for j, cost in enumerate((load, inspect))
        for i, most in enumerate((MOST_SECONDS, max(MOST_MEGABYTES, 0 if size < 20e6 else 2 * size / MEGABYTE)))
    ]
    mark = " **above the bound**" if bound and any(above) else ""
    figures = f"{load[0]:.1f} | {load[1]:.0f} | {inspect[0]:.1f} | {inspect[1]:.0f}"
    print(f"| {name} | {size / 1e6:.1f} | {figures} | {loaded}; {inspected}{mark} |", flush=True)
    return load, inspect


def measured(function, directory):
    """`((seconds, megabytes), answer)`; the megabytes are the peak above what was there before."""
    Path("/proc/self/clear_refs").write_text("5")
    before, start = status("VmRSS"), time.perf_counter()
    answer = function(directory)
    return (time.perf_counter() - start, status("VmHWM") - before), answer


def status(field):
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) / 1024


def load_model(directory):
    try:
        tfcharlm.load_model(directory)
    except ValueError as error:
        return f"refused, {len(str(error))} characters"
    return "loaded"


def inspect_model(directory):
    try:
        inspection = tfcharlm.inspect_model(directory)
    except ValueError as error:
        return f"refused: {str(error).rpartition(': ')[2][:80]}"
    if inspection.is_plain_export:
        return "plain"
    disallowed = f"{len(inspection.disallowed):,} disallowed" if inspection.disallowed else ""
    return (inspection.differences[0].partition(": ")[0][:80] if inspection.differences else disallowed).replace(
        "|", ""
    )


def model(units=5, words=0, cells=1):
    text = "To be, or not to be, that is the question.\n"
    vocabulary = tfcharlm.text.Vocabulary.from_text(text)
    if words:
        vocabulary = tfcharlm.text.Vocabulary([f"w{i}" for i in range(words)] + ["\n"], "word")
    layers = [tfcharlm.RNNCell(units, recurrent_initializer="zeros") for _ in range(cells)]
    model = tfcharlm.CharLM(vocabulary, layers, embedding_dim=3)
    # A stranger can make weights of zeros from nothing: they are holes in a file.
    model.set_weights([np.zeros_like(weight) for weight in model.get_weights()])
    return model


HONEST = {
    "small": model,
    "8 cells": lambda: model(cells=8),
    "200,000 words": lambda: model(words=200_000),
    "4,096 units": lambda: model(4096),
}


def seal(directory):
    """A manifest that agrees with the directory, as a stranger can write one."""
    sums = {}
    for path in sorted(directory.rglob("*")):
        name = path.relative_to(directory).as_posix()
        if path.is_file() and name != MANIFEST:
            with path.open("rb") as file:
                sums[name] = {"bytes": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}
    (directory / MANIFEST).write_text(json.dumps(sums, indent=1, sort_keys=True))


# -- the functions below spoil a directory, or return one that does


def written(name, content):
    return lambda directory: (directory / name).write_bytes(content)


def configured(change):
    def spoil(directory):
        config = json.loads((directory / CONFIG).read_bytes())
        change(config)
        text = json.dumps(config, indent=1, sort_keys=True, ensure_ascii=False)
        (directory / CONFIG).write_text(text)

    return spoil


def first_token(token):
    return configured(lambda config: config["model"]["vocabulary"]["tokens"].__setitem__(0, token))


def with_cells(count, stacks=0):
    def change(config):
        cells = config["model"]["cells"]
        stack = {"module": "keras.layers", "class_name": "StackedRNNCells", "registered_name": None}
        one = stack | {"config": {"cells": cells[:1] * count}}
        config["model"]["cells"] = [one] * stacks if stacks else cells[:1] * count

    return configured(change)


def orthogonal(config):
    config["model"]["cells"][0]["config"]["recurrent_initializer"] = {
        "module": "keras.initializers", "class_name": "Orthogonal", "registered_name": None, "config": {},
    }  # fmt: skip


def graph(change):
    def spoil(directory):
        message = SavedModel.FromString((directory / GRAPH).read_bytes())
        change(message)
        (directory / GRAPH).write_bytes(message.SerializeToString(deterministic=True))

    return spoil


def longer_graph(addition):
    def spoil(directory):
        with (directory / GRAPH).open("ab") as file:
            file.write(addition)

    return spoil


def many_operations(message):
    for i in range(10_000):
        message.meta_graphs[0].graph_def.node.add(name=f"{i}" * 300, op="WriteFile" * 10)


def chain_of_functions(message):
    functions = message.meta_graphs[0].graph_def.library.function
    for i in range(10_000):
        function = functions.add()
        function.signature.name = f"f{i}"
        function.node_def.add(name="next", op="PartitionedCall").attr["f"].func.name = f"f{i + 1}"
    message.meta_graphs[0].graph_def.node.add(name="first", op="PartitionedCall").attr["f"].func.name = "f0"


def fan_of_functions(message):
    """Each function calls the next one twice: 2^40 paths."""
    functions = message.meta_graphs[0].graph_def.library.function
    for i in range(40):
        function = functions.add()
        function.signature.name = f"f{i}"
        for j in range(2):
            function.node_def.add(name=f"n{j}", op="PartitionedCall").attr["f"].func.name = f"f{i + 1}"
    message.meta_graphs[0].graph_def.node.add(name="first", op="PartitionedCall").attr["f"].func.name = "f0"


def many_signatures(message):
    for i in range(8_000):
        message.meta_graphs[0].signature_def[f"s{i}" * 50].inputs["x"].name = "x"


def varint(number):
    return (bytes([number & 0x7F | 0x80]) + varint(number >> 7)) if number > 0x7F else bytes([number])


def table_of(pairs):
    def block(pairs):
        body = b"".join(varint(0) + varint(len(key)) + varint(len(value)) + key + value for key, value in pairs)
        body += struct.pack("<2I", 0, 1) + b"\0"
        crc = google_crc32c.value(body)
        return body + struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) % 2**32)

    first, between = block(pairs), block([])
    second = block([(b"\xff", varint(0) + varint(len(first) - 5))])
    footer = b"".join(map(varint, (len(first), len(between) - 5, len(first) + len(between), len(second) - 5)))
    return first + between + second + footer.ljust(40, b"\0") + bytes.fromhex("57fb808b247547db")


def overlapping(count, size):
    """Blocks that all end at the same place: `count` times `size` bytes of values."""
    heads = b"".join(bytes([0, 4]) + b"\x80\x80\x01" + i.to_bytes(4, "big") for i in range(count))
    return heads.ljust(size, b"\0") + table_of([(b"x", b"")])


def holes(directory):
    """Weights of 4,096 units that are holes, and initializers that take longer than anything else."""
    configured(orthogonal)(directory)
    size = (directory / DATA).stat().st_size
    (directory / DATA).unlink()
    with (directory / DATA).open("wb") as file:
        file.truncate(size)


def many_files(directory):
    for i in range(5_000):
        (directory / f"file{i}").touch()


def deep_folders(directory):
    for _ in range(300):
        directory = directory / "d"
        directory.mkdir()


def bad_manifest(directory):
    (directory / MANIFEST).write_bytes(MANY_KEYS % b",".join(b'"%x":1' % i for i in range(85_000)))
    return UNSEALED


def nodes(count):
    """Another graph with empty nodes, two bytes each."""
    content = b"\x0a\x00" * count
    for _ in range(2):
        content = b"\x12" + varint(len(content)) + content
    return longer_graph(content)


UNSEALED = "a manifest that does not agree"
MANY_KEYS = b'{%b,"z":1,"z":1}'
HOSTILE = {
    "1.2 million keys": ("small", written(
        CONFIG, MANY_KEYS % b",".join(b'"%x":1' % i for i in range(1_200_000)))),
    "a list of 8 million numbers": ("small", written(CONFIG, b"[" + b"1," * 8_000_000 + b"1]")),
    "a million brackets": ("small", written(CONFIG, b"[" * 10**6)),
    "16 million quotation marks": ("small", written(CONFIG, b'"' * (2**24 - 1))),
    "8 million escaped quotation marks": ("small", written(CONFIG, b'"\\' * (2**23 - 1))),
    "a number of 15 million digits": ("small", written(CONFIG, b"[" + b"1" * 15_000_000 + b".0]")),
    "a token of 15 MB": ("small", first_token("x" * 15_000_000)),
    "a name of 15 MB": ("small", configured(lambda config: config["model"].update(name="x" * 15_000_000))),
    "a token of 3 million numbers": ("small", first_token([[1] * 1000] * 3000)),
    "10 stacks of 100 cells": ("small", with_cells(100, stacks=10)),
    "32 cells without weights": ("small", with_cells(32)),
    "a manifest of 85,000 keys": ("small", bad_manifest),
    "5,000 files": ("small", many_files),
    "300 folders deep": ("small", deep_folders),
    "overlapping blocks, 1 MiB": ("small", written(INDEX, overlapping(3_000, 2**20))),
    "overlapping blocks, 256 KiB": ("small", written(INDEX, overlapping(3_000, 2**18 - 200))),
    "900 names of 200 bytes": ("small", written(INDEX, table_of([(b"%0200d" % i, b"x") for i in range(900)]))),
    "varints without end": ("small", written(INDEX, b"\xff" * 200_000 + bytes.fromhex("57fb808b247547db"))),
    "9 million empty nodes": ("small", nodes(9_000_000)),
    "60,000 empty nodes": ("small", nodes(60_000)),
    "a name of 19 MB in the graph": ("small", graph(
        lambda message: message.meta_graphs[0].graph_def.node.add(name="x" * 19_000_000, op="y"))),
    "10,000 disallowed operations with long names": ("small", graph(many_operations)),
    "10,000 functions, each calling the next": ("small", graph(chain_of_functions)),
    "40 functions, each calling the next twice": ("small", graph(fan_of_functions)),
    "8,000 signatures": ("small", graph(many_signatures)),
    "holes, and orthogonal initializers": ("4,096 units", holes),
}  # fmt: skip


if __name__ == "__main__":
    main()

"""A page with a model in it: what a browser computes, against the model with the same rounded weights."""

import base64
import json
import re
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfcharlm
from tfcharlm.artefact import export_html
from tfcharlm.text import Vocabulary

LETTERS = "abcdefghijklmnop é,\n"
MODELS = {
    "lstm": lambda: (Vocabulary(LETTERS), [tfcharlm.LSTMCell(37)], {}),
    "capped lstm": lambda: (Vocabulary(LETTERS), [tfcharlm.LSTMCell(33, cap_input_gate=True)], {}),
    "rnn without bias": lambda: (Vocabulary(LETTERS), [tfcharlm.RNNCell(65, use_bias=False)], {}),
    "gru that spells": lambda: (Vocabulary.from_text(LETTERS), [tfcharlm.GRUCell(20)], {}),
    "two layers": lambda: (Vocabulary(LETTERS), [tfcharlm.GRUCell(20), tfcharlm.LSTMCell(9)], {}),
    "skips": lambda: (Vocabulary(LETTERS), [tfcharlm.RNNCell(5), tfcharlm.LSTMCell(32)], {"skip_connections": True}),
    "networks": lambda: (Vocabulary.from_text(LETTERS), [tfcharlm.LSTMCell(11), tfcharlm.GRUCell(8)], {"members": 2}),
    "of Keras": lambda: (Vocabulary(LETTERS), [keras.layers.LSTMCell(12)], {}),
    "bytes": lambda: (Vocabulary([chr(i) for i in range(256)], level="byte"), [tfcharlm.LSTMCell(10)], {}),
    "words": lambda: (Vocabulary.from_text("to be, or not to bé ", level="word"), [tfcharlm.LSTMCell(10)], {}),
}


def make_model(rng, name):
    vocabulary, cells, options = MODELS[name]()
    model = tfcharlm.CharLM(vocabulary, cells, embedding_dim=7, **options)
    # Wide layers with large weights would be chaotic: over 200 steps, rounding would grow.
    model.set_weights([rng.normal(0, 0.9 / len(w) ** 0.5, w.shape) for w in model.get_weights()])
    return model


def described(path):
    text = path.read_text(encoding="utf-8")
    return json.loads(re.search(r'id="model-data">(.*?)</script>', text, re.S)[1])


def numbers(array):
    """An array of the page in NumPy."""
    values = np.frombuffer(base64.b64decode(array["data"]), np.dtype(array["type"]).newbyteorder("<"))
    values = values.reshape(array["shape"]).astype(np.float32)
    return values * numbers(array["scale"]) if array["type"] == "int8" else values


def rounded_model(model, about):
    """The model with the weights that the page has."""
    copy = model.with_vocabulary(model.vocabulary)
    copy.embedding.embeddings.assign(numbers(about["embeddings"]))
    copy.head.kernel.assign(numbers(about["head_kernel"]))
    for layer, of_page in zip(copy.recurrent, about["layers"], strict=True):
        layer.cell.kernel.assign(numbers(of_page["kernel"]))
        layer.cell.recurrent_kernel.assign(numbers(of_page["recurrent_kernel"]))
    return copy


@pytest.mark.parametrize(("dtype", "step"), [("float16", 2**-11), ("int8", 1 / 254)])
def test_weights_are_rounded_as_little_as_the_dtype_allows(rng, tmp_path, dtype, step):
    model = make_model(rng, "lstm")
    about = described(export_html(model, tmp_path / "model.html", dtype=dtype))
    for kernel, of_page in [
        (model.head.kernel, about["head_kernel"]),
        (model.recurrent[0].cell.recurrent_kernel, about["layers"][0]["recurrent_kernel"]),
    ]:
        kernel = np.asarray(kernel)
        largest = np.abs(kernel) if dtype == "float16" else np.abs(kernel).max(axis=0)
        assert of_page["type"] == dtype
        assert np.all(np.abs(numbers(of_page) - kernel) <= largest * step * 1.0001 + 1e-7)
    np.testing.assert_array_equal(numbers(about["head_bias"]), model.head.bias)


def test_a_page_has_no_address_outside(rng, tmp_path):
    text = export_html(make_model(rng, "lstm"), tmp_path / "a <b>.html", prompt="<script>").read_text()
    assert "<title>a &lt;b&gt;</title>" in text and "&lt;script&gt;</textarea>" in text
    assert not re.findall(r"https?://|src=|@import|url\(", text) and "connect-src 'none'" in text


def test_a_token_cannot_end_the_data(tmp_path):
    vocabulary = Vocabulary.from_text("</script> <!-- a")
    model = tfcharlm.CharLM(vocabulary, [tfcharlm.RNNCell(3)])
    path = export_html(model, tmp_path / "model.html")
    assert described(path)["tokens"] == list(vocabulary.tokens)


def test_what_a_page_cannot_compute_is_one_line(tmp_path):
    vocabulary = Vocabulary(LETTERS)
    wrong = {
        "LSTMCell": [tfcharlm.LSTMCell(3, "relu")],
        "GRUCell": [tfcharlm.GRUCell(3, reset_after=False)],
        "received 2": [keras.layers.StackedRNNCells([keras.layers.LSTMCell(3), keras.layers.LSTMCell(2)])],
    }
    for message, cells in wrong.items():
        with pytest.raises(ValueError, match=f"for a page must .*{message}"):
            export_html(tfcharlm.CharLM(vocabulary, cells), tmp_path / "model.html")
    model = tfcharlm.CharLM(vocabulary, [tfcharlm.RNNCell(3)])
    with pytest.raises(ValueError, match=r"must end in \.html"):
        export_html(model, tmp_path / "model.htm")
    with pytest.raises(ValueError, match="dtype must be one of float16, int8; received 'int4'"):
        model.export(tmp_path / "model.html", format="html", dtype="int4")
    with pytest.raises(ValueError, match="no argument 'dtype' for format='litert'"):
        model.export(tmp_path / "model.tflite", format="litert", dtype="int8")
    assert not list(tmp_path.iterdir())
    export_html(model, tmp_path / "model.html")
    with pytest.raises(FileExistsError):
        export_html(model, tmp_path / "model.html")


def test_the_products_are_made_of_their_source():
    wasmtime = pytest.importorskip("wasmtime")
    folder = Path(tfcharlm.__file__).parent / "pages"
    assert wasmtime.wat2wasm((folder / "products.wat").read_text()) == (folder / "products.wasm").read_bytes()


@pytest.mark.slow
def test_commands_write_all_formats(command, rng, tmp_path):
    directory = make_model(rng, "lstm").export(tmp_path / "models" / "letters" / "1")
    for file, option in {"a.html": "--float16", "a.onnx": "--int8", "a.tflite": "--format=litert", "a/1": None}.items():
        status, out, err = command("export", directory.parent, file, *([option] if option else []))
        out = out.splitlines(keepends=True)[-1]
        assert status == 0 and re.fullmatch(rf"{file}: [\d,]+ bytes\.\n", out), err
    assert described(tmp_path / "a.html")["name"] == "letters"
    status, _, err = command("export", directory, "b.tflite", "--int8")
    assert status == 2 and err == "tfcharlm: --int8 is not for --format litert; omit it.\n"


def test_onnx_of_eight_bits_is_nearly_the_model(rng, tmp_path):
    runtime = pytest.importorskip("onnxruntime")
    model = tfcharlm.CharLM(Vocabulary(LETTERS), [tfcharlm.LSTMCell(64)], embedding_dim=32)
    model.set_weights([rng.normal(0, 0.3, w.shape) for w in model.get_weights()])
    paths = [model.export(tmp_path / f"{dtype}.onnx", format="onnx", dtype=dtype) for dtype in ("float32", "int8")]
    assert paths[1].stat().st_size < 0.4 * paths[0].stat().st_size
    tokens, h, c = rng.integers(0, 19, (5, 1)), *rng.uniform(-1, 1, (2, 5, 64))
    inputs = {"tokens": tokens.astype(np.int32), "state_0": h.astype(np.float32), "state_1": c.astype(np.float32)}
    exact, rounded = (runtime.InferenceSession(str(path)).run(["logits"], inputs)[0] for path in paths)
    assert 0 < np.abs(exact - rounded).max() < 0.1


# -- in a browser


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api")
    if shutil.which("chromium") is None:
        pytest.skip("needs Chromium, which runs the page; pip cannot install it")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def opened(browser, tmp_path):
    """`opened(model, dtype) -> (page, description)` of a file that is opened from the disk."""
    faults, requests, pages = [], [], []

    def open_page(model, dtype="float16"):
        path = export_html(model, tmp_path / "model.html", dtype=dtype)
        page = browser.new_page()
        page.on("console", lambda message: faults.append(message.text))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(path.as_uri())
        pages.append(page)
        return page, described(path)

    yield open_page
    assert not faults and all(url.startswith(("file:", "data:")) for url in requests)
    for page in pages:
        page.close()


LOGITS = """(ids) => {
  const model = theModel();
  model.begin();
  return ids.map((id) => { model.read(id); return Array.from(model.logits.subarray(0, model.size)); });
}"""
WRITE = """async ([prompt, length, temperature, seed]) => {
  let scores = [];
  await backend.write({ prompt, length, temperature, seed }, (more) => { scores = scores.concat(more); });
  return scores;
}"""


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float16", "int8"])
@pytest.mark.parametrize("name", MODELS)
def test_logits_over_200_steps(rng, opened, name, dtype):
    model = make_model(rng, name)
    page, about = opened(model, dtype)
    if model.vocabulary.spelling is None:
        ids = rng.integers(0, len(model.vocabulary), 200)
    else:
        ids = model.vocabulary.encode("".join(rng.choice(["to", " be", "é", "語", "a", "\n"], 200)))[:200]
    of_page = np.array(page.evaluate(LOGITS, ids.tolist()), dtype=float)
    rounded = rounded_model(model, about)
    start = np.array(model.vocabulary.line_start, int)
    logits, _ = rounded.step(tf.constant([[*start, *ids]]), rounded.initial_state(1))
    expected = np.asarray(logits[0, len(start) :])
    possible = np.isfinite(of_page)
    # A page rounds the outputs of cells for 8-bit products, so they differ a little more.
    atol = 1e-3 if dtype == "float16" else 2e-2
    np.testing.assert_allclose(of_page[possible], expected[possible], atol=atol)
    assert possible.all() == (model.vocabulary.spelling is None)


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_the_text_for_a_seed_is_that_of_generate(rng, opened, name):
    model = make_model(rng, name)
    page, about = opened(model)
    rounded = rounded_model(model, about)
    prompt = "to bé" if name in ("words", "bytes") or model.vocabulary.spelling else "bad é"
    for seed, temperature in ((1, 1.0), (2**53 - 1, 0.7), (-7, 1.3), (3, 0)):
        scores = page.evaluate(WRITE, [prompt, 120, temperature, seed])
        text = "".join(score["token"] for score in scores)
        expected = rounded.generate(prompt, max_length=120, temperature=temperature, seed=seed)
        # Characters that are not whole at the end are not shown.
        assert text.rstrip("\ufffd") == expected.rstrip("\ufffd") or expected.startswith(text), (seed, temperature)
        known = rounded.token_log_probabilities(prompt)
        nats = [score["nats"] for score in scores if score["nats"] is not None]
        np.testing.assert_allclose(nats[: len(known)], known, atol=1e-3)


@pytest.mark.slow
def test_units_are_those_of_the_analysis(rng, opened):
    model = make_model(rng, "networks")
    page, about = opened(model)
    rounded = rounded_model(model, about)
    for layer, kind in ((0, "c"), (0, "i"), (1, "r"), (1, "h")):
        followed = tfcharlm.analysis.follow_unit(rounded, "bad cab, é", layer, kind, 3)
        answer = page.evaluate("(a) => backend.units('', ...a)", ["bad cab, é", layer, kind, 3])
        np.testing.assert_allclose(answer["values"], followed["values"], atol=1e-4)
        assert sorted(answer["kinds"]) == sorted(followed["kinds"])

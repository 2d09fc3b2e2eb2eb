"""The page in a real browser: writing, stopping, scoring, colors, keyboard; without errors and other addresses."""

import contextlib
import shutil
import threading

import pytest
import uvicorn
from helpers.serving import make_served_model

from tfcharlm.analysis import follow_unit
from tfcharlm.pages import server_page
from tfcharlm.serving import create_app, listening_socket

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("chromium") is None, reason="needs Chromium, which pip cannot install"),
]
playwright = pytest.importorskip("playwright.sync_api")
SECONDS = 60_000


@pytest.fixture(scope="module")
def model():
    return make_served_model()


@contextlib.contextmanager
def serving(model, **options):
    """The address of a server in a thread of this process."""
    with listening_socket("127.0.0.1", 0) as listening:
        app = create_app({"letters": model}, page=server_page("letters"), activations=follow_unit, **options)
        server = uvicorn.Server(uvicorn.Config(app, log_config=None))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def address(model):
    with serving(model) as address:
        yield address


@pytest.fixture
def page(browser, address):
    page = browser.new_page()
    faults, requests = [], []
    page.on("console", lambda message: faults.append(message.text))
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(address)
    yield page
    assert not faults and all(url.startswith((address, "data:")) for url in requests)
    page.close()


def fill(page, **fields):
    for name, value in fields.items():
        page.fill(f"#{name}", str(value))


def status(page, text):
    playwright.expect(page.locator("#status")).to_contain_text(text, timeout=SECONDS)


def test_the_text_for_a_seed_is_that_of_generate(page, model):
    fill(page, prompt="abc", length=300, temperature=0.7, seed=5)
    page.click("#write")
    status(page, "Seed 5.")
    assert page.text_content("#text") == model.generate("abc", max_length=300, temperature=0.7, seed=5)
    playwright.expect(page.locator("#text span")).to_have_count(303)


def test_a_character_tells_its_probability_and_the_alternatives(page, model):
    fill(page, prompt="abc", length=10, seed=5)
    page.press("#seed", "Enter")
    status(page, "Seed 5.")
    text = page.text_content("#text")
    page.focus("#text")
    for _ in range(6):
        page.keyboard.press("ArrowRight")
    details = page.inner_text("#details")
    expected = model.next_token_probabilities(text[:5])
    assert f"a probability of {100 * expected[text[5]]:.1f} %" in details
    for token, probability in list(expected.items())[:5]:
        name = {"\n": "new line", " ": "space"}.get(token, token)
        assert f"{name}\t{100 * probability:.1f} %" in details
    page.hover("#text span:nth-child(2)")
    playwright.expect(page.locator("#details p")).to_contain_text("“b”")


def test_a_text_is_scored(page, model):
    fill(page, prompt="no lamp, no <b> & ;".replace("<b> & ;", "fog."))
    page.click("#score")
    bits = model.score("no lamp, no fog.")["bits_per_character"]
    status(page, f"16 characters; {bits:.2f} bits for each character.")


def test_a_unit_colors_the_text(page, model):
    fill(page, prompt="abcabc", length=5, seed=1)
    page.click("#write")
    status(page, "Seed 1.")
    page.check("input[value=unit]")
    page.select_option("#kind", "0 c")
    fill(page, unit=7)
    page.press("#unit", "Tab")
    expected = follow_unit(model, page.text_content("#text"), 0, "c", 7)["values"]
    page.focus("#text")
    page.keyboard.press("End")
    playwright.expect(page.locator("#details")).to_contain_text(f"the value {expected[-1]:.2f}", timeout=SECONDS)


def test_stop(page, model):
    fill(page, length=16_000, seed=1)
    page.click("#write")
    playwright.expect(page.locator("#text span").nth(30)).to_be_visible(timeout=SECONDS)
    page.click("#stop")
    status(page, "Stopped.")
    assert 0 < len(page.text_content("#text")) < 16_000


@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_is_wider_than_the_screen(page, width):
    page.set_viewport_size({"width": width, "height": 800})
    fill(page, length=200, seed=1)
    page.click("#write")
    status(page, "Seed 1.")
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_errors_are_shown(browser, address):
    page = browser.new_page()
    page.goto(address)
    fill(page, prompt="é" * 100_001, length=10)
    page.click("#write")
    status(page, "prompt")
    playwright.expect(page.locator("#status")).to_have_class("error")
    page.close()


def test_a_key_is_asked_for(browser, model):
    with serving(model, api_key="correct horse") as address:
        page = browser.new_page()
        page.goto(address)
        fill(page, key="correct horse")
        page.press("#key", "Tab")
        status(page, "")
        fill(page, prompt="ab", length=10, seed=3)
        page.click("#write")
        status(page, "Seed 3.")
        page.close()

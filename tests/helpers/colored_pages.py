"""Pages of colored text taken apart again: what is in them, and whether it can be read."""

import re
from html.parser import HTMLParser

from tfcharlm.plots.colors import contrast


class Page(HTMLParser):
    """The contents of elements with a class, and the class and the tooltip of every character in them."""

    def __init__(self, page, name="text"):
        super().__init__(convert_charrefs=True)
        self.name, self.inside, self.current, self.urls = name, False, {}, []
        self.texts, self.classes, self.tooltips = [], [], []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.urls += [attributes[name] for name in ("src", "href") if name in attributes]
        if attributes.get("class") == self.name:
            self.inside = True
            self.texts.append("")
            self.classes.append([])
            self.tooltips.append([])
        elif self.inside:
            self.current = attributes

    def handle_endtag(self, tag):
        self.inside = self.inside and tag == "span"

    def handle_data(self, data):
        if self.inside:
            self.texts[-1] += data
            self.classes[-1] += [self.current["class"]] * len(data)
            self.tooltips[-1] += [self.current.get("title")] * len(data)


def text_of(page):
    return Page(page).texts


def check_page_needs_nothing(page):
    """Neither another file nor a program."""
    assert Page(page).urls == [] and not re.search(r"url\(|@import|<script|https?:", page)


def check_colors_can_be_read(page, neutral):
    """The ink of every level, on a light page and on a dark one; the neutral level has the color of the page."""
    light, dark = re.split("@media", re.search("<style>(.*)</style>", page, re.DOTALL)[1])
    for style, background in ((light, "#ffffff"), (dark, "#1e1e1e")):
        rules = re.findall(r"\.v(\d+)\{background:#(\w+);color:#(\w+)\}", style)
        assert [int(level) for level, *_ in rules] == list(range(21))
        for _, *colors in rules:
            assert contrast(*([int(c[i : i + 2], 16) for i in (0, 2, 4)] for c in colors)) >= 4.5
        assert "#" + rules[neutral][1] == background
    assert ".colored-text{background:#fff;" in light and ".colored-text{background:#1e1e1e;" in dark

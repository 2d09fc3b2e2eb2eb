"""Random numbers in place of what a model does, and colored text taken apart again."""

from html.parser import HTMLParser

from tfcharlm.analysis import Activations

TEXT = 'KENT:\nI said "a < b" & went;\n\tthen $x$\n' * 4


def recorded_of(rng, text=TEXT, units=7):
    """An LSTM over an RNN, with random numbers for activations."""
    gates = {kind: rng.random((len(text), units)) for kind in "ifo"}
    states = {kind: rng.normal(size=(len(text), units)) for kind in "gch"}
    return Activations(tuple(text), (gates | states, {"h": rng.normal(size=(len(text), 3))}))


class Page(HTMLParser):
    """The contents of elements with a class, and the class of every character in them."""

    def __init__(self, page, name="text"):
        super().__init__(convert_charrefs=True)
        self.name, self.texts, self.classes, self.inside, self.current, self.urls = name, [], [], False, "", []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.urls += [attributes[name] for name in ("src", "href") if name in attributes]
        if attributes.get("class") == self.name:
            self.inside = True
            self.texts.append("")
            self.classes.append([])
        elif self.inside:
            self.current = attributes["class"]

    def handle_endtag(self, tag):
        self.inside = self.inside and tag == "span"

    def handle_data(self, data):
        if self.inside:
            self.texts[-1] += data
            self.classes[-1] += [self.current] * len(data)


def text_of(page):
    return Page(page).texts

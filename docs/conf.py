"""Settings of the documentation site: `make docs` builds it, and a warning is an error."""

import configparser
import importlib.metadata
import inspect
import os
import re
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

project = "tfcharlm"
author = project_copyright = "the tfcharlm developers"
release = importlib.metadata.version("tfcharlm")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.mathjax", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
templates_path = []
html_theme = "furo"
html_title = f"tfcharlm {release}"

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
suppress_warnings = ["ref.python"]  # A class that two rooms hand out has two places, and a type hint may mean either.

# The public names of a room are its `__all__`, so that no name is listed here.
autodoc_default_options = {"members": True, "inherited-members": True}
autodoc_member_order = "bysource"
autodoc_inherit_docstrings = False  # Keras's are in Keras's markup, and describe Keras.
autodoc_preserve_defaults = True
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented_params"

napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_custom_sections = [("Call arguments", "params_style")]

# Links from these pages to other files of the repository are relative, so that they work there as well.
settings = configparser.ConfigParser()
settings.read(Path(__file__).parent.parent / "setup.cfg")
LINK_OUT = re.compile(r"(?<!!)(\[[^]]*\]\()\.\./")  # Not a picture: the site has a copy of that.
REPOSITORY = f"{settings['metadata']['url']}/blob/main/"

MATHS = re.compile(r"\$\$(.+?)\$\$", re.DOTALL)
CODE = re.compile(r"(?<![`:\\])`((?:(?!\n\s*\n)[^`])+)`(?!`)")
# Napoleon would take what stands before a colon for a type; it looks at the first line only.
RETURNS = re.compile(r"(\bReturns:\n+)( +)(\w[^\n:]*) (\S+: )")
PROPERTY = re.compile(r"\A([^\n:]*) (\S+: )")
EXAMPLE = re.compile(r"(^[ ]*(?:>>>|\.\.\.).*$)", re.MULTILINE)


def setup(app):
    app.connect("source-read", link_to_repository)
    # Before napoleon, which needs finished markup.
    app.connect("autodoc-process-docstring", to_restructured_text, priority=400)
    app.connect("autodoc-process-docstring", link_to_package_page)
    app.connect("autodoc-process-signature", class_signature)
    app.connect("autodoc-skip-member", skip_member)


def link_to_repository(app, docname, source):
    """Turns links out of the documentation into links to the repository."""
    source[0] = LINK_OUT.sub(rf"\1{REPOSITORY}", source[0])


def to_restructured_text(app, what, name, obj, options, lines):
    """Turns `$$ ... $$` into math directives and single backticks into literals; leaves examples as they are."""
    text = MATHS.sub(_math_directive, "\n".join(lines))
    text = RETURNS.sub(r"\1\2\3\n\2\4", text)
    if what in ("attribute", "property"):
        text = PROPERTY.sub(r"\1\n\2", text)
    parts = EXAMPLE.split(text)
    lines[:] = "".join(part if EXAMPLE.match(part) else CODE.sub(_literal, part) for part in parts).split("\n")


def _math_directive(match):
    line_start = match.string.rfind("\n", 0, match.start()) + 1
    before = match.string[line_start : match.start()]
    indent = " " * (len(before) - len(before.lstrip()))
    formula = [line.strip() for line in match.group(1).strip().split("\n")]
    body = "\n".join(f"{indent}   {line}" for line in formula)
    return f"\n\n{indent}.. math::\n\n{body}\n\n{indent}"


def _literal(match):
    # On one line; and a letter right after a literal needs an escaped space: ``RNNCell``\ s.
    follower = match.string[match.end() : match.end() + 1]
    return f"``{' '.join(match.group(1).split())}``" + "\\ " * follower.isalnum()


def link_to_package_page(app, what, name, obj, options, lines):
    """A room's page says which of its names are on the page of `tfcharlm`."""
    if what == "module" and name != "tfcharlm":
        names = [other for other in obj.__all__ if _is_handed_out(other, getattr(obj, other))]
        links = ", ".join(f":py:obj:`~tfcharlm.{other}`" for other in names)
        lines += ["", f"On the page of ``tfcharlm``: {links}.", ""] if names else []


def class_signature(app, what, name, obj, options, signature, return_annotation):
    """The arguments of `__init__`, where Keras's `__new__` hides them."""
    if what == "class" and signature == "(*args, **kwargs)":
        parameters = list(inspect.signature(obj.__init__).parameters.values())
        return str(inspect.Signature(parameters[1:])), return_annotation
    return None


def skip_member(app, what, name, obj, skip, options):
    """Leaves out what Keras, TensorFlow and Python define, and what the page of `tfcharlm` has already."""
    if what == "module":
        return True if app.env.docname != "api/tfcharlm" and _is_handed_out(name, obj) else None
    function = getattr(obj, "fget", None) or getattr(obj, "__func__", None) or getattr(obj, "func", None) or obj
    module = getattr(function, "__module__", None) or ""
    return None if module.split(".")[0] == "tfcharlm" else True


def _is_handed_out(name, obj):
    return getattr(sys.modules["tfcharlm"], name, None) is obj

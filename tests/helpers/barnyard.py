"""A small text that a small model learns in seconds."""

from tfcharlm.text import TextSplit

TEXT = "the cat said why to the cow\nan old dog said no\n" * 40
SPLIT = TextSplit.from_text(TEXT)

"""What the report about copied text must not call a copy."""

from tfcharlm.analysis import novelty_report


def check_equal_hashes_of_other_texts_are_no_copies():
    """Thue and Morse's word and its mirror have equal hashes modulo 2^64, whatever the base."""
    word = "ab"
    while len(word) < 2048:
        word += word.translate(str.maketrans("ab", "ba"))
    mirror = word.translate(str.maketrans("ab", "ba"))
    report = novelty_report(word, mirror, lengths=(2048,))
    assert report.copied == {2048: 0.0} and report.longest_copy in mirror

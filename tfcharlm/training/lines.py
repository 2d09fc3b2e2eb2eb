"""A batch of items, such as names, as large as a batch of a long text would be."""

from tfcharlm.text import TextPart

# The most items in a batch. With more, an epoch would have few updates.
MOST_ITEMS = 512


def suggested_items(part: TextPart, batch_size: int, sequence_length: int) -> int:
    """The number of items in a batch that has as many tokens as one of a long text.

    Args:
        part: the items to train on.
        batch_size: the rows that suit a long text of as many tokens.
        sequence_length: the tokens of such a row.

    Returns:
        From 1 to 512, and at most an eighth of the items.
    """
    items = batch_size * sequence_length * part.num_pieces // max(1, part.num_tokens)
    return max(1, min(items, MOST_ITEMS, part.num_pieces // 8))

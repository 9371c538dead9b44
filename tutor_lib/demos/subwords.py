"""WordPiece and Unigram beside the storyteller's byte-pair encoding: learned from the same text."""

from functools import cache

from tutor_lib.demos.weights import storyteller
from tutor_lib.tokenize.bpe import END_OF_TEXT
from tutor_lib.tokenize.unigram import UnigramTokenizer
from tutor_lib.tokenize.wordpiece import WordPieceTokenizer
from tutor_lib.train.corpus import corpus

# Of the 4,000 that the storyteller's merges come from: Unigram learns from these in a second.
DOCUMENTS = 500


def stories() -> str:
    """The first of the storyteller's own training texts."""
    return corpus(0, DOCUMENTS).replace(END_OF_TEXT, " ")


@cache
def wordpiece() -> WordPieceTokenizer:
    """WordPiece with as many pieces as the storyteller has tokens."""
    return WordPieceTokenizer.train(stories(), storyteller()[1].vocab_size)


@cache
def unigram() -> UnigramTokenizer:
    """Unigram of the same size; log p rounded to what a page is sent."""
    learned = UnigramTokenizer.train(stories(), storyteller()[1].vocab_size)
    return UnigramTokenizer([(piece, round(log_p, 5)) for piece, log_p in learned.pieces])

"""Text to token ids and back: byte-level BPE, WordPiece and Unigram."""

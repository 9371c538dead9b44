"""What the reader moves: one Python class and one JavaScript module for each demo."""

from tutor_lib.demos.attention_matrix import AttentionMatrix
from tutor_lib.demos.demo import Demo
from tutor_lib.demos.generate import Generate
from tutor_lib.demos.tokenizer import Tokenizer

__all__ = ["AttentionMatrix", "Demo", "Generate", "Tokenizer"]

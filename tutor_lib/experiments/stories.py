"""What several experiments learn from: the storyteller's corpus without its lists."""

import torch
from jaxtyping import Int
from torch import Tensor

from tutor_lib.tokenize.bpe import END_OF_TEXT, BytePairTokenizer
from tutor_lib.train.corpus import corpus
from tutor_lib.train.storyteller import ASSETS


def story_tokens(seed: int, documents: int, held_out: bool = False) -> Int[Tensor, "N"]:
    """The storyteller's tokens of the stories among so many documents of the corpus, on the CPU.

    Lists of random words said again are left out. Their loss falls in one sudden step, when
    induction heads form (the experiment `induction` shows it), and then lies in what no model
    can foresee; it would hide how the rest falls.
    """
    tokenizer = BytePairTokenizer.load(ASSETS / "tokenizer.json")
    told = corpus(seed, documents, held_out).split(END_OF_TEXT)[:-1]
    stories = [document + END_OF_TEXT for document in told if " said: " not in document]
    return torch.tensor(tokenizer.encode("".join(stories)))

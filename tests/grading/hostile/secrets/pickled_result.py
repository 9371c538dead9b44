"""Returns what runs code when it is unpickled: an object, bytes, a .pt file's content."""

FIRST = """
import io, pickle, torch

class Bomb:
    def __reduce__(self):
        return exec, (f"open({COURSE + '/evil'!r}, 'w').write('evil')",)

def saved():
    file = io.BytesIO()
    torch.save(Bomb(), file)
    return file.getvalue()
"""
ANSWERS = {
    "double": "def double(x):\n    return Bomb()\n",
    "Stack": "def Stack():\n    return saved()\n",
    "squares": "def squares(numbers):\n    return [pickle.dumps(Bomb()), Bomb()]\n",
    "claim": "def claim():\n    return Bomb()\n",
}
CODES = {"score"}

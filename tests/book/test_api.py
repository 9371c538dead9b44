"""The reference of the library says of each function what Python itself says of it."""

import importlib
import inspect
import re

import pytest

from tutor_lib.book import api

PAGE = (api.LIBRARY.parent / "chapters" / "api.md").read_text(encoding="utf-8")
PACKAGES = re.findall(r"^```\{api\} (\w+)$", PAGE, re.M)
MODULES = [
    f"{package}.{path.stem}"
    for package in PACKAGES
    for path in sorted((api.LIBRARY / package).glob("*.py"))
    if path.stem != "__init__"
]


def public(module):
    """What the module itself defines for others, by Python's own account."""
    for name, thing in vars(module).items():
        is_own = getattr(thing, "__module__", "") == module.__name__
        plain = inspect.unwrap(thing) if callable(thing) else thing
        if is_own and not name.startswith("_") and inspect.getdoc(plain):
            if inspect.isfunction(plain) or inspect.isclass(plain):
                yield name, plain


@pytest.mark.parametrize("name", MODULES)
def test_every_public_name_is_there_with_its_arguments(name):
    module = importlib.import_module(f"tutor_lib.{name}")
    text = "\n".join(api.page(api.LIBRARY / f"{name.replace('.', '/')}.py"))
    parts = dict(re.findall(r"^#### `(\w+)`\n(.*?)(?=^#### |\Z)", text, re.M | re.S))
    wanted = {key: thing for key, thing in public(module) if thing.__name__ == key}
    assert wanted.keys() <= parts.keys()
    for key, thing in wanted.items():
        if inspect.isfunction(thing):
            for argument in inspect.signature(thing).parameters:
                assert re.search(rf"\b{argument}\b", parts[key]), (key, argument)
            assert inspect.getdoc(thing).splitlines()[0] in parts[key]


def test_a_long_signature_has_an_argument_a_line(tmp_path):
    (tmp_path / "m.py").write_text(
        "def f(a, /, b: int = 1, *rest: str, c, d: int = 2, **more) -> list[int]:\n"
        '    """Does it."""\n'
        "def g(first_of_several: int, /, second_of_several: int, *, third_of_several: int = 3):\n"
        '    """Does that."""\n'
    )
    text = "\n".join(api.page(tmp_path / "m.py"))
    assert "def f(a, /, b: int=1, *rest: str, c, d: int=2, **more) -> list[int]\n" in text
    assert "def g(\n    first_of_several: int,\n    /,\n    second_of_several: int,\n" in text
    assert "\n    *,\n    third_of_several: int = 3,\n)\n" in text


def test_what_is_private_or_untold_is_left_out(tmp_path):
    (tmp_path / "m.py").write_text('def _f():\n    """No."""\ndef g(): pass\n')
    assert list(api.page(tmp_path / "m.py")) == []

"""`follow` shows an answer, and another one when the demo is moved."""

import pytest
from IPython.utils.capture import capture_output

from tutor_lib.demos import Generate, Tokenizer
from tutor_lib.demos.follow import follow


def texts(captured):
    return [output.data["text/plain"] for output in captured.outputs]


@pytest.fixture(autouse=True)
def shell():
    """IPython's display needs a shell, as a notebook has one."""
    from IPython.core.interactiveshell import InteractiveShell

    yield InteractiveShell.instance()
    InteractiveShell.clear_instance()


def test_the_answer_follows_the_demo():
    demo = Tokenizer(text="a cat")
    with capture_output() as captured:
        follow(demo, lambda demo: demo.text.upper())
        demo.text = "two dogs"
        demo.word = 1
    assert texts(captured) == ["A CAT", "TWO DOGS"]
    first, then = (output.transient["display_id"] for output in captured.outputs)
    assert first == then


def test_the_first_failure_is_raised():
    with pytest.raises(ZeroDivisionError):
        follow(Generate(), lambda demo: str(1 / 0))


def test_a_later_failure_is_shown():
    demo = Generate(prompt="One")
    with capture_output() as captured:
        follow(demo, lambda demo: {"One": "first"}[demo.prompt])
        demo.prompt = "Two"
        demo.prompt = "One"
    assert texts(captured) == ["first", "KeyError: 'Two'", "first"]

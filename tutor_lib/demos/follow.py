"""Python answers a demo: `follow(demo, answer)` shows what `answer(demo)` says of it."""

from collections.abc import Callable

from IPython.display import display

from tutor_lib.demos.demo import Demo


def follow(demo: Demo, answer: Callable[[Demo], str]) -> None:
    """Show the text `answer(demo)`; in JupyterLab, show it anew whenever the demo changes it.

    Raises what `answer` raises; a later failure stands in the text's place, and the demo goes on.
    """
    said = answer(demo)
    shown = display({"text/plain": said}, raw=True, display_id=True)

    def again(change: object) -> None:
        nonlocal said
        before, said = said, _tried(answer, demo)
        if said != before:
            shown.update({"text/plain": said}, raw=True)

    demo.observe(again, demo._state_names())


def _tried(answer: Callable[[Demo], str], demo: Demo) -> str:
    try:
        return answer(demo)
    except Exception as error:  # nobody else would tell the reader
        return f"{type(error).__name__}: {error}"

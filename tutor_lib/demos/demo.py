"""A demo: one widget that also lives in a page without a kernel."""

import inspect
import json
from abc import abstractmethod
from pathlib import Path
from typing import Any

import anywidget
import traitlets

from tutor_lib.demos.bundle import with_kit
from tutor_lib.demos.weights import MAX_CHARACTERS, storyteller_message

FOLDER = Path(__file__).parent


class Demo(anywidget.AnyWidget):
    """`name.py` beside `name.js`: a widget in JupyterLab, plain HTML in a static page.

    A subclass adds synced traits, `presets` (what a reader can press, by name) and `picture`.
    `PRESET_TRAIT` names the trait that a preset fills.

    Raises ValueError for an unknown preset or trait, and TypeError for a subclass without a
    picture.
    """

    PRESET_TRAIT = "text"

    _css = (FOLDER / "demo.css").read_text(encoding="utf-8")

    _esm: str
    max_length = traitlets.Int(MAX_CHARACTERS, min=1).tag(sync=True)
    presets = traitlets.Dict(traitlets.Unicode(), key_trait=traitlets.Unicode()).tag(sync=True)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        # What ABC would do, but anywidget's metaclass does not mix with its.
        if getattr(cls.picture, "__isabstractmethod__", False):
            raise TypeError(f"{cls.__name__} has no picture() for a page without JavaScript")
        # traitlets derives one more class for each widget, where _esm is a trait already.
        if not isinstance(getattr(cls, "_esm", None), traitlets.TraitType):
            cls._esm = with_kit(Path(inspect.getfile(cls)).with_suffix(".js"))
        super().__init_subclass__(**kwargs)

    def __init__(self, preset: str | None = None, **traits: Any) -> None:
        if unknown := sorted(traits.keys() - set(self.trait_names())):
            known = ", ".join(self._state_names())
            raise ValueError(f"{type(self).__name__} has no {', '.join(unknown)}; it has {known}")
        if preset is not None:
            traits[self.PRESET_TRAIT] = self._preset(preset, traits.get("presets", self.presets))
        super().__init__(**traits)
        self.on_msg(self._answer)

    @traitlets.validate("text", "prompt")
    def _short_enough(self, proposal: Any) -> str:
        name, value = proposal["trait"].name, proposal["value"]
        if len(value) > self.max_length:
            raise traitlets.TraitError(
                f"the {name} has {len(value)} characters, at most {self.max_length} fit"
            )
        return value

    @abstractmethod
    def picture(self) -> str:
        """What a reader without JavaScript sees: a small SVG of the real numbers."""

    def html(self) -> str:
        """The demo for a page without a kernel: picture, state, and the code that mounts it."""
        name = type(self).__name__
        return (
            f'<div class="tutor-demo" data-tutor-demo="{name}">\n'
            f"<style>{self._css}</style>\n"
            f'<figure class="tutor-picture">{self.picture()}'
            "<noscript><figcaption>With JavaScript you could change this.</figcaption></noscript>"
            "</figure>\n"
            f'<script type="application/json">{_script_json(self._page_state())}</script>\n'
            f'<script type="module">{_script_code(self._page_module())}</script>\n'
            "</div>"
        )

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        """The widget's view, and beside it the same demo as HTML."""
        view = super()._repr_mimebundle_(**kwargs)
        if view is None:  # anywidget: a widget whose view was taken away shows nothing
            return None
        bundle, metadata = view
        return {**bundle, "text/html": self.html()}, metadata

    def _page_module(self) -> str:
        """The module of the widget, and a line that mounts it in the page."""
        code = self._esm.replace("import {", "import { mountAll,", 1)
        return f"{code}\nmountAll({json.dumps(type(self).__name__)}, {{ render }});"

    def _state_names(self) -> list[str]:
        """The synced traits of the demo itself, not those of every widget."""
        own = set(self.trait_names(sync=True)) - set(anywidget.AnyWidget.class_trait_names())
        return sorted(name for name in own if not name.startswith("_"))

    def _page_state(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self._state_names()}

    @staticmethod
    def _preset(name: str, presets: dict[str, str]) -> str:
        if name not in presets:
            raise ValueError(f"no preset {name!r}; there are {', '.join(presets)}")
        return presets[name]

    def _answer(self, widget: Any, message: Any, buffers: Any) -> None:
        """The front end asked for the storyteller: a notebook need not store its weights."""
        if not isinstance(message, dict) or message.get("kind") != "storyteller, please":
            return
        try:
            data, weights = storyteller_message()
        except (OSError, ValueError) as error:
            self.send({"kind": "no storyteller", "reason": f"No storyteller: {error}"})
        else:
            self.send({"kind": "storyteller", "data": data}, [weights])


def _script_json(value: Any) -> str:
    """JSON that cannot end the script element it stands in."""
    return json.dumps(value, ensure_ascii=False).replace("<", "\\u003c")


def _script_code(source: str) -> str:
    if "</script" in source.lower() or "<!--" in source:
        raise ValueError("a demo's code must hold neither </script nor <!--: it stands in a page")
    return source

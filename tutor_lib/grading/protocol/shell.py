"""IPython's shell without a kernel around it: what a cell shows is kept, not sent.

A kernel starts in 60 ms and takes 4 ms for each request; nobody but the grader talks to the
judge, so a loop over one socket does.
"""

import contextlib
import io
import json
from typing import Any

from IPython.core.displayhook import DisplayHook
from IPython.core.displaypub import DisplayPublisher
from IPython.core.interactiveshell import InteractiveShell
from jupyter_client.jsonutil import json_default
from traitlets import Type
from traitlets.config import Config

Output = dict[str, Any]


class Shown:
    """The outputs of one cell, as a notebook has them; past `room` bytes no more are kept."""

    def __init__(self, room: int) -> None:
        self.outputs: list[Output] = []
        self.room = room

    @property
    def is_full(self) -> bool:
        """Whether something did not fit."""
        return self.room < 0

    def add(self, output: Output) -> None:
        """Keep an output; text goes on where the last of the same stream ended.

        Raises TypeError for what JSON does not know.
        """
        self.room -= len(json.dumps(output, default=json_default))
        if self.is_full:
            return
        last = self.outputs[-1] if self.outputs else {}
        if output["output_type"] == "stream" and last.get("name") == output["name"]:
            last["text"] += output["text"]
        else:
            self.outputs.append(output)


class _Stream(io.TextIOBase):
    """Stands for sys.stdout or sys.stderr."""

    def __init__(self, name: str, shown: Shown) -> None:
        self._name, self._shown = name, shown

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self._shown.add({"output_type": "stream", "name": self._name, "text": text})
        return len(text)


class _Publisher(DisplayPublisher):
    """What `display` shows."""

    def publish(
        self, data: Any, metadata: Any = None, *_: Any, update: bool = False, **__: Any
    ) -> None:
        if not update:
            shell: Any = self.shell
            shell.show("display_data", data=data, metadata=metadata or {})

    def clear_output(self, wait: bool = False) -> None:
        pass


class _Hook(DisplayHook):
    """What a cell's last expression shows."""

    def write_output_prompt(self) -> None:
        pass

    def write_format_data(self, format_dict: Any, md_dict: Any = None) -> None:
        shell: Any = self.shell
        count, metadata = self.prompt_count, md_dict or {}
        shell.show("execute_result", data=format_dict, metadata=metadata, execution_count=count)

    def finish_displayhook(self) -> None:
        pass


class Shell(InteractiveShell):
    """Runs cells in `__main__`, magics, `await` and all."""

    displayhook_class = Type(_Hook)
    display_pub_class = Type(_Publisher)
    shown = Shown(0)

    @classmethod
    def start(cls) -> "Shell":
        """The process's one shell."""
        return cls.instance(config=Config({"HistoryManager": {"enabled": False}}))

    def run(self, source: str, room: int) -> tuple[bool, Shown]:
        """Run a cell: whether it came to its end, and what it has shown in so many bytes."""
        self.shown = Shown(room)
        out, errors = (_Stream(name, self.shown) for name in ("stdout", "stderr"))
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
            ran = self.run_cell(source, store_history=True)
        return bool(ran.success), self.shown

    def show(self, kind: str, **about: Any) -> None:
        """Keep one more output."""
        self.shown.add({"output_type": kind, **about})

    def _showtraceback(self, etype: type, evalue: BaseException, stb: list[str]) -> None:
        self.show("error", ename=etype.__name__, evalue=str(evalue), traceback=stb)

    def enable_gui(self, gui: str | None = None) -> None:
        """There is none; `%matplotlib inline` asks for none."""

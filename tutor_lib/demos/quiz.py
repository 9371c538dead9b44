"""Questions about a chapter: choose, and every choice says why it is right or wrong."""

import textwrap
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import traitlets

from tutor_lib.demos.demo import Demo
from tutor_lib.demos.picture import box, svg, text

PIPELINE = [
    {
        "ask": "Which part of a transformer moves information from one position to another?",
        "choices": [
            {"says": "The embedding", "why": "It looks up one row per token and sees no other."},
            {
                "says": "Attention",
                "right": True,
                "why": "Each position reads the others' values, weighted by query and key.",
            },
            {"says": "The FFN", "why": "It is applied to each position's vector alone."},
        ],
    },
    {
        "ask": "What does the last step return for a text of `T` tokens?",
        "choices": [
            {"says": "One word", "why": "A word comes only after a token was drawn."},
            {
                "says": "`V` numbers for each position",
                "right": True,
                "why": "Every position scores each of the `V` tokens of the vocabulary.",
            },
            {"says": "`C` numbers for each position", "why": "That is what goes into it."},
        ],
    },
]

Question = dict[str, Any]


class Quiz(Demo):
    """One question at a time; a choice says at once whether it is right, and why.

    A question is `{"ask": text, "choices": [{"says": text, "right": True, "why": text}, …]}`,
    with exactly one right choice; a text may hold `code` between backticks. `answers` has the
    chosen index of each question, −1 where nothing is chosen. A page keeps the answers in the
    browser under the page's path and the name `quiz`.

    Raises TraitError for questions that could not be asked, and for answers that do not fit.
    """

    quiz = traitlets.Unicode("pipeline").tag(sync=True)
    questions = traitlets.List(traitlets.Dict()).tag(sync=True)
    answers = traitlets.List(traitlets.Int()).tag(sync=True)

    def __init__(
        self,
        quiz: str = "pipeline",
        questions: Sequence[Mapping[str, Any]] = PIPELINE,
        **traits: Any,
    ) -> None:
        super().__init__(quiz=quiz, questions=list(questions), **traits)

    @traitlets.default("answers")
    def _nothing_chosen(self) -> list[int]:
        return [-1] * len(self.questions)

    @traitlets.validate("questions")
    def _can_be_asked(self, proposal: Any) -> list[Question]:
        if not proposal["value"]:
            raise traitlets.TraitError("a quiz needs at least one question, got []")
        for question in proposal["value"]:
            _check(question)
        return proposal["value"]

    @traitlets.validate("answers")
    def _fit(self, proposal: Any) -> list[int]:
        answers, sizes = proposal["value"], [len(q["choices"]) for q in self.questions]
        if len(answers) != len(sizes):
            raise traitlets.TraitError(f"{len(sizes)} questions cannot have the answers {answers}")
        for answer, size in zip(answers, sizes, strict=True):
            if not -1 <= answer < size:
                raise traitlets.TraitError(f"no choice {answer}: there are {size}, from 0")
        return answers

    def picture(self) -> str:
        """The first question and its choices; without JavaScript also all answers, folded."""
        first = self.questions[0]
        shapes, y = [], 24
        for line in textwrap.wrap(_bare(first["ask"]), 42):
            shapes.append(text(8, y, line))
            y += 20
        for choice in first["choices"]:
            lines = textwrap.wrap(_bare(choice["says"]), 38)
            height, edge = 20 * len(lines) + 12, 'rx="6" stroke="var(--td-edge)"'
            shapes.append(box(8, y, 362, height, "var(--td-paper)", edge))
            shapes += [text(20, y + 20 + 20 * i, line) for i, line in enumerate(lines)]
            y += height + 8
        label = f"Question 1 of {len(self.questions)}: {_bare(first['ask'])}"
        return f"{svg(378, y, label, shapes)}<noscript>{self._all_answers()}</noscript>"

    def _all_answers(self) -> str:
        return f"<ol>{''.join(map(_answered, self.questions))}</ol>"


def _check(question: Question) -> None:
    ask, choices = question.get("ask"), question.get("choices", ())
    if not ask:
        raise traitlets.TraitError(f"a question lacks the text to ask: {question}")
    if len(choices) < 2:
        raise traitlets.TraitError(f"{ask!r} needs two choices or more, got {len(choices)}")
    for choice in choices:
        if lacking := [part for part in ("says", "why") if not choice.get(part)]:
            raise traitlets.TraitError(f"a choice of {ask!r} lacks {lacking[0]!r}: {choice}")
        if unknown := choice.keys() - {"says", "why", "right"}:
            raise traitlets.TraitError(f"a choice of {ask!r} has unknown {sorted(unknown)}")
    says = [choice["says"] for choice in choices]
    if twice := [text for text in says if says.count(text) > 1]:
        raise traitlets.TraitError(f"{ask!r} offers {twice[0]!r} twice")
    if (right := sum(choice.get("right") is True for choice in choices)) != 1:
        raise traitlets.TraitError(f"{ask!r} needs exactly one right choice, got {right}")


def _bare(text: str) -> str:
    return text.replace("`", "")


def _marked(text: str) -> str:
    """The text as HTML, what stands between backticks as code."""
    parts = escape(text).split("`")
    return "".join(f"<code>{p}</code>" if i % 2 else p for i, p in enumerate(parts))


def _answered(question: Question) -> str:
    reasons = "".join(
        f"<li>{'✓ Right' if choice.get('right') else '✗ Wrong'}: "
        f"{_marked(choice['says'])}. {_marked(choice['why'])}</li>"
        for choice in question["choices"]
    )
    choices = "".join(f"<li>{_marked(choice['says'])}</li>" for choice in question["choices"])
    return (
        f"<li>{_marked(question['ask'])}<ul>{choices}</ul>"
        f"<details><summary>The answer, and why</summary><ul>{reasons}</ul></details></li>"
    )

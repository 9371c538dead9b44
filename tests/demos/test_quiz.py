"""The quiz: what it refuses to ask, what a choice reveals, and what the browser keeps."""

import json

import pytest
import traitlets

from tutor_lib.demos.quiz import Quiz

WRONG, RIGHT = (
    {"says": "Three", "why": "One too many."},
    {"says": "Two", "right": True, "why": "1 + 1."},
)
SUM = {"ask": "What is `1 + 1`?", "choices": [WRONG, RIGHT]}
SIGN = {
    "ask": "Is `-1 < 0`?",
    "choices": [
        {"says": "Yes", "right": True, "why": "It lies left of `0` <on the line>."},
        {"says": "No", "why": "Then `1` would be below zero."},
        {"says": "Never", "why": "Numbers do not change."},
    ],
}
QUESTIONS = [SUM, SIGN]
REFUSED = [
    ([], "at least one question"),
    ([{"choices": [WRONG, RIGHT]}], "lacks the text to ask"),
    ([{"ask": "What?", "choices": [RIGHT]}], "needs two choices or more, got 1"),
    ([{"ask": "What?", "choices": [WRONG, {**WRONG, "says": "Four"}]}], "exactly one .* got 0"),
    ([{"ask": "What?", "choices": [RIGHT, {**RIGHT, "says": "II"}]}], "exactly one .* got 2"),
    ([{"ask": "What?", "choices": [RIGHT, {"says": "Four"}]}], "lacks 'why'.*Four"),
    ([{"ask": "What?", "choices": [RIGHT, {"why": "No."}]}], "lacks 'says'"),
    ([{"ask": "What?", "choices": [RIGHT, {**WRONG, "says": "Two"}]}], "offers 'Two' twice"),
    ([{"ask": "What?", "choices": [RIGHT, {**WRONG, "wright": True}]}], "unknown .'wright'"),
]


@pytest.mark.parametrize(("questions", "message"), REFUSED)
def test_what_cannot_be_asked_is_refused(questions, message):
    with pytest.raises(traitlets.TraitError, match=message):
        Quiz("sums", questions)


@pytest.mark.parametrize(
    ("answers", "message"), [([0], "2 questions cannot have"), ([0, 3], "no choice 3")]
)
def test_answers_must_fit(answers, message):
    with pytest.raises(traitlets.TraitError, match=message):
        Quiz("sums", QUESTIONS, answers=answers)


def test_nothing_is_chosen_at_first():
    assert Quiz("sums", QUESTIONS).answers == [-1, -1]


def test_code_stands_between_backticks(code):
    pieces = code("codePieces", "Is `a` or `b c` it?")
    assert [(p["text"], p["code"]) for p in pieces] == [
        ("Is ", False), ("a", True), (" or ", False), ("b c", True), (" it?", False),
    ]  # fmt: skip
    assert [p["text"] for p in code("codePieces", "`all`")] == ["all"]


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ([-1, -1], {"answered": 0, "right": 0, "open": [1, 2]}),
        ([0, 0], {"answered": 2, "right": 1, "open": [1]}),
        ([1, 0], {"answered": 2, "right": 2, "open": []}),
    ],
)
def test_tally(code, answers, expected):
    assert code("quizTally", QUESTIONS, answers) == expected


def test_answers_are_kept_by_their_words(code):
    """A page built anew may ask in another order, or ask something else."""
    kept = code("keptAnswers", QUESTIONS, [1, 2])
    assert code("recalledAnswers", QUESTIONS, kept) == [1, 2]
    turned = [{**SIGN, "choices": SIGN["choices"][::-1]}, SUM]
    assert code("recalledAnswers", turned, kept) == [0, 1]
    assert code("recalledAnswers", [{**SUM, "ask": "What is two?"}], kept) == [-1]


@pytest.mark.parametrize("kept", [None, "", "{", "7", "[1]", '{"ask": 1}', "null"])
def test_what_others_wrote_into_the_storage_does_no_harm(code, kept):
    assert code("recalledAnswers", QUESTIONS, kept) == [-1, -1]


def open_quiz(page, **changes) -> None:
    page.mount("Quiz", quiz="sums", questions=QUESTIONS, answers=[-1, -1], **changes)


def choose(page, says: str) -> None:
    page.locator(".answer").get_by_text(says, exact=True).click()


def heard(page) -> str:
    """What a screen reader is told."""
    return " ".join(page.get_by_role("status").all_inner_texts())


def test_a_wrong_choice_says_why_and_another_may_follow(visit):
    with visit() as page:
        open_quiz(page)
        assert page.get_by_text("Question 1 of 2").is_visible()
        assert page.locator(".ask code").inner_text() == "1 + 1"
        choose(page, "Three")
        assert "✗ Not this one. One too many." in heard(page)
        assert page.get_by_role("button", name="Three").get_attribute("aria-pressed") == "true"
        assert page.get_by_role("button", name="Question 1, not right yet").is_visible()
        assert page.trait("answers") == [0, -1]
        choose(page, "Two")
        assert "✓ Right. 1 + 1." in heard(page)
        assert "One too many" not in heard(page)
        page.get_by_text("Why the others are wrong").click()
        assert page.get_by_text("Three: One too many.").is_visible()


def test_the_end_sums_up_and_reset_begins_again(visit):
    with visit() as page:
        open_quiz(page)
        choose(page, "Two")
        page.get_by_role("button", name="Next question").click()
        assert page.evaluate(
            "alone.el.querySelector('.tutor-demo').shadowRoot.activeElement.textContent"
        ) == SIGN["ask"].replace("`", "")
        choose(page, "No")
        assert "1 of 2 right. Have another look at question 2." in heard(page)
        choose(page, "Yes")
        assert "You have found all 2." in heard(page)
        assert "<on the line>" in heard(page), "a text is text, not HTML"
        page.get_by_role("button", name="Reset").click()
        assert page.trait("answers") == [-1, -1]
        assert page.get_by_text("Question 1 of 2").is_visible()
        assert not heard(page).strip()
        assert not page.complaints


def test_answers_come_back_with_the_page(visit):
    with visit(name="Quiz") as page:
        page.ready("Quiz")
        page.get_by_role("button", name="The FFN").click()
        page.reload()
        page.ready("Quiz")
        assert page.get_by_role("button", name="The FFN").get_attribute("aria-pressed") == "true"
        assert "✗ Not this one." in heard(page)
        page.get_by_role("button", name="Reset").click()
        page.reload()
        page.ready("Quiz")
        assert page.get_by_role("button", name="The FFN").get_attribute("aria-pressed") == "false"


def test_each_quiz_of_a_page_has_its_own_answers(visit):
    with visit() as page:
        open_quiz(page)
        choose(page, "Three")
        page.mount("Quiz", quiz="others", questions=QUESTIONS, answers=[-1, -1])
        assert page.trait("answers") == [-1, -1]
        open_quiz(page)
        assert page.trait("answers") == [0, -1]


@pytest.mark.parametrize(
    "refusal",
    [
        "Object.defineProperty(window, 'localStorage', { get() { throw new Error('refused') } })",
        "Storage.prototype.setItem = Storage.prototype.getItem = () => { throw new Error('full') }",
        "Object.defineProperty(window, 'localStorage', { value: null })",
    ],
)
def test_a_browser_that_keeps_nothing_does_no_harm(visit, refusal):
    """In private mode, or from disk, asking for the storage may itself be an error."""
    with visit() as page:
        page.evaluate(f"() => {{ {refusal} }}")
        open_quiz(page)
        choose(page, "Three")
        assert "One too many." in heard(page)
        page.get_by_role("button", name="Reset").click()
        assert page.trait("answers") == [-1, -1]
        assert not page.complaints


def test_in_a_kernel_the_answers_are_python_s(visit):
    """Python's answers show, changes of theirs follow, and the browser keeps nothing."""
    with visit() as page:
        open_quiz(page)
        page.evaluate(
            """() => {
              const el = document.createElement('div');
              document.querySelector('main').replaceChildren(el);
              const model = new code.PageModel({ ...alone.model.state, answers: [0, -1] });
              model.onPage = false;
              localStorage.clear();
              globalThis.alone = { model, el, remove: demos.Quiz.default.render({ model, el }) };
            }"""
        )
        assert "One too many." in heard(page)
        page.evaluate("alone.model.set('answers', [1, -1])")
        assert "✓ Right." in heard(page)
        choose(page, "Three")
        assert page.trait("answers") == [0, -1]
        assert page.evaluate("localStorage.length") == 0


def test_without_javascript_the_answers_are_folded(visit):
    with visit(name="Quiz", java_script_enabled=False) as page:
        # Playwright finds no text within a noscript element.
        reasons = page.locator("noscript details").first
        assert not reasons.locator("ul").is_visible()
        reasons.locator("summary").click()
        assert reasons.locator("ul").is_visible()
        assert "✓ Right: Attention. Each position" in reasons.inner_text()


def test_a_text_cannot_end_the_page_s_script():
    html = Quiz("sums", [{**SUM, "ask": "Is </script><b> `<!--` text?"}]).html()
    assert html.count("</script>") == 2
    state = html.split('<script type="application/json">')[1].split("</script>")[0]
    assert json.loads(state)["questions"][0]["ask"] == "Is </script><b> `<!--` text?"

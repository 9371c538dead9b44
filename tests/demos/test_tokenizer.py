"""The Tokenizer: three algorithms on one text, and bets on the merges that are learned."""

import re

from tutor_lib.demos import Tokenizer
from tutor_lib.demos.subwords import unigram, wordpiece
from tutor_lib.demos.weights import storyteller
from tutor_lib.tokenize.bpe import BytePairTokenizer

TEXT = "Unbelievable! The rabbits were tired."


def texts(page, selector):
    return page.locator(selector).all_inner_texts()


def test_the_algorithm_changes_ids_and_pieces(visit):
    with visit(name="blank") as page:
        page.mount("Tokenizer", text=TEXT)
        for name, ours in [("WordPiece", wordpiece()), ("Unigram", unigram())]:
            page.get_by_role("radio", name=name).check(force=True)
            ids = ours.encode(TEXT)
            assert page.trait("ids") == ids
            assert texts(page, ".pieces small") == [str(i) for i in ids]
        page.get_by_role("radio", name="BPE").check(force=True)
        assert page.trait("ids") == storyteller()[1].encode(TEXT)
        assert not page.complaints


def test_all_three_are_compared(visit):
    with visit(name="blank") as page:
        page.mount("Tokenizer", text="RABBIT 猫")
        rows = [row.split() for row in texts(page, ".compare tbody tr")]
    all_three = {"BPE": storyteller()[1], "WordPiece": wordpiece(), "Unigram": unigram()}
    for name, count, unknown, back in rows:
        ids = all_three[name].encode("RABBIT 猫")
        assert int(count) == len(ids)
        assert (back == "yes") == (all_three[name].decode(ids) == "RABBIT 猫")
        assert (int(unknown) > 0) == (name != "BPE")


def test_a_word_is_explained_by_its_algorithm(visit):
    with visit(name="blank") as page:
        page.mount("Tokenizer", text="rabbits catλ", algorithm=1)
        assert "“rabbits” is" in page.locator(".merges").inner_text()
        page.locator("button.word").nth(1).click()
        assert "the whole word “catλ” becomes [UNK]" in page.locator(".merges").inner_text()
        page.get_by_role("radio", name="Unigram").check(force=True)
        shown = page.locator(".merges .number .token").all_inner_texts()
    ways = unigram().n_best(" catλ", 3)
    assert shown == [f"{log_p:.2f}".replace("-", "−") for log_p, _ in ways]


def test_a_bet_is_judged_and_the_pair_merged(visit):
    """The reader bets before any count shows; then the vocabulary grows by one."""
    text = "the cat sat on the mat, the rat sat on the cat, and that was that"
    ours = BytePairTokenizer.train(text, vocab_size=400)
    with visit(name="blank") as page:
        page.mount("Tokenizer", text=text)
        page.get_by_role("radio", name="Learn merges").check(force=True)
        assert page.locator(".bars").is_hidden()
        merge = page.get_by_role("button", name="Merge it")
        assert merge.get_attribute("aria-disabled") == "true"
        page.locator(".bets button", has_text="a + t").click()
        assert "Won. a + t stands there 8 times" in page.get_by_role("status").inner_text()
        assert page.locator(".bars").is_visible()
        merge.click()
        assert page.trait("learned") == 1
        assert texts(page, ".learned small") == ["256"]
        page.get_by_role("button", name="Ten without bets").click()
        ids = {int(i) for i in texts(page, ".learned small")}
        assert ids == {*range(256, 256 + 11)}
        more = page.get_by_role("button", name="Ten without bets")
        while more.get_attribute("aria-disabled") == "false":
            more.click()
        assert page.trait("learned") == len(ours.merges)
        assert "training ends here" in page.get_by_role("status").inner_text()
        page.get_by_role("textbox", name="Your text").fill("aa bb aa")
        assert page.trait("learned") == 0
        assert not page.complaints


def test_a_lost_bet(visit):
    with visit(name="blank") as page:
        page.mount("Tokenizer", text="ab ab ab cd cd", train=1)
        page.locator(".bets button", has_text="c + d").click()
        told = page.get_by_role("status").inner_text()
        assert "Lost. a + b stands there 3 times" in told
        assert "Bets won: 0 of 1" in told
        # A second bet on the same merge would know the answer.
        page.locator(".bets button", has_text="a + b").click(force=True)
        assert page.get_by_role("status").inner_text() == told
        counts = texts(page, ".bars td.number")
    assert [int(re.match(r"\d+", count)[0]) for count in counts] == [
        3,
        2,
        2,
        2,
    ]  # ␣ + a and ␣ + c too


def test_python_follows_the_algorithm():
    demo = Tokenizer(text=TEXT, algorithm=2)
    assert demo.ids == unigram().encode(TEXT)
    assert "▁rabbits" in demo.picture()
    demo.algorithm = 1
    assert demo.ids == wordpiece().encode(TEXT)
    assert "[UNK]" not in Tokenizer(text="the cat", algorithm=1).picture()

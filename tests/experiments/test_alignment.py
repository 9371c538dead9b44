"""The task's rule by counting, a run in small, and what the stored run claims."""

import random
import re

import pytest

from tutor_lib.experiments.alignment import CUT_DOWN, FULL, LONGEST, METHODS, run
from tutor_lib.experiments.alignment_task import (
    KINDS,
    Wish,
    demonstration,
    is_story,
    reward,
    story,
    wishes,
)
from tutor_lib.experiments.record import load_record
from tutor_lib.train.storyteller import CONFIG, load_storyteller

WISH = Wish("Ida", "owl", "barn", "red", "kite", "ill")
STORY = (
    " Once upon a time there was an owl named Ida. One day Ida found a red kite in the barn."
    " In the end Ida was ill, so Ida stayed at home."
)


def test_a_wish_and_its_story_in_words():
    assert WISH.prompt == "Tell a story with Ida, an owl, a barn, a red kite and an ill end."
    assert story(WISH) == STORY


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        (STORY, 6),
        (STORY.replace("owl", "fox"), 5),
        (STORY.replace("red", "blue").replace("kite", "cup"), 4),
        (STORY.replace("Ida found", "Tom found"), 5),  # another name beside the one asked for
        (STORY + " Ida was happy.", 5),
        (STORY.replace("owl", "howl"), 5),
        ("", 0),
        ("ill kite red barn owl Ida", 6),  # the rule asks for words, not for a story
    ],
)
def test_the_rule_counts_kinds_told_as_asked(answer, right):
    assert reward(WISH, answer, ended=True) == pytest.approx(right / 6)
    assert reward(WISH, answer, ended=False) == 0.0


def test_what_is_a_story():
    rng = random.Random(1)
    assert all(is_story(story(wish)) for wish in wishes(rng, 300))
    assert not is_story("ill kite red barn owl Ida")
    assert not is_story(STORY.replace("Ida found", "Tom found"))
    assert not is_story(STORY.replace("stayed at home", "began to sing"))
    assert not is_story(STORY + " Ida was happy.")
    assert not is_story(STORY.replace("kite", "kito"))


def test_wishes_differ_and_no_word_is_of_two_kinds():
    found = wishes(random.Random(1), 5000)
    assert len(set(found)) == 5000
    words = [word for kind in KINDS.values() for word in kind]
    assert len(words) == len(set(words))
    said = {word for sentence in (WISH.prompt, STORY) for word in re.findall(r"\w+", sentence)}
    assert said & set(words) == set(vars(WISH).values())
    with pytest.raises(ValueError, match="1036800 wishes, fewer than 1036801"):
        wishes(random.Random(1), 1_036_801)


def test_a_writer_heeds_as_many_wishes_as_its_care_and_chance_say():
    rng = random.Random(1)
    asked = wishes(rng, 4000)
    rewards = [reward(w, demonstration(rng, w, 0.6), ended=True) for w in asked]
    expected = sum(0.6 + 0.4 / len(words) for words in KINDS.values()) / 6
    assert sum(rewards) / 4000 == pytest.approx(expected, abs=4 * (0.23 / 6 / 4000) ** 0.5)
    assert demonstration(rng, WISH, 1.0) == STORY
    with pytest.raises(ValueError, match=r"care must lie in \[0, 1\], got 1\.1"):
        demonstration(rng, WISH, 1.1)


def test_all_stories_fit():
    tokenizer = load_storyteller()[1]
    for wish in wishes(random.Random(2), 1000):
        told = tokenizer.encode(story(wish))
        assert len(told) + 1 <= LONGEST
        assert len(tokenizer.encode(wish.prompt)) + LONGEST <= CONFIG.context_length


def test_a_run_in_small():
    results = run(CUT_DOWN, seed=3)
    assert run(CUT_DOWN, seed=3) == results
    for name in METHODS:
        curve = results[name]
        assert curve["step"] == [0, 1]
        assert abs(curve["kl"][0]) < 1e-6  # nothing has moved yet
        assert curve["kl"][1] > 1e-6
        assert curve["reward"][0] == results["dpo"]["reward"][0]
    assert len(results["examples"]) == 3
    for row in results["examples"]:
        assert set(row) == {"prompt", "sft", *METHODS}


@pytest.fixture(scope="module")
def stored() -> dict:
    return load_record("alignment")["results"]


def gain(curve: dict, first: int, last: int) -> float:
    """How many standard errors the reward rose by between two measurements."""
    error = (curve["reward_error"][first] ** 2 + curve["reward_error"][last] ** 2) ** 0.5
    return (curve["reward"][last] - curve["reward"][first]) / error


def test_careless_demonstrations_teach_carelessness(stored):
    """SFT tells stories, but meets no more wishes than its teachers did."""
    expected = sum(FULL.care + (1 - FULL.care) / len(words) for words in KINDS.values()) / 6
    assert stored["demonstrations"] == pytest.approx(expected, abs=0.02)
    start = stored["dpo"]
    assert 0.4 < start["reward"][0] < stored["demonstrations"]
    assert start["stories"][0] > 0.95


@pytest.mark.parametrize("name", ["dpo", "grpo"])
def test_comparisons_and_rewards_teach_care(stored, name):
    curve = stored[name]
    assert gain(curve, 0, -1) > 3
    assert curve["reward"][-1] - 3 * curve["reward_error"][-1] > stored["demonstrations"]
    assert curve["kl"][0] < 1e-6 < curve["kl"][-1]


def test_ppo_first_gains_and_then_exploits_its_reward_model(stored):
    """The learned score rises all the way; what it stands for rises, and falls again."""
    curve = stored["ppo"]
    assert 0.6 < stored["reward_model"]["accuracy"] < 0.9
    best = curve["reward"].index(max(curve["reward"]))
    assert gain(curve, 0, best) > 3
    assert gain(curve, best, -1) < -3
    assert curve["learned"] == sorted(curve["learned"])
    for other in ("dpo", "grpo"):
        assert curve["learned"][-1] > stored[other]["learned"][-1]
        assert curve["reward"][-1] < stored[other]["reward"][-1]


def test_the_stored_answers_are_to_held_out_wishes(stored):
    """The six wishes can be read off the prompts, and the rule agrees with what the curves say."""
    pattern = r"with (\w+), an? (\w+), a (\w+), a (\w+) (\w+) and an? (\w+) end"
    told: dict[str, float] = {}
    for row in stored["examples"]:
        wish = Wish(*re.search(pattern, row["prompt"]).groups())
        assert wish.prompt == row["prompt"]
        for name in ("sft", *METHODS):
            told[name] = told.get(name, 0.0) + reward(wish, row[name], ended=True) / 3
    assert told["sft"] < told["dpo"]
    assert told["sft"] < told["grpo"]

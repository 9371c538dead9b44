"""How anything becomes tokens, in the browser: against PyTorch, and what a reader sees."""

import numpy as np
import pytest
import torch
import traitlets
from torch.nn import functional as F

from tutor_lib.demos import Domains
from tutor_lib.demos.domains import RATE, SIDE, chords, shapes, simulated_prices
from tutor_lib.demos.weights import storyteller


@pytest.fixture
def rng():
    return torch.Generator().manual_seed(7)


def close(found, expected):
    torch.testing.assert_close(
        torch.tensor(found, dtype=torch.float64), expected.double(), atol=1e-5, rtol=1e-5
    )


@pytest.mark.parametrize(("length", "stride"), [(7, 7), (8, 4), (5, 3), (53, 53)])
def test_windows_are_torch_s(code, rng, length, stride):
    x = torch.randn(53, generator=rng)
    close(code("windows", x.tolist(), length, stride), x.unfold(0, length, stride))


def test_a_series_shorter_than_a_window_gives_none(code):
    assert code("windows", [1.0, 2.0], 3) == []


@pytest.mark.parametrize(("side", "patch"), [(15, 3), (15, 5), (14, 7), (13, 1), (13, 13)])
def test_patches_are_torch_s(code, rng, side, patch):
    image = torch.rand(side, side, generator=rng)
    found = code("imagePatches", image.flatten().tolist(), side, patch)
    close(found, F.unfold(image[None, None], patch, stride=patch)[0].T)


@pytest.mark.parametrize("length", [16, 44, 64, 128])
def test_the_spectrum_is_torch_s(code, rng, length):
    sound = torch.randn(5 * length // 2, generator=rng, dtype=torch.float64)
    frames = code("windows", sound.tolist(), length, length // 2)
    found = [code("frameSpectrum", frame) for frame in frames]
    window = torch.hann_window(length, dtype=torch.float64)
    expected = torch.stft(
        sound, length, length // 2, window=window, center=False, return_complex=True
    )
    close(found, expected.abs().T)


def test_a_standardised_series_has_mean_0_and_deviation_1(code, rng):
    x = 100 + 7 * torch.randn(31, generator=rng, dtype=torch.float64)
    close(code("standardised", x.tolist()), (x - x.mean()) / x.std(correction=0))
    assert code("standardised", [3.0] * 5) == [0.0] * 5


def test_every_token_meets_every_token(code):
    assert code("pairCount", 13) == sum(1 for _ in range(13) for _ in range(13))


def test_the_sound_has_the_notes_of_its_chords():
    """The three strongest frequencies of each half are where equal temperament puts them."""
    sound = np.array(chords(samples=8192))
    for half, notes in zip(np.split(sound, 2), ((523, 659, 784), (349, 440, 523)), strict=True):
        spectrum = np.abs(np.fft.rfft(half * np.hanning(len(half))))
        peaks = [
            i
            for i in range(1, len(spectrum) - 1)
            if spectrum[i] > max(spectrum[i - 1], spectrum[i + 1], 0.3 * spectrum.max())
        ]
        assert [RATE * i / len(half) for i in peaks] == pytest.approx(notes, abs=1.5)


def test_the_prices_are_a_random_walk_of_their_seed():
    assert simulated_prices() == simulated_prices() != simulated_prices(seed=8)
    steps = np.diff(np.log(simulated_prices(days=4001)))
    assert steps.std() == pytest.approx(0.012, rel=0.05)
    assert abs(np.corrcoef(steps[1:], steps[:-1])[0, 1]) < 0.05  # the past tells nothing


def test_the_image_has_three_kinds_of_places():
    image = np.array(shapes()).reshape(SIDE, SIDE)
    assert (image == 1).sum() == pytest.approx(np.pi * (0.22 * SIDE) ** 2, rel=0.05)
    assert (image == 0.6).sum() == pytest.approx((0.34 * SIDE) ** 2, rel=0.1)
    assert image[:, -1].min() > image[:, 0].max() - 0.01


def test_what_cannot_be_cut_is_refused():
    with pytest.raises(traitlets.TraitError, match="image needs 32 · 32 numbers, got 7"):
        Domains(image=[0.0] * 7)
    with pytest.raises(traitlets.TraitError, match="prices must have 20 to 4096 numbers, got 19"):
        Domains(prices=[1.0] * 19)


@pytest.mark.parametrize(
    ("domain", "trait", "sizes", "shape"),
    [
        (1, "frame", (64, 128, 256), lambda s: (len(chords()) // (s // 2) - 1, s // 2 + 1)),
        (2, "patch", (2, 4, 8), lambda s: ((SIDE // s) ** 2, s * s)),
        (3, "window", (5, 10, 20), lambda s: (len(simulated_prices()) // s, s)),
    ],
)
def test_the_shape_and_the_cost_of_each_size(visit, domain, trait, sizes, shape):
    with visit(name="blank") as page:
        page.mount("Domains", domain=domain, bet=0)
        for choice, size in enumerate(sizes):
            page.evaluate("([name, value]) => alone.model.set(name, value)", [trait, choice])
            count, width = shape(size)
            words = page.locator("[role=status]").last.inner_text()
            assert f"T = {count} tokens, shape [{count}, {width}]" in words
            assert f"T² = {count * count:,} pairs" in words
            row = page.locator(".plain").first.locator("tr.strong td").all_inner_texts()
            assert row == [f"{count:,}", f"{width:,}", f"{count * count:,}"]
            lit = page.locator(".here.over").last.bounding_box()["width"]
            whole = page.locator(".map").bounding_box()["width"]
            assert lit == pytest.approx(whole / count, abs=3)


def test_a_text_is_cut_by_the_merges_used(visit):
    """Without merges bytes; with all of them the storyteller's own tokens and its own rows."""
    model, tokenizer = storyteller()
    text = "Mia saw a 🦊."
    with visit(name="blank") as page:
        page.mount("Domains", text=text, merges=0, token=2)
        assert page.locator(".pieces li").count() == len(text.encode())
        page.get_by_role("radio", name=f"{len(tokenizer.merges)}").check()
        ids = tokenizer.encode(text)
        assert page.locator(".pieces small").all_inner_texts() == [str(i) for i in ids]
        page.locator("summary").click()
        found = page.locator("details tbody td").all_inner_texts()
        values = [float(value.replace("−", "-")) for value in found]
        row = model.embedding.weight[ids[2]].detach().double()
        torch.testing.assert_close(torch.tensor(values).double(), row, atol=6e-4, rtol=0)


def test_the_slider_walks_the_tokens_and_stays_in_the_sequence(visit):
    with visit(name="blank") as page:
        page.mount("Domains", domain=2, patch=0, token=250)
        page.evaluate("alone.model.set('patch', 2)")  # 16 patches
        assert page.trait("token") == 15
        page.locator("input[type=range]").focus()
        page.keyboard.press("ArrowLeft")
        assert page.trait("token") == 14
        page.locator("summary").click()
        values = [float(v) for v in page.locator("details tbody td").all_inner_texts()]
        image = torch.tensor(shapes()).view(1, 1, SIDE, SIDE)
        expected = F.unfold(image, 8, stride=8)[0].T[14]
        torch.testing.assert_close(torch.tensor(values), expected, atol=6e-4, rtol=0)


def test_a_bet_on_the_pairs_is_settled_by_counting(visit):
    with visit(name="blank") as page:
        page.mount("Domains")
        assert not page.locator(".plain").first.is_visible()
        page.get_by_role("button", name="16 times").click()
        assert page.trait("bet") == 2
        words = page.locator("[role=status]").first.inner_text()
        assert words.startswith("You bet 16. Right")
        assert "16 tokens and 256 pairs" in words
        assert "64 tokens and 4,096 pairs" in words
        page.get_by_role("button", name="2 times").first.click()
        assert "Counted otherwise" in page.locator("[role=status]").first.inner_text()


def test_an_empty_text_asks_for_one(visit):
    with visit(name="blank") as page:
        page.mount("Domains", text="")
        assert "Type a text" in page.locator("[role=status]").last.inner_text()
        assert not page.locator("input[type=range]").is_visible()


def test_the_picture_says_that_the_prices_are_simulated():
    assert "simulated prices" in Domains().picture()

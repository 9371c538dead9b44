"""Fine-tuning on answers against a loop over -log softmax, and the edges of the mask."""

import math

import pytest
import torch

from tutor_lib.adapt.fit import Fit, chunks, descend, fit, shuffled_batches
from tutor_lib.adapt.rollout import sample
from tutor_lib.adapt.sft import Example, fine_tune, pack, tokenized
from tutor_lib.tokenize.bpe import BytePairTokenizer
from tutor_lib.train.loss import cross_entropy
from tutor_lib.train.schedule import warmup_cosine


def by_hand(logits, examples) -> torch.Tensor:
    """-log softmax of each answer's token, at the position before it; nothing else counts."""
    terms = []
    for row, example in enumerate(examples):
        for i, token in enumerate(example.answer):
            here = logits[row, len(example.prompt) + i - 1]
            terms.append(here.exp().sum().log() - here[token])
    return sum(terms) / len(terms)


def test_targets_are_the_answers_tokens_one_place_early(examples):
    ids, targets = pack(examples, 19)
    N = -100
    assert ids.tolist() == [
        [3, 1, 4, 1, 5, 9, 2],
        [6, 5, 3, 5, 8, 9, 7],
        [9, 3, 2, 0, 0, 0, 0],
        [3, 8, 4, 6, 2, 6, 4],
    ]
    assert targets.tolist() == [
        [N, N, N, 5, 9, 2, N],
        [5, 3, 5, 8, 9, 7, N],
        [N, 2, N, N, N, N, N],
        [N, N, N, N, 6, 4, N],
    ]


def test_the_loss_and_its_gradient_equal_a_loop(examples, place):
    device, dtype, tolerance = place
    ids, targets = pack(examples, 19, torch.device(device))
    logits = torch.randn(*ids.shape, 31).to(device, dtype).requires_grad_()
    ours, theirs = cross_entropy(logits, targets), by_hand(logits.to(torch.float64), examples)
    assert ours.item() == pytest.approx(theirs.item(), rel=tolerance)
    a, b = (torch.autograd.grad(loss, logits)[0] for loss in (ours, theirs))
    torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance * b.abs().max().item())


def test_what_is_no_answer_has_no_gradient(examples):
    """The classic mistake is by one: the last prompt position counts, the one before does not."""
    ids, targets = pack(examples, 19)
    logits = torch.randn(*ids.shape, 31, requires_grad=True)
    cross_entropy(logits, targets).backward()
    for row, example in enumerate(examples):
        first, last = len(example.prompt) - 1, len(example.prompt) + len(example.answer) - 2
        for t in range(ids.size(1)):
            assert logits.grad[row, t].any() == (first <= t <= last), (row, t)


def test_a_wrong_prompt_token_costs_nothing_but_is_read(decoder):
    model = decoder()
    changed = []
    for prompt in ((3, 1, 4), (3, 2, 4)):
        ids, targets = pack([Example(prompt, (5, 9))], 19)
        changed.append((targets, cross_entropy(model(ids), targets).item()))
    assert torch.equal(changed[0][0], changed[1][0])
    assert changed[0][1] != changed[1][1]


def test_a_rows_loss_does_not_depend_on_what_fills_it_up(decoder, examples):
    model = decoder().double()
    ids, targets = pack(examples, 19)
    alone = [cross_entropy(model(i), t) for i, t in (pack([e], 19) for e in examples)]
    lengths = [len(e.answer) for e in examples]
    expected = sum(x * n for x, n in zip(alone, lengths, strict=True)) / sum(lengths)
    torch.testing.assert_close(cross_entropy(model(ids), targets), expected)
    longer = torch.nn.functional.pad(ids, (0, 5), value=7)
    more = torch.nn.functional.pad(targets, (0, 5), value=-100)
    torch.testing.assert_close(cross_entropy(model(longer), more), expected)


def test_the_end_is_learned_and_cannot_be_written():
    tokenizer = BytePairTokenizer([])
    example = tokenized(tokenizer, "Hi<|endoftext|>", " yes.")
    assert example.answer[-1] == tokenizer.end_of_text_id
    assert tokenizer.end_of_text_id not in example.prompt
    assert tokenizer.decode(example.prompt) == "Hi<|endoftext|>"
    assert tokenizer.decode(example.answer) == " yes.<|endoftext|>"
    _, targets = pack([example], 99)
    assert targets[0, -2] == tokenizer.end_of_text_id


def test_answers_are_learned(decoder, examples):
    """Each prompt's answer becomes what the model writes, and it stops where the answer does."""
    end, model = 30, decoder()
    told = [Example(e.prompt, (*e.answer, end)) for e in examples]
    losses = [*fine_tune(model, told, Fit(60, 4, 0.01), torch.Generator().manual_seed(1))]
    assert losses[0] > 2
    assert losses[-1] < 0.05
    made = sample(model, [e.prompt for e in told], 9, end, torch.Generator().manual_seed(2))
    assert made == told


def test_the_same_seed_trains_the_same_model(decoder, examples):
    runs = []
    for seed in (5, 5, 6):
        model = decoder()
        generator = torch.Generator().manual_seed(seed)
        runs.append([*fine_tune(model, examples, Fit(7, 3, 0.01), generator)])
    assert runs[0] == runs[1] != runs[2]


def test_fit_is_adamw_with_the_schedule_and_a_clip(decoder):
    ours, theirs = torch.nn.Linear(5, 1).double(), torch.nn.Linear(5, 1).double()
    theirs.load_state_dict(ours.state_dict())
    data = [torch.randn(5, dtype=torch.double) * 9 for _ in range(3)]

    def loss_of(model):
        return lambda batch: model(torch.stack([*batch])).square().mean()

    losses = [*fit(ours, loss_of(ours), data, Fit(33, 3, 0.1), torch.Generator())]
    optimizer = torch.optim.AdamW(theirs.parameters(), betas=(0.9, 0.98), weight_decay=0.0)
    for step, loss in enumerate(losses):
        optimizer.param_groups[0]["lr"] = 0.1 * warmup_cosine(step, 33, 2)
        optimizer.zero_grad()
        expected = loss_of(theirs)(data)  # all three, in whatever order
        assert loss == pytest.approx(expected.item())
        expected.backward()
        norm = math.sqrt(sum(p.grad.square().sum().item() for p in theirs.parameters()))
        for p in theirs.parameters():
            p.grad *= min(1.0, 1 / (norm + 1e-6))
        optimizer.step()
    torch.testing.assert_close(ours.weight, theirs.weight)


def test_each_example_is_seen_once_before_one_is_seen_again():
    batches = shuffled_batches(range(7), 3, torch.Generator().manual_seed(1))
    seen = [i for _ in range(14) for i in next(batches)]
    rounds = [seen[i : i + 7] for i in range(0, 42, 7)]
    assert all(sorted(one) == [*range(7)] for one in rounds)
    assert len(set(map(tuple, rounds))) > 1
    assert [*chunks(range(7), 3)] == [range(3), range(3, 6), range(6, 7)]


def test_bad_input_is_named(decoder, examples):
    model, generator = decoder(), torch.Generator()
    with pytest.raises(ValueError, match=r"example 1 has 7 tokens, .* context of 6"):
        pack([Example((1, 2), (3,)), examples[1]], 6)
    assert pack([examples[1]], 7)[0].shape == (1, 7)
    with pytest.raises(ValueError, match="no examples"):
        pack([], 6)
    with pytest.raises(ValueError, match=r"got \(\) and \(1,\)"):
        Example((), (1,))
    with pytest.raises(ValueError, match=r"got \(1,\) and \(\)"):
        Example((1,), ())
    with pytest.raises(ValueError, match="no data"):
        next(fine_tune(model, [], Fit(1, 1, 0.1), generator))
    with pytest.raises(ValueError, match="batch must be positive, got 0"):
        Fit(1, 0, 0.1)
    with pytest.raises(ValueError, match="learning_rate must be positive, got nan"):
        Fit(1, 1, math.nan)
    weight = torch.nn.Parameter(torch.tensor(1.0))
    with pytest.raises(ValueError, match="the loss is nan"):
        descend(torch.optim.SGD([weight]), weight * math.nan)
    assert weight.item() == 1.0

"""Right answers to the KV cache lab, of other make-ups than ours."""

import collections
import math

import numpy as np
import torch

# In a notebook these are the student's other answers; in a check, right ones stand in.
KVCache = prefill = decode_step = None


# --- generate_uncached --------------------------------------------------------------------------


def growing_text(model, prompt, n):
    text = prompt
    for _ in range(n):
        T = text.shape[1]
        positions = torch.arange(T, device=text.device)
        logits = model(text, positions, positions[:, None] >= positions[None])
        text = torch.hstack([text, logits[:, -1].argmax(dim=1)[:, None]])
    return text


def into_a_room(model, prompt, n):
    B, T = prompt.shape
    ids = prompt.new_zeros(B, T + n)
    ids[:, :T] = prompt
    for end in range(T, T + n):
        mask = torch.tril(torch.ones(end, end, device=prompt.device)) == 1
        logits = model(ids[:, :end], torch.arange(end, device=prompt.device), mask)
        ids[:, end] = logits[:, end - 1].max(dim=-1).indices
    return ids


def row_by_row(model, prompt, n):
    rows = []
    for row in prompt.tolist():
        for _ in range(n):
            ids = torch.tensor([row], device=prompt.device)
            size = len(row)
            seen = [[s <= t for s in range(size)] for t in range(size)]
            logits = model(ids, torch.tensor([*range(size)], device=prompt.device),
                           torch.tensor(seen, device=prompt.device))  # fmt: skip
            row = [*row, int(logits[0, -1].argmax())]
        rows.append(row)
    return torch.tensor(rows, device=prompt.device)


def by_recursion(model, prompt, n):
    if n == 0:
        return prompt
    size = prompt.size(1)
    places = torch.arange(size, device=prompt.device)
    mask = ~torch.ones(size, size, dtype=torch.bool, device=prompt.device).triu(1)
    token = model(prompt, places, mask)[:, -1:].argmax(-1)
    return by_recursion(model, torch.cat([prompt, token], dim=-1), n - 1)


def by_sorting(model, prompt, n):
    while n:
        n -= 1
        at = torch.arange(prompt.size(1), device=prompt.device)
        scores = model(prompt, at, at <= at.unsqueeze(1)).softmax(-1).select(1, -1)
        prompt = torch.cat((prompt, scores.topk(1).indices), 1)
    return prompt


# --- repeat_kv ----------------------------------------------------------------------------------


def by_expanding(x, times):
    B, K, S, D = x.shape
    return x[:, :, None].expand(B, K, times, S, D).reshape(B, K * times, S, D)


def by_stacking(x, times):
    return torch.stack([x] * times, dim=2).flatten(1, 2)


def by_indexing(x, times):
    return x[:, torch.arange(x.size(1) * times, device=x.device) // times]


def by_heads(x, times):
    return torch.cat([x[:, k : k + 1] for k in range(x.size(1)) for _ in range(times)], dim=1)


def by_einsum(x, times):
    copies = torch.ones(times, dtype=x.dtype, device=x.device)
    B, K, S, D = x.shape
    return torch.einsum("bksd,g->bkgsd", x, copies).reshape(B, K * times, S, D)


def by_interleaving(x, times):
    return torch.repeat_interleave(x, times, 1)


# --- KVCache ------------------------------------------------------------------------------------


class OneTensor:
    """Keys and values in one room."""

    def __init__(self, batch, n_kv_heads, capacity, head_size, dtype=torch.float32, device=None):
        self.capacity = capacity
        self.room = torch.empty(
            2, batch, n_kv_heads, capacity, head_size, dtype=dtype, device=device
        )
        self.length = 0

    def update(self, k, v):
        T = k.shape[-2]
        if T > self.capacity - self.length:
            raise ValueError(f"no room for {T} more")
        self.room[0, :, :, self.length : self.length + T] = k
        self.room[1, :, :, self.length : self.length + T] = v
        self.length += T
        return self.room[0, :, :, : self.length], self.room[1, :, :, : self.length]

    def crop(self, length):
        self.length = length


class WithNarrow:
    def __init__(self, B, K, S, D, dtype=torch.float32, device=None):
        self.k, self.v = (torch.zeros((B, K, S, D), dtype=dtype, device=device) for _ in "kv")
        self.length = 0

    def update(self, new_keys, new_values):
        n = new_keys.size(2)
        total = self.length + n
        if total > self.k.size(2):
            raise ValueError("full")
        self.k.narrow(2, self.length, n).copy_(new_keys)
        self.v.narrow(2, self.length, n).copy_(new_values)
        self.length = total
        return [self.k.narrow(2, 0, total), self.v.narrow(2, 0, total)]

    def crop(self, length):
        self.length = min(self.length, length)


class TokenByToken:
    def __init__(self, batch, n_kv_heads, capacity, head_size, dtype=torch.float32, device=None):
        shape = (batch, n_kv_heads, capacity, head_size)
        self.rooms = {name: torch.zeros(shape, dtype=dtype, device=device) for name in "kv"}
        self.capacity, self.length = capacity, 0

    def update(self, k, v):
        if self.length + k.size(2) > self.capacity:
            raise ValueError(f"capacity {self.capacity}")
        for t in range(k.size(2)):
            self.rooms["k"][:, :, self.length] = k[:, :, t]
            self.rooms["v"][:, :, self.length] = v[:, :, t]
            self.length += 1
        return tuple(room[:, :, : self.length].clone() for room in self.rooms.values())

    def crop(self, length):
        for room in self.rooms.values():
            room[:, :, length:] = 0
        self.length = length


class PositionsFirst:
    """The room lies as (S, B, K, D), so that a step is one piece of memory."""

    def __init__(self, batch, n_kv_heads, capacity, head_size, dtype=torch.float32, device=None):
        self.keys = torch.zeros(capacity, batch, n_kv_heads, head_size, dtype=dtype, device=device)
        self.values = torch.zeros_like(self.keys)
        self.filled = 0

    @property
    def length(self):
        return self.filled

    def update(self, k, v):
        start, stop = self.filled, self.filled + k.size(2)
        if stop > len(self.keys):
            raise ValueError(f"{stop} > {len(self.keys)}")
        self.keys[start:stop] = k.permute(2, 0, 1, 3)
        self.values[start:stop] = v.permute(2, 0, 1, 3)
        self.filled = stop
        return self.keys[:stop].permute(1, 2, 0, 3), self.values[:stop].permute(1, 2, 0, 3)

    def crop(self, length):
        self.filled = length


class WithBuffers(torch.nn.Module):
    def __init__(self, batch, n_kv_heads, capacity, head_size, dtype=torch.float32, device=None):
        super().__init__()
        size = (batch, n_kv_heads, capacity, head_size)
        self.register_buffer("keys", torch.zeros(size, dtype=dtype, device=device))
        self.register_buffer("values", torch.zeros(size, dtype=dtype, device=device))
        self.length = 0

    def update(self, k, v):
        if self.keys.shape[2] < self.length + k.shape[2]:
            raise ValueError("The cache is full.")
        places = torch.arange(self.length, self.length + k.shape[2], device=k.device)
        self.keys.index_copy_(2, places, k)
        self.values.index_copy_(2, places, v)
        self.length += k.shape[2]
        return self.keys[..., : self.length, :], self.values[..., : self.length, :]

    def crop(self, length):
        self.length = length


# --- prefill ------------------------------------------------------------------------------------


def by_comparison(model, ids, caches):
    before, T = caches[0].length, ids.shape[1]
    queries = torch.arange(before, before + T, device=ids.device)
    keys = torch.arange(before + T, device=ids.device)
    return model(ids, queries, keys[None] <= queries[:, None], caches)[:, -1]


def filled_row_by_row(model, ids, caches):
    T, start = ids.size(1), caches[0].length
    mask = torch.zeros(T, start + T, device=ids.device).bool()
    for t in range(T):
        mask[t, : start + t + 1] = True
    return model(ids, start + torch.arange(T, device=ids.device), mask, caches)[:, -1]


def last_rows_of_a_square(model, ids, caches):
    T = ids.size(1)
    S = caches[-1].length + T
    square = torch.ones(S, S, device=ids.device).tril().bool()
    return model(ids, torch.arange(S, device=ids.device)[-T:], square[-T:], caches)[:, T - 1, :]


def past_beside_triangle(model, ids, caches):
    start, T = caches[0].length, ids.size(1)
    past = torch.ones(T, start, dtype=torch.bool, device=ids.device)
    triangle = torch.ones(T, T, dtype=torch.bool, device=ids.device).tril()
    positions = start + torch.arange(T, device=ids.device)
    logits = model(ids, positions, torch.cat((past, triangle), dim=1), caches)
    return logits.select(1, -1)


def by_lists(model, ids, caches):
    start, T = caches[0].length, ids.size(1)
    mask = [[s <= start + t for s in range(start + T)] for t in range(T)]
    places = [start + t for t in range(T)]
    logits = model(ids, torch.tensor(places, device=ids.device),
                   torch.tensor(mask, device=ids.device), caches)  # fmt: skip
    return logits[:, -1, :]


# --- decode_step --------------------------------------------------------------------------------


def as_a_short_prefill(model, token, caches):
    return prefill(model, token[:, None], caches)


def by_hand(model, token, caches):
    S = caches[0].length + 1
    mask = torch.ones(1, S, dtype=torch.bool, device=token.device)
    return model(token.unsqueeze(1), torch.tensor([S - 1], device=token.device), mask, caches)[:, 0]


def by_reshaping(model, token, caches):
    length = caches[-1].length
    positions = torch.full((1,), length, device=token.device)
    visible = torch.arange(length + 1, device=token.device)[None] <= length
    logits = model(token.reshape(-1, 1), positions, visible, caches)
    return logits.squeeze(1)


def by_last_row(model, token, caches):
    past = caches[0].length
    rows = torch.tril(torch.ones(past + 1, past + 1, device=token.device)).bool()[-1:]
    ids = torch.stack([token], dim=1)
    return model(ids, torch.arange(past, past + 1, device=token.device), rows, caches)[:, -1, :]


def by_lists_of_one(model, token, caches):
    past = caches[0].length
    logits = model(
        token.view(len(token), 1),
        torch.tensor([past]).to(token.device),
        torch.tensor([[True] * (past + 1)]).to(token.device),
        caches,
    )
    return logits.flatten(1)


# --- generate -----------------------------------------------------------------------------------


def text_of_lists(model, prompt, n):
    c = model.config
    caches = [
        KVCache(len(prompt), c.n_kv_heads, prompt.size(1) + n, c.head_size, device=prompt.device)
        for _ in range(c.n_layers)
    ]
    logits, tokens = prefill(model, prompt, caches), [prompt]
    while True:
        tokens.append(logits.argmax(-1, keepdim=True))
        if len(tokens) > n:
            return torch.cat(tokens, dim=1)
        logits = decode_step(model, tokens[-1][:, 0], caches)


def into_a_prepared_text(model, prompt, n):
    (B, T), c = prompt.shape, model.config
    caches = []
    for _ in range(c.n_layers):
        caches.append(
            KVCache(B, c.n_kv_heads, T + n - 1, c.head_size, torch.float32, prompt.device)
        )
    text = torch.empty(B, T + n, dtype=prompt.dtype, device=prompt.device)
    text[:, :T] = prompt
    text[:, T] = prefill(model, prompt, caches).argmax(1)
    for t in range(T + 1, T + n):
        text[:, t] = decode_step(model, text[:, t - 1], caches).argmax(1)
    return text


def first_or_next(model, prompt, n):
    config, caches, text = model.config, [], prompt
    for _layer in range(config.n_layers):
        room = prompt.shape[1] + n
        caches.append(KVCache(batch=prompt.shape[0], n_kv_heads=config.n_kv_heads, capacity=room,
                              head_size=config.head_size, device=prompt.device))  # fmt: skip
    for i in range(n):
        step = prefill(model, text, caches) if i == 0 else decode_step(model, text[:, -1], caches)
        text = torch.cat((text, step.topk(1, dim=-1).indices), dim=1)
    return text


def one_row_at_a_time(model, prompt, n):
    c = model.config
    rows = []
    for row in prompt.split(1):
        sizes = (1, c.n_kv_heads, model.config.context_length, c.head_size)
        caches = [KVCache(*sizes, device=prompt.device) for _ in range(c.n_layers)]
        token = prefill(model, row, caches).max(-1).indices
        row = torch.cat((row, token[None]), dim=1)
        for _ in range(1, n):
            token = decode_step(model, token, caches).max(-1).indices
            row = torch.cat((row, token[None]), dim=1)
        rows.append(row)
    return torch.cat(rows)


def with_a_generator(model, prompt, n):
    def tokens():
        c = model.config
        sizes = (prompt.size(0), c.n_kv_heads, prompt.size(1) + n, c.head_size)
        caches = [KVCache(*sizes, device=prompt.device) for _ in range(c.n_layers)]
        token = torch.argmax(prefill(model, prompt, caches), dim=-1)
        yield token
        for _ in range(n - 1):
            token = torch.argmax(decode_step(model, token, caches), dim=-1)
            yield token

    return torch.cat((prompt, torch.stack([*tokens()]).T), dim=1)


# --- count_tokens -------------------------------------------------------------------------------


def set_to_zero(write, model, prompt, lengths):
    counts = []
    for n in lengths:
        model.tokens = 0
        write(model, prompt, n)
        counts.append(model.tokens)
    return counts


def by_difference(write, model, prompt, lengths):
    def cost(n):
        before = model.tokens
        write(model, prompt, n)
        return model.tokens - before

    return [cost(n) for n in lengths]


def by_running_total(write, model, prompt, lengths):
    totals = [model.tokens]
    for n in lengths:
        write(model, prompt, n)
        totals.append(model.tokens)
    return np.diff(totals).tolist()


def as_a_tuple(write, model, prompt, lengths):
    result = ()
    for n in lengths:
        start = model.tokens
        _ = write(model, prompt, n)
        result += (model.tokens - start,)
    return result


def by_dictionary(write, model, prompt, lengths):
    found = {}
    for n in sorted(lengths):
        model.tokens = 0
        write(model, prompt, n)
        found[n] = model.tokens
    return [found[n] for n in lengths]


# --- kv_cache_bytes -----------------------------------------------------------------------------


def by_product(config, T, B, dtype):
    sizes = [2, config.n_layers, config.n_kv_heads, config.head_size, T, B, dtype.itemsize]
    return math.prod(sizes)


def by_layers(config, T, B, dtype):
    total = 0
    for _ in range(config.n_layers):
        for _ in ("keys", "values"):
            total += B * config.n_kv_heads * T * config.head_size * dtype.itemsize
    return total


def by_an_empty_tensor(config, T, B, dtype):
    one = torch.empty(B, config.n_kv_heads, T, config.head_size, dtype=dtype, device="meta")
    return 2 * config.n_layers * one.numel() * one.element_size()


def by_bits(config, T, B, dtype):
    per_token = 2 * config.n_layers * config.n_kv_heads * config.head_size
    return per_token * T * B * torch.finfo(dtype).bits // 8


def by_a_shape(config, T, B, dtype):
    shape = (2, config.n_layers, B, config.n_kv_heads, T, config.head_size)
    return torch.Size(shape).numel() * torch.finfo(dtype).bits // 8


# --- RollingKVCache -----------------------------------------------------------------------------


class ByCat:
    def __init__(self, batch, n_kv_heads, window, head_size, dtype=torch.float32, device=None):
        self.window, self.length = window, 0
        self.k = torch.zeros(batch, n_kv_heads, 0, head_size, dtype=dtype, device=device)
        self.v = torch.zeros(batch, n_kv_heads, 0, head_size, dtype=dtype, device=device)

    def update(self, k, v):
        old = self.k.shape[2] - (self.window - 1)
        k = torch.cat([self.k[:, :, max(0, old) :], k], dim=2)
        v = torch.cat([self.v[:, :, max(0, old) :], v], dim=2)
        self.length += k.shape[2] - min(self.length, self.window - 1)
        self.k, self.v = k[:, :, -self.window :], v[:, :, -self.window :]
        return k, v


class Ring:
    """Position t lies in place t mod W; what is returned is put in order."""

    def __init__(self, batch, n_kv_heads, window, head_size, dtype=torch.float32, device=None):
        size = (batch, n_kv_heads, window, head_size)
        self.keys = torch.zeros(size, dtype=dtype, device=device)
        self.values = torch.zeros(size, dtype=dtype, device=device)
        self.window, self.length = window, 0

    def update(self, k, v):
        before = range(max(0, self.length - self.window + 1), self.length)
        places = [t % self.window for t in before]
        result = (torch.cat((self.keys[:, :, places], k), dim=2),
                  torch.cat((self.values[:, :, places], v), dim=2))  # fmt: skip
        for t in range(k.size(2)):
            place = (self.length + t) % self.window
            self.keys[:, :, place], self.values[:, :, place] = k[:, :, t], v[:, :, t]
        self.length += k.size(2)
        return result


class Deque:
    def __init__(self, batch, n_kv_heads, window, head_size, dtype=torch.float32, device=None):
        self.past = collections.deque(maxlen=window - 1)
        self.length = 0

    def update(self, k, v):
        pairs = [(k[:, :, t].clone(), v[:, :, t].clone()) for t in range(k.size(2))]
        seen = [*self.past, *pairs]
        self.past.extend(pairs)
        self.length += k.size(2)
        return tuple(torch.stack(column, dim=2) for column in zip(*seen, strict=True))


class ShiftedRoom:
    """A room of W, in which everything moves one to the left when it is full."""

    def __init__(self, batch, n_kv_heads, window, head_size, dtype=torch.float32, device=None):
        size = (2, batch, n_kv_heads, window, head_size)
        self.room = torch.zeros(size, dtype=dtype, device=device)
        self.window, self.filled, self.length = window, 0, 0

    def update(self, k, v):
        new = torch.stack((k, v))
        start = max(0, self.filled - self.window + 1)
        seen = torch.cat((self.room[..., start : self.filled, :], new), dim=-2)
        kept = seen[..., -self.window :, :]
        self.filled = kept.size(-2)
        self.room[..., : self.filled, :] = kept
        self.length += k.size(2)
        return seen[0], seen[1]


class TwoWindows:
    """Room for two windows; when it is full, the last W - 1 move to the front."""

    def __init__(self, batch, n_kv_heads, window, head_size, dtype=torch.float32, device=None):
        size = (batch, n_kv_heads, 2 * window, head_size)
        self.keys = torch.zeros(size, dtype=dtype, device=device)
        self.values = torch.zeros_like(self.keys)
        self.window, self.stop, self.length = window, 0, 0

    def update(self, k, v):
        keys, values = [], []
        for t in range(k.size(2)):
            if self.stop == 2 * self.window:
                first = self.stop - self.window + 1
                for room in (self.keys, self.values):
                    room[:, :, : self.window - 1] = room[:, :, first:].clone()
                self.stop = self.window - 1
            if t == 0:
                start = max(0, self.stop - self.window + 1)
                keys = [self.keys[:, :, start : self.stop].clone(), k]
                values = [self.values[:, :, start : self.stop].clone(), v]
            self.keys[:, :, self.stop] = k[:, :, t]
            self.values[:, :, self.stop] = v[:, :, t]
            self.stop += 1
            self.length += 1
        return torch.cat(keys, dim=2), torch.cat(values, dim=2)


RIGHT = {
    "generate_uncached": [growing_text, into_a_room, row_by_row, by_recursion, by_sorting],
    "repeat_kv": [by_expanding, by_stacking, by_indexing, by_heads, by_einsum, by_interleaving],
    "KVCache": [OneTensor, WithNarrow, TokenByToken, PositionsFirst, WithBuffers],
    "prefill": [by_comparison, filled_row_by_row, last_rows_of_a_square, past_beside_triangle,
                by_lists],
    "decode_step": [as_a_short_prefill, by_hand, by_reshaping, by_last_row, by_lists_of_one],
    "generate": [text_of_lists, into_a_prepared_text, first_or_next, one_row_at_a_time,
                 with_a_generator],
    "count_tokens": [set_to_zero, by_difference, by_running_total, as_a_tuple, by_dictionary],
    "kv_cache_bytes": [by_product, by_layers, by_an_empty_tensor, by_bits, by_a_shape],
    "RollingKVCache": [ByCat, Ring, Deque, ShiftedRoom, TwoWindows],
}  # fmt: skip

"""The size of a KV cache, as students get it wrong."""

from typing import Any

import torch

from tutor_lib.checks.diagnose import Arguments, Exercise
from tutor_lib.checks.draw import Draw
from tutor_lib.model.config import DecoderConfig
from tutor_lib.model.families import GPT2


def _config(
    n_layers: int, d_model: int, n_heads: int, n_kv_heads: int, head_dim: int | None = None
) -> DecoderConfig:
    return DecoderConfig(
        101, 1024, n_layers, d_model, n_heads, n_kv_heads, 37, head_dim=head_dim, family=GPT2
    )


def _cases(draw: Draw) -> list[Arguments]:
    return [
        (_config(2, 24, 4, 2), 10, 1, torch.float16),  # the example of the exercise
        (_config(7, 66, 6, 3), 13, 5, torch.float32),
        (_config(3, 65, 13, 13), 17, 2, torch.bfloat16),
        (_config(5, 44, 4, 1, 7), 19, 3, torch.float64),  # D is not C / H
        (_config(11, 30, 10, 2), 23, 1, torch.float8_e4m3fn),
    ]


def _reference(config: DecoderConfig, T: int, B: int, dtype: torch.dtype) -> int:
    numbers = 2 * config.n_layers * config.n_kv_heads * config.head_size * T * B
    return numbers * dtype.itemsize


def bytes_of(student: Any, sizes: dict[str, int], T: int, B: int, dtype: torch.dtype) -> Any:
    """The answer for a DecoderConfig of these sizes. For hidden tests; runs beside the answer."""
    return student(DecoderConfig(**sizes), T, B, dtype)  # type: ignore[arg-type]


kv_cache_bytes = Exercise(
    "kv_cache_bytes", _reference, welcome=("tutor_lib.model.config",), learns=False
)
kv_cache_bytes.part("kv_cache_bytes", 2, _cases, results=("the number of bytes",))


@kv_cache_bytes.misconception
def keys_only(config: DecoderConfig, T: int, B: int, dtype: torch.dtype) -> int:
    """You find half of the bytes: the factor 2 is missing. A cache holds keys AND values."""
    return _reference(config, T, B, dtype) // 2


@kv_cache_bytes.misconception
def one_layer(config: DecoderConfig, T: int, B: int, dtype: torch.dtype) -> int:
    """Your number is that of one layer. Each of the L layers has keys and values of its own."""
    return _reference(config, T, B, dtype) // config.n_layers


@kv_cache_bytes.misconception
def one_text(config: DecoderConfig, T: int, B: int, dtype: torch.dtype) -> int:
    """You leave out the batch. Each of its B texts has keys and values of its own."""
    return _reference(config, T, 1, dtype)


@kv_cache_bytes.misconception
def one_token(config: DecoderConfig, T: int, B: int, dtype: torch.dtype) -> int:
    """Your number is that of one token. Each of the T tokens leaves a key and a value."""
    return _reference(config, 1, B, dtype)


@kv_cache_bytes.misconception
def query_heads(config: DecoderConfig, T: int, B: int, dtype: torch.dtype) -> int:
    """You count the query heads, H. What is kept is keys and values, and they have K heads:
    config.n_kv_heads."""
    return _reference(config, T, B, dtype) * config.n_heads // config.n_kv_heads


@kv_cache_bytes.misconception
def model_width(config: DecoderConfig, T: int, B: int, dtype: torch.dtype) -> int:
    """You count C numbers for each token's key, the width of the model, or take D for C / K. But C
    is shared out among the query heads; of keys, K heads of size D are kept: config.head_size."""
    return 2 * config.n_layers * config.d_model * T * B * dtype.itemsize


@kv_cache_bytes.misconception
def width_for_each_head(config: DecoderConfig, T: int, B: int, dtype: torch.dtype) -> int:
    """You count C numbers for each of the K heads. A head's keys have D numbers:
    config.head_size."""
    return 2 * config.n_layers * config.n_kv_heads * config.d_model * T * B * dtype.itemsize


@kv_cache_bytes.misconception
def width_over_query_heads(config: DecoderConfig, T: int, B: int, dtype: torch.dtype) -> int:
    """You take D for C / H. That is usual, but some models choose D freely. config.head_size knows
    it in either case."""
    head_size = config.d_model // config.n_heads
    return 2 * config.n_layers * config.n_kv_heads * head_size * T * B * dtype.itemsize


@kv_cache_bytes.misconception
def without_head_size(config: DecoderConfig, T: int, B: int, dtype: torch.dtype) -> int:
    """You count one number for each head. A key has D of them, and so has a value."""
    return _reference(config, T, B, dtype) // config.head_size


@kv_cache_bytes.misconception
def without_heads(config: DecoderConfig, T: int, B: int, dtype: torch.dtype) -> int:
    """You count one head. K heads have keys and values of their own: config.n_kv_heads."""
    return _reference(config, T, B, dtype) // config.n_kv_heads


@kv_cache_bytes.misconception
def in_numbers(config: DecoderConfig, T: int, B: int, dtype: torch.dtype) -> int:
    """You count numbers. Asked for are bytes: each number takes some, and the dtype says how
    many."""
    return _reference(config, T, B, dtype) // dtype.itemsize


@kv_cache_bytes.misconception
def in_bits(config: DecoderConfig, T: int, B: int, dtype: torch.dtype) -> int:
    """You count bits. Asked for are bytes, of 8 bits each."""
    return _reference(config, T, B, dtype) * 8


@kv_cache_bytes.misconception
def always_two_bytes(config: DecoderConfig, T: int, B: int, dtype: torch.dtype) -> int:
    """You count 2 bytes for each number, whatever the dtype. That is right for float16 and
    bfloat16; ask the dtype."""
    return _reference(config, T, B, torch.float16)


@kv_cache_bytes.misconception
def always_four_bytes(config: DecoderConfig, T: int, B: int, dtype: torch.dtype) -> int:
    """You count 4 bytes for each number, whatever the dtype. That is right for float32; ask the
    dtype."""
    return _reference(config, T, B, torch.float32)


@kv_cache_bytes.misconception
def scores_too(config: DecoderConfig, T: int, B: int, dtype: torch.dtype) -> int:
    """Your number grows with the square of T. The scores do; but they are not kept. Of each token a
    key and a value stay."""
    return _reference(config, T, B, dtype) * T


@kv_cache_bytes.misconception
def queries_too(config: DecoderConfig, T: int, B: int, dtype: torch.dtype) -> int:
    """You count queries too, as if they were kept. A query is used in its own pass and never again:
    of each token a key and a value stay."""
    return _reference(config, T, B, dtype) // 2 * 3


@kv_cache_bytes.misconception
def in_kib(config: DecoderConfig, T: int, B: int, dtype: torch.dtype) -> float:
    """You divide by 1024. Asked for are bytes."""
    return _reference(config, T, B, dtype) / 1024

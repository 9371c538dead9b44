"""The KV cache lab: what it checks, and the mistakes that it knows."""

from tutor_lib.checks.kv_cache.cache_room import kv_cache
from tutor_lib.checks.kv_cache.count import count_tokens
from tutor_lib.checks.kv_cache.generation import generate
from tutor_lib.checks.kv_cache.passes import prefill
from tutor_lib.checks.kv_cache.repeat import repeat_kv
from tutor_lib.checks.kv_cache.rolling import rolling
from tutor_lib.checks.kv_cache.size import kv_cache_bytes
from tutor_lib.checks.kv_cache.step import decode_step
from tutor_lib.checks.kv_cache.uncached import generate_uncached
from tutor_lib.checks.lab import Lab

LAB = Lab(
    "kv_cache",
    generate_uncached,
    repeat_kv,
    kv_cache,
    prefill,
    decode_step,
    generate,
    count_tokens,
    kv_cache_bytes,
    rolling,
)
check = LAB.check

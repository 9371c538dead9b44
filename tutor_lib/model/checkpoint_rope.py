"""A checkpoint's way to say how RoPE is scaled, read and written."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from tutor_lib.embed.rope_scaling import (
    DynamicNTKScaling,
    LinearScaling,
    Llama3Scaling,
    RopeScaling,
    YaRNScaling,
    yarn_magnitude,
)

Json = Mapping[str, Any]


def rope_parameters(found: Json) -> Json:
    """One form for the newer `rope_parameters` and the older `rope_theta` and `rope_scaling`."""
    if found.get("rope_parameters"):
        return found["rope_parameters"]
    older = dict(found.get("rope_scaling") or {})
    return {"rope_theta": found.get("rope_theta", 10_000.0)} | older


def read_scaling(rope: Json, context_length: int) -> RopeScaling | None:
    """The scaling that these parameters ask for.

    Raises ValueError if there is no such one, KeyError if a number is missing.
    """
    kind = rope.get("rope_type", rope.get("type", "default"))
    original = rope.get("original_max_position_embeddings", context_length)
    if kind == "default":
        return None
    if kind == "linear":
        return LinearScaling(float(rope["factor"]))
    if kind == "dynamic":
        return DynamicNTKScaling(float(rope["factor"]), original)
    if kind == "llama3":
        fast, slow = float(rope["high_freq_factor"]), float(rope["low_freq_factor"])
        return Llama3Scaling(float(rope["factor"]), original, fast, slow)
    if kind == "yarn":
        fast, slow = float(rope.get("beta_fast", 32)), float(rope.get("beta_slow", 1))
        return YaRNScaling(float(rope["factor"]), original, fast, slow, _magnitude(rope))
    raise ValueError(f"rope_type {kind!r} is not supported")


def _magnitude(rope: Json) -> float | None:
    if rope.get("attention_factor") is None and rope.get("mscale") and rope.get("mscale_all_dim"):
        of_rotation, of_all = (
            yarn_magnitude(rope["factor"], rope[key]) for key in ("mscale", "mscale_all_dim")
        )
        return of_rotation / of_all
    return rope.get("attention_factor")


def write_rope(base: float, scaling: RopeScaling | None) -> dict[str, Any]:
    """The `rope_parameters` of a checkpoint."""
    names = {"factor": "factor", "original_context": "original_max_position_embeddings"}
    if isinstance(scaling, YaRNScaling):
        names |= {"fast": "beta_fast", "slow": "beta_slow", "magnitude": "attention_factor"}
    if isinstance(scaling, Llama3Scaling):
        names |= {"fast": "high_freq_factor", "slow": "low_freq_factor"}
    kinds = {LinearScaling: "linear", DynamicNTKScaling: "dynamic", YaRNScaling: "yarn",
             Llama3Scaling: "llama3"}  # fmt: skip
    if scaling is None:
        return {"rope_theta": base, "rope_type": "default"}
    numbers = {names[ours]: value for ours, value in asdict(scaling).items() if value is not None}
    return {"rope_theta": base, "rope_type": kinds[type(scaling)]} | numbers

"""One rank of the rings in test_ring.py: attends with its shards and saves what comes of it.

python -m tests.attention.ring_worker RANK WORLD DEVICE FOLDER
"""

import sys
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist

from tutor_lib.attention import flash
from tutor_lib.attention.ring import contiguous, ring_attention, shard, zigzag


def attend(parts, layout, causal: bool, group) -> list[torch.Tensor]:
    """The output of this rank's shard, and the gradients of its q, k and v."""
    # As a layer hands them over: split from (B, T, H, D), not contiguous.
    *qkv, dout = (x.transpose(1, 2).contiguous().transpose(1, 2) for x in parts)
    qkv = [x.requires_grad_() for x in qkv]
    out = ring_attention(*qkv, layout, causal, block_size=5, group=group)
    return [x.cpu() for x in (out.detach(), *torch.autograd.grad(out, qkv, dout))]


def pairs_computed(parts, layout, group) -> int:
    """How many scores a causal forward computes with tiles of one query and one key."""
    count, step = 0, flash.online_softmax_step

    def counted(seen, scores, v):
        nonlocal count
        count += scores.shape[-2:].numel()
        return step(seen, scores, v)

    flash.online_softmax_step = counted
    ring_attention(*parts[:3], layout, causal=True, block_size=1, group=group)
    flash.online_softmax_step = step
    return count


def refusals(inputs, group) -> list[str]:
    """What a rank is told whose shard cannot be halved, and one that asks for tiles of nothing."""
    told = []
    for length, options in [(3, {"layout": zigzag}), (4, {"block_size": 0})]:
        try:
            ring_attention(*(x[..., :length, :] for x in inputs[:3]), **options, group=group)
        except ValueError as error:
            told.append(str(error))
    return told


def run(inputs, size: int, group) -> dict:
    """All that is tested of a ring of `size` ranks, this one among them."""
    rank = dist.get_rank(group)
    results: dict = {"pairs": {}, "refusals": refusals(inputs, group)}
    for layout in (contiguous, zigzag):
        parts = [shard(x, layout, rank, size) for x in inputs]
        for causal in (False, True):
            results[layout.__name__, causal] = attend(parts, layout, causal, group)
        few = [shard(x[..., :16, :], layout, rank, size) for x in inputs]
        results["pairs"][layout.__name__] = pairs_computed(few, layout, group)
    return results


def main(rank: int, world: int, device: str, folder: Path) -> None:
    if device == "cuda":
        torch.cuda.set_device(rank)
    dist.init_process_group(
        "nccl" if device == "cuda" else "gloo", init_method=f"file://{folder / 'store'}",
        rank=rank, world_size=world, timeout=timedelta(seconds=60),
    )  # fmt: skip
    inputs = [x.to(device) for x in torch.load(folder / "inputs.pt")]
    results = {}
    # Rings of all ranks, of every second and of every fourth: there rank 1 may be rank 3 here.
    for size in (size for size in (1, 2, 4) if size <= world):
        ranks = range(world)[world // size - 1 :: world // size]
        group = dist.new_group(ranks) if size < world else None
        if rank in ranks:
            results[size] = run(inputs, size, group)
    torch.save(results, folder / f"{rank}.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], Path(sys.argv[4]))

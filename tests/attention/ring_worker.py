"""One rank of the ring in test_ring.py: attends with its shard and saves what comes of it.

python -m tests.attention.ring_worker RANK WORLD DEVICE FOLDER
"""

import sys
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist

from tutor_lib.attention import flash
from tutor_lib.attention.ring import contiguous, ring_attention, shard, zigzag


def attend(inputs, layout, causal: bool, group=None) -> list[torch.Tensor]:
    """The output of this rank's shard, and the gradients of its q, k and v."""
    group = group or dist.group.WORLD
    parts = [shard(x, layout, group.rank(), group.size()) for x in inputs]
    # As a layer hands them over: split from (B, T, H, D), not contiguous.
    *qkv, dout = (x.transpose(1, 2).contiguous().transpose(1, 2) for x in parts)
    qkv = [x.requires_grad_() for x in qkv]
    out = ring_attention(*qkv, layout, causal, block_size=5, group=group)
    return [x.cpu() for x in (out.detach(), *torch.autograd.grad(out, qkv, dout))]


def pairs_computed(inputs, layout) -> int:
    """How many scores a causal forward computes with tiles of one query and one key."""
    count, step = 0, flash.online_softmax_step

    def counted(seen, scores, v):
        nonlocal count
        count += scores.shape[-2:].numel()
        return step(seen, scores, v)

    flash.online_softmax_step = counted
    world = dist.get_world_size()
    q, k, v, _ = (shard(x[..., :16, :], layout, dist.get_rank(), world) for x in inputs)
    ring_attention(q, k, v, layout, causal=True, block_size=1)
    flash.online_softmax_step = step
    return count


def main(rank: int, world: int, device: str, folder: Path) -> None:
    if device == "cuda":
        torch.cuda.set_device(rank)
    dist.init_process_group(
        "nccl" if device == "cuda" else "gloo", init_method=f"file://{folder / 'store'}",
        rank=rank, world_size=world, timeout=timedelta(seconds=60),
    )  # fmt: skip
    inputs = [x.to(device) for x in torch.load(folder / "inputs.pt")]
    results: dict = {"pairs": {}}
    for layout in (contiguous, zigzag):
        for causal in (False, True):
            results[layout.__name__, causal] = attend(inputs, layout, causal)
        results["pairs"][layout.__name__] = pairs_computed(inputs, layout)
    # The even ranks are a ring of their own, and so are the odd ones.
    groups = [dist.new_group(range(first, world, 2)) for first in range(min(world, 2))]
    results["half"] = attend(inputs, zigzag, True, groups[rank % 2])
    torch.save(results, folder / f"{rank}.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], Path(sys.argv[4]))

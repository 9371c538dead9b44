"""Ring attention among real processes against PyTorch's in one."""

import os
import socket
import subprocess
import sys
from typing import NamedTuple

import pytest
import torch
from torch.nn import functional as F

from tutor_lib.attention.ring import (
    causal_pairs,
    contiguous,
    ring_attention,
    shard,
    unshard,
    zigzag,
)

B, H, D, DV = 2, 3, 5, 7
LENGTH = 8 * 13  # eight chunks for four ranks in zig-zag, none a multiple of the block


def literal_shards(x: torch.Tensor, layout, world: int) -> list[torch.Tensor]:
    """What each rank holds, by torch.chunk."""
    if layout is contiguous:
        return list(x.chunk(world, dim=-2))
    chunks = x.chunk(2 * world, dim=-2)
    return [torch.cat((chunks[r], chunks[2 * world - 1 - r]), dim=-2) for r in range(world)]


class Run(NamedTuple):
    """What the processes of one world were given, and what each made of it in rings by size."""

    inputs: list[torch.Tensor]  # q, k, v and the gradient of the output
    results: list[dict]
    tolerance: float

    def ring(self, size: int) -> list[dict]:
        """What the ranks of the ring of `size` made, in order."""
        if size > len(self.results):
            pytest.skip(f"a ring of {size} needs as many CUDA devices, here {len(self.results)}")
        members = [result[size] for result in self.results if size in result]
        assert len(members) == size
        return members


@pytest.fixture(scope="module", params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def run(request, tmp_path_factory, root) -> Run:
    """Four processes with gloo, or with nccl one for each of up to four GPUs, started once."""
    device, world = request.param, 4
    if device == "cuda":
        if not torch.cuda.is_available():
            pytest.skip("no CUDA device here")
        world = 2 ** min(2, torch.cuda.device_count().bit_length() - 1)
    dtype, tolerance = (torch.float, 1e-4) if device == "cuda" else (torch.double, 1e-12)
    folder = tmp_path_factory.mktemp("ring")
    torch.manual_seed(0)
    inputs = [torch.randn(B, H, LENGTH, d, dtype=dtype) for d in (D, D, DV, DV)]
    torch.save(inputs, folder / "inputs.pt")
    start_and_wait(world, device, folder, root)
    return Run(inputs, [torch.load(folder / f"{rank}.pt") for rank in range(world)], tolerance)


def start_and_wait(world: int, device: str, folder, root) -> None:
    loopback = next(name for _, name in socket.if_nameindex() if name.startswith("lo"))
    quiet = {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": loopback}
    program = [sys.executable, "-m", "tests.attention.ring_worker"]
    workers = [
        subprocess.Popen([*program, str(rank), str(world), device, folder], cwd=root,
                         env=os.environ | quiet, stderr=subprocess.PIPE, text=True)
        for rank in range(world)
    ]  # fmt: skip
    try:
        for worker in workers:
            _, errors = worker.communicate(timeout=120)
            assert worker.returncode == 0, errors
    finally:
        for worker in workers:
            worker.kill()


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("layout", [contiguous, zigzag])
@pytest.mark.parametrize("size", [1, 2, 4])
def test_equals_pytorchs_in_one_process_with_gradients(run, size, layout, causal):
    members, (*qkv, dout) = run.ring(size), run.inputs
    qkv = [x.clone().requires_grad_() for x in qkv]
    out = F.scaled_dot_product_attention(*qkv, is_causal=causal)
    expected = (out, *torch.autograd.grad(out, qkv, dout))
    for i, whole in enumerate(expected):
        shards = literal_shards(whole, layout, size)
        for member, theirs in zip(members, shards, strict=True):
            ours = member[layout.__name__, causal][i]
            assert torch.allclose(ours, theirs, rtol=run.tolerance, atol=run.tolerance)


@pytest.mark.parametrize("layout", [contiguous, zigzag])
@pytest.mark.parametrize("size", [1, 2, 4])
def test_a_rank_computes_what_the_mask_shows_and_nothing_more(run, size, layout):
    computed = [member["pairs"][layout.__name__] for member in run.ring(size)]
    assert computed == [sum(row) for row in causal_pairs(layout, size, 16)]


@pytest.mark.parametrize("size", [1, 2, 4])
def test_a_rank_is_told_what_cannot_be_cut_and_waits_for_nobody(run, size):
    for member in run.ring(size):
        assert member["refusals"] == [
            f"{2 * size} chunks for {size} ranks do not divide {3 * size} positions",
            "block_size must be at least 1, got 0",
        ]


@pytest.mark.parametrize("layout", [contiguous, zigzag])
@pytest.mark.parametrize("world", [1, 2, 3, 5])
def test_shards_are_the_chunks_that_the_papers_name(layout, world):
    x = torch.randn(B, H, 2 * world * 7, D)
    shards = [shard(x, layout, rank, world) for rank in range(world)]
    for ours, literal in zip(shards, literal_shards(x, layout, world), strict=True):
        assert torch.equal(ours, literal)
    assert torch.equal(unshard(shards, layout), x)
    tokens = torch.arange(2 * world * 7)
    parts = [shard(tokens, layout, rank, world, dim=0) for rank in range(world)]
    assert torch.equal(unshard(parts, layout, dim=0), tokens)


@pytest.mark.parametrize("layout", [contiguous, zigzag])
def test_pairs_are_counted_as_in_the_mask(layout):
    world, length = 3, 2 * 3 * 7
    mask = torch.ones(length, length).tril()
    rows = literal_shards(mask, layout, world)
    expected = [[int(tile.sum()) for tile in literal_shards(row.mT, layout, world)] for row in rows]
    assert causal_pairs(layout, world, length) == expected


def test_contiguous_shards_leave_the_last_rank_most_of_the_work():
    """In chunks of c: c(c + 1)/2 pairs for rank 0 and (n − 1) c² more for the last."""
    for world in (2, 4, 8):
        work = [sum(row) for row in causal_pairs(contiguous, world, world * 200)]
        assert work[-1] / work[0] == pytest.approx(2 * world - 1, rel=0.01)


def test_zigzag_shards_share_the_work_equally_at_every_hop():
    for world in (2, 4, 8):
        pairs = causal_pairs(zigzag, world, world * 26)
        for hop in range(world):
            assert len({pairs[rank][rank - hop] for rank in range(world)}) == 1


def test_bad_input_is_named(unchecked_shapes):
    x = torch.randn(B, H, 15, D)
    with pytest.raises(ValueError, match="4 chunks for 4 ranks do not divide 15 positions"):
        shard(x, contiguous, 0, 4)
    with pytest.raises(ValueError, match="6 chunks for 3 ranks do not divide 15 positions"):
        shard(x, zigzag, 0, 3)
    with pytest.raises(ValueError, match="rank must lie in 0…2, got 3"):
        shard(x, zigzag, 3, 3)
    with pytest.raises(ValueError, match=r"shards of one length, got \[\]"):
        unshard([], contiguous)
    with pytest.raises(ValueError, match=r"shards of one length, got \[15, 14\]"):
        unshard([x, x[..., 1:, :]], contiguous)
    with pytest.raises(ValueError, match="of this process, got None: call"):
        ring_attention(x, x, x)
    with pytest.raises(ValueError, match="of this process, got -100: call"):
        ring_attention(x, x, x, group=torch.distributed.GroupMember.NON_GROUP_MEMBER)
    with pytest.raises(ValueError, match="as many queries as keys, got 14, 15"):
        ring_attention(x[..., :14, :], x, x)

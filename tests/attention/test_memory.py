"""The count of memory against counting by hand."""

import torch

from tutor_lib.attention.memory import PeakMemory


def test_what_lives_together_counts_together():
    """Three tensors of 7, 11 and 13 doubles, of which never more than two live at once."""
    with PeakMemory() as memory:
        first = torch.zeros(7, dtype=torch.double)
        second = torch.zeros(11, dtype=torch.double)
        assert memory.now == 8 * (7 + 11)
        del first
        third = torch.zeros(13, dtype=torch.double)
    assert (memory.now, memory.peak) == (8 * (11 + 13), 8 * (11 + 13))
    del second, third
    assert (memory.now, memory.peak) == (0, 8 * (11 + 13))


def test_views_arguments_and_writes_in_place_take_nothing():
    x = torch.zeros(7, 11)
    with PeakMemory() as memory:
        y = x.transpose(0, 1)[2:].add_(1)
        assert y.untyped_storage().data_ptr() == x.untyped_storage().data_ptr()
    assert memory.peak == 0


def test_a_view_keeps_its_storage_alive():
    with PeakMemory() as memory:
        corner = torch.zeros(7, 11)[:1, :1]
    assert memory.now == 4 * 7 * 11
    del corner
    assert memory.now == 0


def test_what_the_backward_pass_takes_counts_too():
    """exp remembers its 7 floats; backward makes their 7 gradients from the sum's one."""
    x = torch.zeros(7, requires_grad=True)
    with PeakMemory() as memory:
        x.exp().sum().backward()
    assert memory.now == 4 * 7  # x.grad
    assert memory.peak >= 4 * (7 + 7)

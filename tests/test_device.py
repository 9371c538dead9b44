"""The choice of a device."""

import pytest
import torch

from tutor_lib.device import best_device


def test_the_environment_decides(monkeypatch):
    monkeypatch.setenv("TUTOR_DEVICE", "meta")
    assert best_device() == torch.device("meta")
    monkeypatch.setenv("TUTOR_DEVICE", "toaster")
    with pytest.raises(ValueError, match="TUTOR_DEVICE='toaster'"):
        best_device()


@pytest.mark.parametrize(
    ("cuda", "mps", "expected"),
    [(True, True, "cuda"), (False, True, "mps"), (False, False, "cpu")],
)
def test_cuda_then_mps_then_cpu(monkeypatch, cuda, mps, expected):
    monkeypatch.delenv("TUTOR_DEVICE", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert best_device().type == expected

"""What is asked of inject_lora: a small model before it and after."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from tutor_lib.checks.diagnose import Arguments
from tutor_lib.checks.draw import Draw
from tutor_lib.checks.lora.layer import LoRALinear
from tutor_lib.checks.run import Complaint

Targets = tuple[str, ...]


class Attention(nn.Module):
    """Something with the names that attention has."""

    def __init__(self, C: int, D: int) -> None:
        super().__init__()
        self.q_proj, self.v_proj = nn.Linear(C, D), nn.Linear(C, D, bias=False)
        self.o_proj = nn.Linear(D, C)

    def forward(self, x: Tensor) -> Tensor:
        """(..., C) → (..., C)."""
        result: Tensor = self.o_proj(self.q_proj(x).tanh() * self.v_proj(x))
        return result


class Block(nn.Module):
    """A norm, attention, and a layer whose name only ends like another's."""

    def __init__(self, C: int, D: int) -> None:
        super().__init__()
        self.norm, self.attention = nn.LayerNorm(C), Attention(C, D)
        self.old_q_proj = nn.Linear(C, C)

    def forward(self, x: Tensor) -> Tensor:
        """(..., C) → (..., C)."""
        x = x + self.attention(self.norm(x))
        result: Tensor = x + self.old_q_proj(x).tanh()
        return result


class Toy(nn.Module):
    """An embedding, positions, two blocks and a head; its numbers are always the same."""

    def __init__(self, V: int, C: int, D: int) -> None:
        super().__init__()
        self.embedding, self.positions = nn.Embedding(V, C), nn.Parameter(torch.zeros(C))
        self.blocks = nn.ModuleList([Block(C, D), Block(C, D)])
        self.head = nn.Linear(C, V)
        for number, p in enumerate(self.parameters()):
            put(p, number)

    def forward(self, ids: Tensor) -> Tensor:
        """(B, T) → (B, T, V)."""
        x = self.embedding(ids) + self.positions
        for block in self.blocks:
            x = block(x)
        logits: Tensor = self.head(x)
        return logits


@torch.no_grad()
def put(p: Tensor, number: int) -> None:
    """Fill `p` with numbers of its own, between -1/2 and 1/2."""
    values = torch.sin(torch.arange(1, p.numel() + 1) * (1 + 0.37 * number)) / 2
    p.copy_(values.view(p.shape))


def _adapted(
    student: Callable[..., nn.Module],
    model: nn.Module,
    targets: Targets,
    r: int,
    alpha: int | float,
) -> dict[str, LoRALinear]:
    """The student's LoRA layers in `model`, by path."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        returned = student(model, targets, r, alpha)
    if returned is not model:
        what = "another model" if isinstance(returned, nn.Module) else type(returned).__name__
        raise Complaint(
            f"inject_lora changes the model that it is given and returns that same model; yours "
            f"returned {what}."
        )
    return {path: m for path, m in model.named_modules() if isinstance(m, LoRALinear)}


def structure(
    student: Callable[..., nn.Module],
    ids: Tensor,
    sizes: tuple[int, int, int],
    targets: Targets,
    r: int,
    alpha: int | float,
    times: int,
) -> tuple[str, Tensor, Tensor]:
    """Which layers were replaced, and what the model gives before and after A and B change."""
    model = Toy(*sizes).to(ids.device)
    for _ in range(times):
        layers = _adapted(student, model, targets, r, alpha)
    before = model(ids)
    for number, path in enumerate(sorted(layers)):
        put(layers[path].A, 40 + 2 * number)
        put(layers[path].B, 41 + 2 * number)
    return ", ".join(sorted(layers)) or "empty", before, model(ids)


def freezing(
    student: Callable[..., nn.Module],
    ids: Tensor,
    sizes: tuple[int, int, int],
    targets: Targets,
    r: int,
    alpha: int | float,
) -> tuple[str, str]:
    """What trains besides A and B, and which of A and B do not."""
    model = Toy(*sizes).to(ids.device)
    layers = _adapted(student, model, targets, r, alpha).values()
    if not layers:
        raise Complaint(f"There is no LoRALinear in the model, with targets = {targets}.")
    update = {id(p) for layer in layers for p in (layer.A, layer.B)}
    others = [n for n, p in model.named_parameters() if p.requires_grad and id(p) not in update]
    still = [n for n, p in model.named_parameters() if not p.requires_grad and id(p) in update]
    return ", ".join(others) or "empty", ", ".join(still) or "empty"


def cases(draw: Draw) -> list[Arguments]:
    """Ids, (V, C, D), targets, r, α, and how often inject_lora is called."""
    return [
        (draw.ids(11, 2, 3), (11, 5, 7), ("q_proj", "v_proj"), 2, 6, 1),
        (draw.ids(13, 3, 2), (13, 7, 3), ("head",), 3, 7, 1),
        (draw.ids(7, 2, 5), (7, 3, 5), ("o_proj", "q_proj", "head"), 1, 2, 1),
        (draw.ids(5, 1, 2), (5, 11, 2), ("q_proj", "norm"), 2, 3, 2),  # a cell that is run twice
    ]


def freezing_cases(draw: Draw) -> list[Arguments]:
    """The same, called once."""
    return [case[:-1] for case in cases(draw)[:3]]


STRUCTURE = (
    "the list of replaced layers",
    "the model's output with new adapters",
    "the model's output once A and B hold numbers",
)
FREEZING = ("the list of what trains besides A and B", "the list of those A and B that do not")

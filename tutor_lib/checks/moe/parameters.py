"""How many parameters a layer has, and how many a token uses, as students get it wrong."""

from tutor_lib.checks.diagnose import Arguments, Exercise
from tutor_lib.checks.draw import Draw

Pair = tuple[int, int]


def _cases(draw: Draw) -> list[Arguments]:
    d_model, d_ff = draw.ids(90, 2).tolist()
    return [
        (4, 8, 4, 2),  # C, F, E, k
        (7 + d_model, 11 + d_ff, 13, 3),
        (5, 3, 11, 1),
        (4096, 14336, 8, 2),
        (17, 17, 17, 5),
        (13, 29, 7, 7),
    ]


def _reference(d_model: int, d_ff: int, n_experts: int, k: int) -> Pair:
    router, expert = d_model * n_experts, 2 * d_model * d_ff
    return router + n_experts * expert, router + k * expert


parameter_counts = Exercise("parameter_counts", _reference, learns=False)
RESULTS = ("the total count", "the active count")
parameter_counts.part("parameter_counts", 2, _cases, results=RESULTS)


@parameter_counts.misconception
def all_active(d_model: int, d_ff: int, n_experts: int, k: int) -> Pair:
    """You count all experts as active. A token passes through k of them."""
    total, _ = _reference(d_model, d_ff, n_experts, k)
    return total, total


@parameter_counts.misconception
def one_active(d_model: int, d_ff: int, n_experts: int, k: int) -> Pair:
    """You count one expert as active. A token passes through k of them."""
    return _reference(d_model, d_ff, n_experts, k)[0], _reference(d_model, d_ff, n_experts, 1)[1]


@parameter_counts.misconception
def without_router(d_model: int, d_ff: int, n_experts: int, k: int) -> Pair:
    """You leave out the router. Its weights are parameters too, and every token uses them."""
    expert = 2 * d_model * d_ff
    return n_experts * expert, k * expert


@parameter_counts.misconception
def router_not_active(d_model: int, d_ff: int, n_experts: int, k: int) -> Pair:
    """The total is right, but your active parameters lack the router. Every token passes through
    it, to be told where to go."""
    return _reference(d_model, d_ff, n_experts, k)[0], 2 * k * d_model * d_ff


@parameter_counts.misconception
def part_of_the_router(d_model: int, d_ff: int, n_experts: int, k: int) -> Pair:
    """You count only k columns of the router as active. To find the largest k logits, it computes
    all E of them."""
    total, _ = _reference(d_model, d_ff, n_experts, k)
    return total, k * d_model + 2 * k * d_model * d_ff


@parameter_counts.misconception
def router_in_each_expert(d_model: int, d_ff: int, n_experts: int, k: int) -> Pair:
    """You count the router once for each expert. The layer has one, of C E weights."""
    expert = 2 * d_model * d_ff + d_model * n_experts
    return n_experts * expert, k * expert


@parameter_counts.misconception
def one_matrix(d_model: int, d_ff: int, n_experts: int, k: int) -> Pair:
    """You count one matrix an expert. It has two: one to widen, one to come back."""
    router, expert = d_model * n_experts, d_model * d_ff
    return router + n_experts * expert, router + k * expert


@parameter_counts.misconception
def three_matrices(d_model: int, d_ff: int, n_experts: int, k: int) -> Pair:
    """You count three matrices an expert, as SwiGLU has. These experts have two."""
    router, expert = d_model * n_experts, 3 * d_model * d_ff
    return router + n_experts * expert, router + k * expert


@parameter_counts.misconception
def with_biases(d_model: int, d_ff: int, n_experts: int, k: int) -> Pair:
    """You count a bias for each output of the experts' matrices. These have none."""
    router, expert = d_model * n_experts, 2 * d_model * d_ff + d_ff + d_model
    return router + n_experts * expert, router + k * expert


@parameter_counts.misconception
def expert_and_router_biases(d_model: int, d_ff: int, n_experts: int, k: int) -> Pair:
    """You count biases, in the router and in the experts. There are none."""
    router, expert = d_model * n_experts + n_experts, 2 * d_model * d_ff + d_ff + d_model
    return router + n_experts * expert, router + k * expert


@parameter_counts.misconception
def one_expert_in_all(d_model: int, d_ff: int, n_experts: int, k: int) -> Pair:
    """Your total counts one expert. The layer keeps all E."""
    total = d_model * n_experts + 2 * d_model * d_ff
    return total, _reference(d_model, d_ff, n_experts, k)[1]


@parameter_counts.misconception
def exchanged(d_model: int, d_ff: int, n_experts: int, k: int) -> Pair:
    """Both numbers are right, in the wrong order. Return the total first, then the active."""
    total, active = _reference(d_model, d_ff, n_experts, k)
    return active, total


@parameter_counts.misconception
def inactive(d_model: int, d_ff: int, n_experts: int, k: int) -> Pair:
    """Your second number counts what a token does not use. Asked is what it does."""
    total, active = _reference(d_model, d_ff, n_experts, k)
    return total, total - active


@parameter_counts.misconception
def share(d_model: int, d_ff: int, n_experts: int, k: int) -> tuple[int, float]:
    """Your second number is the share of the parameters that a token uses. Asked is how many."""
    total, active = _reference(d_model, d_ff, n_experts, k)
    return total, active / total

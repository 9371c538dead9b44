"""The lab on mixtures of experts: what it checks, and the mistakes that it knows."""

from tutor_lib.checks.lab import Lab
from tutor_lib.checks.moe.balance import load_balancing_loss
from tutor_lib.checks.moe.capacity import drop_overflow, expert_capacity
from tutor_lib.checks.moe.combine import combine
from tutor_lib.checks.moe.dispatch import dispatch
from tutor_lib.checks.moe.gating import top_k_gating
from tutor_lib.checks.moe.layer import MoE
from tutor_lib.checks.moe.parameters import parameter_counts

LAB = Lab(
    "moe",
    top_k_gating,
    dispatch,
    combine,
    MoE,
    load_balancing_loss,
    expert_capacity,
    drop_overflow,
    parameter_counts,
)
check = LAB.check

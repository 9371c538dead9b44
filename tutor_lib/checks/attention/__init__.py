"""The attention lab: what it checks, and the mistakes that it knows."""

from tutor_lib.checks.attention import multihead_options as multihead_options  # adds mistakes
from tutor_lib.checks.attention.core import attention
from tutor_lib.checks.attention.heat_map import plot_weights
from tutor_lib.checks.attention.masks import causal_mask
from tutor_lib.checks.attention.multihead import multihead
from tutor_lib.checks.attention.numpy_head import numpy_head
from tutor_lib.checks.attention.rope import rotate
from tutor_lib.checks.attention.scores import attention_scores
from tutor_lib.checks.attention.softmax import softmax
from tutor_lib.checks.lab import Lab

LAB = Lab(
    "attention",
    numpy_head,
    plot_weights,
    softmax,
    attention_scores,
    causal_mask,
    attention,
    rotate,
    multihead,
)
check = LAB.check

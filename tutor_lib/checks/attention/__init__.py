"""The attention lab: what it checks, and the mistakes that it knows."""

from tutor_lib.checks.attention.core import attention
from tutor_lib.checks.attention.heat_map import plot_weights
from tutor_lib.checks.attention.masks import causal_mask
from tutor_lib.checks.attention.scores import attention_scores
from tutor_lib.checks.attention.softmax import softmax
from tutor_lib.checks.lab import Lab

LAB = Lab("attention", softmax, attention_scores, causal_mask, attention, plot_weights)
check = LAB.check

"""The LoRA lab: what it checks, and the mistakes that it knows."""

from tutor_lib.checks.lab import Lab
from tutor_lib.checks.lora.fraction import fraction
from tutor_lib.checks.lora.inject import injecting
from tutor_lib.checks.lora.layer import lora_linear
from tutor_lib.checks.lora.merging import merging, unmerging
from tutor_lib.checks.lora.nf4_parts import dequantizing, quantizing

LAB = Lab("lora", lora_linear, injecting, fraction, merging, unmerging, quantizing, dequantizing)
check = LAB.check

"""The LoRA lab: what it checks, and the mistakes that it knows."""

from tutor_lib.checks.lab import Lab
from tutor_lib.checks.lora.layer import lora_linear

LAB = Lab("lora", lora_linear)
check = LAB.check

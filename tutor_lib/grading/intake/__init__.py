"""From a folder that a student filled to a clean submission."""

from tutor_lib.grading.intake.canon import Canon
from tutor_lib.grading.intake.normalise import take_in

__all__ = ["Canon", "take_in"]

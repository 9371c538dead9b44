"""Answers each question twice, so that the next one is answered before it is asked."""

FIRST = """
from tutor_lib.grading.protocol import link

def twice(self, parts):
    real(self, parts)
    self.busy = False
    real(self, parts)

real, link.Link.send = link.Link.send, twice
"""
CODES = {"protocol"}

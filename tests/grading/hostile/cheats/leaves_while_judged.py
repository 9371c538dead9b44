"""Ends the serving from within, and goes on as if the test were over."""

FIRST = """
def leave(*args):
    from tutor_lib.grading.protocol import far
    for side in far._sides.values():
        side.link.shut()
"""
ANSWERS = {"double": "double = leave", "Stack": "Stack = leave", "squares": "squares = leave"}
CODES = {"protocol"}

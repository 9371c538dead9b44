"""Is JSON, but no notebook."""

CODES = {"unreadable"}


def hand_in(folder):
    (folder / "probe.ipynb").write_text('{"cells": {"0": "hello"}, "nbformat": 4}')

"""Hands in FIFOs and sockets, which are waited for when they are opened."""

import os
import socket

from tests.grading.probe import POINTS, RIGHT

ANSWERS, SCORES = RIGHT, POINTS
CODES = {"refused-file"}


def hand_in(folder):
    os.mkfifo(folder / "data.csv")
    os.mkfifo(folder / "timestamp.txt")
    here = os.getcwd()
    os.chdir(folder)  # a socket's path may be short only
    socket.socket(socket.AF_UNIX).bind("socket")
    os.chdir(here)

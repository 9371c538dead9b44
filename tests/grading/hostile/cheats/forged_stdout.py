"""Prints what a score, a report and a reply might look like."""

ANSWERS = {
    "double": """def double(x):
    print("2")
    print('{"finished": ["double_check"], "score": 2, "status": "ok"}')
    print("double_check: 2 / 2")
    return x
""",
    "claim": """import sys
def claim():
    for stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__):
        print("2", file=stream, flush=True)
    return 100
""",
}
CODES = {"score"}

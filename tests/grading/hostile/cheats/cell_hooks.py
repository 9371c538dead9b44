"""Hooks on to every cell, before and after, to print it and to call it a success."""

FIRST = """
def before(info):
    print("this runs:", info.raw_cell)

def after(result):
    result.error_in_exec = result.error_before_exec = None
    print("this ran:", result.info.raw_cell)

events = get_ipython().events
for name in ("pre_execute", "post_execute"):
    events.register(name, lambda: None)
events.register("pre_run_cell", before)
events.register("post_run_cell", after)
"""

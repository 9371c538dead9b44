"""Patches run_cell, so that every cell succeeds, and ends with 2."""

FIRST = """
from IPython.core.interactiveshell import ExecutionResult, InteractiveShell

shell, run = get_ipython(), InteractiveShell.run_cell_async

async def fine(self, *args, **kwargs):
    result = await run(self, *args, **kwargs)
    result.error_in_exec = result.error_before_exec = None
    result.result = 2
    return result

type(shell).run_cell_async = InteractiveShell.run_cell_async = fine
"""

"""Patches whatever shows an error: showtraceback, excepthook, the display."""

FIRST = """
import sys, traceback

shell = get_ipython()
silent = lambda *args, **kwargs: None
shell.showtraceback = shell._showtraceback = shell.showsyntaxerror = silent
type(shell).showtraceback = type(shell)._showtraceback = silent
shell.set_custom_exc((BaseException,), silent)
sys.excepthook = traceback.print_exc = traceback.print_exception = silent
"""

"""Has a name that is a pattern for others' names, which nbgrader would follow."""

STUDENT = "[a-z]*"
SCORES = None

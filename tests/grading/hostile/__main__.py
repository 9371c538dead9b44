"""Grade everything in these folders and print the table: python -m tests.grading.hostile."""

import sys
import tempfile
from pathlib import Path

from tests.grading.hostile import batch, table
from tests.grading.hostile.row import all_rows

if __name__ == "__main__":
    rows = [row for row in all_rows() if not sys.argv[1:] or row.name in sys.argv[1:]]
    with tempfile.TemporaryDirectory() as folder:
        outcome = batch.run(Path(folder), rows)
    print(table.table(rows, outcome))

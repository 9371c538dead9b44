"""Where nbgrader finds everything. Its commands run from this folder.

The notebooks with answers are built from solutions/ into build/source (`make labs`), and what
students get goes to labs/. Submissions are put in submitted/<student>/<lab>/<lab>.ipynb.
"""

import os
import sys
from pathlib import Path

from tutor_lib.grading.gradebook.converter import install

c = get_config()

c.CourseDirectory.root = str(Path(__file__).resolve().parent)
c.CourseDirectory.source_directory = "build/source"
c.CourseDirectory.release_directory = "labs"
c.CourseDirectory.submitted_directory = "submitted"
c.CourseDirectory.autograded_directory = "autograded"
c.CourseDirectory.feedback_directory = "feedback"

# nbgrader calls `alembic`, which is installed beside Python: found without activating .venv too.
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])

c.ClearSolutions.text_stub = "*Your answer here: double-click, write, and press Shift+Enter.*"

# `nbgrader validate` runs the notebook as it is; the first cell of a lab imports torch, which can
# take a while on a cold disk.
c.Execute.timeout = 120

# `nbgrader autograde` and formgrader's button grade as `tutor grade` does: sandboxed and judged.
install(c, "tutor_lib.grading.run.grade.autograde")
# Feedback shows no hidden test and runs no script.
c.GenerateFeedback.exporter_class = "tutor_lib.grading.gradebook.feedback.FeedbackExporter"
c.GenerateFeedback.preprocessors = []
# In formgrader too, what students wrote is shown without anything that runs.
c.HTMLExporter.filters = {"markdown2html": "tutor_lib.grading.gradebook.markdown.markdown"}
# A table that a spreadsheet reads as it is meant, and archives that stay where they belong.
c.ExportApp.plugin_class = "tutor_lib.grading.gradebook.export.SafeCsv"
c.ZipCollectApp.extractor_plugin = "tutor_lib.grading.intake.collect.SafeExtractor"
c.ZipCollectApp.collector_plugin = "tutor_lib.grading.intake.collect.SafeCollector"

# What a submission may use up while it is graded; see tutor_lib/grading/limits.py for the rest.
# c.Limits.cell_seconds = 120

"""From results to nbgrader's gradebook, feedback and a table of grades.

A course is opened as nbgrader sees it (`course`). Results are recorded many at once (`record`),
each test cell by what the judge saw (`scores`), with text and pictures alone kept of what was
printed (`outputs`). Students get a page without scripts and without hidden tests (`feedback`),
instructors a table (`export`). `converter` makes `nbgrader autograde` grade in this way too.
"""

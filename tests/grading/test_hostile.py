"""The hostile table: all of tests/grading/hostile graded at once, beside honest work.

`python -m tests.grading.hostile` prints it.
"""

import csv
import io
import socket
import sys

import pytest

from tests.grading.hostile.batch import EARLIER, Failed, Host, run
from tests.grading.hostile.row import all_rows
from tests.grading.hostile.table import table, wrong

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("hostile"),  # graded once, for all tests
    pytest.mark.skipif(sys.platform != "linux", reason="there is a sandbox on Linux alone"),
]
ROWS = all_rows()


@pytest.fixture(scope="module")
def outcome(tmp_path_factory):
    try:
        outcome = run(tmp_path_factory.mktemp("hostile"), ROWS)
    except Failed as error:
        if "bubblewrap" in str(error) or "bwrap" in str(error):
            pytest.skip(f"no sandbox on this machine: {error}")
        raise
    print("\n" + table(ROWS, outcome))
    return outcome


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.group}/{row.name}")
def test_what_must_come_out_comes_out(row, outcome):
    assert wrong(row, outcome.came[row.name]) == []


def test_what_is_not_the_students_is_as_it_was(outcome):
    before, after = outcome.guarded
    assert "solutions/probe/probe.md" in before
    assert "submitted/plain/probe/probe.ipynb" in before
    assert after == before


def test_who_was_graded_before_is_as_before(outcome):
    before, after = outcome.earlier
    points = {name: given for name, _, given, *_ in before["grade"]}
    assert points["why"] == 1
    assert after == before


def test_the_host_has_heard_nothing(outcome):
    assert outcome.heard == []


def test_the_host_would_have_heard(tmp_path):
    host = Host(tmp_path)
    for name in (host.path, f"\0{host.path}"):
        socket.socket(socket.AF_UNIX).connect(name)
    socket.create_connection(("127.0.0.1", host.port)).close()
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", host.port))
    assert sorted(host.heard()) == ["abstract", "tcp", "udp", "unix"]
    host.close()


def test_nothing_is_left_running_or_lying_about(outcome):
    assert outcome.left == []


def test_the_table_of_grades_holds_every_name_and_no_formula(outcome):
    rows = list(csv.DictReader(io.StringIO(outcome.grades)))
    assert {r["student_id"].removeprefix("'") for r in rows} == {EARLIER} | {
        row.student for row in ROWS if row.scores is not None
    }
    for row in rows:
        assert not any(value.startswith(("=", "+", "-", "@")) for value in row.values()), row

"""The command `tutor`: try a lab, grade it, and say what this machine's sandbox enforces."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tutor_lib.grading import quick
from tutor_lib.grading.run.cluster import ClusterPool
from tutor_lib.grading.run.pool import LocalPool
from tutor_lib.grading.sandbox.guest import SandboxError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; 0 if all went well."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except (ValueError, OSError, SandboxError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped. What was run is kept: start again, and it goes on.", file=sys.stderr)
        return 130


# The rest is imported when it is wanted: nbgrader alone takes a second, in which workers start.


def _grade(options: argparse.Namespace) -> int:
    pool = ClusterPool(options.scheduler) if options.scheduler else LocalPool(options.workers)
    try:
        with quick.imports():
            from tutor_lib.grading.run import console

        fine = console.grade(options.course, options.lab, options.student, pool, options.again)
    finally:
        pool.close()
    return 0 if fine else 1


def _try(options: argparse.Namespace) -> int:
    with quick.imports():
        from tutor_lib.grading.intake.canon import labs_of
        from tutor_lib.grading.run.trial import try_out

    pool = LocalPool(1)
    try:
        for lab in options.labs or labs_of(options.course):
            try_out(options.course.resolve(), lab, pool)
            print(f"{lab}: its own answers pass every test under the judge")
    except SandboxError as error:  # a lab can be written where none can be graded
        print(f"not tried: {error}", file=sys.stderr)
    finally:
        pool.close()
    return 0


def _doctor(options: argparse.Namespace) -> int:
    from tutor_lib.grading.sandbox.doctor import examine, table

    findings = examine()
    print(table(findings))
    return 0 if all(finding.good for finding in findings if finding.essential) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tutor", description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    grade = commands.add_parser("grade", help="run and record what was handed in to a lab")
    grade.add_argument("lab", metavar="LAB", help="the lab, such as attention")
    grade.add_argument(
        "--student", action="append", metavar="ID", help="only this one (again for more)"
    )
    grade.add_argument(
        "--workers", type=int, metavar="N", help="how many at once (default: one more than cores)"
    )
    grade.add_argument("--scheduler", metavar="tcp://HOST:PORT", help="run on this Dask cluster")
    grade.add_argument("--again", action="store_true", help="run also what the store holds")
    grade.set_defaults(run=_grade)
    tried = commands.add_parser("try", help="run a lab's own answers under the judge")
    tried.add_argument("labs", nargs="*", metavar="LAB", help="which labs (default: all)")
    tried.set_defaults(run=_try)
    doctor = commands.add_parser("doctor", help="try what the sandbox enforces on this machine")
    doctor.set_defaults(run=_doctor)
    for command in (grade, tried):
        command.add_argument(
            "--course", type=Path, default=Path(), help="the course's folder (default: here)"
        )
    return parser


if __name__ == "__main__":
    sys.exit(main())

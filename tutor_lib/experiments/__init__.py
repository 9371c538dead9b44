"""Small experiments that finish: minutes each, and a record that the book reads.

Each module holds `FULL` and `CUT_DOWN` (its plan: sizes and steps), `run(plan, seed)`, which
returns numbers fit for JSON, and `figure(results)`, which draws them.

    python -m tutor_lib.experiments scaling
"""

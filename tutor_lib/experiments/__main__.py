"""Run experiments, store what they found and draw it.

    python -m tutor_lib.experiments [NAME …] [--seed N] [--cut-down] [--out FOLDER]

Without a name, all of them. A full run writes `NAME.json` to `tutor_lib/assets/experiments/`,
where the book reads it, and `NAME.safetensors` beside it if the book shows the trained model;
the figure goes to `build/experiments/NAME.png`.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from tutor_lib.experiments.record import ASSETS, NAMES, experiment, make_record, save_record

FIGURES = Path("build/experiments")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what was asked for, one after the other."""
    options = parser().parse_args(arguments)
    if unknown := set(options.names) - set(NAMES):
        parser().error(f"no experiment {', '.join(unknown)}; there are {', '.join(NAMES)}")
    out = options.out or (FIGURES if options.cut_down else ASSETS)
    for name in options.names or NAMES:
        print(f"{name}: {(experiment(name).__doc__ or '').splitlines()[0]}")
        record = make_record(name, options.seed, options.cut_down)
        save_record(record, out / f"{name}.json")
        if keep := getattr(experiment(name), "keep", None):
            found = experiment(name)
            plan = found.CUT_DOWN if options.cut_down else found.FULL
            keep(plan, options.seed, out / f"{name}.safetensors")
        FIGURES.mkdir(parents=True, exist_ok=True)
        experiment(name).figure(record["results"]).savefig(FIGURES / f"{name}.png", dpi=120)
        print(f"{record['seconds']} s; {out / name}.json, {FIGURES / name}.png")


def parser() -> argparse.ArgumentParser:
    """The options of the command line."""
    made = argparse.ArgumentParser(
        prog="python -m tutor_lib.experiments", description=(__doc__ or "").split("\n\n")[0]
    )
    made.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}")
    made.add_argument("--seed", type=int, default=0)
    made.add_argument("--cut-down", action="store_true", help="seconds instead of minutes")
    made.add_argument("--out", type=Path, help="folder of the JSON files")
    return made


if __name__ == "__main__":
    main()

"""The committed records: whole runs, small, and drawn without a mistake."""

import json

import pytest

from tutor_lib.experiments.__main__ import main
from tutor_lib.experiments.record import ASSETS, NAMES, experiment, load_record, rounded


@pytest.mark.parametrize("name", NAMES)
def test_a_record_tells_how_to_find_it_again(name):
    record = load_record(name)
    assert record["command"] == f"python -m tutor_lib.experiments {name} --seed 0"
    assert record["plan"] == json.loads(json.dumps(vars(experiment(name).FULL)))
    assert record["seconds"] > 0
    assert {"processor", "threads", "torch", "python"} <= set(record["machine"])
    assert (ASSETS / f"{name}.json").stat().st_size < 32_000


@pytest.mark.parametrize("name", NAMES)
def test_a_record_can_be_drawn(name, tmp_path):
    figure = experiment(name).figure(load_record(name)["results"])
    figure.savefig(tmp_path / "figure.svg")
    for panel in figure.axes:
        assert panel.get_xlabel()
        assert panel.get_ylabel()


def test_an_unknown_experiment_is_named(capsys):
    with pytest.raises(ValueError, match="no experiment 'alchemy'; there are scaling"):
        experiment("alchemy")
    with pytest.raises(SystemExit):
        main(["alchemy"])
    assert "alchemy" in capsys.readouterr().err


def test_a_missing_record_says_how_to_make_it(tmp_path):
    with pytest.raises(ValueError, match=r"python -m tutor_lib\.experiments scaling"):
        load_record("scaling", tmp_path)


def test_numbers_are_rounded_to_five_digits():
    assert rounded({"a": [1 / 3, 200], "b": (2e-7 / 3,)}) == {"a": [0.33333, 200], "b": [6.6667e-8]}

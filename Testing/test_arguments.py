"""Arguments of the research commands that people may give, and that no run can be made of."""

from __future__ import annotations

import re
from argparse import Namespace, _SubParsersAction
from pathlib import Path

import pytest
from study_folder import write_study
from tiny_model import save_tiny_model

from CSRDDenoiseLib.commands.main import COMMANDS, _parser, main
from CSRDDenoiseLib.commands.simulate import _subjects


def test_a_model_without_draws_is_not_calibrated(tmp_path, capsys):
    pytest.importorskip("scipy", minversion="1.12")
    folder, subject = save_tiny_model(tmp_path / "tiny", draws=False), write_study(tmp_path / "A", 0)
    assert main(["calibrate", str(folder), "--subjects", str(subject), "--device", "cpu"]) == 2
    assert "draws no samples" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["denoise", "cohort", "pairs", "validate", "adapt"])
def test_participants_of_a_bids_dataset_are_named_alike_in_every_command(command, capsys):
    with pytest.raises(SystemExit):
        main([command, "--help"])
    assert "--participant-label" in capsys.readouterr().out


@pytest.mark.parametrize("text", ["few", "1,,2", "-1", "1.5"])
def test_numbers_of_phantoms_that_are_none_are_bad_usage(text, tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["train", str(tmp_path / "run.yaml"), "--score", "test", f"--phantoms={text}"])
    assert ended.value.code == 2 and f"'{text}'" in capsys.readouterr().err


@pytest.mark.parametrize("command", [*COMMANDS, "readers design", "readers page", "readers analyse", "readers power"])
def test_help_describes_the_command_and_every_option_without_python(command, capsys):
    arguments = [*command.split(), "--help"]
    parser = _parser(arguments)
    for word in command.split():
        parser = next(each for each in parser._actions if isinstance(each, _SubParsersAction)).choices[word]
    assert parser.description
    options = [each for each in parser._actions if not isinstance(each, _SubParsersAction)]
    assert not [each.dest for each in options if not each.help]
    with pytest.raises(SystemExit):
        main(arguments)
    assert not re.search(r"default: (None|\(|\[|')", " ".join(capsys.readouterr().out.split()))


def test_an_anatomy_that_is_named_twice_is_simulated_once(anatomy_folder):
    args = Namespace(anatomy=anatomy_folder, subject=["synthseg/ball1", "synthseg/ball0", "synthseg/ball1"], split=None)
    assert _subjects(args) == ["synthseg/ball1", "synthseg/ball0"]


def test_details_of_an_error_about_a_name_that_is_not_utf8_are_kept(monkeypatch, capsys):
    def fail():
        raise RuntimeError("a name with \udcff")

    monkeypatch.setattr("CSRDDenoiseLib.devices.list_devices", fail)
    assert main(["info"]) == 1
    log = Path(re.search(r"details are in (\S+\.log)", capsys.readouterr().err).group(1))
    assert "\\udcff" in log.read_text(encoding="utf-8")
    log.unlink()

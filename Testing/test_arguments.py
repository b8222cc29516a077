"""Arguments of the research commands that people may give, and that no run can be made of."""

from __future__ import annotations

import json
import re
from argparse import Namespace, _SubParsersAction
from fractions import Fraction
from pathlib import Path

import pytest
import SimpleITK as sitk
from study_folder import write_study
from tiny_model import save_tiny_model

from CSRDDenoiseLib.commands.arguments import doses_of
from CSRDDenoiseLib.commands.effects import IDLE, parser_in_use
from CSRDDenoiseLib.commands.evaluate import _config
from CSRDDenoiseLib.commands.main import COMMANDS, _parser, main
from CSRDDenoiseLib.commands.simulate import _subjects
from CSRDDenoiseLib.errors import InputError
from CSRDDenoiseLib.readers.design import DesignOptions
from CSRDDenoiseLib.readers.plan import PlanOptions
from CSRDDenoiseLib.readers.power import Plan
from CSRDDenoiseLib.research.benchmark.need import GPUS


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


@pytest.mark.parametrize("text", ["few", "1,,2", "-1", "1.5", "0", "00", "3,0,3"])
def test_numbers_of_phantoms_that_are_none_are_bad_usage(text, tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["train", str(tmp_path / "run.yaml"), "--score", "test", f"--phantoms={text}"])
    assert ended.value.code == 2 and f"'{text}'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "option"),
    [
        *((f"train run.yaml {each}", each.split()[0]) for each in ("--phantoms 3", "--model brain", "--draws 5:1")),
        *((f"train run.yaml --score test {each}", each.split()[0]) for each in ("--minutes 5", "--export-only")),
        *(
            (f"simulate --like scans.tsv --output low {each}", each.split()[0])
            for each in ("--anatomy a", "--subject ixi/a", "--draws 2", "--noise-free", "--part train", "--tls t")
        ),
        *((f"experiment {each} c.yaml --minutes 5", "--minutes") for each in ("adapt", "like", "scanners")),
        ("experiment evidence c.yaml --device cuda", "--device"),
        ("train run.yaml --export-only --minutes 5", "--minutes"),
        *(
            (f"{command} {each}", each.split()[0])
            for command in ("denoise --pet p.nii --output o.nii", "cohort t.tsv --output o")
            for each in ("--tls t", "--insecure", "--participant-label 01", "--samples 7 --model tissue")
        ),
        *(
            (f"denoise --pet p.nii --output o.nii {each}", each.split()[0])
            for each in (
                "--samples 7 --preset fast",
                "--steps 3 --sampler mean",
                "--steps 3 --model tissue",
                "--dose 1/9 --keep-above 0",
            )
        ),
        ("demo --samples 7 --preset fast", "--samples"),
        ("cohort t.tsv --output o --scheduler tls://a:1 --tls t --workers 2", "--workers"),
        ("cohort t.tsv --output o --cluster q.yaml --memory 4", "--memory"),
        *(
            (f"{command} t.tsv --low rec-a", "--low")
            for command in ("pairs", "validate --output o", "adapt --output o")
        ),
        *((f"validate --subjects s --output o {each}", each.split()[0]) for each in ("--full rec-b", "--tls t")),
        ("evaluate c.yaml --insecure", "--insecure"),
        *((f"simulate --anatomy a --output o {each}", each.split()[0]) for each in ("--part train", "--tls t")),
        ("simulate --anatomy a --output o --subject ixi/a --split s.json", "--split"),
        ("readers design t.tsv --output o --ties", "--ties"),
        ("readers power --margin 0.1", "--margin"),
        ("readers power --endpoint roc --preference 0.7", "--preference"),
        *((f"benchmark --frames 2 {each}", each.split()[0]) for each in ("--keep 16", "--quality")),
    ],
)
def test_an_option_that_a_call_would_pass_over_is_refused(words, option, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(words.split()) == 2 and option in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_choice_about_frames_is_refused_for_a_static_pet(tmp_path, pet, capsys):
    sitk.WriteImage(pet, str(tmp_path / "pet.nii.gz"))
    words = ["denoise", "--pet", str(tmp_path / "pet.nii.gz"), "--output", str(tmp_path / "o.nii"), "--motion", "off"]
    assert main([*words, "--model", "tissue"]) == 2
    assert "--motion" in capsys.readouterr().err and not (tmp_path / "o.nii").exists()


def test_a_dose_is_refused_by_a_model_of_the_full_dose(tmp_path, pet, capsys):
    sitk.WriteImage(pet, str(tmp_path / "pet.nii.gz"))
    folder = save_tiny_model(tmp_path / "tiny", target="full-dose")
    words = ["denoise", "--pet", str(tmp_path / "pet.nii.gz"), "--output", str(tmp_path / "o.nii"), "--dose", "1/10"]
    assert main([*words, "--model", str(folder)]) == 2
    assert "--dose" in capsys.readouterr().err and not (tmp_path / "o.nii").exists()


@pytest.mark.parametrize("command", [name for name in IDLE if " " not in name] + ["readers design", "readers power"])
def test_every_option_of_the_table_is_one_of_its_command(command):
    words = command.split()
    parser = parser_in_use(_parser(words), Namespace(command=words[0], action=words[-1]))
    for idle in IDLE[command]:
        options = [*idle.options, *(name for name in idle.beside if name.startswith("-"))]
        assert set(options) <= set(parser._option_string_actions)


@pytest.mark.parametrize(
    "words", ["power --seed -1", "power --target 5", "power --target nan", "design t.tsv --output s --seed -1"]
)
def test_a_seed_or_a_power_of_a_reader_study_that_cannot_be_is_bad_usage(words, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["readers", *words.split()])
    assert ended.value.code == 2 and words.split()[-1] in capsys.readouterr().err


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -1.0, 1e12])
def test_a_margin_or_a_washout_of_a_reader_study_is_a_number_within_limits(number):
    with pytest.raises(InputError):
        Plan("noninferiority", margin=number)
    with pytest.raises(InputError):
        DesignOptions(PlanOptions("rating", 3), (), washout_days=number)


def test_trainings_of_no_minutes_are_refused(capsys):
    config = Path(__file__).parent.parent / "configs" / "head-to-head.yaml"
    assert main(["experiment", "head-to-head", str(config), "--minutes", "0"]) == 2
    assert "--minutes is 0" in capsys.readouterr().err


@pytest.mark.parametrize(("options", "device"), [((), "cuda:3"), (("--device", "cpu"), "cpu")])
def test_device_of_an_evaluation_is_that_of_the_option_before_that_of_the_file(options, device, tmp_path):
    write_study(tmp_path / "A", 0)
    config = tmp_path / "config.yaml"
    config.write_text("{subjects: [A], model: brain, output: out, device: 'cuda:3', experiments: {}}", encoding="utf-8")
    assert _config(_parser(["evaluate"]).parse_args(["evaluate", str(config), *options])).device == device


@pytest.mark.slow
def test_numbers_of_every_measurement_are_written(model_folder, tmp_path):
    path = tmp_path / "need.json"
    words = ["benchmark", "--gpus-for", "100", "--preset", "fast", "--model", str(model_folder), "--output", str(path)]
    assert main(words) == 0
    written = json.loads(path.read_text(encoding="utf-8"))
    assert len(written["rows"]) == len(GPUS) and written["cost"]["operations_per_voxel"] > 0


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


@pytest.mark.parametrize("words", ["1/4 1/10", "1/4,1/10"])
def test_doses_are_separated_alike_in_every_command(words):
    simulate = ["simulate", "--anatomy", "a", "--output", "o", "--doses", *words.split()]
    calibrate = ["calibrate", "m", "--subjects", "s", "--doses", *words.split()]
    given = doses_of(_parser(simulate).parse_args(simulate).doses)
    parsed = _parser(calibrate).parse_args(calibrate).doses
    assert given == [each for some in parsed for each in some] == [Fraction(1, 4), Fraction(1, 10)]

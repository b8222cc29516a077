"""The page for readers without Slicer, in a real Chromium, by clicks and keys, offline from a file."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from browser import browser  # noqa: F401 (a fixture)
from clicks import open_tab
from reader_study import make_study, write_table

from CSRDDenoiseLib.commands.main import main
from CSRDDenoiseLib.errors import InputError
from CSRDDenoiseLib.readers import page
from CSRDDenoiseLib.readers.answers import read_answers
from CSRDDenoiseLib.readers.page import VIEWER_FILE, viewer_script, write_page
from CSRDDenoiseLib.readers.study import PREFERENCE

LOOK = (
    "viewers.map(({viewer: v}) => ({at: Array.from(v.scene.crosshairPos), low: v.volumes[0].cal_min, "
    "high: v.volumes[0].cal_max, mm: Array.from(v.frac2mm(v.scene.crosshairPos)).slice(0, 3)}))"
)


@pytest.fixture
def viewer():
    path = Path(page.__file__).with_name(VIEWER_FILE)
    if not path.exists():
        pytest.skip("the viewer is not here: make reader-page")


@pytest.fixture
def opened(browser, tmp_path):  # noqa: F811
    """Opens pages in one profile after another; whatever is open is closed at the end."""
    tabs = []

    def open_page(path, profile="profile"):
        tabs.append(open_tab(browser._program, path, tmp_path / profile, tmp_path))
        return tabs[-1]

    yield open_page
    for tab in tabs:
        if tab._process.poll() is None:
            tab.kill()


def begin(tab, reader):
    tab.value(f"document.getElementById('reader').value = '{reader}'")
    tab.click("#begin")


def wait_for(tab, number):
    tab.wait(f"!state.resting && document.getElementById('progress').innerText.startsWith('{number} of ')")


def downloaded(folder, reader):
    path, end = folder / f"answers-{reader}.json", time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < end
        time.sleep(0.05)
    return path


@pytest.mark.slow
@pytest.mark.usefixtures("viewer")
def test_a_readers_story_of_pairs(tmp_path, opened):
    table = write_table(tmp_path, cases=3, mr=True)
    study, _, folder = make_study(tmp_path, table, kind=PREFERENCE, ties=True, repeats=0)
    assert main(["readers", "page", str(folder)]) == 0
    tab = opened(folder / "reader.html")
    begin(tab, "R2")
    wait_for(tab, 1)
    assert [tab.text(f"#viewers figure:nth-child({n}) figcaption") for n in (1, 2, 3)] == ["Left", "Right", "MR"]
    # the pair has the window of the study and is where the study says
    first = study.reading("R2").trials[0]
    left, right, mr = tab.value(LOOK)
    assert (left["low"], left["high"]) == (right["low"], right["high"]) == pytest.approx(first.window)
    x, y, z = first.centre
    for each in (left, right, mr):
        assert each["mm"] == pytest.approx([-x, -y, z], abs=1e-2)
    # scrolling and the window are linked
    tab.scroll("#viewers canvas", 120)
    tab.wait(f"{LOOK}[0].at.some((x, i) => Math.abs(x - {left['at']}[i]) > 0.001)")
    tab.wait(f"{LOOK}.every(each => each.at.every((x, i) => Math.abs(x - {LOOK}[0].at[i]) < 1e-5))")
    tab.drag("#viewers canvas", (80, 50))
    tab.wait(f"{LOOK}[0].high !== {left['high']}")
    tab.wait(f"{LOOK}[1].high === {LOOK}[0].high")
    # answers by mouse and by key
    pressed = [2, 3, 1]
    tab.click("#choices button:nth-child(2)")
    wait_for(tab, 2)
    assert tab.value(f"{LOOK}[0].high") == pytest.approx(study.reading("R2").trials[1].window[1])
    tab.press("3")
    wait_for(tab, 3)
    tab.press("9")
    assert tab.value("state.content.answers.length") == 2
    # pause: nothing is shown, keys do nothing; go on
    tab.press("p")
    tab.wait("document.getElementById('viewers').hidden")
    tab.press("1")
    assert "2 of 7 answers" in tab.text("#rest-text")
    tab.click("#go-on")
    # a slip is taken back
    tab.press("2")
    wait_for(tab, 4)
    tab.click("#back")
    wait_for(tab, 3)
    tab.press("1")
    wait_for(tab, 4)
    # the computer dies; at most the answer under way is lost
    tab.kill()
    tab = opened(folder / "reader.html")
    begin(tab, "R2")
    wait_for(tab, 4)
    for number in range(4, 8):
        wait_for(tab, number)
        tab.press(str(number % 3 + 1))
        pressed.append(number % 3 + 1)
    tab.wait("document.getElementById('rest-title').innerText === 'Everything is read'")
    answers = read_answers(downloaded(tmp_path, "R2"), study)
    assert [answer.values["preference"] for answer in answers.answers] == pressed
    assert [answer.trial for answer in answers.answers] == [trial.id for trial in study.reading("R2").trials]
    assert all(0 <= answer.seconds < 300 for answer in answers.answers)
    assert not tab.complaints


@pytest.mark.slow
@pytest.mark.usefixtures("viewer")
def test_ratings_with_the_images_in_the_folder_a_washout_and_another_computer(tmp_path, opened):
    table = write_table(tmp_path, cases=3, methods=("low", "denoised"))
    study, _, folder = make_study(tmp_path, table, ("noise", "lesion"), repeats=0, washout_days=7)
    assert not write_page(folder, embed=False)
    tab = opened(folder / "reader.html")
    begin(tab, "R1")
    tab.wait("document.getElementById('trouble').innerText.includes('folder')")
    tab.choose_files("#folder", [folder])
    begin(tab, "R1")
    for number in range(1, 4):
        wait_for(tab, number)
        assert "noise" in tab.text("#question")
        tab.press("4")
        tab.wait("document.getElementById('question').innerText.includes('lesion')")
        tab.press("Backspace")
        tab.wait("document.getElementById('question').innerText.includes('noise')")
        tab.press("5")
        tab.press("2")
    tab.wait("document.getElementById('rest-title').innerText === 'This block is done'")
    assert tab.value("document.getElementById('go-on').hidden")
    tab.click("#save")
    path = downloaded(tmp_path, "R1")
    answers = read_answers(path, study)
    assert [dict(answer.values) for answer in answers.answers] == [{"noise": 5, "lesion": 2}] * 3
    # eight days later, on another computer
    content = json.loads(path.read_text(encoding="utf-8"))
    content["answers"] = [{**each, "at": "2025-01-01T00:00:00Z"} for each in content["answers"]]
    path.write_text(json.dumps(content), encoding="utf-8")
    tab = opened(folder / "reader.html", "other")
    tab.choose_files("#folder", [folder])
    tab.choose_files("#earlier", [path])
    begin(tab, "R2")
    tab.wait("document.getElementById('trouble').innerText.includes('not of reader R2')")
    begin(tab, "R1")
    wait_for(tab, 4)
    assert "block 2" in tab.text("#progress")


@pytest.mark.usefixtures("viewer")
def test_the_page_loads_nothing_and_hides_the_methods(tmp_path):
    _, _, folder = make_study(tmp_path, write_table(tmp_path, cases=3))
    assert write_page(folder)
    text = (folder / "reader.html").read_text(encoding="utf-8")
    own = text.replace(viewer_script(), "")
    assert not [word for word in ("src=", "http:", "https:", "denoised", "doe_", "Doe_") if word in own]
    assert "Redistribution" in own


def test_another_viewer_is_refused(tmp_path, capsys):
    _, _, folder = make_study(tmp_path, write_table(tmp_path, cases=3))
    other = tmp_path / VIEWER_FILE
    other.write_bytes(b"something else")
    with pytest.raises(InputError, match="SHA-512"):
        write_page(folder, other)
    assert main(["readers", "page", str(folder), "--viewer", str(tmp_path / "none.tgz")]) == 2
    assert "npm pack" in capsys.readouterr().err
    assert not (folder / "reader.html").exists()

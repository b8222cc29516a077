"""What the worker makes of its requests, without a process: a wrong one is answered by a sentence and ends nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from CSRDDenoiseLib.configuration import structure
from CSRDDenoiseLib.errors import InputError
from CSRDDenoiseLib.worker.engine import Engine
from CSRDDenoiseLib.worker.messages import DenoiseMessage, KeepMessage
from CSRDDenoiseLib.worker.serve import WORK, Worker


class Idle(Engine):
    """Notes what it is asked for."""

    def __init__(self) -> None:
        self.asked: list[dict] = []

    def info(self, values, _report):
        self.asked.append(values)
        return {"devices": []}


def answers(*requests: object, engine: Engine | None = None) -> list[dict]:
    sent: list[dict] = []
    worker = Worker(sent.append, engine or Engine())
    for request in requests:
        worker._accept(request if isinstance(request, bytes) else json.dumps(request).encode())
    worker._waiting.put(None)
    worker.work()
    return [message for message in sent if message["event"] != "progress"]


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (b"hello", "not JSON"),
        ([1, 2], "JSON object"),
        ({}, "'command' is missing"),
        ({"command": "dance"}, "'command' is 'dance'"),
        ({"command": ["info"]}, "'command' is ['info']"),
        ({"command": "info", "id": [1]}, "'id' is [1]"),
        ({"command": "cancel", "id": {}}, "'id' is {}"),
        ({"command": "info", "device": "cpu"}, "'device' is not known"),
        ({"command": "estimate", "device": 3}, "'device' is 3"),
        ({"command": "denoise", "output": "o.nii"}, "'pet' is missing"),
        ({"command": "denoise", "pet": 3, "output": "o.nii"}, "'pet' is 3"),
        ({"command": "denoise", "pet": "p.nii", "output": "o.nii", "modle": "m"}, "did you mean 'model'"),
        ({"command": "denoise", "pet": "p", "output": "o", "settings": {"steps": "2"}}, "'settings.steps' is '2'"),
        ({"command": "denoise", "pet": "p", "output": "o", "settings": {"steps": 0}}, "'steps' is 0"),
        ({"command": "denoise", "pet": "p", "output": "o", "output_unit": "kBq"}, "'output_unit' is 'kBq'"),
        ({"command": "keep", "pet": "p", "bare": "b", "output": "o"}, "'difference' is missing"),
        ({"command": "report", "pet": "p", "denoised": "d", "output": "o", "provenance": []}, "'provenance' is []"),
    ],
)
def test_a_wrong_request_is_a_sentence(request_, words):
    (answer,) = answers(request_)
    assert answer["event"] == "error" and answer["kind"] == "InputError", answer
    assert words in answer["message"] and answer["message"].endswith((".", "?"))


def test_work_goes_on_after_wrong_requests():
    engine = Idle()
    wrong = [{"command": "info", "id": []}, {"command": "cancel", "id": [1]}, b"\xff"]
    found = answers(*wrong, {"command": "info", "id": 7}, {"command": "info", "id": "a"}, engine=engine)
    assert [each["event"] for each in found] == ["error"] * 3 + ["result"] * 2
    assert [each["id"] for each in found[3:]] == [7, "a"] and engine.asked == [{}, {}]


def test_what_was_cancelled_before_its_turn_is_not_begun():
    engine = Idle()
    found = answers({"command": "info", "id": 7}, {"command": "cancel", "id": 7}, engine=engine)
    assert [each["kind"] for each in found] == ["Cancelled"] and not engine.asked


def test_a_message_is_a_request_with_paths_settings_and_model():
    values = {"pet": "p.nii", "output": "o.nii", "settings": {"steps": 4, "keep_above_mm": "inf"}, "model": None}
    message = structure(values, DenoiseMessage, "it")
    assert message.pet == Path("p.nii") and message.overwrite and message.model is None
    assert message.settings.steps == 4 and message.settings.keep_above_mm == float("inf")
    paths = dict.fromkeys(("pet", "bare", "output", "difference"), "x.nrrd")
    assert structure({**paths, "keep_above_mm": 3}, KeepMessage, "it").keep_above_mm == 3.0
    with pytest.raises(InputError, match="at least 0"):
        structure({**paths, "keep_above_mm": -3}, KeepMessage, "it")


def test_each_command_has_its_work():
    assert all(callable(getattr(Engine, name)) for name in WORK)

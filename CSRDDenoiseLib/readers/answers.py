"""The answers of one reader: a JSON file that is whole at any moment, the same from both reading tools.

    {"format": 1, "study": "9f3a...", "reader": "R1", "tool": "Slicer",
     "answers": [{"trial": "a41c...", "values": {"noise": 4}, "seconds": 12.5, "at": "2025-01-31T09:12:44+00:00"}]}

Only the standard library is imported here: the Slicer module writes this too.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Mapping

from ..atomic import write_json
from ..errors import InputError
from .study import FORMAT, Study, read_json


@dataclass(frozen=True)
class Answer:
    """What a reader answered about one trial.

    Attributes:
        trial: its id.
        values: scale name -> number of the choice, counted from 1.
        seconds: from the moment the images were shown to the last answer, pauses not counted.
        at: when it was answered, ISO 8601 with time zone.
    """

    trial: str
    values: Mapping[str, int]
    seconds: float
    at: str

    @property
    def time(self) -> datetime:
        """When it was answered."""
        return parse_time(self.at)


@dataclass(frozen=True)
class Answers:
    """All answers of one reader so far, in the order they were given."""

    study: str
    reader: str
    tool: str = ""
    answers: tuple[Answer, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return the answers as plain JSON types."""
        return {"format": FORMAT, **asdict(self)}


def answers_name(reader: str) -> str:
    """Return the usual file name of a reader's answers."""
    return f"answers-{reader}.json"


def parse_time(text: str) -> datetime:
    """Return a moment from ISO 8601; JavaScript ends it with Z, which Python 3.9 does not read."""
    moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)


def write_answers(answers: Answers, path: Path) -> None:
    """Write a reader's answers; the file is replaced as a whole.

    Raises:
        InputError: it cannot be written there; what was there before stays.
    """
    try:
        write_json(path, answers.as_dict(), indent=1)
    except OSError as error:
        reason = f"The answers cannot be written to '{path}': {error.strerror}. Choose another folder."
        raise InputError(reason) from error


def read_answers(path: Path, study: Study) -> Answers:
    """Read a reader's answers to a study.

    Raises:
        InputError: missing, damaged, of another study or reader, or with a trial or a value that the study lacks.
    """
    content = read_json(path, "answers file")
    try:
        found = tuple(_answer(each) for each in content["answers"])
        answers = Answers(content["study"], content["reader"], content.get("tool", ""), found)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"The answers file '{path}' is damaged ({error!r}).") from error
    if answers.study != study.id:
        raise InputError(f"The answers file '{path}' belongs to study {answers.study}, not to {study.id}.")
    _check(answers, study, path)
    return answers


def _check(answers: Answers, study: Study, path: Path) -> None:
    known = {trial.id for trial in study.reading(answers.reader).trials}
    choices = {scale.name: len(scale.labels) for scale in study.scales}
    seen: set[str] = set()
    for answer in answers.answers:
        if answer.trial not in known or answer.trial in seen:
            raise InputError(
                f"The answers file '{path}' answers trial '{answer.trial}', which reader {answers.reader} does not "
                "have or has answered already."
            )
        seen.add(answer.trial)
        if set(answer.values) != set(choices):
            raise InputError(f"The answers file '{path}' lacks or adds a question at trial '{answer.trial}'.")
        for name, value in answer.values.items():
            if not 1 <= value <= choices[name]:
                raise InputError(f"The answers file '{path}' has {name} = {value}; it goes from 1 to {choices[name]}.")


def _answer(content: Mapping[str, Any]) -> Answer:
    values = {name: int(value) for name, value in content["values"].items()}
    answer = Answer(content["trial"], values, float(content["seconds"]), content["at"])
    parse_time(answer.at)
    return answer

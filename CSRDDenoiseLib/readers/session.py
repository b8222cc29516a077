"""Reading, whatever shows the images: which trial is next, whether a washout is over, and saving after every answer.

Only the standard library is imported here: the Slicer module uses this. ``page/reader.js`` does the same in a browser.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Mapping, Optional

from ..errors import InputError
from .answers import Answer, Answers, read_answers, write_answers
from .study import Reading, Study, Trial


class Session:
    """One reader at work; every answer is on disk before the next trial is shown.

    Args:
        study: what is read.
        reader: who reads.
        path: the answers file; if it exists the session continues from it.
        tool: name of the program, kept with the answers.

    Raises:
        InputError: the answers file is damaged or belongs to another study or reader.
    """

    def __init__(self, study: Study, reader: str, path: Path, tool: str = ""):
        self.study = study
        self.path = path
        self.reading: Reading = study.reading(reader)
        self.answers = read_answers(path, study) if path.exists() else Answers(study.id, reader, tool)
        if self.answers.reader != reader:
            raise InputError(f"The answers file '{path}' is that of reader {self.answers.reader}, not of {reader}.")

    @property
    def done(self) -> int:
        """Number of trials answered."""
        return len(self.answers.answers)

    @property
    def total(self) -> int:
        """Number of trials of this reader."""
        return len(self.reading.trials)

    @property
    def trial(self) -> Optional[Trial]:
        """The next trial, or None at the end."""
        answered = {answer.trial for answer in self.answers.answers}
        return next((trial for trial in self.reading.trials if trial.id not in answered), None)

    def opens(self) -> Optional[datetime]:
        """Return when the next trial's block may begin, None if it has begun, is the first one, or all is read."""
        trial = self.trial
        if trial is None or not self.answers.answers:
            return None
        blocks = {each.id: each.block for each in self.reading.trials}
        last = self.answers.answers[-1]
        if blocks[last.trial] == trial.block:
            return None
        return last.time + timedelta(days=self.study.washout_days)

    def waits(self, now: Optional[datetime] = None) -> bool:
        """Return whether the washout before the next block is not over."""
        opens = self.opens()
        return opens is not None and (now or datetime.now(timezone.utc)) < opens

    def record(self, values: Mapping[str, int], seconds: float, now: Optional[datetime] = None) -> None:
        """Keep the answers to the present trial and save them.

        Raises:
            InputError: all is read, or the file cannot be written; then the trial stays unanswered.
        """
        if self.trial is None:
            raise InputError("Every trial is answered already.")
        at = (now or datetime.now(timezone.utc)).isoformat(timespec="seconds")
        answer = Answer(self.trial.id, dict(values), round(seconds, 1), at)
        self._save(replace(self.answers, answers=(*self.answers.answers, answer)))

    def take_back(self) -> None:
        """Forget the last answer, so that its trial is next again; without one nothing happens."""
        if self.answers.answers:
            self._save(replace(self.answers, answers=self.answers.answers[:-1]))

    def _save(self, answers: Answers) -> None:
        write_answers(answers, self.path)
        self.answers = answers

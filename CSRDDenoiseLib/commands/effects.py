"""Options that a call would pass over, as data, and the sentence that rejects them."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Callable, Mapping, Optional, Sequence

from ..errors import InputError

if TYPE_CHECKING:
    from ..model.metadata import ModelMetadata

GIVEN, ABSENT = object(), object()
"""Of another option: with a value that is not its default, or without one."""
NO_DRAWS, FULL_TARGET, STATIC = "a model that draws no samples", "a model of the full dose", "a static PET"
"""What is known after the model or the PET was looked at."""

Facts = Mapping[str, Callable[[], bool]]


@dataclass(frozen=True)
class Idle:
    """Options that have no effect in a call.

    Attributes:
        options: as they are typed.
        beside: option or fact -> a value, a tuple of values, :data:`GIVEN` or :data:`ABSENT`; all of these hold.
    """

    options: tuple[str, ...]
    beside: Mapping[str, Any]


_CERTIFICATES = ("--tls", "--insecure")
_SPREAD = Idle(_CERTIFICATES, {"--scheduler": ABSENT})
_OF_BIDS = Idle(("--low", "--full", "--participant-label"), {"--bids": ABSENT})
_PARTICIPANTS = Idle(("--participant-label",), {"--bids": ABSENT})
_OF_DRAWS = ("--steps", "--samples")
_OF_ONE = (
    Idle(("--dose",), {"--keep-above": 0.0}),
    Idle(_OF_DRAWS, {"--sampler": "mean"}),
    Idle(_OF_DRAWS, {"--preset": "fast", "--sampler": ABSENT}),
)
_OF_MODEL = (
    Idle(("--sampler", *_OF_DRAWS), {NO_DRAWS: GIVEN}),
    Idle(("--dose",), {FULL_TARGET: GIVEN}),
)

IDLE: Mapping[str, Sequence[Idle]] = {
    "denoise": (
        Idle(_CERTIFICATES, {"--on": ABSENT}),
        _PARTICIPANTS,
        Idle(("--motion",), {STATIC: GIVEN}),
        *_OF_ONE,
        *_OF_MODEL,
    ),
    "demo": (*_OF_ONE, *_OF_MODEL),
    # a row of the table may have a preset and a sampler of its own
    "cohort": (
        Idle(_CERTIFICATES, {"--scheduler": ABSENT, "--cluster": ABSENT}),
        Idle(("--workers", "--memory"), {"--scheduler": GIVEN}),
        Idle(("--workers", "--memory"), {"--cluster": GIVEN}),
        _PARTICIPANTS,
        *_OF_MODEL,
    ),
    "pairs": (_OF_BIDS,),
    "validate": (_OF_BIDS, _SPREAD),
    "adapt": (_OF_BIDS,),
    "train": (
        Idle(("--model", "--phantoms", "--draws"), {"--score": ABSENT}),
        Idle(("--minutes", "--export-only"), {"--score": GIVEN}),
        Idle(("--minutes",), {"--export-only": GIVEN}),
    ),
    "simulate": (
        _SPREAD,
        Idle(("--part",), {"--split": ABSENT}),
        Idle(("--split", "--part"), {"--subject": GIVEN}),
    ),
    "evaluate": (_SPREAD,),
    "readers design": (Idle(("--ties",), {"--kind": "rating"}),),
    "readers power": (
        Idle(("--area", "--difference", "--margin", "--reader-variance"), {"--endpoint": "preference"}),
        Idle(("--preference",), {"--endpoint": ("roc", "noninferiority")}),
        Idle(("--margin",), {"--endpoint": "roc"}),
    ),
}
"""Command -> what it passes over. :func:`.simulate.run` and :func:`.experiment.run` have more, by their own groups."""


def facts_of_model(name: str) -> Facts:
    """What is known of a bundled model, or of a model folder."""
    from ..model.bundle import find_model, read_metadata

    def metadata() -> ModelMetadata:
        return read_metadata(find_model(name))

    return {NO_DRAWS: lambda: not metadata().draws, FULL_TARGET: lambda: metadata().target != "noise-free"}


def parser_in_use(parser: argparse.ArgumentParser, args: argparse.Namespace) -> argparse.ArgumentParser:
    """Return the parser of the command, and of its own subcommand, that the words have chosen."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return parser_in_use(action.choices[getattr(args, action.dest)], args)
    return parser


def check_effects(parser: argparse.ArgumentParser, args: argparse.Namespace, facts: Optional[Facts] = None) -> None:
    """Reject an option that has no effect.

    Args:
        parser: see :func:`parser_in_use`.
        args: what it returned.
        facts: name -> whether it holds, asked only where the answer decides.

    Raises:
        InputError: there is such an option.
    """
    command = " ".join(filter(None, (args.command, getattr(args, "action", None))))
    call = _Call(parser, args, facts or {})
    for idle in IDLE.get(command, ()):
        for option in idle.options:
            if call.holds(option, GIVEN) and all(call.holds(*each) for each in idle.beside.items()):
                where = " and ".join(call.words(*each) for each in idle.beside.items())
                raise InputError(f"The option {option} has no effect {where}; leave it out, or change that.")


@dataclass(frozen=True)
class _Call:
    parser: argparse.ArgumentParser
    args: argparse.Namespace
    facts: Facts

    def holds(self, name: str, wanted: Any) -> bool:
        if not name.startswith("-"):
            return name in self.facts and self.facts[name]()
        action = self.parser._option_string_actions[name]
        value = getattr(self.args, action.dest)
        if wanted is GIVEN or wanted is ABSENT:
            return (value != self.parser.get_default(action.dest)) is (wanted is GIVEN)
        return value in (wanted if isinstance(wanted, tuple) else (wanted,))

    def words(self, name: str, wanted: Any) -> str:
        if wanted is GIVEN or wanted is ABSENT:
            return f"{'with' if wanted is GIVEN else 'without'} {name}"
        return f"with {name} {getattr(self.args, self.parser._option_string_actions[name].dest)}"

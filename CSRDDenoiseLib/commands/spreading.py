"""Where the subjects of the research commands are worked on: here one after another, or on a Dask scheduler."""

from __future__ import annotations

import argparse
from contextlib import contextmanager
from typing import Iterator

from ..extras import require
from ..spread import Spread, in_turn


@contextmanager
def spread_of(args: argparse.Namespace) -> Iterator[Spread]:
    """Give what does the jobs of a command that has the options of ``options.SCHEDULER``.

    Raises:
        PlaceError: nothing answers there, or the certificates do not fit.
    """
    if not args.scheduler:
        yield in_turn
        return
    require("distributed")
    from ..cluster.places import Place
    from ..cluster.tasks import spread_over

    with spread_over(Place(args.scheduler, args.tls, args.insecure)) as spread:
        yield spread

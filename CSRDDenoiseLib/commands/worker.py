"""``csrd-denoise worker``: work for others, from a Dask scheduler, with the model loaded."""

from __future__ import annotations

import argparse
import sys

from ..extras import require
from ..model.bundle import DEFAULT_MODEL
from .arguments import GIB, count, number
from .options import SECRETS, add_groups


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command and its options."""
    parser.description = (
        "Take scans from a Dask scheduler (denoise --on, cohort --scheduler), with a model loaded, until "
        "interrupted. Whoever holds the certificates can run programs here as this user; see docs/cluster.md."
    )
    parser.add_argument("address", metavar="tls://HOST:PORT", help="address of the scheduler")
    parser.add_argument(
        "--start-scheduler", action="store_true", help="start the scheduler too; the address is where it listens"
    )
    parser.add_argument(
        "--workers", type=count(1), default=0, metavar="N", help="number of processes; default: one per GPU, else one"
    )
    parser.add_argument(
        "--threads",
        type=count(1),
        default=0,
        metavar="N",
        help="threads per process; default: an equal share of the cores",
    )
    parser.add_argument(
        "--memory",
        type=number(0.5, 1e5),
        default=0.0,
        metavar="GIB",
        help="memory per process, above which Dask ends it; default: an equal share of most of the free memory",
    )
    parser.add_argument(
        "--model", default=DEFAULT_MODEL, metavar="NAME|FOLDER", help="model to load (default: %(default)s)"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda (default: %(default)s)")
    add_groups(parser, ("encryption", SECRETS))
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Work until interrupted."""
    require("distributed")
    from ..cluster.local import this_machine
    from ..cluster.model_key import key_of_model
    from ..cluster.models import WarmModel
    from ..cluster.places import Place
    from ..cluster.serve import plan_service, serve, serve_here

    place = Place(args.address, args.tls, args.insecure)
    if place.warning:
        print(f"Warning: {place.warning}", file=sys.stderr)
    plans = plan_service(this_machine(args.device), args.workers, args.threads, int(args.memory * GIB))
    model = WarmModel(key_of_model(args.model), args.device)

    def say(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    try:
        (serve_here if args.start_scheduler else serve)(place, plans, model, say)
    except KeyboardInterrupt:
        say("The worker has ended.")
    return 0

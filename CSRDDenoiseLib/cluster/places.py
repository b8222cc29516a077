"""Where work can be sent: the address of a Dask scheduler, checked before anything is sent there, and its certificates.

This module loads no Dask; :func:`security_of` and :func:`connect` do.
"""

from __future__ import annotations

import ipaddress
import logging
import re
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Iterator, Optional

from ..errors import PlaceError
from ..extras import require

if TYPE_CHECKING:
    from distributed import Client, Security

TLS, TCP = "tls", "tcp"
CERTIFICATES = ("ca.pem", "cert.pem", "key.pem")
"""Files of a folder of certificates: the authority's, one's own, and its key."""
ROLES = ("client", "scheduler", "worker")
CONNECT_SECONDS = 10.0
_ADDRESS = re.compile(r"(?:(?P<scheme>[a-z]+)://)?(?P<host>\[[^\]]+\]|[^/:\s]+):(?P<port>\d{1,5})/?")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Place:
    """A Dask scheduler whose workers have this package.

    Attributes:
        address: ``tls://host:8786``, or ``tcp://`` on this machine.
        tls: folder with ``ca.pem``, ``cert.pem`` and ``key.pem``; None takes the certificates of Dask's configuration.
        insecure: talk without encryption to another machine all the same.

    Raises:
        PlaceError: the address is none, or is another machine's and there are no certificates.
    """

    address: str
    tls: Optional[Path] = None
    insecure: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "tls", None if self.tls is None else Path(self.tls))
        scheme, host, port = split_address(self.address)
        if scheme == TCP and not is_loopback(host) and not self.insecure:
            raise PlaceError(
                f"The address '{self.address}' is another machine's and not encrypted: scans and results could be read "
                f"on the way, and anyone could run programs there. Use tls://{host}:{port} with certificates.",
                hint="insecure",
            )
        if self.tls is not None:
            check_certificates(self.tls)

    @property
    def is_encrypted(self) -> bool:
        """Whether what goes there is encrypted."""
        return split_address(self.address)[0] == TLS

    @property
    def warning(self) -> str:
        """What to warn of before something is sent there; empty where nothing is."""
        if self.is_encrypted or is_loopback(split_address(self.address)[1]):
            return ""
        return (
            f"The connection to {self.address} is not encrypted and nobody's identity is checked: who can reach that "
            "address can read the scans and run programs as its user."
        )


def split_address(address: str) -> tuple[str, str, int]:
    """Return scheme, host and port of ``tls://host:8786``.

    Raises:
        PlaceError: it is no such address.
    """
    match = _ADDRESS.fullmatch(address.strip())
    if match is None or match["scheme"] not in (TLS, TCP) or not 0 <= int(match["port"]) < 65536:
        raise PlaceError(
            f"'{address}' is not an address of a Dask scheduler; it must be tls://HOST:PORT, for instance "
            "tls://gpu-box:8786, or tcp://127.0.0.1:PORT on this machine."
        )
    return match["scheme"], match["host"].strip("[]"), int(match["port"])


def is_loopback(host: str) -> bool:
    """Whether a host is this machine and cannot be reached from others."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_certificates(folder: Path) -> None:
    """Check that a folder holds the three files.

    Raises:
        PlaceError: it does not.
    """
    missing = [name for name in CERTIFICATES if not (folder / name).is_file()]
    if missing:
        raise PlaceError(
            f"The folder of certificates '{folder}' has no {missing[0]}; it needs {', '.join(CERTIFICATES)} (see "
            "docs/cluster.md)."
        )


def security_of(place: Place) -> Optional[Security]:
    """Return Dask's security for a place, None where it is not encrypted.

    Raises:
        PlaceError: the address is encrypted and there are no certificates.
    """
    if not place.is_encrypted:
        return None
    require("distributed")
    from distributed import Security

    if place.tls is None:
        security = Security(require_encryption=True)
        named = security.get_tls_config_for_role("client")
        if not (named.get("ca_file") and named.get("cert")):
            raise PlaceError(
                f"The address '{place.address}' needs certificates, and neither a folder of them was given nor does "
                "Dask's configuration (distributed.comm.tls) name any.",
                hint="tls",
            )
        return security
    authority, certificate, key = (str(place.tls / name) for name in CERTIFICATES)
    own = {f"tls_{role}_{what}": path for role in ROLES for what, path in (("cert", certificate), ("key", key))}
    return Security(require_encryption=True, tls_ca_file=authority, **own)


@contextmanager
def connect(place: Place, seconds: float = CONNECT_SECONDS) -> Iterator[Client]:
    """Connect to a place as Dask's client, and disconnect at the end.

    Raises:
        PlaceError: ``distributed`` is not installed, nothing answers there in time, or the certificates do not fit.
    """
    require("distributed")
    security = security_of(place)
    from distributed import Client

    if place.warning:
        logger.warning("Warning: %s", place.warning)
    with quiet():
        try:
            client = Client(place.address, security=security, timeout=seconds, set_as_default=False)
        except (OSError, TimeoutError, ValueError) as error:
            raise PlaceError(_unreachable(place, error, seconds)) from error
        try:
            yield client
        finally:
            client.close(timeout=2)


def _unreachable(place: Place, error: BaseException, seconds: float) -> str:
    reasons: list[str] = []
    cause: Optional[BaseException] = error
    while cause is not None:
        reasons.append(str(cause))
        cause = cause.__cause__ or cause.__context__
    text = " ".join(reasons)
    if "CERTIFICATE" in text.upper() or "SSL" in text or "TLS" in text:
        return (
            f"{place.address} does not accept the certificates, or its own are not signed by ca.pem: "
            f"{_last(reasons)}. Both sides need certificates of one authority."
        )
    return (
        f"Nothing answers at {place.address} within {seconds:g} s ({_last(reasons)}). Is a Dask scheduler running "
        "there, and is the port open?"
    )


def _last(reasons: list[str]) -> str:
    return next((" ".join(each.split())[:160].rstrip(".") for each in reversed(reasons) if each.strip()), "no reason")


@contextmanager
def quiet() -> Iterator[None]:
    """Limit Dask's own log, which repeats errors with tracebacks, to critical messages."""
    loggers = [logging.getLogger(name) for name in ("distributed", "tornado", "asyncio")]
    before = [each.level for each in loggers]
    for each in loggers:
        each.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for each, level in zip(loggers, before):
            each.setLevel(level)

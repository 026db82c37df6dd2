"""Where a scheduler is, and the certificates for one at ``tls://``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from facer.storage.errors import FacerError, named
from facer.storage.settings import Setting

SCHEDULER = Setting(
    "A Dask scheduler, such as tls://host:8786, instead of processes here.", metavar="ADDRESS"
)


@dataclass(frozen=True)
class TlsFiles:
    """Certificates for a scheduler at ``tls://``; what is None is taken from Dask's settings."""

    ca_file: Annotated[
        Path | None,
        Setting(
            "For tls://: certificate of the authority.", name="tls_ca_file", none="Dask's settings"
        ),
    ] = None
    cert: Annotated[
        Path | None,
        Setting("For tls://: certificate of this client.", name="tls_cert", none="Dask's settings"),
    ] = None
    key: Annotated[
        Path | None, Setting("For tls://: its key.", name="tls_key", none="Dask's settings")
    ] = None

    def __post_init__(self) -> None:
        for name, path in vars(self).items():
            if path is not None and not path.is_file():
                raise FacerError(
                    f"{named(f'tls_{name}')} {path}: no such file, expected one in PEM format"
                )

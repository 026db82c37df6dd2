"""Where a scheduler is, and the certificates for one at ``tls://``."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from ssl import PROTOCOL_TLS_CLIENT, SSLContext
from typing import Annotated, Any

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


def security_of(address: str, tls: TlsFiles) -> Any:
    """Dask's security settings for an address; ``FacerError`` where they do not fit it."""
    from distributed.security import Security

    files = {"tls_ca_file": tls.ca_file, "tls_client_cert": tls.cert, "tls_client_key": tls.key}
    given = {name: str(path.absolute()) for name, path in files.items() if path is not None}
    encrypted = address.startswith("tls://")
    if given and not encrypted:
        raise FacerError(
            f"{named('scheduler')} {address}: found TLS files, expected tls://, the address that "
            "`dask scheduler` printed"
        )
    security = Security(require_encryption=encrypted, **given)
    cert, key = security.tls_client_cert, security.tls_client_key

    def no_phrase() -> str:  # openssl asks for it on the terminal, for ever
        raise FacerError(
            f"{named('tls_key')} {key}: found a key with a pass phrase, expected one without, as "
            "Dask takes it: openssl pkey -in KEY -out PLAIN, in a folder of yours alone"
        )

    try:
        if encrypted and cert and key:
            SSLContext(PROTOCOL_TLS_CLIENT).load_cert_chain(cert, key, no_phrase)
        context = security.get_connection_args("client")["ssl_context"]
    except OSError as error:
        raise FacerError(
            f"{named('scheduler')} {address}: the TLS files do not fit: {error}"
        ) from error
    if encrypted and context is None:
        raise FacerError(
            f"{named('scheduler')} {address}: found no TLS settings here, expected "
            f"{named('tls_ca_file')}, {named('tls_cert')} and {named('tls_key')} "
            "(docs/cluster.md, TLS)"
        )
    return security


async def ask_identity(address: str, security: Any, timeout_s: float) -> None:
    """Raise ``OSError`` unless the scheduler answers in time; a client waits for ever."""
    from distributed import rpc

    async def identity() -> None:
        arguments = security.get_connection_args("client")
        async with rpc(address, timeout=timeout_s, connection_args=arguments) as scheduler:
            await scheduler.identity(n_workers=0)

    await asyncio.wait_for(identity(), timeout_s)

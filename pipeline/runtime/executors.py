"""Where work runs: here, on processes of this machine, or on a Dask cluster.

An executor is one ``map``. :class:`SerialExecutor` defines what is right.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import logging
import pkgutil
import socket
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor, wait
from functools import partial
from ssl import PROTOCOL_TLS_CLIENT, SSLContext
from typing import Any, TypeAlias, TypeVar

from facer import __version__
from facer.pipeline.runtime.processes import ProcessExecutor, WorkerDiedError, not_loaded
from facer.pipeline.runtime.tls import TlsFiles
from facer.storage.errors import FacerError, named, no_thread, one_line

Item = TypeVar("Item")
Result = TypeVar("Result")

CONNECT_S = 10
_POLL_S = 0.02
LONELY_S = 30.0  # without any worker, before the user hears of it


def make_executor(
    workers: int,
    scheduler: str | None,
    note: Callable[[str], None] = lambda _: None,
    tls: TlsFiles | None = None,
) -> Executor:
    """Serial for one worker, processes of this machine for more, or a cluster by address.

    ``note`` hears what the user should know while the work goes on.
    """
    if scheduler is not None:
        return DaskExecutor(scheduler, note, tls)
    return SerialExecutor() if workers == 1 else ProcessExecutor(workers)


class SerialExecutor:
    """One item after another in this process."""

    workers = 1
    in_process = True  # functions may call back

    def map(
        self, function: Callable[[Item], Result], items: Sequence[Item]
    ) -> Iterator[tuple[Item, Result | Exception]]:
        """Yield every item with its result, or the exception that it raised, as they finish.

        ``function`` lives at module level. A ``FacerError`` is the user's to solve and is
        raised at once; other items may have been done by then.
        """
        for item in items:
            yield item, _outcome(partial(function, item))

    def close(self) -> None:
        """Stop what the executor started: nothing."""


def _outcome(call: Callable[[], Result]) -> Result | Exception:
    """An item's result or exception; raises what is no fault of the item."""
    try:
        return call()
    except FacerError:
        raise
    except ImportError as error:
        raise not_loaded(error) from error
    except Exception as error:  # handed on with its item
        if found := no_thread(error):
            raise FacerError(found) from error
        return error


class DaskExecutor:
    """The workers of an existing cluster, by the address of its scheduler.

    A worker that dies is replaced and its items tried again on others; an item that keeps
    killing workers comes back with a :class:`WorkerDiedError`. ``FacerError`` when the
    scheduler does not answer, has no workers, or is lost under way.
    """

    in_process = False

    def __init__(
        self,
        address: str,
        note: Callable[[str], None] = lambda _: None,
        tls: TlsFiles | None = None,
    ) -> None:
        from distributed import Client

        security = self._security = _security(address, tls or TlsFiles())
        for name in ("distributed", "distributed.client", "tornado.application"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        self._address = address
        self._note = note
        self._seen: dict[str, float] = {}  # workers' last sign of life when that was last looked at
        try:
            self._ask()
            with warnings.catch_warnings():  # versions are compared by the caller, by host
                warnings.simplefilter("ignore")
                self._client: Any = Client(
                    address, security=security, timeout=CONNECT_S, set_as_default=False
                )
        except (OSError, TimeoutError, ValueError, TypeError) as error:  # TypeError: of a worker
            why = str(error) or f"in {CONNECT_S} s"
            raise FacerError(
                f"{named('scheduler')} {address}: no answer ({why}); expected the address that "
                "`dask scheduler` printed, such as tcp://host:8786"
            ) from error
        self.workers = len(self._client.nthreads())
        if self.workers == 0:
            self.close()
            raise FacerError(
                f"{named('scheduler')} {address}: no workers; start `dask worker {address}`"
            )
        if not address.startswith("tls://"):
            note(
                f"--scheduler {address}: without TLS, whoever reaches the scheduler or a worker "
                "can run code there; docs/cluster.md shows how to close it"
            )

    def map(
        self, function: Callable[[Item], Result], items: Sequence[Item]
    ) -> Iterator[tuple[Item, Result | Exception]]:
        """See :class:`SerialExecutor`."""
        futures = self._client.map(function, items, pure=False)
        item_of = {future.key: item for future, item in zip(futures, items, strict=True)}
        try:
            for future in self._finished(futures):
                yield item_of[future.key], self._outcome(future)
        finally:
            if self._client.status == "running":
                self._client.cancel(futures)

    def _finished(self, futures: Sequence[Any]) -> Iterator[Any]:
        """Futures as they finish; tells of a cluster without workers."""
        from distributed import as_completed

        waiting = as_completed(futures, loop=self._client.loop)
        heard = time.monotonic()
        while not waiting.is_empty():
            ready = waiting.next_batch(block=False)
            self._check_connection()  # a lost one cancels all futures
            yield from ready
            if ready:
                heard = time.monotonic()
            elif time.monotonic() - heard < LONELY_S:
                time.sleep(_POLL_S)
            else:
                heard = time.monotonic()
                self._tell_waiting()

    def _tell_waiting(self) -> None:
        """Say so where nothing can be done for the moment."""
        try:
            self._ask()
            found = self._client.scheduler_info(n_workers=-1)["workers"]
        except (OSError, TimeoutError):
            self._note("the scheduler does not answer; waiting for it (Ctrl-C stops)")
            return
        seen = {address: worker["last_seen"] for address, worker in found.items()}
        silent = [address for address, when in seen.items() if self._seen.get(address) == when]
        self._seen, workers = seen, found.values()
        if not workers:
            self._note("no worker is left; waiting for one (Ctrl-C stops)")
        elif all(worker["status"] == "paused" for worker in workers):
            self._note(
                "all workers are paused, at the limit of their memory; waiting for one (Ctrl-C "
                "stops): start them with --memory-limit 0"
            )
        elif silent:
            self._note(
                f"{len(silent)} of {len(seen)} workers, such as {silent[0]}, say nothing for "
                f"{LONELY_S:g} s; waiting (Ctrl-C stops): Dask gives them up after 5 minutes"
            )

    def _outcome(self, future: Any) -> Any:
        """See :func:`_outcome`; of a lost or restarted cluster a ``FacerError``."""
        from distributed import KilledWorker

        found = _outcome(future.result)
        if isinstance(found, KilledWorker):
            return WorkerDiedError()
        if isinstance(found, Exception):
            self._check_connection()
        if isinstance(found, CancelledError):  # no fault of the item
            raise FacerError(
                f"{named('scheduler')} {self._address}: the work was cancelled there "
                f"({one_line(found)}); what was committed is safe: run the same command again"
            )
        return found

    def _check_connection(self) -> None:
        if self._client.status != "running":
            raise self._lost()

    def _lost(self) -> FacerError:
        return FacerError(
            f"{named('scheduler')} {self._address}: the connection to the scheduler was lost; what "
            "was committed is safe: run the same command again when the scheduler is back"
        )

    def _ask(self) -> None:
        """``OSError`` or ``TimeoutError`` unless the scheduler answers in time."""
        with ThreadPoolExecutor(1) as thread:  # a notebook has a loop in this one
            thread.submit(asyncio.run, _identity(self._address, self._security)).result()

    def _run(self, function: Callable[..., Any], *arguments: object) -> dict[str, Any]:
        """What every worker answers, or raises, by its address; tells what it waits for."""

        async def answers() -> dict[str, Any]:
            found: dict[str, Any] = await self._client.run(function, *arguments, on_error="return")
            return found

        running = asyncio.run_coroutine_threadsafe(answers(), self._client.loop.asyncio_loop)
        while not wait([running], LONELY_S).done:
            self._check_connection()
            self._tell_waiting()
        try:
            return running.result()
        except (OSError, CancelledError) as error:
            raise self._lost() from error

    def check_workers(self, function: Callable[[Item], Result], item: Item) -> dict[str, Result]:
        """Call a function once on every worker, before its tasks; results by worker.

        ``FacerError`` naming the host for a worker that lacks facer, has another version of
        it, cannot load it or does not answer, or for which the function raises one.
        """
        hosts = self._run(socket.gethostname)
        hosts = {at: host for at, host in hosts.items() if isinstance(host, str)}
        install = f"install facer {__version__} there and start the worker again"

        def ask(function: Callable[[Any], Any], argument: object, problem: str) -> dict[str, Any]:
            answers = self._run(function, argument)
            unknown = "of unknown host"  # it joined meanwhile, or does not answer
            found = {f"worker {hosts.get(at, unknown)} ({at})": a for at, a in answers.items()}
            for worker, answer in found.items():
                if isinstance(answer, FacerError):
                    raise FacerError(f"{worker}: {answer}") from answer
                if isinstance(answer, OSError):
                    raise FacerError(
                        f"{worker}: does not answer the scheduler ({one_line(answer)}); end it, or "
                        "open its port, and run the same command again"
                    ) from answer
                if isinstance(answer, Exception):
                    raise FacerError(f"{worker}: {problem} ({answer}); {install}") from answer
            return found

        # the first two are asked through the standard library, which every worker has
        for worker, version in ask(importlib.metadata.version, "facer", "found no facer").items():
            if version != __version__:
                raise FacerError(
                    f"{worker}: found facer {version}, expected {__version__} as here; {install}"
                )
        ask(pkgutil.resolve_name, f"{function.__module__}:__name__", "facer does not load")
        return ask(function, item, "a check failed")

    def close(self) -> None:
        """Disconnect."""
        self._client.close()


def _security(address: str, tls: TlsFiles) -> Any:
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


async def _identity(address: str, security: Any) -> None:
    """Raise ``OSError`` unless the scheduler answers in time; a client waits for ever."""
    from distributed import rpc

    async def identity() -> None:
        arguments = security.get_connection_args("client")
        async with rpc(address, timeout=CONNECT_S, connection_args=arguments) as scheduler:
            await scheduler.identity(n_workers=0)

    await asyncio.wait_for(identity(), CONNECT_S)


Executor: TypeAlias = SerialExecutor | ProcessExecutor | DaskExecutor
"""Something that applies a function to items."""

"""Where work runs: here, on processes of this machine, or on a Dask cluster.

An executor is one ``map``. :class:`SerialExecutor` defines what is right.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, TypeVar

from facer.storage.errors import FacerError

Item = TypeVar("Item")
Result = TypeVar("Result")

_CONNECT_S = 10


class Executor(Protocol):
    """Something that applies a function to items."""

    workers: int
    in_process: bool  # functions run in this process and may call back

    def map(
        self, function: Callable[[Item], Result], items: Sequence[Item]
    ) -> Iterator[tuple[Item, Result | Exception]]:
        """Yield every item with its result, or the exception that it raised, as they finish.

        ``function`` lives at module level. A ``FacerError`` is the user's to solve and is
        raised at once; other items may have been done by then.
        """

    def close(self) -> None:
        """Stop what the executor started."""


def cpu_count() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def make_executor(workers: int, scheduler: str | None) -> Executor:
    """Serial for one worker, processes of this machine for more, or a cluster by address."""
    if scheduler is not None:
        return DaskExecutor(address=scheduler)
    if workers < 1:
        raise FacerError(f"--workers: found {workers}, expected 1 or more")
    return SerialExecutor() if workers == 1 else DaskExecutor(workers=workers)


class SerialExecutor:
    """One item after another in this process."""

    workers = 1
    in_process = True

    def map(
        self, function: Callable[[Item], Result], items: Sequence[Item]
    ) -> Iterator[tuple[Item, Result | Exception]]:
        """See :class:`Executor`."""
        for item in items:
            try:
                result: Result | Exception = function(item)
            except FacerError:
                raise
            except Exception as error:  # noqa: BLE001 - handed on with its item
                result = error
            yield item, result

    def close(self) -> None:
        """Nothing was started."""


class DaskExecutor:
    """Processes of this machine (``workers``) or an existing cluster (``address``).

    A worker that dies is replaced and its items tried again on others; an item that keeps
    killing workers comes back with the exception.
    """

    in_process = False

    def __init__(self, workers: int | None = None, address: str | None = None) -> None:
        from distributed import Client, LocalCluster

        logging.getLogger("distributed").setLevel(logging.CRITICAL)
        self._cluster = None
        if address is None:
            self._cluster = LocalCluster(
                n_workers=workers,
                threads_per_worker=1,
                dashboard_address=None,
                memory_limit=0,
                env={"DASK_LOGGING__DISTRIBUTED": "critical"},  # failures are facer's to tell
            )
        try:
            self._client = Client(
                address or self._cluster, timeout=_CONNECT_S, set_as_default=False
            )
        except (OSError, TimeoutError, ValueError) as error:
            raise FacerError(
                f"--scheduler {address}: no answer ({error}); expected the address that "
                "`dask scheduler` printed, such as tcp://host:8786"
            ) from error
        self.workers = len(self._client.scheduler_info(n_workers=-1)["workers"])
        if self.workers == 0:
            self.close()
            raise FacerError(f"--scheduler {address}: no workers; start `dask worker {address}`")

    def map(
        self, function: Callable[[Item], Result], items: Sequence[Item]
    ) -> Iterator[tuple[Item, Result | Exception]]:
        """See :class:`Executor`."""
        from distributed import as_completed

        futures = self._client.map(function, items, pure=False)
        item_of = {future.key: item for future, item in zip(futures, items, strict=True)}
        try:
            for future in as_completed(futures, loop=self._client.loop):
                error = future.exception()
                if isinstance(error, FacerError):
                    raise error
                yield item_of[future.key], future.result() if error is None else error
        finally:
            self._client.cancel(futures)

    def close(self) -> None:
        """Disconnect; stop the workers that were started here."""
        self._client.close()
        if self._cluster is not None:
            self._cluster.close()

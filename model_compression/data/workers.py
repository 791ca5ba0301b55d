"""Runs shard jobs: on processes of this machine, or on a Dask cluster. The results do not depend on which."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

from ..errors import ModelError
from .shard_job import ShardJob, run

Done = tuple[ShardJob, bytes, dict[str, Any]]
# One thread a worker: as many workers as cores are faster, and sums come in one order.
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


def on_processes(jobs: list[ShardJob], n_workers: int) -> Iterator[Done]:
    """Yield each job's shard as it is finished."""
    os.environ.update(_ONE_THREAD)  # read by the workers when they start; here the libraries are loaded already
    context = multiprocessing.get_context("spawn")
    leash, ours = context.Pipe(duplex=False)
    pool = ProcessPoolExecutor(min(n_workers, len(jobs)), context, initializer=_follow, initargs=(leash,))
    try:
        waiting = {pool.submit(run, job): job for job in jobs}
        for future in as_completed(waiting):
            content, entry = future.result()
            yield waiting.pop(future), content, entry
        pool.shutdown()
    except BrokenProcessPool:
        raise ModelError(
            "a worker was killed, perhaps for lack of memory; run the same command again with fewer --workers, it goes "
            "on where it stopped"
        ) from None
    finally:
        ours.close()
        pool.shutdown(cancel_futures=True)
        leash.close()


def _follow(leash: Connection) -> None:
    """Let a worker end as soon as whoever started it lets go of the other end, or is killed."""

    def watch() -> None:
        with suppress(EOFError, OSError):
            leash.recv()
        os._exit(1)

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what Ctrl-C means
    threading.Thread(target=watch, daemon=True).start()


def on_dask(jobs: list[ShardJob], address: str, n_workers: int) -> Iterator[Done]:
    """Yield each job's shard as a Dask cluster finishes it.

    Parameters
    ----------
    address
        Of a scheduler, ``tcp://host:8786``; or ``local`` for a cluster of ``n_workers`` on this machine.
    """
    try:
        import distributed
    except ImportError:
        raise ModelError("--dask: distributed is not installed; try `pip install evenhand[cluster]`") from None
    os.environ.update(_ONE_THREAD)
    try:
        if address == "local":
            cluster = distributed.LocalCluster(
                n_workers=min(n_workers, len(jobs)), threads_per_worker=1, dashboard_address=None, silence_logs=50
            )
            client = distributed.Client(cluster)
        else:
            cluster, client = None, distributed.Client(address, timeout=10)
    except (OSError, ValueError, TimeoutError) as error:
        raise ModelError(f"--dask {address}: no scheduler answers ({error}); give its address, or local") from None
    try:
        waiting = {client.submit(run, job, pure=False, key=f"{job.recipe.name}/{job.file}"): job for job in jobs}
        for future in distributed.as_completed(waiting):
            content, entry = future.result()
            yield waiting[future], content, entry
            future.release()
    finally:
        client.close()
        if cluster is not None:
            cluster.close()

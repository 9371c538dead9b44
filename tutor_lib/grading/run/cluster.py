"""Run bundles on a Dask cluster: Dask's own deployments reach Slurm, Kubernetes and the rest.

A worker gets one bundle as text and returns one result as text. It never sees the gradebook,
the course's folder or another submission. What a worker that dies had under way, Dask runs
elsewhere.
"""

import atexit
import functools
from collections.abc import Iterable, Iterator
from typing import Any

from tutor_lib.grading.run import store
from tutor_lib.grading.run.bundle import Bundle
from tutor_lib.grading.run.pool import Name, failed
from tutor_lib.grading.run.worker import Worker, WorkerDied
from tutor_lib.grading.sandbox.guest import SandboxError
from tutor_lib.grading.submission import Result

RETRIES = 3


@functools.cache
def _worker() -> Worker:
    """This machine's own process for bundles; Dask's threads share it."""
    worker = Worker(64)
    atexit.register(worker.close)
    return worker


def run_bundle(text: str) -> str:
    """Run a bundle where Dask has sent it, both as JSON.

    Raises WorkerDied, so that Dask tries again, and SandboxError.
    """
    try:
        return store.to_json(_worker().run(text))
    except WorkerDied:
        _worker.cache_clear()
        raise
    except SandboxError:
        raise
    except RuntimeError as error:
        return store.to_json(failed(str(error)))


class ClusterPool:
    """The Dask cluster whose scheduler is at `address`, such as tcp://10.0.0.1:8786.

    Raises OSError if no scheduler answers there.
    """

    def __init__(self, address: str) -> None:
        from distributed import Client

        self.client = Client(address, timeout="20s", set_as_default=False)

    def run(self, work: Iterable[tuple[Name, Bundle | Result]]) -> Iterator[tuple[Name, Result]]:
        """See `Pool`."""
        from distributed import as_completed

        with self.client.as_current():
            results = as_completed()
        names = dict[Any, Name]()
        window = 4 * max(sum(self.client.nthreads().values()), 1)

        def ready() -> tuple[Name, Result]:
            future = next(results)
            return names.pop(future.key), _result(future)

        for name, one in work:
            if isinstance(one, Result):
                yield name, one
                continue
            future = self.client.submit(run_bundle, one.to_json(), pure=False, retries=RETRIES)
            names[future.key] = name
            results.add(future)
            if len(names) >= window:
                yield ready()
        while names:
            yield ready()

    def close(self) -> None:
        """Leave the cluster; it goes on."""
        self.client.close()


def _result(future: Any) -> Result:
    try:
        return store.from_json(future.result())
    except SandboxError:
        raise
    except Exception as error:  # a worker that died too often, or a library of another version
        return failed(f"{type(error).__name__}: {error}")

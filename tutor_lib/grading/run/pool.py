"""Run many bundles at once: on this machine's cores, or on a Dask cluster.

A pool takes an iterable and reads ahead only a little, so memory stays flat however many there
are. Results come as they are ready; one that is known already may stand in a bundle's place. A
worker that dies costs time, not results: what it had under way is run again, by itself.
"""

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Protocol, TypeVar

from tutor_lib.grading.notes import Note
from tutor_lib.grading.run.bundle import Bundle
from tutor_lib.grading.run.worker import Worker, WorkerDied
from tutor_lib.grading.sandbox.guest import SandboxError
from tutor_lib.grading.submission import Result

Name = TypeVar("Name")
SLOTS = 8  # bundles at once in one worker's process: it only passes messages on
AHEAD = 8  # bundles in memory for each slot: they are read while the first worker starts


class Pool(Protocol):
    """Somewhere to run bundles."""

    def run(self, work: Iterable[tuple[Name, Bundle | Result]]) -> Iterator[tuple[Name, Result]]:
        """Each name with its result, in the order in which they are ready.

        Raises SandboxError if no kernel can be isolated.
        """

    def close(self) -> None:
        """End every process that was started for it."""


class LocalPool:
    """So many bundles at once on this machine; if not said, one more than there are cores: while
    one waits for the other process of its two, another can run.

    Its workers start at once, and get ready while the first bundle is made. Raises ValueError for
    a number below 1.
    """

    def __init__(self, workers: int | None = None) -> None:
        self.slots = workers if workers is not None else len(os.sched_getaffinity(0)) + 1
        if self.slots < 1:
            raise ValueError(f"workers should be 1 or more, got {workers}")
        count = -(-self.slots // SLOTS)
        self.workers = [Worker(-(-self.slots // count)) for _ in range(count)]
        self.lock = threading.Lock()

    def run(self, work: Iterable[tuple[Name, Bundle | Result]]) -> Iterator[tuple[Name, Result]]:
        """See `Pool`."""
        with ThreadPoolExecutor(self.slots) as threads:

            def submit(number: int, bundle: Bundle) -> "Future[Result]":
                return threads.submit(self._run, number % len(self.workers), bundle.to_json())

            yield from ahead(work, submit, AHEAD * self.slots)

    def _run(self, number: int, text: str) -> Result:
        worker = self.workers[number]
        try:
            return worker.run(text)
        except SandboxError:
            raise
        except WorkerDied:
            self._replace(number, worker)
            return _alone(text)
        except RuntimeError as error:
            return failed(str(error))

    def _replace(self, number: int, dead: Worker) -> None:
        """Have a new worker in place of one that has died, once for all that it had under way."""
        with self.lock:
            if self.workers[number] is dead:
                dead.close()
                self.workers[number] = Worker(dead.slots)

    def close(self) -> None:
        """See `Pool`."""
        for worker in self.workers:
            worker.close()


def _alone(text: str) -> Result:
    """Run a bundle whose worker has died in a worker of its own."""
    worker = Worker(1)
    try:
        return worker.run(text)
    except SandboxError:
        raise
    except RuntimeError as error:
        return failed(str(error))
    finally:
        worker.close()


def failed(why: str) -> Result:
    """The result of what could not be graded, through no fault of the student's."""
    return Result((), frozenset(), (Note("grader", f"Grading failed: {why}"),))


def ahead(
    work: Iterable[tuple[Name, Bundle | Result]],
    submit: Callable[[int, Bundle], "Future[Result]"],
    window: int,
) -> Iterator[tuple[Name, Result]]:
    """Submit bundles, `window` of them at a time, and give each result as it comes."""
    waiting: dict[Future[Result], Name] = {}
    try:
        for number, (name, one) in enumerate(work):
            if isinstance(one, Result):
                yield name, one
                continue
            waiting[submit(number, one)] = name
            if len(waiting) >= window:
                yield from _ready(waiting)
        while waiting:
            yield from _ready(waiting)
    finally:
        for future in waiting:
            future.cancel()


def _ready(waiting: dict[Future[Result], Name]) -> Iterator[tuple[Name, Result]]:
    done, _ = wait(waiting, return_when=FIRST_COMPLETED)
    for future in done:
        yield waiting.pop(future), future.result()

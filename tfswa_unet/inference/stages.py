"""Stages of work side by side: threads with bounded queues between them, so that none runs far ahead of the next."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from queue import Empty, Queue
from typing import TypeVar

Item = TypeVar("Item")
DEPTH = 2  # items between two stages
POLL_SECONDS = 0.05


@dataclass(frozen=True)
class _End:
    """The end of an iteration, and what it raised."""

    error: BaseException | None = None


@contextmanager
def ahead(items: Iterator[Item], depth: int = DEPTH) -> Iterator[Iterator[Item]]:
    """Iterate in a thread of its own, at most `depth` items ahead of what takes them.

    What the iteration raises is raised where its next item is asked for. When the context is left, for whatever reason,
    the iteration is broken off, and the thread has ended. An iteration that waits for others, such as for a pipe, does
    not belong here: it could not be broken off.
    """
    queue: Queue[Item | _End] = Queue(depth)
    left = threading.Event()

    def iterate() -> None:
        try:
            for item in items:
                queue.put(item)
                if left.is_set():
                    return
            queue.put(_End())
        except BaseException as error:
            queue.put(_End(error))
        finally:
            close = getattr(items, "close", None)
            if close:
                close()  # here, where it ran

    def taken() -> Iterator[Item]:
        while not isinstance(item := queue.get(), _End):
            yield item
        if item.error is not None:
            try:
                raise item.error
            finally:
                del item  # else this frame and the error would hold each other, and all that the frames above hold

    thread = threading.Thread(target=iterate, name="tfswa-ahead", daemon=True)
    thread.start()
    try:
        yield taken()
    finally:
        left.set()
        _drain(queue, thread)


@contextmanager
def behind(name: str = "", depth: int = DEPTH) -> Iterator[Callable[[Callable[[], object]], None]]:
    """Do work in a thread of its own, in the order in which it is given, at most `depth` calls behind.

    Gives a function that takes calls without arguments. What one of them raises ends the work: it is raised at the next
    call that is given, or at the end. The context is left when all is done, or, with an exception, at once.
    """
    queue: Queue[Callable[[], object] | None] = Queue(depth)
    raised: list[BaseException] = []
    left = threading.Event()

    def work() -> None:
        while (call := queue.get()) is not None:
            if raised or left.is_set():
                continue  # so that nobody waits for room in the queue
            try:
                call()
            except BaseException as error:
                raised.append(error)

    def give(call: Callable[[], object]) -> None:
        if raised:
            raise raised[0]
        queue.put(call)

    thread = threading.Thread(target=work, name=f"tfswa-behind {name}".strip(), daemon=True)
    thread.start()
    try:
        yield give
    except BaseException:
        left.set()
        raise
    finally:
        queue.put(None)
        thread.join()
        if left.is_set():
            raised.clear()  # else the error and the frames that it came through would hold each other
    if raised:
        raise raised.pop()


def _drain(queue: Queue[Item], thread: threading.Thread) -> None:
    while thread.is_alive():
        try:
            queue.get(timeout=POLL_SECONDS)
        except Empty:
            continue
    thread.join()

"""Stages in threads: the order of what passes, how far they run ahead, and how they end."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from collections.abc import Callable
from contextlib import suppress

import pytest

from tfswa_unet.inference.stages import DEPTH, ahead, behind


@pytest.fixture(autouse=True)
def no_thread_is_left():
    yield
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("tfswa-")] == []


def test_items_come_in_order_from_another_thread():
    def items():
        for number in range(100):
            yield number, threading.get_ident()

    with ahead(items()) as taken:
        numbers, threads = zip(*taken, strict=True)
    assert list(numbers) == list(range(100))
    assert set(threads) != {threading.get_ident()}
    assert len(set(threads)) == 1


def test_iterating_stays_only_a_few_items_ahead():
    made = []

    def items():
        for number in range(100):
            made.append(number)
            yield number

    with ahead(items()) as taken:
        next(taken)
        time.sleep(0.1)
        assert len(made) <= DEPTH + 2


def test_what_an_iteration_raises_is_raised_after_the_items_before_it():
    def items():
        yield 1
        raise ValueError("the original sentence")

    with ahead(items()) as taken:
        assert next(taken) == 1
        with pytest.raises(ValueError, match="the original sentence"):
            next(taken)


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_leaving_early_breaks_the_iteration_off_and_closes_it(error):
    closed = []

    def items():
        try:
            while True:
                yield 0
        finally:
            closed.append(True)

    def leave():
        with ahead(items()) as taken:
            next(taken)
            raise error

    with pytest.raises(error):
        leave()
    assert closed == [True]


def test_calls_are_made_in_order_beside_what_gives_them():
    made, gate = [], threading.Event()
    with behind() as give:
        give(gate.wait)
        give(lambda: made.append(1))
        give(lambda: made.append(threading.get_ident()))
        assert made == []
        gate.set()
    assert made[0] == 1
    assert made[1] != threading.get_ident()


def test_giving_waits_where_too_much_is_undone():
    gate, given = threading.Event(), []

    def feed():
        with behind() as give:
            for number in range(10):
                give(gate.wait)
                given.append(number)

    feeder = threading.Thread(target=feed)
    feeder.start()
    time.sleep(0.1)
    assert len(given) <= DEPTH + 1
    gate.set()
    feeder.join()
    assert len(given) == 10


def test_what_a_call_raises_ends_the_rest_and_is_raised():
    made = []

    def fail():
        raise OSError("the disk is full")

    def give_all(calls, seconds):
        with behind() as give:
            for call in calls:
                give(call)
                time.sleep(seconds)

    with pytest.raises(OSError, match="the disk is full"):
        give_all([fail, lambda: made.append(1)], 0.0)
    assert made == []
    with pytest.raises(OSError, match="the disk is full"):
        give_all([fail] * 100, 0.001)


def test_calls_that_wait_are_dropped_after_an_exception():
    made, gate = [], threading.Event()

    def stop():
        with behind() as give:
            give(lambda: gate.wait() and time.sleep(0.05))
            give(lambda: made.append(1))
            gate.set()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stop()
    assert made == []


class Kept:
    """What passes a stage, and can be looked for afterwards."""


def passed(work) -> Callable[[], object | None]:
    """Do some work with an object, and give a reference that does not keep it."""
    kept = Kept()
    with suppress(ValueError):
        work(kept)
    return weakref.ref(kept)


def iterate(kept: Kept) -> None:
    with ahead(iter([kept])) as taken:
        for _ in taken:
            pass


def fail_to_iterate(kept: Kept) -> None:
    def items():
        yield kept
        raise ValueError

    with ahead(items()) as taken:
        for _ in taken:
            pass


def work_behind(kept: Kept) -> None:
    with behind() as give:
        give(lambda: vars(kept))


def fail_behind(kept: Kept) -> None:
    def fail():
        assert kept
        raise ValueError

    with behind() as give:
        for _ in range(100):
            give(fail)


def fail_beside(kept: Kept) -> None:
    with behind() as give:
        give(lambda: vars(kept))
        raise ValueError


@pytest.mark.parametrize("work", [iterate, fail_to_iterate, work_behind, fail_behind, fail_beside])
def test_what_passed_is_freed_at_once_without_the_collector_of_rings(work):
    """A service separates for days: what waits for the collector is a song's stems, and more than one."""
    gc.collect()
    gc.disable()
    try:
        assert passed(work)() is None
    finally:
        gc.enable()

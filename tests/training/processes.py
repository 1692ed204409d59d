"""Runs of several processes on this machine, started by the tests: forked, over gloo."""

import multiprocessing
import os
import socket
import time


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def _act(act, rank, port, said, arguments):
    os.environ.update(LOCAL_RANK=str(rank), MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    try:
        act(*arguments)
    except BaseException as error:
        said.put((rank, f"{type(error).__name__}: {error}"))
        raise


def together(act, arguments):
    """Call `act` in one process for each of `arguments`; exit statuses, and what each raised, by rank."""
    fork, port = multiprocessing.get_context("fork"), free_port()
    said = fork.SimpleQueue()
    processes = [fork.Process(target=_act, args=(act, rank, port, said, given)) for rank, given in enumerate(arguments)]
    for process in processes:
        process.start()
    ends = time.monotonic() + 240
    while any(process.is_alive() for process in processes) and time.monotonic() < ends:
        time.sleep(0.02)
    for process in processes:
        process.kill()
        process.join()
    raised = {}
    while not said.empty():
        rank, text = said.get()
        raised[rank] = text
    return [process.exitcode for process in processes], raised

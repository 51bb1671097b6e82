"""A limit on the bytes that several downloads hold at once."""

from __future__ import annotations

import threading


class Stopped(Exception):
    """Raised in a thread whose result is not wanted any more."""


class ByteBudget:
    """Bytes that jobs take in the order of their numbers: none waits for a later one.

    The results are used in the same order, and give their bytes back. A job that needs more
    than the limit gets its bytes when no other job holds any.

    Parameters
    ----------
    limit : int
        Bytes that all jobs together may hold.
    """

    def __init__(self, limit: int) -> None:
        self._limit, self._used, self._turn = limit, 0, 0
        self._over: set[int] = set()
        self._changed = threading.Condition()
        self.stopped = False

    def take(self, job: int, count: int) -> None:
        """Wait for the turn of a job and for its bytes.

        Raises
        ------
        Stopped
            If no results are wanted any more.
        """
        with self._changed:
            self._changed.wait_for(lambda: self.stopped or self._fits(job, count))
            self.check_running()
            self._used += count
        self.end_turn(job)

    def end_turn(self, job: int) -> None:
        """Let later jobs take bytes; the job takes none, or none any more."""
        with self._changed:
            self._over.add(job)
            while self._turn in self._over:
                self._over.remove(self._turn)
                self._turn += 1
            self._changed.notify_all()

    def give_back(self, count: int) -> None:
        """Return bytes of a job whose result was used."""
        with self._changed:
            self._used -= count
            self._changed.notify_all()

    def stop(self) -> None:
        """End all waiting, and every job at its next `check_running`."""
        with self._changed:
            self.stopped = True
            self._changed.notify_all()

    def check_running(self) -> None:
        """Raise `Stopped` after `stop`."""
        if self.stopped:
            raise Stopped

    def _fits(self, job: int, count: int) -> bool:
        free = not self._used or self._used + count <= self._limit
        return self._turn == job and free

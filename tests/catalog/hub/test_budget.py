"""Jobs take bytes in their order, share a limit, and end when they are stopped."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from catalog.hub.budget import ByteBudget, Stopped


def test_jobs_never_hold_more_than_the_limit_and_all_end() -> None:
    budget, sizes = ByteBudget(10), [3, 9, 4, 4, 30, 1, 1, 8, 2, 10] * 5
    held: list[int] = []
    lock, most = threading.Lock(), []

    def job(i: int) -> int:
        if i % 7 == 3:
            budget.end_turn(i)
            return 0
        budget.take(i, sizes[i])
        with lock:
            held.append(sizes[i])
            most.append((sum(held), len(held)))
        return sizes[i]

    with ThreadPoolExecutor(4) as pool:
        for future in [pool.submit(job, i) for i in range(len(sizes))]:
            if size := future.result(timeout=20):
                with lock:
                    held.remove(size)
                budget.give_back(size)
    assert all(total <= 10 or count == 1 for total, count in most)


def test_a_stopped_budget_lets_nobody_wait() -> None:
    budget = ByteBudget(10)
    budget.take(0, 10)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(budget.take, 1, 5)
        budget.stop()
        with pytest.raises(Stopped):
            waiting.result(timeout=20)
    with pytest.raises(Stopped):
        budget.check_running()

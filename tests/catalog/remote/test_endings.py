"""A publish that ends at any request leaves the remote readable, and completes later."""

from pathlib import Path

import pytest

import catalog
from catalog import CatalogError
from catalog.remote.publish import Publish

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("place", ["s3", "hub"], indirect=True)
def test_a_publish_may_end_at_every_request(
    place, new_zoo, networks, small_layout, commit, contents, tmp_path: Path
):
    zoo = new_zoo()
    commit(zoo, networks(small_layout, 2))
    first = contents(zoo.refreshed())
    late = networks(small_layout, 2, seed=3, prefix="late")

    def publish(address: str) -> None:
        Publish(zoo.refreshed(), address, license="mit").run()

    def read(address: str, name: str) -> dict:
        root = tmp_path / name
        catalog.fetch(address, root)
        return contents(catalog.open(root))

    addresses = iter(f"{place.destination}{i}" for i in range(1000))
    address = next(addresses)
    publish(address)
    commit(zoo, late)
    both = contents(zoo.refreshed())
    before = len(place.traffic.requests)
    publish(address)
    steps = len(place.traffic.requests) - before
    assert steps > 8
    ended = 0
    for step in range(0, steps, 2):
        zoo = new_zoo()
        commit(zoo, networks(small_layout, 2))
        address = next(addresses)
        publish(address)
        commit(zoo, late)
        left = [step]

        def forbid(request, left=left) -> None:
            left[0] -= 1
            if left[0] == 0:
                place.traffic.unavailable("*", times=10_000, status=403)

        place.traffic.clear()
        place.traffic.after.append(forbid)
        if step == 0:
            place.traffic.unavailable("*", times=10_000, status=403)
        try:
            publish(address)
        except CatalogError:
            ended += 1
        place.traffic.clear()
        seen = read(address, f"seen {step}")
        assert seen in (first, both), step
        publish(address)
        assert read(address, f"after {step}") == both, step
    assert ended > 3

"""What a catalogue says about shards that are parts of shards elsewhere."""

from __future__ import annotations

from catalog.storage.snapshot import Snapshot


def partial_sentence(snapshot: Snapshot) -> str:
    """Return a sentence for readers of a catalogue that holds parts; empty if it does not.

    Parameters
    ----------
    snapshot : Snapshot
    """
    parts = [m for m in snapshot.manifests if m.partial]
    if not parts:
        return ""
    shards = sum(m.content in ("weights", "metrics") for m in snapshot.manifests)
    return (
        f"**This catalogue is partial:** {len(parts):,} of its {shards:,} shards hold only "
        "some rows or tensors of the shards that their manifests name under `partial`. "
        "Networks may lack tensors, and runs may lack checkpoints."
    )

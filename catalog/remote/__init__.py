"""Catalogues elsewhere: publish to them, fetch from them, cite them.

Stores (a folder, an S3 bucket, a Hub repository, a web folder) move bytes and know nothing
of shards; the rest of the room joins snapshots and knows nothing of transports. Nothing
here reads or writes weights other than as bytes with a known hash.
"""

"""Bytes on disk: commit records, versions, shards, and files that appear whole.

SQL over what is stored is `catalog.index` and `catalog.query`; foreign files are
`catalog.formats`.
"""

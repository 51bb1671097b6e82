"""Storage on disk: commit records, versions, shards and atomic writing of files.

SQL over the stored data is in `catalog.index` and `catalog.query`; foreign files are in
`catalog.formats`.
"""

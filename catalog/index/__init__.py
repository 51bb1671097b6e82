"""The DuckDB index: tables and views over the metadata files, kept as a cache."""

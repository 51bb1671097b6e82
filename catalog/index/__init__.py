"""DuckDB index: cached tables and views over the metadata files."""

"""The trials are run by `benchmarks/soak.py` in processes of their own."""

collect_ignore_glob = ["[!tc]*.py", "content.py"]

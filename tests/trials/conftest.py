"""Attacks, faults and kills: scripts that run in processes of their own."""

collect_ignore_glob = ["[!tc]*.py", "content.py"]

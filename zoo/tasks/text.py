"""Bytes of any text: windows of 64 bytes, in which each next byte is predicted.

The text is given by ``--text FILE``. The content of the file is part of every run's id.
"""

from zoo.task import Task
from zoo.tasks.token_windows import load_text

text = Task(
    "text", "text, byte by byte", (64,), 256, 0, objective="language", loader=load_text
)

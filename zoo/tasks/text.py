"""Any text, byte by byte: windows of 64 bytes, of which the next byte is predicted.

``--text FILE`` says which; the file's content is part of every run's identity.
"""

from zoo.task import Task
from zoo.tasks.token_windows import load_text

text = Task(
    "text", "text, byte by byte", (64,), 256, 0, objective="language", loader=load_text
)

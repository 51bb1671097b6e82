"""What a process does while a trial runs: what it runs, opens and writes, and prints."""

# ruff: noqa: E501
import os
import stat
import sys
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

RUNS = {
    "os.system", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "pty.spawn",
    "os.startfile", "subprocess.Popen", "code.__new__", "pickle.find_class", "marshal.loads",
    "socket.connect", "socket.getaddrinfo", "socket.bind", "urllib.Request", "webbrowser.open",
    "ctypes.dlopen", "sys.addaudithook", "builtins.breakpoint",
}  # fmt: skip
CHANGES = {
    "os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate",
    "os.chmod", "os.chown", "shutil.rmtree", "shutil.move", "shutil.copyfile",
}  # fmt: skip
MAKERS = {"dataclasses", "collections", "enum", "typing", "functools", "jinja2.environment"}
"""Modules of Python that make code of their own from text that they wrote."""

_WRITE = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class Watch:
    """An audit hook that notes what should not happen while it is ``on``.

    Parameters
    ----------
    inside : sequence of Path
        Folders in which files may be written.
    """

    def __init__(self, inside: Sequence[Path]) -> None:
        self.inside = [os.path.realpath(folder) for folder in inside]
        self.on, self.seen = False, []
        sys.addaudithook(self._hook)

    def _hook(self, event: str, args: tuple[Any, ...]) -> None:
        if not self.on:
            return
        self.on = False  # what is noted here is not looked at itself
        try:
            self._note(event, args)
        finally:
            self.on = True

    def _note(self, event: str, args: tuple[Any, ...]) -> None:
        if event in RUNS:
            loads = event == "marshal.loads" and self._importing()
            if not loads and (event, args) != ("ctypes.dlopen", (None,)):
                self.seen.append(f"{event} {args!r:.200}")
        elif event == "exec":
            code = args[0]
            maker = sys._getframe(2).f_globals.get("__name__", "")
            known = os.path.isabs(code.co_filename) or code.co_filename.startswith(
                "<frozen"
            )
            if not known and maker not in MAKERS:
                self.seen.append(f"exec of {code.co_filename} by {maker}")
        elif event == "open" and isinstance(args[0], str | bytes | os.PathLike):
            path, mode, flags = args
            writes = any(letter in mode for letter in "wax+") if mode else flags & _WRITE
            if writes and not self._may(path):
                self.seen.append(f"open {path!r:.200} {mode} {flags}")
        elif event in CHANGES:
            paths = [a for a in args if isinstance(a, str | bytes | os.PathLike)]
            # The last of most is the descriptor of a folder that is open, or -1.
            told = args[-1] if event.startswith("os.") and event != "os.truncate" else -1
            relative = isinstance(told, int) and told >= 0
            if not relative and not all(map(self._may, paths[-1:])):
                self.seen.append(f"{event} {args!r:.200}")

    @staticmethod
    def _importing() -> bool:
        frame = sys._getframe(3)
        return frame.f_code.co_filename.startswith("<frozen importlib")

    def _may(self, path: Any) -> bool:
        real = os.path.realpath(os.fsdecode(path))
        return real == os.devnull or any(
            real == folder or real.startswith(folder + os.sep) for folder in self.inside
        )


def listing(folder: Path) -> list[tuple[str, int, int]]:
    """Every name below a folder, with its kind and size."""
    found = []
    for at, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = os.path.join(at, name)
            told = os.lstat(path)
            size = told.st_size if stat.S_ISREG(told.st_mode) else 0
            found.append((os.path.relpath(path, folder), stat.S_IFMT(told.st_mode), size))
    return sorted(found)


def acting(data: bytes) -> str:
    """What of an output would act on a terminal, said in other words than ours."""
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        return f"no UTF-8: {error}"
    if text.isascii():
        odd = {c for c in text if (c < " " and c != "\n") or c == "\x7f"}
        return f"prints {odd!r}" if odd else ""
    for i, c in enumerate(text):
        kind = unicodedata.category(c)
        if c == "\n" or kind not in ("Cc", "Cf", "Cs", "Zl", "Zp"):
            continue
        near = text[i - 1 : i] + text[i + 1 : i + 2]
        if c == "\u200d" and len(near) == 2 and not any(map(str.isalnum, near)):
            continue
        return f"prints {c!r} in {text[max(i - 40, 0) : i + 40]!r}"
    return ""

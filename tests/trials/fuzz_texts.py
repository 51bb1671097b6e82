"""Texts for `fuzz_trials`: hostile ones, and valid ones with something hostile in them."""

# ruff: noqa: E501
import os
import re
from random import Random

MARK = "{canary}"
"""Stands for a path of which nothing may come into being."""

RUN = [
    "'); COPY (SELECT 1) TO '{canary}/sql'; --", '"; COPY (SELECT 1) TO \'{canary}/sql\'; --',
    "1) TO '{canary}/sql'; --", "true; COPY (SELECT 1) TO '{canary}/sql'",
    "(SELECT 1 FROM read_text('/etc/passwd'))", "read_csv('/etc/passwd')",
    "ATTACH '{canary}/db' AS x", "EXPORT DATABASE '{canary}/db'", "INSTALL httpfs",
    "LOAD '{canary}/x.so'", "SET temp_directory='{canary}'", "PRAGMA database_list",
    "CREATE TABLE t AS SELECT 1", "DROP TABLE runs", "DETACH zoo_index", "CHECKPOINT",
    "x UNION ALL SELECT * FROM runs", "1 WHERE false) OR (1=1", "$$x$$", "E'\\x41'",
    "__import__('os').system('touch {canary}/py')", "().__class__.__mro__[1].__subclasses__()",
    "os:system", "catalog.cli:sql", "builtins.exec", "lambda: 0", "print('{canary}')",
    "$(touch {canary}/sh)", "`touch {canary}/sh`", "; touch {canary}/sh #", "| sh", "&& id",
    "{{ cycler.__init__.__globals__ }}", "{{ 7*7 }}", "{% include '/etc/passwd' %}", "${7*7}",
    "{0.__class__}", "{zoo}", "{", "}", "{}", "%s", "%(x)s", "%n", "%1$s",
    "$\\frac{$", "$\\undefined$", "\\write18{touch {canary}/tex}", "\\input{/etc/passwd}", "$",
    "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "</title>", "&lt;", "]]>",
    "!!python/object/apply:os.system ['touch {canary}/yaml']", "- a: &x *x", "---\n", "a: b: c",
    "#!/bin/sh", "=cmd|' /C calc'!A0", "@SUM(1)", "\\\\server\\share", "file://{canary}",
    "http://localhost:1/x", "s3://x/y", "hf://datasets/x", "sqlite:{canary}", "md:x",
]  # fmt: skip
ACT = [
    "\x1b[2J", "\x1b]0;owned\x07", "\x1b[31m", "\x9b31m", "\x07", "\x08\x08", "\r", "\n", "\t",
    "\nError: forged", "\x7f", "\x85", "\u202e", "\u2066x\u2069", "\u200b", "\u200d", "\ufeff",
    "\u2028", "\u2029", "\xad", "\u061c", "\U000e0041", "\ufffe", "\x0b\x0c", "\x1c\x1d\x1e",
]  # fmt: skip
ODD = [
    "", " ", ".", "..", "/", "~", "-", "--", "-h", "--json", "*", "?", "[", "]", "[a", "**", "'",
    '"', "`", "\\", ";", ":", "@", "#", "%", "^", "&", "|", "=", "==", "+", ",", "(", ")", "((",
    "../../etc/passwd", "/etc/passwd", "/dev/zero", "/dev/stdin", "/proc/self/mem", "con", "nul",
    "nan", "NaN", "inf", "-inf", "1e999", "-0", "0x10", "1_000", "9" * 30, "9" * 5000, "-1",
    "٣", "²", "½", "①", "true", "null", "None", "undefined", "é", "网络", "🦊", "🧑‍💻", "ß", "İ",
    "ﬀ", "a" * 300, "a" * 5000, "é" * 2000, "(" * 200, "[" * 500, "{" * 500, "x.y.z", "a b",
    "pz_run_id", "pz_", "rowid", "COLUMNS(*)", "a->b", "x::INT", "run_id", "zoo", "step", "row",
    "(?P<run>.*)", "(a+)+$", "(?P<run>", "[[:alpha:]]", "\\d+(?P<step>", "(?i)", "(?#", "a{99999}",
]  # fmt: skip
HALVES = ["\ud800", "\udcff", "\udfff"]
"""Halves of surrogate pairs: what JSON files and undecodable arguments have."""

SQL = [
    "SELECT",
    "FROM",
    "WHERE",
    "AND",
    "OR",
    "NOT",
    "IN",
    "LIKE",
    "BETWEEN",
    "CASE",
    "WHEN",
    "THEN",
    "END",
    "AS",
    "ORDER",
    "BY",
    "LIMIT",
    "OFFSET",
    "GROUP",
    "HAVING",
    "QUALIFY",
    "UNION",
    "JOIN",
    "USING",
    "ON",
    "OVER",
    "PARTITION",
    "WITH",
    "RECURSIVE",
    "VALUES",
    "DISTINCT",
    "ALL",
    "PIVOT",
    "UNPIVOT",
    "DESCRIBE",
    "SUMMARIZE",
    "SHOW",
    "EXPLAIN",
    "ANALYZE",
    "COPY",
    "INSERT",
    "UPDATE",
    "DELETE",
    "CREATE",
    "CALL",
    "SET",
    "models",
    "runs",
    "checkpoints",
    "tensors",
    "measures",
    "shards",
    "tensor_stats",
    "chunks",
    "zoo",
    "run_id",
    "step",
    "train_loss",
    "width",
    "test_accuracy",
    "parents",
    "arch_id",
    "count(*)",
    "max(step)",
    "sum(x)",
    "avg(step)",
    "list(zoo)",
    "[1,2]",
    "{'a':1}",
    "?",
    "$1",
    ":x",
    "'a'",
    '"zoo"',
    "1",
    "0",
    "-1",
    "1.5",
    "1e400",
    "true",
    "null",
    "(",
    ")",
    ",",
    ";",
    ".",
    "::",
    "->",
    "||",
    "=",
    "<>",
    "<",
    ">",
    "+",
    "-",
    "*",
    "/",
    "%",
    "!",
    "@",
    "#",
    "/*",
    "*/",
    "--",
]

SPLIT = re.compile(r"(\W+)")


class Texts:
    """Draws texts; all of them follow from the state of ``random``."""

    def __init__(self, random: Random, canary: str) -> None:
        self.random, self.canary = random, canary

    def hostile(self) -> str:
        """One hostile text, or several run together."""
        parts = [
            self.random.choice(self.random.choice([RUN, RUN, ACT, ODD]))
            for _ in range(self.random.choice([1, 1, 1, 2, 2, 3, 5]))
        ]
        return "".join(parts).replace(MARK, self.canary)

    def noise(self) -> str:
        """Characters from anywhere in Unicode."""
        kinds = [(0, 0x7F), (0, 0xFF), (0x300, 0x36F), (0x2000, 0x206F), (0, 0xD7FF)]
        low, high = self.random.choice([*kinds, (0x1F300, 0x1FAFF), (0xE000, 0x10FFFF)])
        size = self.random.choice([1, 3, 8, 40])
        return "".join(chr(self.random.randint(low, high)) for _ in range(size))

    def sql(self) -> str:
        """Words of SQL in some order, with something hostile among them now and then."""
        words = self.random.choices(SQL, k=self.random.choice([1, 2, 4, 8, 16]))
        if self.random.random() < 0.4:
            words.insert(self.random.randrange(len(words) + 1), self.hostile())
        return " ".join(words)

    def any(self, *valid: str, halves: bool = True) -> str:
        """A hostile text, noise, or a valid one that was changed in a place."""
        pick = self.random.random()
        if valid and pick < 0.5:
            return self.changed(self.random.choice(valid))
        if pick < 0.85:
            return self.hostile()
        if halves and pick < 0.9:
            return self.hostile() + self.random.choice(HALVES)
        return self.noise()

    def changed(self, valid: str) -> str:
        """A valid text with one word replaced, dropped, doubled, or something put in."""
        parts = SPLIT.split(valid)
        at = self.random.randrange(len(parts))
        how = self.random.choice(["in", "in", "instead", "drop", "twice", "behind"])
        if how == "drop":
            del parts[at]
        elif how == "twice":
            parts.insert(at, parts[at])
        elif how == "instead":
            parts[at] = self.hostile()
        elif how == "in":
            middle = self.random.randrange(len(parts[at]) + 1)
            parts[at] = parts[at][:middle] + self.hostile() + parts[at][middle:]
        else:
            parts.append(self.hostile())
        return "".join(parts)

    def argument(self, *valid: str) -> str:
        """A text as the system gives it to a command: no NUL, undecodable bytes escaped."""
        text = self.any(*valid).replace("\0", "0")
        data = text.encode("utf-8", "surrogatepass")
        return os.fsdecode(data)

"""Program `phasezoo VERB`, which finds commands and turns errors into exit codes.

Commands come from the entry-point group ``phasezoo.verbs`` and are imported when called,
so `phasezoo sql` starts at once and does not need torch. Results go to stdout, all other
text to stderr. Exit codes: 0 success, 1 expected failure such as a damaged shard, 2 wrong
usage, 130 interrupted.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from catalog.console.extras import advice
from catalog.console.local_only import check_local
from catalog.console.outlet import install, note, say, say_json
from catalog.console.plain_values import plain
from catalog.console.table import table_lines
from catalog.errors import BrokenPlugin, CatalogError, NotFound
from catalog.plugins.registry import Registry
from catalog.version import __version__

Function = TypeVar("Function", bound=Callable[..., Any])


_OFFLINE = "PHASEZOO_OFFLINE"

VERBS: Registry[click.Command] = Registry("verb", click.Command)


def verb(
    example: str, name: str | None = None, **attributes: Any
) -> Callable[[Callable[..., Any]], click.Command]:
    """Return a decorator that makes a command with -h, --help and an example.

    The command itself sets the names of its help option. The group would pass them on, but
    click builds the help option of a command once, in its first call, which may be one
    without the group.

    Parameters
    ----------
    example : str
        Arguments of `phasezoo` in the example.
    name : str, optional
        Name of the command; default: the name of the function.
    **attributes
        Further parameters of `click.command`, such as ``cls`` for a group.
    """
    return click.command(
        name,
        epilog=f"Example: phasezoo {example}",
        context_settings={"help_option_names": ["-h", "--help"]},
        **attributes,
    )


class Verbs(click.Group):
    """Command group that imports a command when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all verbs, in order."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command:
        """Import one verb; one that cannot be loaded says why when it is called."""
        try:
            return VERBS[cmd_name]
        except NotFound as error:
            raise click.UsageError(str(error)) from error
        except BrokenPlugin as error:
            return _broken(cmd_name, error)


def _broken(name: str, error: BrokenPlugin) -> click.Command:
    """Return a verb whose line in the help, and whose call, name the error."""
    text = str(error)

    def fail(arguments: tuple[str, ...]) -> None:
        raise BrokenPlugin(text)

    return click.Command(
        name,
        callback=fail,
        params=[click.Argument(["arguments"], nargs=-1, type=click.UNPROCESSED)],
        context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
        help=text,
        short_help=f"Cannot be loaded; 'phasezoo {name}' says why.",
    )


@verb("train digits_mlp_phases", cls=Verbs)
@click.version_option(__version__, prog_name="phasezoo")
def phasezoo() -> None:
    """Train populations of neural networks, query them with SQL, read their weights.

    A zoo is a population of networks, usually trained on a grid of settings. A run is the
    training of one network, and a checkpoint holds its weights after some step. All are in
    a catalogue, a folder of Parquet files; the SQL view models has a row per checkpoint.
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit."""
    if arguments is None:
        install()
    try:
        code = phasezoo.main(
            args=None if arguments is None else list(arguments),
            prog_name="phasezoo",
            standalone_mode=False,
        )
        sys.exit(code if isinstance(code, int) else 0)
    except click.ClickException as error:
        _note_usage(error)
        sys.exit(2)
    except (KeyboardInterrupt, click.Abort) as error:
        note()
        note(f"Interrupted. {error.__cause__ or error}".rstrip())
        sys.exit(130)
    except RuntimeError as error:
        if str(error) != "Query interrupted":  # DuckDB's own answer to Ctrl-C
            raise
        note()
        note("Interrupted.")
        sys.exit(130)
    except BrokenPipeError:  # the reader of our output closed the pipe, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except CatalogError as error:
        _note_error(str(error))
        sys.exit(1)
    except OSError as error:  # the system refuses a file, and no other code handled it
        prefix = "" if error.filename is None else f"{os.fsdecode(error.filename)}: "
        _note_error(f"{prefix}{error.strerror or error}.")
        sys.exit(1)
    except ModuleNotFoundError as error:
        text = advice(error)
        if text is None:
            raise
        _note_error(text)
        sys.exit(1)


def _note_error(text: str) -> None:
    for line in f"Error: {text}".split("\n"):
        note(line)


def _note_usage(error: click.ClickException) -> None:
    """Print a usage error as click does, but with the message on one line."""
    output = io.StringIO()
    error.show(output)
    message = error.format_message()
    for line in output.getvalue().removesuffix(f"{message}\n").split("\n")[:-1]:
        note(line)
    note(f"Error: {message}")


def catalog_option(function: Function) -> Function:
    """Add ``--catalog DIR`` to a verb that changes a catalogue."""
    return click.option(
        "--catalog",
        "catalog_path",
        metavar="DIR",
        envvar="PHASEZOO_HOME",
        default="phasezoo-data",
        show_default=True,
        callback=_local,
        help="Catalogue folder; the environment variable PHASEZOO_HOME sets another "
        "default.",
    )(function)


def _local(context: click.Context, parameter: click.Parameter, path: str) -> str:
    """Refuse an address on the command line, before anything is read."""
    if context.get_parameter_source("catalog_path") is ParameterSource.COMMANDLINE:
        check_local(path)
    return path


def readable_option(function: Function) -> Function:
    """Add ``--catalog DIR_OR_URL`` and ``--offline`` to a verb that only reads."""
    function = click.option(
        "--offline",
        is_flag=True,
        expose_value=False,
        callback=_offline,
        help="Read a remote catalogue from the cache alone; as if PHASEZOO_OFFLINE=1.",
    )(function)
    return click.option(
        "--catalog",
        "catalog_path",
        metavar="DIR|URL",
        envvar="PHASEZOO_HOME",
        default="phasezoo-data",
        show_default=True,
        help="Catalogue folder, or a remote catalogue that is read where it is: hf://, "
        "s3:// or https://. The environment variable PHASEZOO_HOME sets another default.",
    )(function)


def _offline(context: click.Context, parameter: click.Parameter, asked: bool) -> None:
    """Set the environment variable for the command and the processes that it starts."""
    if asked:
        before = os.environ.get(_OFFLINE)
        os.environ[_OFFLINE] = "1"

        def restore() -> None:
            if before is None:
                del os.environ[_OFFLINE]
            else:
                os.environ[_OFFLINE] = before

        context.call_on_close(restore)


def at_option(function: Function) -> Function:
    """Add ``--at VERSION`` to a verb that reads."""
    return click.option(
        "--at",
        type=click.IntRange(0),
        metavar="VERSION",
        help="Version of the catalogue to read; 'phasezoo versions' lists all. Default: "
        "the newest.",
    )(function)


def settings_option(metavar: str, what: str) -> Callable[[Function], Function]:
    """Return a decorator that adds ``--set``; `catalog.plugins.settings` reads its values.

    Parameters
    ----------
    metavar : str
        Placeholder of the value in the help, such as ``"NAME=VALUE"``.
    what : str
        Help of the option.
    """
    return click.option("--set", "settings", multiple=True, metavar=metavar, help=what)


def json_option(function: Function) -> Function:
    """Add ``--json`` to a verb."""
    return click.option(
        "--json", "as_json", is_flag=True, help="Print the result as one JSON document."
    )(function)


def print_json(value: Any) -> None:
    """Print one JSON document; NaN and infinities become strings."""
    say_json(plain(value))


def print_table(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print rows as aligned columns, with numbers right-aligned."""
    for line in table_lines(rows):
        say(line)

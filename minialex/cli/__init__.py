"""The command line: `minialex`, one module a command.

Results go to standard output, progress and errors to standard error. Whatever a user can get wrong ends
in one line that says what was wrong and what to do, and exit code 1 (2 for a misused option); Ctrl-C ends
in one line and exit code 130. Only a bug of ours shows a traceback.
"""

from __future__ import annotations

import os
import signal
import sys

import click

from minialex.cli.interruption import Interrupted, heed_every_signal, interrupted
from minialex.cli.output import make_streams_safe, print_line
from minialex.errors import MiniAlexError
from minialex.version import __version__

_COMMANDS = (
    "train",
    "evaluate",
    "predict",
    "compare",
    "report",
    "summary",
    "models",
    "recipes",
    "kernels",
    "gradcheck",
    "bench",
    "data",
)


class _Commands(click.Group):
    """Imports the module of a command when it is called."""

    def invoke(self, context):
        try:
            return super().invoke(context)
        except KeyboardInterrupt as error:
            raise interrupted(error) from None

    def list_commands(self, context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, context, name: str):
        if name not in _COMMANDS:
            return None
        return getattr(__import__(f"minialex.cli.{name}", fromlist=["command"]), "command")  # noqa: B009


@click.group(
    cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(__version__, prog_name="minialex", message="%(prog)s %(version)s")
def cli() -> None:
    """Train, test and take apart AlexNet and its variants."""


def main() -> None:
    """Run the command line, and turn errors into one line and an exit code."""
    make_streams_safe()
    heed_every_signal()
    try:
        sys.exit(cli.main(standalone_mode=False))
    except click.ClickException as error:
        _fail(error.format_message(), error.exit_code)
    except Interrupted as error:
        _stop(str(error), error.code)
    except (click.Abort, KeyboardInterrupt):
        _stop("interrupted", 128 + signal.SIGINT)
    except MiniAlexError as error:
        _fail(str(error))
    except BrokenPipeError:
        # The reader of the output has gone (`| head`); Python would complain while closing it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        name = f"{error.filename!r}: " if error.filename else ""
        _fail(f"{name}{error.strerror or error}")
    except MemoryError:
        _fail("there is not enough memory; take a smaller batch")


def _fail(message: str, code: int = 1) -> None:
    print_line(f"minialex: error: {' '.join(message.split())}", err=True)
    sys.exit(code)


def _stop(message: str, code: int) -> None:
    # From here on another Ctrl-C ends the process as the system does, with nothing printed.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if sys.stderr.isatty():
        # Behind the ^C that the terminal has shown.
        print_line(err=True)
    print_line(f"minialex: {message}", err=True)
    sys.exit(code)

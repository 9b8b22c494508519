"""`python -m bot` and the console script `zoudian`."""

import gc
import sys

import click

from bot.cli import INTERRUPTED, say
from bot.cli import main as commands

# After how many new objects Python looks for circles among them. Nearly everything here is freed without: with Python's
# own numbers (700, 10, 10) a quarter of the time of a large read goes by in looking.
LOOK_FOR_CIRCLES = (20_000, 20, 50)


def main() -> None:
    """Run one command and end with its exit code."""
    gc.set_threshold(*LOOK_FOR_CIRCLES)
    try:
        code = commands(prog_name="zoudian", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo(say("cli.interrupted"), err=True)
        sys.exit(INTERRUPTED)
    except BrokenPipeError:  # `zoudian … | head` has seen enough
        sys.stderr.close()
        sys.exit(0)
    sys.exit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    main()

"""Compare every equation and layer with plain loops, complex-step derivatives and the adjoint identity."""

import argparse
import os
import sys
import tempfile
from pathlib import Path

from gland.audit import all as everything
from gland.audit import breaking, page, table
from gland.audit.mistakes import MISTAKES
from gland.console import program
from gland.errors import InputError


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog=program("audit"), description=__doc__)
    parser.add_argument("--html", metavar="FILE", help="also write everything as one page")
    parser.add_argument("--all", action="store_true", help="print every check, number and reading besides the summary")
    parser.add_argument(
        "--break",
        dest="mistake",
        metavar="NAME",
        help="audit a broken copy; 'all': every mistake in turn, 'list': their names",
    )
    options = parser.parse_args(arguments)
    if options.mistake and (options.html or options.all):
        parser.error("--break goes without --html and --all")
    try:
        status = _run(options)
        sys.stdout.flush()
        return status
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    except BrokenPipeError:  # whoever read along, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _run(options: argparse.Namespace) -> int:
    if options.mistake == "list":
        for mistake in MISTAKES:
            print(f"{mistake.name:<26}{mistake.story}")
        return 0
    if options.mistake == "all":
        return 0 if breaking.all_mistakes() else 1
    if options.mistake:
        return 0 if breaking.one_mistake(breaking.find(options.mistake)) else 1
    if options.html:
        page.check_installed()
        _can_be_written(Path(options.html))
        from gland.audit.page import pictures, render  # they need what nothing else needs, and take a while to import
    audit = everything.run(pictures.priors if options.html else None)
    table.summary(audit)
    if options.all:
        table.details(audit)
    if options.html:
        render.write(audit, options.html)
        print(f"{options.html} written")
    return 0 if audit.passed else 1


def _can_be_written(path: Path) -> None:
    """Raise InputError if a file cannot be written there, before the audit's half minute rather than after it."""
    if path.is_dir():
        raise InputError(f"--html {path} is a directory; it takes the name of a file")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=path.parent).close()
    except OSError as error:
        raise InputError(f"--html {path} cannot be written: {error.strerror}") from None


if __name__ == "__main__":
    sys.exit(main())

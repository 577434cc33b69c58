"""Files that matter are written to a temporary name beside the target, flushed, and renamed: whole or not at all."""

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from gland.errors import InputError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

UNFINISHED = ".part"


def write_atomic(path: str | Path, write: Callable[[IO[bytes]], object]) -> None:
    """Call write(file) on a temporary binary file and rename it to path. An interruption leaves path as it was.

    Raises InputError where the file system refuses: no permission, no space.
    """
    try:
        _write(Path(path), write)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror or error}") from error


def _write(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=UNFINISHED)
    try:
        with os.fdopen(handle, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def write_text(path: str | Path, text: str) -> None:
    """write_atomic for UTF-8 text."""
    write_atomic(path, lambda file: file.write(text.encode()))


def remove_leftovers(folder: Path) -> None:
    """Delete what a process that was killed while it wrote into folder, or below it, left behind."""
    for file in folder.rglob(f".*{UNFINISHED}"):
        file.unlink(missing_ok=True)


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """No other process holds folder, made where absent, meanwhile; where locks are unknown, it may. Raises InputError."""
    if fcntl is None:
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # a file system without locks
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise InputError(f"another process trains in {folder}; let it end, or name another folder") from None
        yield
    finally:
        os.close(handle)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask

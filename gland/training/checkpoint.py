"""A run's files: what it was asked to do, and where it stands.

    RUN/config.json     every option, and the names of the images in each set
    RUN/last.npz        parameters, the solver's state and progress: all that --resume needs
    RUN/best.npz        the parameters that did best on the validation images

An .npz holds plain arrays, is read with allow_pickle=False, and carries a SHA-256 of its own contents.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gland import backend
from gland.console import program
from gland.errors import InputError
from gland.files import write_atomic, write_text
from gland.networks import Network, build
from gland.training.options import Options, kept

PARAMETER = "parameter/"
# What a network is built from.
NETWORK = ("network", "width", "skip", "prior", "use_prior", "use_scores", "scale", "seed")


def save(path: Path, parameters: dict[str, Any], state: dict[str, Any], **arrays: Any) -> None:
    """Write parameters by name, further arrays, and a state that JSON can hold; atomic."""
    contents = {PARAMETER + name: np.ascontiguousarray(backend.to_host(value)) for name, value in parameters.items()}
    contents |= {name: np.ascontiguousarray(backend.to_host(value)) for name, value in arrays.items()}
    contents["state"] = np.array(json.dumps(state))
    contents["sha256"] = np.array(_digest(contents))
    write_atomic(path, lambda file: np.savez(file, **contents))  # type: ignore[arg-type]


def load(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any], dict[str, np.ndarray]]:
    """Parameters, state and further arrays. Raises InputError if the file is absent, damaged or something else."""
    if not path.exists():
        raise InputError(f"{path} does not exist; the run has not saved a checkpoint yet, or the folder is not a run")
    try:
        with np.load(path, allow_pickle=False) as file:
            contents = {name: file[name] for name in file.files}
    except Exception as error:  # NumPy and zipfile report damage by many types, so all of them become one sentence
        raise InputError(f"{path} cannot be read as a checkpoint ({error}); {_other()}") from error
    if "sha256" not in contents or str(contents.pop("sha256")) != _digest(contents):
        raise InputError(f"{path} is damaged: its contents do not match their checksum; {_other()}")
    state = json.loads(str(contents.pop("state")))
    parameters = {k.removeprefix(PARAMETER): v for k, v in contents.items() if k.startswith(PARAMETER)}
    return parameters, state, {k: v for k, v in contents.items() if not k.startswith(PARAMETER)}


def _other() -> str:
    return f"a run's other checkpoint may be whole: {program('evaluate')} takes either, --resume needs last.npz"


def save_options(run: Path, options: Options) -> None:
    """Write RUN/config.json; atomic."""
    write_text(run / "config.json", json.dumps(options.as_json(), indent=2) + "\n")


def load_options(run: str | Path, needs: Sequence[str] = ()) -> Options:
    """Read RUN/config.json, which must have at least the entries `needs`. Raises InputError if RUN is not a run."""
    run = Path(run)
    path = run / "config.json"
    if not run.is_dir():
        what = "is not a folder" if run.exists() else "does not exist"
        raise InputError(f"{run} {what}; name the run folder that {program('train')} printed")
    if not path.exists():
        raise InputError(f"{run} is not a run: it has no config.json; name the folder that {program('train')} printed")
    try:
        entries = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as JSON ({error}); the run has to be made again") from error
    if not isinstance(entries, dict) or not {*NETWORK, *needs} <= entries.keys():
        raise InputError(f"{path} is not the configuration of a run; name the folder that {program('train')} printed")
    options = kept(entries, str(path))
    if "data" in needs and options.data is None:
        raise InputError(f"{path} does not say where the data are; make the run again")
    return options


def load_network(run: str | Path, which: str = "best", device: str = "cpu") -> Network:
    """The network of a run with its "best" or "last" weights; "best" falls back to last where no best was saved yet."""
    run = Path(run)
    options = load_options(run)
    path = run / f"{which}.npz"
    if which == "best" and not path.exists():
        path = run / "last.npz"
    parameters, _, _ = load(path)
    network = build(options)
    network.load(parameters, str(path))
    if backend.select(device).is_device:
        network.flatten(device=True)
    return network


def _digest(contents: dict[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for name in sorted(contents):
        value = contents[name]
        digest.update(f"{name} {value.dtype} {value.shape} ".encode())
        digest.update(value.tobytes())
    return digest.hexdigest()

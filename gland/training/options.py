"""What a run is asked to do: Options, the command line that gives them, their defaults, and the two recipes."""

import argparse
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import inf
from pathlib import Path
from typing import Any

from gland.console import Parser, program
from gland.data.crops import WINDOW
from gland.data.splits import BY
from gland.errors import InputError
from gland.loss import SEGMENTATION_LOSSES
from gland.networks import NETWORKS, WIDTHS, Architecture, Objective
from gland.networks.multiloss import KINDS
from gland.prior import PRIORS
from gland.training.solver import SCHEDULES, SOLVERS


@dataclass(frozen=True, kw_only=True)
class Sets:
    """Which images are in which set of a run, and how they were dealt out."""

    by: str
    fold: int | None = None
    seed: int = 0
    train: list[str]
    val: list[str]
    test: list[str]


@dataclass(frozen=True, kw_only=True)
class Options(Architecture):
    """What a run is asked to do. The fields are the options of train.py and the entries of RUN/config.json, by the same names.

    Raises InputError for a value out of range.
    """

    data: str | None
    split_by: str
    fold: int | None
    folds: int
    lam: float
    loss: str
    prior_gradient: str
    recipe: str
    pretrain: int
    iterations: int
    batch: int
    solver: str
    rate: float
    momentum: float
    decay: float
    schedule: str
    warmup: int
    clip: float
    augment: bool
    device: str
    tf32: bool
    log_every: int
    validate_every: int
    save_every: float
    split: Sets | None = None  # of a run that has begun

    @property
    def objective(self) -> Objective:
        """What a step of training lessens."""
        return Objective(self.lam, self.loss, self.prior_gradient)

    @property
    def data_folder(self) -> Path:
        """Where the images of a run that has begun are."""
        assert self.data is not None
        return Path(self.data)

    @property
    def sets(self) -> Sets:
        """The split of a run that has begun."""
        assert self.split is not None
        return self.split

    def as_json(self) -> dict[str, Any]:
        """The entries of RUN/config.json."""
        entries = asdict(self)
        return entries if self.split is not None else {k: v for k, v in entries.items() if k != "split"}

    def __post_init__(self) -> None:
        for name, (fine, rule) in self._rules().items():
            if not fine:
                raise InputError(f"--{name.replace('_', '-')} is {getattr(self, name)}; it {rule}")
        if self.fold is not None and not 0 <= self.fold < self.folds:
            raise InputError(f"--fold is {self.fold}; with {self.folds} folds it must be 0 to {self.folds - 1}")

    def _rules(self) -> dict[str, tuple[bool, str]]:
        return {
            "lam": (0 <= self.lam <= 1, "must be between 0 and 1"),
            "width": (self.width >= 1, "must be at least 1"),
            "batch": (self.batch >= 1, "must be at least 1"),
            "iterations": (self.iterations >= 1, "must be at least 1"),
            "pretrain": (self.pretrain >= 0, "must not be negative"),
            "rate": (0 < self.rate < inf, "must be positive"),
            "momentum": (0 <= self.momentum < 1, "must be at least 0 and below 1"),
            "decay": (0 <= self.decay < inf, "must be finite, and not negative"),
            "warmup": (self.warmup >= 0, "must not be negative"),
            "clip": (self.clip >= 0, "must not be negative; 0 means no clipping"),
            "crop": (self.crop in range(32, 481, 32), "must be 32, 64, .. or 480"),
            "scale": (self.scale == 0 or 0.1 <= self.scale <= 2, "must be between 0.1 and 2, or 0 for 500 x 500"),
            "log_every": (self.log_every >= 1, "must be at least 1"),
            "validate_every": (self.validate_every >= 1, "must be at least 1"),
            "save_every": (self.save_every >= 0, "must not be negative"),
            "folds": (self.folds >= 2, "must be at least 2"),
            "seed": (self.seed >= 0, "must not be negative"),
        }


# What a solver needs to do well; with the option --solver it comes along.
SOLVER: dict[str, dict[str, Any]] = {
    "muon": dict(rate=2e-3, momentum=0.95, decay=0.5, clip=0.0),
    "adam": dict(rate=1e-3, momentum=0.9, decay=1e-2, clip=0.0),
    "sgd": dict(rate=0.05, momentum=0.9, decay=5e-4, clip=1.0),
}
# What a recipe sets; an option given on the command line wins over it.
RECIPES: dict[str, dict[str, Any]] = {
    "default": dict(
        pretrain=0, iterations=2400, batch=4, solver="muon", **SOLVER["muon"], schedule="cosine", warmup=50,
        scale=0.45, crop=160, lam=0.05,
    ),
    "paper": dict(
        pretrain=2000, iterations=20000, batch=1, solver="sgd", rate=1e-5, momentum=0.99, decay=5e-4, schedule="constant",
        warmup=0, clip=0.0, scale=0.0, crop=224, lam=0.5,
    ),
}  # fmt: skip
# On the phantom set, which is easier, the default recipe trains a narrower network and less long, so that
# `python train.py` ends within minutes.
PHANTOM = dict(width=8, iterations=900)
# AlexNet sees windows as large as published. Its weights are nearly all fully connected, which Muon would leave to Adam, with
# thousands of inputs to a unit, so that steps of the others' size throw its outputs about.
ALEXNET = SOLVER["adam"] | dict(solver="adam", rate=1e-4, crop=WINDOW)
UNSET = argparse.SUPPRESS


def parser() -> Parser:
    """The options of train.py, in groups; help gives each one's default and unit."""
    p = Parser(
        prog=program("train"),
        description="Train a network that classifies colon tissue and segments its glands, then evaluate it.",
        epilog="With no options: paints the phantom set, trains the joint network on it, evaluates it.",
    )

    data = p.add_argument_group("data")
    data.add_argument("--data", metavar="DIR", help="folder of Warwick-QU as released; default: the phantom set")
    data.add_argument("--split-by", choices=BY, default="visual_field", help="what a split keeps together")
    data.add_argument(
        "--fold", type=int, metavar="I", help="cross-validation fold 0 .. K - 1; default: one 70/10/20 %% split"
    )
    data.add_argument("--folds", type=int, metavar="K", default=5, help="number of folds")

    net = p.add_argument_group("network")
    net.add_argument("--network", choices=NETWORKS, default="joint", help="which network")
    net.add_argument(
        "--width",
        type=int,
        metavar="W",
        default=UNSET,
        help=f"channels of the first stage (default: 16; alexnet: 96; phantom set: {PHANTOM['width']}, but unet: 16)",
    )
    net.add_argument("--no-skip", dest="skip", action="store_false", help="no skip connections, as in the paper's text")
    net.add_argument("--prior", choices=tuple(PRIORS), default="gradient", help="what Eq. 3 is turned into")
    net.add_argument("--no-prior", dest="use_prior", action="store_false", help="ablation: a joint network without f")
    net.add_argument(
        "--no-scores", dest="use_scores", action="store_false", help="ablation: without Q in the segmenter"
    )

    loss = p.add_argument_group("loss")
    _recipe_option(loss, "lambda", float, "X", "lambda of Eq. 5, in [0, 1]", dest="lam")
    loss.add_argument("--loss", choices=tuple(SEGMENTATION_LOSSES), default="balanced-weight", help="reading of Eq. 4")
    loss.add_argument(
        "--prior-gradient", choices=("detached", "exact"), default="detached", help="f as a constant, or differentiated"
    )

    train = p.add_argument_group("training")
    train.add_argument("--recipe", choices=tuple(RECIPES), default="default", help="values for what is not given here")
    _recipe_option(train, "iterations", int, "N", "steps of training")
    _recipe_option(train, "pretrain", int, "N", "steps of the joint network's classifier alone, before")
    _recipe_option(train, "batch", int, "N", "images in a step")
    _recipe_option(
        train, "solver", str, None, "how a gradient becomes a step; brings its own rate, momentum, decay, clip",
        choices=tuple(SOLVERS),
    )  # fmt: skip
    _recipe_option(train, "rate", float, "X", "learning rate")
    _recipe_option(train, "momentum", float, "X", "momentum, for adam beta1, in [0, 1)")
    _recipe_option(train, "decay", float, "X", "weight decay")
    _recipe_option(train, "schedule", str, None, "how the rate falls", choices=SCHEDULES)
    _recipe_option(train, "warmup", int, "N", "steps during which the rate rises")
    _recipe_option(train, "clip", float, "NORM", "largest norm of the gradient, 0 = none")
    _recipe_option(
        train, "scale", float, "X", "size of the images as a factor of their own; 0: 500 x 500, as in the paper"
    )
    _recipe_option(train, "crop", int, "PX", "side of a window, a multiple of 32 pixels")
    train.add_argument("--no-augment", dest="augment", action="store_false", help="random windows, otherwise unchanged")

    run = p.add_argument_group("run")
    run.add_argument("--out", metavar="DIR", help="run folder; default: a new one under runs/")
    run.add_argument("--resume", metavar="RUN", help="go on with a stopped run; takes all other options from it")
    run.add_argument("--seed", type=int, metavar="N", default=0, help="seed of everything that is random")
    run.add_argument("--device", choices=("auto", "cpu", "gpu"), default="auto", help="where to compute")
    run.add_argument(
        "--tf32",
        action="store_true",
        help="on a GPU: convolutions on tensor cores, factors rounded to 10 bits after the point",
    )
    run.add_argument("--log-every", type=int, metavar="N", default=25, help="steps between rows of log.csv")
    run.add_argument("--validate-every", type=int, metavar="N", default=250, help="steps between validations")
    run.add_argument("--save-every", type=float, metavar="S", default=60.0, help="seconds between checkpoints")
    return p


def _recipe_option(group: Any, name: str, kind: type, metavar: str | None, text: str, **options: Any) -> None:
    """An option whose default is the recipe's; the help names the value of every recipe that has its own."""
    key = options.get("dest", name)
    values = {
        "default": RECIPES["default"][key],
        "alexnet": ALEXNET.get(key),
        "phantom set": PHANTOM.get(key),
        "paper": RECIPES["paper"][key],
    }
    shown = "; ".join(f"{recipe}: {value}" for recipe, value in values.items() if value is not None)
    group.add_argument(f"--{name}", type=kind, metavar=metavar, default=UNSET, help=f"{text} ({shown})", **options)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The options given to train.py. Raises InputError if --resume comes with others, which it would not heed."""
    options = parser().parse_args(arguments)
    if options.resume is not None:
        p, absent = parser(), object()
        p.set_defaults(**dict.fromkeys(vars(options), absent))
        others = [k for k, v in vars(p.parse_args(arguments)).items() if v is not absent and k != "resume"]
        if others:
            raise InputError(
                f"--resume takes all options from {options.resume}/config.json; leave out the one for {others[0]}"
            )
    return options


def complete(given: argparse.Namespace) -> Options:
    """What a run is asked to do: the options given, completed by the recipe. Raises InputError for values out of range."""
    chosen = {k: v for k, v in vars(given).items() if k not in ("resume", "out")}
    network, solver = chosen["network"], chosen.get("solver")
    values = {"width": WIDTHS[network]} | RECIPES[chosen["recipe"]]
    if chosen["recipe"] == "default" and network == "alexnet":
        values |= ALEXNET
    if chosen["recipe"] == "default" and chosen["data"] is None:
        values |= PHANTOM if network in KINDS else {"iterations": PHANTOM["iterations"]}
    if solver is not None and solver != values["solver"]:
        values |= SOLVER[solver]
    values |= chosen
    if network != "joint":
        values["pretrain"] = 0
    return Options(**values)


def kept(entries: dict[str, Any], source: str) -> Options:
    """The options of a run from the entries of its config.json; what an entry does not say is as usual.

    Raises InputError for a value that no option could have given.
    """
    p = parser()
    usual, choices = complete(p.parse_args([])).as_json(), {action.dest: action.choices for action in p._actions}
    for name in usual.keys() & entries.keys():
        value, kinds = entries[name], _KINDS.get(type(usual[name]), (type(usual[name]),))
        allowed = choices[name]
        if type(value) not in kinds or (allowed and value not in allowed):
            raise InputError(f"{source} gives {name} as {value!r}, which cannot be; make the run again")
    try:
        sets = Sets(**entries["split"]) if "split" in entries else None
        if sets is not None and not all(isinstance(names, list) for names in (sets.train, sets.val, sets.test)):
            raise TypeError
        return Options(**(usual | {k: v for k, v in entries.items() if k in usual}), split=sets)
    except TypeError:
        raise InputError(f"{source} does not say which images are in which set; make the run again") from None
    except InputError as error:
        raise InputError(f"{source}: {error}; make the run again") from None


_KINDS = {float: (int, float), type(None): (int, str, type(None))}

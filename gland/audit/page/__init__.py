"""The audit as one self-contained page: no script, no network, light and dark, from phone to desktop.

render.py    puts an audit into page.html; TeX by latex2mathml, source by Pygments
page.html    the page, a Jinja2 template; page.css how it looks
pictures.py  the prior as a PNG, gradients as points
"""

from importlib.util import find_spec

from gland.errors import InputError

PACKAGES = {"jinja2": "Jinja2", "pygments": "Pygments", "latex2mathml": "latex2mathml"}


def check_installed() -> None:
    """Raise InputError if a package is missing that only the page needs."""
    missing = [name for module, name in PACKAGES.items() if find_spec(module) is None]
    if missing:
        raise InputError(f"--html needs {', '.join(missing)}, not installed here: pip install 'gland[pages]'")

"""What the command-line programs turn into a sentence and an exit status (gland/console.py)."""


class InputError(ValueError):
    """Bad input, which the user can mend. The message is one clear sentence: what is wrong, where, and what to do."""


class Interrupted(Exception):
    """Ctrl-C or SIGTERM arrived. The message says what is saved and how to go on."""


class Diverged(Exception):
    """The loss is not finite any more. The message says where and what to do."""

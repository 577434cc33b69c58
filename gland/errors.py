"""The one exception that means: the user can mend this. The scripts print its sentence and exit with status 2."""


class InputError(ValueError):
    """Bad input. The message is one clear sentence: what is wrong, where, and what to do."""

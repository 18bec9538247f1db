"""What a model or an alias may be called. Pure."""

import re

from appliance.errors import Refused

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class NameRefused(Refused):
    """A name that requests, sockets and folders couldn't all carry."""

    code = "model_name_refused"


def check_name(name: str) -> None:
    """Raises NameRefused."""
    if not _NAME.fullmatch(name):
        raise NameRefused(
            "A model's name has 1 to 64 letters, digits, dots, dashes and underscores, and begins with a "
            "letter or digit.",
            next_step="Choose another name.",
            param="name",
        )

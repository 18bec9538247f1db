"""May a company use this model, and who must say yes first? Pure.

What an entry of the catalogue says counts; without an entry, what the file itself or the hub says. A licence
that nobody has read is told as such, never taken for a free one.
"""

import re

from pydantic import BaseModel, ConfigDict, Field

from appliance.errors import Refused

_NOT_COMMERCIAL = re.compile(r"(?i)\bnc\b|non.?commercial|research.only")


class LicenceForbids(Refused):
    """A company may not use the model."""

    code = "licence_forbids"
    http_status = 403


class LicenceNotAccepted(Refused):
    """An admin must accept the licence first."""

    code = "licence_not_accepted"
    http_status = 409


class Licence(BaseModel):
    """`name` is SPDX's where there is one. `text_url` is where it can be read."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    name: str = Field(min_length=1, max_length=100)
    commercial_use: bool
    needs_acceptance: bool = False
    note: str = ""
    text_url: str = Field(default="", pattern=r"^(https://.+)?$")


def check_licence(licence: Licence, *, accepted: bool) -> None:
    """Raises LicenceForbids, LicenceNotAccepted."""
    if not licence.commercial_use:
        raise LicenceForbids(
            f"The licence {licence.name} doesn't let a company use this model. {licence.note}".strip(),
            next_step="Choose another model, or agree on a licence with its maker.",
        )
    if licence.needs_acceptance and not accepted:
        raise LicenceNotAccepted(
            f"This model comes under {licence.name}. {licence.note}".strip(),
            next_step=f"Read it{f' at {licence.text_url}' if licence.text_url else ''} and accept it.",
        )


def told_licence(name: str) -> Licence | None:
    """What a file or a hub says in one word, as a licence; None where it says nothing."""
    if not name:
        return None
    return Licence(name=name[:100], commercial_use=not _NOT_COMMERCIAL.search(name))

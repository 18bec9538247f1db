"""What an engine process was told of the server that it stands before, and the means to ask it."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from appliance.engines.adopted.asking import Asker, own_addresses, place_of, read_key
from appliance.engines.adopted.fingerprint import FORM
from appliance.engines.adopted.servers import Ability, Server, ServerKind
from appliance.errors import Refused
from appliance.hardware.profile import Setting


class SettingsUnusable(Refused):
    """The settings of an adopted server can't be used."""

    code: ClassVar[str] = "adopted_settings_unusable"


class AdoptedSettings(BaseModel):
    """The settings of an engine process for an adopted server; `adoption` is for the worker, see there."""

    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True, defer_build=True)

    url: str = Field(max_length=200)
    """http://ADDRESS:PORT on this machine."""
    model: str = Field(default="", max_length=200)
    """The server's own name of it; "": the only one that it has."""
    server: ServerKind | None = None
    """None: as it is recognised."""
    key_file: Path | None = None
    judge_text: bool = True
    """False for a model that was not made to talk: what it says is then not held against it."""
    prompt: str = Field(default="", max_length=1000)
    expects: str = Field(default="", max_length=200)
    """The prompt of a hwprofile's health check, and what its answer must hold."""
    fingerprint: str = Field(default="", pattern=rf"^({FORM.pattern})?$", max_length=400)
    """Of the adoption; "": what it is at the first fit check."""
    adoption: str = ""


@dataclass(frozen=True)
class Target:
    """One model of one server."""

    asker: Asker
    server: Server
    kind: ServerKind
    model: str
    vocabulary: int = 0
    """Tokens that the model knows; 0: not told."""
    context_tokens: int = 0
    """Of one answer with its prompt; 0: not told."""
    characters_per_token: float = 0
    """Of plain English; 0: not known."""
    cannot: frozenset[Ability] = frozenset()
    """What its kind can and this one was seen not to do."""


def read_settings(given: dict[str, Setting]) -> AdoptedSettings:
    """Raises SettingsUnusable."""
    try:
        return AdoptedSettings.model_validate(given)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        name = ".".join(map(str, first["loc"]))
        raise SettingsUnusable(f"The setting {name} of the adopted server: {first['msg']}.") from error


def asker_for(settings: AdoptedSettings) -> Asker:
    """Raises UrlRefused, KeyUnreadable."""
    key = read_key(settings.key_file) if settings.key_file else ""
    return Asker(place_of(settings.url, own_addresses()), key)

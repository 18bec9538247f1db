"""Which model each adopted server had when it was adopted: its fingerprint, kept over restarts of everything.

The first fit check of an adoption is the adoption. To adopt anew what is now behind a name, the box changes
the setting `adoption` of the engine: then the fingerprint of before counts no more.
"""

import logging
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from appliance.private_file import replace
from appliance.worker.desired import EngineSpec

log = logging.getLogger(__name__)


class Adoption(BaseModel):
    """`mark` is the setting `adoption` with the address of the server."""

    model_config = ConfigDict(frozen=True)

    mark: str
    fingerprint: str


class _Kept(BaseModel):
    models: dict[str, Adoption] = {}


class Adoptions:
    """The file of one worker. One that can't be read counts as none: every server is adopted anew."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "adoptions.json"

    def fingerprint(self, spec: EngineSpec) -> str:
        """ "" where nothing was adopted under this name like this."""
        kept = self._read().models.get(spec.model)
        return kept.fingerprint if kept is not None and kept.mark == _mark(spec) else ""

    def remember(self, spec: EngineSpec, fingerprint: str) -> None:
        """Keeps the first one of an adoption."""
        if self.fingerprint(spec):
            return
        kept = self._read()
        kept.models[spec.model] = Adoption(mark=_mark(spec), fingerprint=fingerprint)
        replace(self._file, kept.model_dump_json().encode())

    def _read(self) -> _Kept:
        try:
            return _Kept.model_validate_json(self._file.read_bytes())
        except FileNotFoundError:
            return _Kept()
        except (OSError, ValidationError) as error:
            log.warning("%s can't be read, so adopted servers are adopted anew: %s", self._file, error)
            return _Kept()


def _mark(spec: EngineSpec) -> str:
    settings = dict(spec.settings)
    return f"{settings.get('adoption', '')} {settings.get('url', '')} {settings.get('model', '')}"

"""One turn of one get, from the first byte to the name in the API, or to where it waits.

fetch into incoming/get-N → read the facts, so that what is no whole model is refused → hash every file as it
lies on the disk, against the hashes that its source gave → link into the store → the name. Safetensors are
hashed first and wait for the converter; what it makes goes the same way. Until the last step nothing that
serves is touched; whatever ends it earlier takes its folder away.
"""

import errno
import logging
import shutil
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from sqlite_utils import Database

from appliance.clock import Clock
from appliance.errors import Broken, Refusal, TryAgain
from appliance.handout.pieces import PieceList
from appliance.host import Host
from appliance.models.bundle import Bundle, ModelFormat
from appliance.models.carrying import MediumGone, copy_model, files_of, medium, waiting_for_medium
from appliance.models.choice import ModelsChoice
from appliance.models.conversion_source import parameters_in
from appliance.models.converting import Conversion, check_files, convert, require_converter
from appliance.models.entry import Entry, catalogue_folders, read_catalogue
from appliance.models.facts import ModelFacts
from appliance.models.fitting import Taken, node_rooms, refuse_too_large, taken_by
from appliance.models.gets import (
    CarriedOrder,
    Get,
    GetCancelled,
    GetState,
    HubOrder,
    Meter,
    UploadOrder,
    end_get,
    measure_conversion,
    measure_get,
    move_get,
    put_off_get,
    read_get,
)
from appliance.models.held import HeldModel, add_held, held_models, lifecycle_of
from appliance.models.hub_download import Listing, download
from appliance.models.layout import bundle_folder, incoming_dir
from appliance.models.licence import Licence, check_licence, told_licence
from appliance.models.reading import format_of, must_convert, read_facts
from appliance.models.store import ModelDamaged, Store, StoreFull, bytes_in, hash_files
from appliance.models.turns import Room, turns
from appliance.people import AuditEvent, record_audit
from appliance.settings import Settings
from appliance.storage import open_cellule, read_choice

MOST_ATTEMPTS = 30
"""In a row that brought nothing."""
_CONVERTED, _AWAITS_CONVERTER = ".converted", ".awaits-converter"
"""In the folder of the get, among its files and none of them."""
_FIRST_WAIT_SECONDS = 15.0
LONGEST_WAIT_SECONDS = 1800.0
stopping = threading.Event()
"""Set when the core ends: what is under way stops at its next piece, and goes on after the start."""
log = logging.getLogger("cellule.models")


class DiskTrouble(TryAgain):
    """The box's own disk couldn't be read or written."""

    code = "disk_trouble"


class GetBroken(Broken):
    """Our own mistake; the log has more."""

    code = "model_get_broken"


class Stopping(TryAgain):
    """The core is ending."""

    code = "core_stopping"


class ConverterBusy(Exception):
    """All files of this get are here and verified; another one is being converted."""


def awaits_converter(settings: Settings, get: Get) -> bool:
    """Whether nothing but the conversion is left to do."""
    return (_folder_of(settings, get) / _AWAITS_CONVERTER).exists()


def end_cancelled(settings: Settings, activity: Database, get: Get, at: float) -> str:
    """Takes away what came; a sentence."""
    shutil.rmtree(_folder_of(settings, get), ignore_errors=True)
    end_get(activity, get, GetState.CANCELLED, at=at)
    return f"{get.name}: cancelled"


@dataclass
class Getting:
    """One turn of one get."""

    settings: Settings
    host: Host
    activity: Database
    get: Get
    clock: Clock

    def run(self) -> str:
        here_before = bytes_in(self._folder)
        try:
            model = self._bring()
        except GetCancelled:
            return end_cancelled(self.settings, self.activity, self.get, self.clock())
        except Stopping:
            return ""
        except ConverterBusy:
            move_get(self.activity, self.get, GetState.WAITING)
            return ""
        except TryAgain as cut:
            if bytes_in(self._folder) > here_before:
                # a line that is cut each hour brings a large model all the same
                self.get = replace(self.get, attempts=0)
            if self.get.attempts < MOST_ATTEMPTS:
                return self._put_off(cut)
            return self._refuse(cut)
        except Refusal as refusal:
            return self._refuse(refusal)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                return self._refuse(StoreFull("The disk is full.", next_step="Remove a model."))
            return self._put_off(
                DiskTrouble(f"The disk gave an error: {error.strerror}.", retry_after_seconds=60)
            )
        except Exception:
            # it would be begun again every second, and fail again
            log.exception("the model %s", self.get.name)
            return self._refuse(GetBroken("Something broke here.", next_step="Tell support."))
        end_get(self.activity, self.get, GetState.DONE, at=self.clock())
        detail = f"{model.digest} from {model.source}"
        record_audit(self.activity, AuditEvent.BOX_MODEL_ADDED, subject=model.name, detail=detail)
        return f"{model.name} is on the box"

    def _bring(self) -> HeldModel:
        with open_cellule(self.settings.state_dir) as db:
            if (model := self._brought(db)) is not None:
                shutil.rmtree(self._folder, ignore_errors=True)
                return model
            choice = read_choice(db, ModelsChoice)
            store = Store(self.settings.state_dir, quota_bytes=choice.quota_bytes)
            catalogue, _ = read_catalogue(catalogue_folders(self.settings.state_dir))
            entry = catalogue.get(self.get.order.entry)
            given = {}
            if not awaits_converter(self.settings, self.get):
                move_get(self.activity, self.get, GetState.FETCHING)
                given = self._fetch(db, choice, store, entry)
            files = self._files(self._folder)
            if must_convert(files):
                self._ask_room(db, store, taken_by(_sizes(files), self.get.order.weights, _parameters(files)))
                files, given = self._converted(files, given), {}
            move_get(self.activity, self.get, GetState.CHECKING)
            facts = read_facts(files)
            pieces: list[PieceList] = []
            bundle = self._verified(files, given, format_of(files), pieces.append)
            licence = self._licence(entry, facts)
            model = self._model(bundle, facts, licence)
            # reading a large model takes minutes, and whoever needs the store would wait for them
            damaged = self._damaged_in(store, bundle)
            with store.alone():
                turns.take_room(self.get)
                model = replace(model, bundle=store.add(files, bundle, damaged, pieces))
                add_held(db, model)
        shutil.rmtree(self._folder, ignore_errors=True)
        return model

    def _brought(self, db: Database) -> HeldModel | None:
        """What this get has brought already: the core was killed before it noted the end.

        While a get is under way nobody else can give its name to a model.
        """
        mine = [model for model in held_models(db) if model.name == self.get.name]
        return next((m for m in mine if bundle_folder(self.settings.state_dir, m.digest).exists()), None)

    @property
    def _folder(self) -> Path:
        return _folder_of(self.settings, self.get)

    def _fetch(self, db: Database, choice: ModelsChoice, store: Store, entry: Entry | None) -> dict[str, str]:
        """Everything lies in the get's folder then; the hashes that the source gave, by path."""
        meter, order = _StoppableMeter(self.activity, self.get), self.get.order

        def copied(count: int) -> None:
            store.keep_reserve()
            meter.add(count)

        def judge(listing: Listing, parameters: int | None = None) -> None:
            measure_get(self.activity, self.get, 0, listing.size_bytes)
            check_files(listing.sizes, self.settings.converter)
            if (licence := entry.licence if entry else told_licence(listing.licence)) is not None:
                check_licence(licence, accepted=order.licence_accepted)
            self._ask_room(db, store, taken_by(listing.sizes, order.weights, parameters))

        match order:
            case HubOrder():
                return download(
                    self.settings,
                    choice,
                    order,
                    self._folder,
                    meter=meter,
                    judge=judge,
                    keep_reserve=store.keep_reserve,
                )
            case CarriedOrder():
                with (
                    waiting_for_medium(self._folder),
                    medium(self.settings, self.host, order.origin) as folder,
                ):
                    files = files_of(folder, order.path)
                    judge(Listing("", _sizes(files), {}), _parameters(files))
                    return copy_model(folder, order, self._folder, copied)
            case UploadOrder():
                files = self._files(self._folder)
                judge(Listing("", _sizes(files), {}), _parameters(files))
                return {file.path: file.sha256 for file in order.files if file.sha256}

    def _ask_room(self, db: Database, store: Store, taken: Taken) -> None:
        """On a node for the model, on the disk for all it takes. Raises LargerThanMemory, StoreFull."""
        if not self.get.order.even_if_too_large:
            refuse_too_large(taken.model_bytes, node_rooms(self.settings, db), taken.weights)
        turns.promise_room(store, self.get, Room(self._folder, taken.model_bytes, taken.disk_bytes))

    def _files(self, folder: Path) -> dict[str, Path]:
        """By their paths inside the model's folder."""
        files = {
            path.relative_to(folder).as_posix(): path
            for path in sorted(folder.rglob("*"))
            if path.is_file() and not path.relative_to(folder).parts[0].startswith(".")
        }
        return {path: file for path, file in files.items() if not path.endswith((".part", ".sha256"))}

    def _converted(self, files: Mapping[str, Path], given: Mapping[str, str]) -> dict[str, Path]:
        """What the converter made of the get's files. Raises ConverterBusy, and as `convert` does."""
        python, out = require_converter(self.settings.converter), self._folder / _CONVERTED
        if not awaits_converter(self.settings, self.get):
            self._verified(files, given, ModelFormat.OPENVINO)
            (self._folder / _AWAITS_CONVERTER).touch()
        with turns.converter() as is_ours:
            if not is_ours:
                raise ConverterBusy
            for left in self._folder.glob(".convert*"):
                shutil.rmtree(left, ignore_errors=True)
            move_get(self.activity, self.get, GetState.CONVERTING)
            convert(
                Conversion(self._folder, out, self.get.order.weights, python),
                lambda progress: measure_conversion(self.activity, self.get, progress),
                _StoppableMeter(self.activity, self.get).check,
            )
        return self._files(out)

    def _verified(
        self,
        files: Mapping[str, Path],
        given: Mapping[str, str],
        kind: ModelFormat,
        on_pieces: Callable[[PieceList], None] | None = None,
    ) -> Bundle:
        """The bundle as it lies on the disk. Raises ModelDamaged where the source said another hash."""
        move_get(self.activity, self.get, GetState.CHECKING)
        measure_get(self.activity, self.get, 0, sum(file.stat().st_size for file in files.values()))
        bundle = hash_files(kind, files, _StoppableMeter(self.activity, self.get).add, on_pieces)
        for file in bundle.files:
            if given.get(file.path, file.sha256) != file.sha256:
                raise ModelDamaged(
                    f"{file.path} is not the file that its hash names: it was changed or damaged on its way.",
                    next_step="Get the model again.",
                )
        return bundle

    def _damaged_in(self, store: Store, bundle: Bundle) -> frozenset[str]:
        """Of the files that the store has already, those that what came is to mend."""
        held = store.held_already(bundle)
        if held:
            measure_get(self.activity, self.get, 0, sum(file.size_bytes for file in held))
        return store.damaged(held, _StoppableMeter(self.activity, self.get).add)

    def _licence(self, entry: Entry | None, facts: ModelFacts) -> Licence | None:
        """The entry's, else the file's own word, which may forbid what nobody had said before."""
        licence = entry.licence if entry else told_licence(facts.licence)
        if licence is not None:
            check_licence(licence, accepted=self.get.order.licence_accepted)
        return licence

    def _model(self, bundle: Bundle, facts: ModelFacts, licence: Licence | None) -> HeldModel:
        catalogue, _ = read_catalogue(catalogue_folders(self.settings.state_dir))
        get, order = self.get, self.get.order
        deprecated_at, retired_at, successor = lifecycle_of(catalogue.get(order.entry))
        return HeldModel(
            name=get.name,
            bundle=bundle,
            facts=facts,
            entry=order.entry,
            source=_source(order),
            licence=licence.name if licence else "",
            licence_accepted_by=get.asked_by if order.licence_accepted else None,
            added_by=get.asked_by,
            added_at=self.clock(),
            deprecated_at=deprecated_at,
            retired_at=retired_at,
            successor=successor,
        )

    def _put_off(self, cut: TryAgain) -> str:
        longest = cut.longest_wait_seconds if isinstance(cut, MediumGone) else LONGEST_WAIT_SECONDS
        wait = min(_FIRST_WAIT_SECONDS * 2.0 ** min(self.get.attempts, 10), longest)
        put_off_get(self.activity, self.get, cut, until=self.clock() + wait)
        return f"{self.get.name}: {cut.sentence} It goes on in {wait:g} s."

    def _refuse(self, refusal: Refusal) -> str:
        shutil.rmtree(self._folder, ignore_errors=True)
        end_get(
            self.activity,
            read_get(self.activity, self.get.id),
            GetState.REFUSED,
            at=self.clock(),
            code=refusal.code,
            sentence=str(refusal),
        )
        record_audit(
            self.activity, AuditEvent.BOX_MODEL_REFUSED, subject=self.get.name, detail=refusal.sentence
        )
        return f"{self.get.name}: {refusal.sentence}"


class _StoppableMeter(Meter):
    """Ends the work when the core ends."""

    def set(self, done_bytes: int) -> None:
        self._refuse_to_outlive_the_core()
        super().set(done_bytes)

    def check(self) -> None:
        self._refuse_to_outlive_the_core()
        super().check()

    def _refuse_to_outlive_the_core(self) -> None:
        if stopping.is_set():
            raise Stopping("The core is ending.", retry_after_seconds=1)


def _sizes(files: Mapping[str, Path]) -> dict[str, int]:
    return {path: file.stat().st_size for path, file in files.items()}


def _parameters(files: Mapping[str, Path]) -> int | None:
    """Of a model that must be converted. Raises NotConvertible."""
    return parameters_in(files) if must_convert(files) else None


def _folder_of(settings: Settings, get: Get) -> Path:
    return incoming_dir(settings.state_dir) / get.incoming_name


def _source(order: HubOrder | CarriedOrder | UploadOrder) -> str:
    match order:
        case HubOrder():
            return f"{order.repository} on the hub"
        case CarriedOrder():
            return f"{order.path} on {'a USB stick' if order.origin == 'stick' else 'the NAS'}"
        case UploadOrder():
            return "an upload"

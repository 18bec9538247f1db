"""What an admin may ask of the models: get one, remove one. Refused here before anything is begun.

The core checks again with what it finds out on the way; here stands what is known at once: name, licence,
size, whether the internet is allowed.
"""

from pathlib import Path

from sqlite_utils import Database

from appliance.errors import Refused
from appliance.models.choice import ModelsChoice
from appliance.models.converting import check_files
from appliance.models.demo import verify_demo_model
from appliance.models.entry import Entry, Variant, VariantFormat, catalogue_folders, read_catalogue
from appliance.models.fitting import Taken, node_rooms, refuse_too_large, taken_by
from appliance.models.gets import CarriedOrder, Get, HubOrder, UploadOrder, insert_get
from appliance.models.held import (
    HeldModel,
    ModelNameTaken,
    forget_held,
    held_model,
    lifecycle_of,
    refuse_taken,
)
from appliance.models.hub_download import InternetNotAllowed
from appliance.models.licence import check_licence
from appliance.models.store import Store
from appliance.models.uploads import receiving_bytes
from appliance.models.uses import serving_nodes, uses_of
from appliance.people import AuditEvent, record_audit
from appliance.settings import Settings
from appliance.storage import read_choice, transaction


class EntryUnknown(Refused):
    """The catalogue has no such entry, or it can't be run here as it is."""

    code = "catalogue_entry_unknown"
    http_status = 404


class ModelRetired(Refused):
    """The entry's time is over."""

    code = "model_retired"
    http_status = 410


class ModelInUse(Refused):
    """Something still needs the model."""

    code = "model_in_use"
    http_status = 409


class ModelShips(Refused):
    """The model is part of the product."""

    code = "model_ships"
    http_status = 409


def hub_order(entry: Entry, variant: Variant, *, licence_accepted: bool = False) -> HubOrder:
    """What to ask for to get a variant of an entry. Raises EntryUnknown for safetensors."""
    if variant.format is VariantFormat.SAFETENSORS:
        raise EntryUnknown(
            f"{entry.title} as safetensors runs on a server of its own only.",
            next_step="Choose GGUF or OpenVINO.",
        )
    return HubOrder(
        entry=entry.name,
        repository=variant.repository,
        files=variant.files,
        licence_accepted=licence_accepted,
    )


def ask_get(
    settings: Settings,
    db: Database,
    activity: Database,
    name: str,
    order: HubOrder | CarriedOrder | UploadOrder,
    *,
    by: str | None,
    at: float,
    address: str | None = None,
) -> Get:
    """The core begins within seconds; of an upload, the first chunk may come.

    Raises NameRefused, ModelNameTaken, EntryUnknown, ModelRetired, LicenceForbids, LicenceNotAccepted,
    InternetNotAllowed, LargerThanMemory, ModelFileUnusable, NoConverter, ConversionTooLarge, StoreFull.
    """
    refuse_taken(db, name)
    if nodes := serving_nodes(db, activity).get(name):
        raise ModelNameTaken(
            f"{nodes[0]} serves another model {name!r} already.", next_step="Give the new one another name."
        )
    catalogue, _ = read_catalogue(catalogue_folders(settings.state_dir))
    entry = catalogue.get(order.entry)
    if order.entry and entry is None:
        raise EntryUnknown(f"The catalogue has no {order.entry[:100]!r}.", next_step="Reload the catalogue.")
    if entry is not None:
        _check_entry(entry, accepted=order.licence_accepted, at=at)
    if isinstance(order, UploadOrder):
        check_files({file.path: file.size_bytes for file in order.files}, settings.converter)
    choice = read_choice(db, ModelsChoice)
    if isinstance(order, HubOrder) and not choice.internet_allowed:
        raise InternetNotAllowed(
            "Models from the internet are not allowed on this box.",
            next_step="Allow them first, or bring the model on a USB stick.",
        )
    size_bytes = _expected_bytes(order, entry)
    taken = Taken(size_bytes, size_bytes)
    if isinstance(order, UploadOrder):
        taken = taken_by({file.path: file.size_bytes for file in order.files}, order.weights)
    if not order.even_if_too_large:
        refuse_too_large(taken.model_bytes, node_rooms(settings, db), taken.weights)
    store = Store(settings.state_dir, quota_bytes=choice.quota_bytes)
    others_model_bytes, others_to_come_bytes = receiving_bytes(settings.state_dir, activity)
    store.require_room(
        taken.model_bytes,
        taken.disk_bytes,
        others_model_bytes=others_model_bytes,
        others_to_come_bytes=others_to_come_bytes,
    )
    get = insert_get(activity, name, order, by=by, at=at, size_bytes=size_bytes)
    record_audit(
        activity, AuditEvent.ADMIN_MODEL_GET, actor=by, address=address, subject=name, detail=_told(order)
    )
    return get


def remove_model(
    settings: Settings,
    db: Database,
    activity: Database,
    name: str,
    *,
    by: str | None,
    address: str | None = None,
) -> HeldModel:
    """The name goes first, then the files that nothing else needs.

    Raises ModelUnknown, ModelShips, ModelInUse.
    """
    store = Store(settings.state_dir)
    with store.alone():
        model = held_model(db, name)
        if model.ships:
            raise ModelShips(f"{model.name} is part of the appliance and stays.")
        with transaction(db):  # else another admin's alias could come to stand for nothing
            if uses := uses_of(settings, db, activity, model.name):
                raise ModelInUse(
                    f"{model.name} is in use: {', '.join(uses)}.", next_step="Take it out of use there first."
                )
            forget_held(db, model.name)
        if not db.execute("SELECT 1 FROM models WHERE digest = ?", [model.digest]).fetchone():
            store.remove(model.digest)
    record_audit(activity, AuditEvent.ADMIN_MODEL_REMOVED, actor=by, address=address, subject=model.name)
    return model


def verify_model(settings: Settings, db: Database, name: str) -> None:
    """Reads every byte of the model again. Raises ModelUnknown, ModelDamaged, DemoModelDamaged."""
    model = held_model(db, name)
    if model.ships:
        verify_demo_model()
    else:
        Store(settings.state_dir).verify(model.bundle)


def _check_entry(entry: Entry, *, accepted: bool, at: float) -> None:
    check_licence(entry.licence, accepted=accepted)
    _, retired_at, successor = lifecycle_of(entry)
    if retired_at is not None and at >= retired_at:
        raise ModelRetired(
            f"{entry.title} is retired. {entry.lifecycle.because}", next_step=f"Take {successor} instead."
        )


def _expected_bytes(order: HubOrder | CarriedOrder | UploadOrder, entry: Entry | None) -> int:
    """0 where nobody knows yet."""
    if isinstance(order, UploadOrder):
        return sum(file.size_bytes for file in order.files)
    if isinstance(order, HubOrder) and entry is not None:
        sizes = {(each.repository, each.files): each.approximate_gb for each in entry.variants}
        return int((sizes.get((order.repository, order.files)) or 0) * 10**9)
    return 0


def _told(order: HubOrder | CarriedOrder | UploadOrder) -> str:
    accepted = ", licence accepted" if order.licence_accepted else ""
    match order:
        case HubOrder():
            return f"from the hub, {order.repository}{accepted}"
        case CarriedOrder():
            return f"from the {order.origin}, {Path(order.path).name}{accepted}"
        case UploadOrder():
            return f"upload of {len(order.files)} files{accepted}"

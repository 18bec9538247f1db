"""The catalogue: what a company may choose from, what of it fits its fleet, and the form that gets one."""

from dataclasses import dataclass

from flask import Blueprint, abort, flash, make_response, redirect, render_template, request, url_for
from flask_babel import format_date, gettext
from werkzeug.wrappers import Response

from appliance.clock import now
from appliance.errors import Refusal
from appliance.models import (
    Capability,
    Entry,
    EntryUnusable,
    ExpectedSize,
    LargerThanMemory,
    LifecycleState,
    ModelsChoice,
    Room,
    Variant,
    VariantFormat,
    ask_get,
    catalogue_folders,
    expected_size,
    held_models,
    hub_order,
    lifecycle_at,
    lifecycle_of,
    node_rooms,
    read_catalogue,
    refuse_too_large,
)
from appliance.storage import read_choice
from webadmin import models_in_words
from webadmin.database import activity, box_settings, cellule
from webadmin.refusals import explain
from webadmin.visitor import admins_only, client_address, signed_in

blueprint = Blueprint("model_catalogue", __name__)

_ROOMY_SHARE = 0.75
"""Of a node's room for the weights; the rest is for the cache, which isn't known before the file is here."""


@dataclass(frozen=True)
class Way:
    """A variant with what speaks against it; `number` is its place in the entry, which the form sends."""

    number: int
    variant: Variant
    size: ExpectedSize | None
    too_large: LargerThanMemory | None
    runs_here: bool
    """False for what only a server of its own can run."""
    is_roomy: bool
    """Beside its weights, a node has room for long texts and several answers."""

    @property
    def weights_bytes(self) -> int:
        """0 where nobody knows."""
        return self.size.weights_bytes if self.size else 0


@dataclass(frozen=True)
class Offer:
    """An entry as this fleet meets it."""

    entry: Entry
    ways: tuple[Way, ...]
    lifecycle: LifecycleState
    held: tuple[str, ...]
    """Models on the box that came from it."""

    @property
    def suggested(self) -> Way | None:
        """What is chosen unless somebody chooses: the largest that leaves room, else the least that fits."""
        fitting = [way for way in self.ways if way.runs_here and not way.too_large]
        roomy = [way for way in fitting if way.is_roomy]
        if roomy:
            return max(roomy, key=lambda way: way.weights_bytes)
        return min(fitting, key=lambda way: way.weights_bytes, default=None)

    @property
    def smallest(self) -> Way | None:
        usable = [way for way in self.ways if way.runs_here]
        return min(usable, key=lambda way: way.weights_bytes, default=None)

    @property
    def may_be_got(self) -> bool:
        licensed, kept_up = self.entry.licence.commercial_use, self.lifecycle is not LifecycleState.RETIRED
        return licensed and kept_up and self.smallest is not None


@blueprint.get("/models/catalogue")
@admins_only
def show() -> str:
    """All entries, or those for a purpose, or those that fit."""
    offers, unusable = _offers()
    purpose, fitting = request.args.get("for", ""), request.args.get("fits") == "yes"
    words = request.args.get("q", "").strip()[:80]
    found = [
        offer for offer in offers if _matches(offer, purpose, words) and (offer.suggested or not fitting)
    ]
    return render_template(
        "models_catalogue.html",
        offers=found,
        count=len(offers),
        unusable=[explain(trouble) for trouble in unusable],
        purposes={each: models_in_words.CAPABILITIES[each] for each in Capability if _any(offers, each)},
        purpose=purpose,
        fitting=fitting,
        typed=words,
        rooms=node_rooms(box_settings(), cellule()),
        choice=read_choice(cellule(), ModelsChoice),
        words=models_in_words,
        lifecycles=LifecycleState,
        statuses=status_of,
    )


@blueprint.get("/models/catalogue/<name>")
@admins_only
def show_entry(name: str) -> Response:
    """One entry."""
    return _entry_page(name, 200)


@blueprint.post("/models/catalogue/<name>")
@admins_only
def get(name: str) -> Response:
    """Has the core get a variant of it."""
    offer = _offer(name)
    number, model = request.form.get("variant", ""), request.form.get("name", "").strip()
    try:
        ways = {str(way.number): way for way in offer.ways}
        if number not in ways:
            return _entry_page(name, 400, error=gettext("Choose one of the variants."))
        accepted = request.form.get("accepted") == "yes"
        order = hub_order(offer.entry, ways[number].variant, licence_accepted=accepted)
        if request.form.get("even_if_too_large") == "yes":
            order = order.model_copy(update={"even_if_too_large": True})
        ask_get(
            box_settings(),
            cellule(),
            activity(),
            model,
            order,
            by=signed_in().name,
            at=now(),
            address=client_address(),
        )
    except Refusal as error:
        return _entry_page(name, error.http_status, error=explain(error), code=error.code)
    flash(gettext("%(name)s is on its way.", name=model))
    return redirect(url_for("models.show"), 303)


def status_of(offer: Offer) -> tuple[str, str]:
    """The kind of its badge and its word: what matters most about it."""
    if offer.held:
        return "accent", gettext("on this box")
    if not offer.entry.licence.commercial_use:
        return "bad", gettext("licence forbids")
    if offer.lifecycle is LifecycleState.RETIRED:
        return "bad", gettext("retired")
    if offer.smallest is None:
        return "", gettext("needs its own server")
    if offer.suggested is None:
        return "warn", gettext("too large")
    return "ok", gettext("fits")


def _entry_page(name: str, status: int, *, error: str = "", code: str = "") -> Response:
    offer = _offer(name)
    return make_response(
        render_template(
            "models_entry.html",
            offer=offer,
            entry=offer.entry,
            choice=read_choice(cellule(), ModelsChoice),
            words=models_in_words,
            lifecycles=LifecycleState,
            status=status_of(offer),
            explain=explain,
            languages_named=models_in_words.language_named,
            date_text=format_date,
            error=error,
            code=code,
            sent=request.form,
        ),
        status,
    )


def _offer(name: str) -> Offer:
    offer = next((offer for offer in _offers()[0] if offer.entry.name == name), None)
    return offer or abort(404)


def _offers() -> tuple[list[Offer], tuple[EntryUnusable, ...]]:
    entries, unusable = read_catalogue(catalogue_folders(box_settings().state_dir))
    rooms, at = node_rooms(box_settings(), cellule()), now()
    held: dict[str, list[str]] = {}
    for model in held_models(cellule()):
        held.setdefault(model.entry, []).append(model.name)
    offers = []
    for entry in entries.values():
        deprecated_at, retired_at, _ = lifecycle_of(entry)
        ways = tuple(_way(number, entry, variant, rooms) for number, variant in enumerate(entry.variants))
        state = lifecycle_at(deprecated_at, retired_at, at)
        offers.append(Offer(entry, ways, state, tuple(held.get(entry.name, ()))))
    return sorted(offers, key=lambda o: (o.entry.family.lower(), o.entry.parameters)), unusable


def _way(number: int, entry: Entry, variant: Variant, rooms: list[Room]) -> Way:
    too_large, size = None, expected_size(entry, variant)
    try:
        refuse_too_large(size.weights_bytes if size else 0, rooms)
    except LargerThanMemory as refusal:
        too_large = refusal
    most = max((room.room_bytes for room in rooms), default=0)
    is_roomy = size is not None and size.weights_bytes <= _ROOMY_SHARE * most
    return Way(number, variant, size, too_large, variant.format is not VariantFormat.SAFETENSORS, is_roomy)


def _any(offers: list[Offer], capability: Capability) -> bool:
    return any(capability in offer.entry.capabilities for offer in offers)


def _matches(offer: Offer, purpose: str, words: str) -> bool:
    entry = offer.entry
    text = f"{entry.name} {entry.title} {entry.family} {entry.licence.name}".lower()
    return (not purpose or purpose in entry.capabilities) and all(
        word in text for word in words.lower().split()
    )

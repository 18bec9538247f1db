"""Looks at the channel when it is time, and orders what the box may install by itself.

Without a channel that an admin chose, no connection is made at all. A channel that does not answer, or is not
trusted, changes nothing: what was found before stays, and how long it has been so is kept for the page.
"""

import logging

from sqlite_utils import Database

from appliance.boot import damaged_releases
from appliance.clock import Clock, now
from appliance.errors import NotTrusted, Refusal
from appliance.host import Host, HostUnavailable
from appliance.host.outbound import keep_open
from appliance.keeping import pending_change
from appliance.people import AuditEvent, record_audit
from appliance.settings import Settings
from appliance.storage import open_activity, open_cellule, read_choice
from appliance.updating.choice import REASON_OUTBOUND, UpdateChoice, outbound_of
from appliance.updating.deciding import choose
from appliance.updating.fetching import HttpFetcher
from appliance.updating.found import (
    after_look,
    channel_state,
    forget_found,
    found_releases,
    is_due,
    record_look,
    record_offer,
)
from appliance.updating.installs import InstallUnderWay, order_install
from appliance.updating.release import TARGETS_FOLDER, Offer, Origin
from appliance.updating.this_box import channel_root, gather_facts, read_box, updates_dir
from appliance.updating.trust import Patience, look

log = logging.getLogger("cellule.updating")


def follow_channel(settings: Settings, host: Host, *, clock: Clock = now) -> str:
    """One turn; what it did as a sentence, "" for nothing."""
    with open_cellule(settings.state_dir) as db, open_activity(settings.state_dir) as activity:
        choice = read_choice(db, UpdateChoice)
        try:
            # a plan that is kept would end the one on trial: that one comes first
            if pending_change(db) is None:
                keep_open(host, REASON_OUTBOUND, outbound_of(choice))
        except HostUnavailable as away:
            return away.sentence
        if choice.channel_url is None:
            forget_found(activity, Origin.CHANNEL)
            return ""
        said = ""
        damaged_at = max((each.at for each in damaged_releases(db) if each.over_at is None), default=0.0)
        if is_due(channel_state(activity), choice.channel_url, clock(), damaged_at=damaged_at):
            said = _look(settings, activity, choice.channel_url, clock)
        return _decide(settings, db, activity, host, clock()) or said


def _look(settings: Settings, activity: Database, url: str, clock: Clock) -> str:
    former = channel_state(activity)
    try:
        offer = _verify(settings, url, clock())
    except Refusal as refusal:
        state = after_look(former, url, at=clock(), code=refusal.code, sentence=refusal.sentence)
        record_look(activity, state)
        if isinstance(refusal, NotTrusted) and (former is None or former.code != refusal.code):
            record_audit(activity, AuditEvent.BOX_RELEASE_REFUSED, subject=url, detail=refusal.sentence)
        return f"the channel {url}: {refusal.sentence}"
    record_look(activity, after_look(former, url, at=clock()))
    record_offer(activity, Origin.CHANNEL, url + TARGETS_FOLDER, offer, at=clock())
    return f"the channel offers {', '.join(release.version for release in offer.releases) or 'nothing'}"


def _verify(settings: Settings, url: str, at: float) -> Offer:
    store = updates_dir(settings) / "trusted"
    return look(url, store, channel_root(settings), HttpFetcher(), at=at, patience=Patience())


def _decide(settings: Settings, db: Database, activity: Database, host: Host, at: float) -> str:
    box = read_box(host)
    if box is None:
        return ""
    facts = gather_facts(settings, db, box, host.machine_plan().timezone, at=at)
    found = choose(found_releases(activity), facts)
    if found is None:
        return ""
    try:
        order_install(db, found, by=None, restart_now=False, at=at)
    except InstallUnderWay:
        return ""
    return f"installing {found.release.version} in the maintenance window"

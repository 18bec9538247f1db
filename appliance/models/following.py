"""The core's part at each turn of its jobs: begins the gets that are due, and keeps what lasts in order."""

from sqlite_utils import Database

from appliance.clock import Clock, now
from appliance.host import Host, HostUnavailable
from appliance.host.outbound import keep_open
from appliance.keeping import pending_change
from appliance.models.choice import REASON_OUTBOUND, ModelsChoice, models_outbound
from appliance.models.entry import catalogue_folders, read_catalogue
from appliance.models.gets import Get, GetState, read_get, unfinished_gets
from appliance.models.getting import LONGEST_WAIT_SECONDS, Getting, awaits_converter, end_cancelled, stopping
from appliance.models.held import held_models, keep_lifecycles
from appliance.models.layout import bundle_folder
from appliance.models.store import Store
from appliance.models.turns import turns
from appliance.models.uploads import is_stale
from appliance.settings import Settings
from appliance.storage import open_activity, open_cellule, read_choice


def follow_gets(settings: Settings, host: Host, *, clock: Clock = now) -> str:
    """Does the next get that is due and that nobody is at; a sentence about it, "" for nothing.

    May be called while another call is at work.
    """
    with open_activity(settings.state_dir) as activity:
        for get in unfinished_gets(activity):
            with turns.claimed(get) as is_ours:
                if is_ours and (said := _follow(settings, host, activity, get, clock)):
                    return said
            if stopping.is_set():
                break
    return ""


def _follow(settings: Settings, host: Host, activity: Database, get: Get, clock: Clock) -> str:
    # another thread may have been at it, since the list was read
    get = read_get(activity, get.id)
    if get.state.is_over:
        return ""
    is_receiving = get.state is GetState.RECEIVING
    if get.cancelled or (is_receiving and is_stale(settings.state_dir, get, clock())):
        return end_cancelled(settings, activity, get, clock())
    waits_seconds = get.next_try_at - clock()
    # longer than any wait is: the clock was set back
    is_due = not is_receiving and not 0 < waits_seconds <= LONGEST_WAIT_SECONDS
    if not is_due or (turns.is_converting and awaits_converter(settings, get)):
        return ""
    with turns.begun(get) as may_begin:
        return Getting(settings, host, activity, get, clock).run() if may_begin else ""


def follow_models(settings: Settings, host: Host) -> str:
    """What lasts: the way to the hub, the dates of the catalogue, files that nobody needs. Safe to repeat."""
    with open_cellule(settings.state_dir) as db, open_activity(settings.state_dir) as activity:
        choice = read_choice(db, ModelsChoice)
        try:
            # a plan that is kept would end the one on trial: that one comes first
            if pending_change(db) is None:
                keep_open(host, REASON_OUTBOUND, models_outbound(choice))
        except HostUnavailable as away:
            return away.sentence
        catalogue, _ = read_catalogue(catalogue_folders(settings.state_dir))
        changed = keep_lifecycles(db, catalogue)
        store = Store(settings.state_dir)
        with store.alone():
            busy = {get.incoming_name for get in unfinished_gets(activity)}
            gone = store.clean({model.digest for model in held_models(db)}, busy)
        missing = [
            model.name
            for model in held_models(db)
            if not model.ships and not bundle_folder(settings.state_dir, model.digest).exists()
        ]
        said = {
            f"dates changed of {', '.join(changed)}": changed,
            f"{gone} models without a record removed": gone,
            # a backup has the records of models and not their files
            f"the files of {', '.join(missing)} are missing; remove and get them again": missing,
        }
        return "; ".join(sentence for sentence, is_so in said.items() if is_so)

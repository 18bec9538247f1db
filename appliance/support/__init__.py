"""Help from the vendor without a back door: a bundle that one reads before it is sent, and a session that an
admin opens, sees and cuts.

Bundle: `request_bundle` → a job collects (`sources`) and redacts (`redaction`) → preview → `seal_bundle`.
Session: `sessions` (consent, end, record), `service` (named commands), `vendor` (the other side).
"""

from appliance.support.bundle import (
    Bundle,
    BundleFile,
    BundleState,
    collect_requested_bundle,
    discard_bundle,
    read_bundle_file,
    read_bundle_state,
    request_bundle,
    seal_bundle,
)
from appliance.support.request import LONGEST_REQUEST_CHARACTERS, RequestOutOfTime
from appliance.support.sessions import (
    HOURS_OFFERED,
    Ending,
    Session,
    SessionRefused,
    cut_session,
    open_now,
    open_session,
    past_sessions,
    settle_session,
)
from appliance.support.trust import NoVendor, load_vendor

__all__ = [
    "HOURS_OFFERED",
    "LONGEST_REQUEST_CHARACTERS",
    "Bundle",
    "BundleFile",
    "BundleState",
    "Ending",
    "NoVendor",
    "RequestOutOfTime",
    "Session",
    "SessionRefused",
    "collect_requested_bundle",
    "cut_session",
    "discard_bundle",
    "load_vendor",
    "open_now",
    "open_session",
    "past_sessions",
    "read_bundle_file",
    "read_bundle_state",
    "request_bundle",
    "seal_bundle",
    "settle_session",
]

"""Help from the vendor without a back door: a bundle that one reads before it is sent, and a session that an
admin opens, sees and cuts.

Bundle: `request_bundle` → a job collects (`sources`) and redacts (`redaction`) → preview → `seal_bundle`.
Session: `sessions` (consent, end, record), `service` (named commands), `vendor` (the other side).
"""

from appliance.support.request import RequestOutOfTime
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
    "Ending",
    "NoVendor",
    "RequestOutOfTime",
    "Session",
    "SessionRefused",
    "cut_session",
    "load_vendor",
    "open_now",
    "open_session",
    "past_sessions",
    "settle_session",
]

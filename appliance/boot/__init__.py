"""Is this boot good? The box must answer a question, not merely start. And why was a release given up?

Order: `breadcrumbs` from the first moment → `checks` in their order → `verdict` → restart, bless or stay up
(`speaking`) → on the next good slot the `story` of the release that failed, kept by `refused`, or where it
had been good by `damaged`; `given_up` has both.
"""

from appliance.boot.damaged import DamagedRelease, damaged_releases, record_damaged
from appliance.boot.given_up import GivenUp, find_given_up, given_up_releases, put_away
from appliance.boot.places import places
from appliance.boot.refused import RefusedRelease, is_refused, refuse_release, refused_releases
from appliance.boot.room_and_clock import is_wrong_clock, room_when_short
from appliance.boot.story import Attempt, Ending, RollbackStory, rollback_story
from appliance.boot.telling import full_text, how_it_ended, paragraph
from appliance.boot.word import Word, read_word

__all__ = [
    "Attempt",
    "DamagedRelease",
    "Ending",
    "GivenUp",
    "RefusedRelease",
    "RollbackStory",
    "Word",
    "damaged_releases",
    "find_given_up",
    "full_text",
    "given_up_releases",
    "how_it_ended",
    "is_refused",
    "is_wrong_clock",
    "paragraph",
    "places",
    "put_away",
    "read_word",
    "record_damaged",
    "refuse_release",
    "refused_releases",
    "rollback_story",
    "room_when_short",
]

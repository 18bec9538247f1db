"""Is this boot good? The box must answer a question, not merely start. And why was a release given up?

Order: `breadcrumbs` from the first moment → `checks` in their order → `verdict` → restart, bless or stay up
(`speaking`) → on the next good slot the `story` of the release that failed, kept by `refused`.
"""

from appliance.boot.places import places
from appliance.boot.refused import (
    RefusedRelease,
    find_refused,
    is_refused,
    mark_seen,
    refuse_release,
    refused_releases,
)
from appliance.boot.story import Attempt, Ending, RollbackStory, rollback_story
from appliance.boot.telling import full_text, how_it_ended, paragraph
from appliance.boot.word import Word, read_word

__all__ = [
    "Attempt",
    "Ending",
    "RefusedRelease",
    "RollbackStory",
    "Word",
    "find_refused",
    "full_text",
    "how_it_ended",
    "is_refused",
    "mark_seen",
    "paragraph",
    "places",
    "read_word",
    "refuse_release",
    "refused_releases",
    "rollback_story",
]

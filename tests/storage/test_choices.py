"""What admins chose survives, and a record that a newer version wrote can be read by an older one."""

import pytest
from pydantic import ValidationError

from appliance.settings import Settings
from appliance.storage import Choice, open_cellule, read_choice, write_choice


class LunchChoice(Choice):
    hour: int = 12


def test_a_choice_is_its_defaults_until_somebody_chose(settings: Settings) -> None:
    with open_cellule(settings.state_dir) as db:
        assert read_choice(db, LunchChoice).hour == 12
        write_choice(db, LunchChoice(hour=13), chosen_by=None)
    with open_cellule(settings.state_dir) as db:
        assert read_choice(db, LunchChoice).hour == 13


def test_a_field_of_a_newer_version_is_ignored_and_a_wrong_one_refused(settings: Settings) -> None:
    with open_cellule(settings.state_dir) as db:
        row = "INSERT INTO choices (subject, value, chosen_at) VALUES ('lunch_choice', ?, 0)"
        db.execute(row, ['{"hour": 14, "dessert": true}'])
        assert read_choice(db, LunchChoice).hour == 14
        db.execute('UPDATE choices SET value = \'{"hour": "soon"}\'')
        with pytest.raises(ValidationError, match="hour"):
            read_choice(db, LunchChoice)

"""Numbers as people type them: each language's way, and whatever a field shows is read back as the same."""

import pytest
from flask_babel import force_locale

from tests.web.conftest import Site
from webadmin.typed_numbers import field_value, typed_number


@pytest.mark.parametrize(
    ("language", "text", "number"),
    [
        ("en", "1,000", 1000.0),
        ("en", "1,200.5", 1200.5),
        ("en", "12,5", 12.5),
        ("fr", "1,000", 1.0),
        ("fr", "1\N{NARROW NO-BREAK SPACE}200,5", 1200.5),
        ("fr", "7.5", 7.5),
    ],
)
def test_a_number_is_read_as_it_was_meant(site: Site, language: str, text: str, number: float) -> None:
    with site.app.test_request_context(), force_locale(language):
        assert typed_number(text) == number


@pytest.mark.parametrize("language", ["en", "fr"])
def test_what_a_field_shows_is_read_back(site: Site, language: str) -> None:
    with site.app.test_request_context(), force_locale(language):
        for number in (0.0, 0.5, 1000.0, 4096.25, 123456.789):
            assert typed_number(field_value(number)) == number


@pytest.mark.parametrize("text", ["", "many", "nan", "inf", "1e999", "1,2,3"])
def test_what_is_no_number_is_refused(site: Site, text: str) -> None:
    with site.app.test_request_context(), pytest.raises(ValueError):
        typed_number(text)

"""From a form's parts to a checked TranscriptionRequest; pool and engine check with the same."""

from appliance.engines.kinds_contract import TranscriptionRequest
from appliance.errors import Refused
from appliance.forms import read_form

_LISTS = ("timestamp_granularities",)


class FormFieldInvalid(Refused):
    """A field stands twice, or is no text."""

    code = "invalid_parameter"


def read_transcription(content_type: bytes, body: bytes) -> TranscriptionRequest:
    """Raises NotAForm, FormFieldInvalid, pydantic.ValidationError."""
    given: dict[str, object] = {}
    for name, value in read_form(content_type, body):
        plain = name.removesuffix("[]")
        if plain in _LISTS:
            listed = given.setdefault(plain, [])
            assert isinstance(listed, list)
            listed.append(value.decode("utf-8", "replace"))
        elif name in given:
            raise FormFieldInvalid(f"The field '{name[:100]}' stands twice in the form.", param=name[:100])
        else:
            given[name] = value if name == "file" else _text(value, name)
    return TranscriptionRequest.model_validate(given)


def _text(value: bytes, name: str) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise FormFieldInvalid(f"The field '{name[:100]}' is not UTF-8.", param=name[:100]) from error

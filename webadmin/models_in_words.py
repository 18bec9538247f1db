"""Models, their gets and their refusals as the pages say them."""

from collections.abc import Collection

from flask_babel import get_locale, gettext, lazy_gettext, ngettext
from flask_babel.speaklater import LazyString

from appliance.clock import now
from appliance.models import (
    Capability,
    CarriedOrder,
    Entry,
    ExpectedSize,
    Get,
    GetState,
    HeldModel,
    HubOrder,
    LifecycleState,
    UploadOrder,
)
from webadmin import figures
from webadmin.box_in_words import in_words
from webadmin.nodes_in_words import Label

CAPABILITIES: dict[str, LazyString] = {
    Capability.CHAT: lazy_gettext("Chat"),
    Capability.TOOLS: lazy_gettext("Tools"),
    Capability.VISION: lazy_gettext("Vision"),
    Capability.REASONING: lazy_gettext("Reasoning"),
    Capability.CODE: lazy_gettext("Code"),
    Capability.EMBEDDINGS: lazy_gettext("Embeddings"),
    Capability.RERANK: lazy_gettext("Reranking"),
    Capability.TRANSCRIPTION: lazy_gettext("Transcription"),
    Capability.IMAGES: lazy_gettext("Images"),
}
_OF_KIND = {
    "text": (Capability.CHAT,),
    "embeddings": (Capability.EMBEDDINGS,),
    "rerank": (Capability.RERANK,),
    "transcription": (Capability.TRANSCRIPTION,),
    "images": (Capability.IMAGES,),
}
ENTRY_FIELDS = {
    "parameters": lazy_gettext("size"),
    "active": lazy_gettext("active parameters"),
    "context_tokens": lazy_gettext("context"),
    "languages": lazy_gettext("languages"),
    "capabilities": lazy_gettext("what it can do"),
    "licence": lazy_gettext("licence"),
    "lifecycle": lazy_gettext("dates"),
    "variants": lazy_gettext("names and sizes of the files"),
}
FORMATS = {"gguf": "GGUF", "openvino": "OpenVINO", "safetensors": "Safetensors"}
ALIAS_MEANINGS = {
    "default": lazy_gettext("for requests that name no other"),
    "code": lazy_gettext("for editors and programming tools"),
    "large": lazy_gettext("for hard questions that may take longer"),
}
STEPS = {
    GetState.RECEIVING: lazy_gettext("waits for its files"),
    GetState.WAITING: lazy_gettext("waits its turn"),
    GetState.FETCHING: lazy_gettext("fetching"),
    GetState.CHECKING: lazy_gettext("checking every byte"),
    GetState.CONVERTING: lazy_gettext("converting to OpenVINO"),
}
TROUBLES: dict[str, LazyString] = {
    "internet_not_allowed": lazy_gettext(
        "Models from the internet are not allowed on this box. Allow them under “Internet and disk”, or bring"
        " the model on a USB stick."
    ),
    "model_name_refused": lazy_gettext(
        "A name has 1 to 64 letters, digits, dots, dashes and underscores, and begins with a letter or digit."
    ),
    "model_in_use": lazy_gettext(
        "It is in use: an alias points to it, or an engine has it loaded. Take it out of use there first."
    ),
    "model_unknown": lazy_gettext("There is no such model on the box any more. Reload the page."),
    "model_get_unknown": lazy_gettext("It has ended already. Reload the page."),
    "model_check_under_way": lazy_gettext("This model is being checked already. Wait until that has ended."),
    "model_get_broken": lazy_gettext(
        "Something went wrong in the box. It was written to the log; tell support if it happens again."
    ),
    "core_stopping": lazy_gettext("The box was restarting; it goes on by itself."),
    "catalogue_entry_unusable": lazy_gettext("A file of the catalogue can't be read."),
    "demo_model_damaged": lazy_gettext("The demo model is damaged. Install the release again."),
}
"""What is known from the code alone; refusals with facts are in the table of sentences."""


def capabilities(model: HeldModel, entry: Entry | None) -> list[str]:
    """What the catalogue says it can do, else what its file shows."""
    if entry is not None:
        found: Collection[Capability] = entry.capabilities
    else:
        found = _OF_KIND.get(model.kind.value, ())
        if model.facts.tools_in_template and Capability.CHAT in found:
            found = (*found, Capability.TOOLS)
    return [str(CAPABILITIES[each]) for each in found]


def lifecycle_label(state: LifecycleState) -> Label | None:
    """None while nothing needs to be said."""
    match state:
        case LifecycleState.CURRENT:
            return None
        case LifecycleState.DEPRECATED:
            return Label(gettext("Deprecated"), "warn")
        case LifecycleState.RETIRED:
            return Label(gettext("Retired"), "bad")


def origin(get: Get) -> str:
    """Where a get takes it from."""
    match get.order:
        case HubOrder() as order:
            return order.repository
        case CarriedOrder() as order:
            return f"{gettext('USB stick') if order.origin == 'stick' else gettext('NAS')} · {order.path}"
        case UploadOrder() as order:
            if len(order.files) == 1:
                return f"{gettext('Upload')} · {order.files[0].path}"
            return f"{gettext('Upload')} · {ngettext('%(num)s file', '%(num)s files', len(order.files))}"


def progress(get: Get) -> str:
    """How far its step is."""
    step = str(STEPS[get.state])
    if get.cancelled:
        return gettext("is being cancelled")
    if not get.size_bytes or get.state is GetState.WAITING:
        return step
    if get.state is GetState.CONVERTING:
        what = in_words(get.sentence)
        return gettext("%(step)s: %(percent)s %%. %(what)s", step=step, percent=get.done_bytes, what=what)
    done, size = figures.size(get.done_bytes), figures.size(get.size_bytes)
    return gettext("%(step)s: %(done)s of %(all)s", step=step, done=done, all=size)


def parameters(billions: float) -> str:
    """8 B, 596 M, 59 K: as these models are called in every language."""
    for letter, unit in (("B", 1.0), ("M", 1e-3)):
        if billions >= unit:
            digits = 1 if letter == "B" or billions < 0.01 else 0
            return f"{figures.decimal(billions / unit, digits)}\N{NO-BREAK SPACE}{letter}"
    return f"{figures.decimal(billions * 1e6, digits=0)}\N{NO-BREAK SPACE}K"


def tokens(count: int) -> str:
    """A context's length."""
    return gettext("%(number)s tokens", number=figures.exact(count))


def expected(size: ExpectedSize | None) -> str:
    """A dash where nobody knows."""
    if size is None:
        return figures.NONE_YET
    told = figures.size(size.weights_bytes)
    return gettext("about %(size)s", size=told) if size.is_estimated else told


def is_soon(at: float | None, within_seconds: float = 180 * 86_400) -> bool:
    """Whether a date of a lifecycle is worth a word."""
    return at is not None and at - now() < within_seconds


def language_named(code: str) -> str:
    """Of ISO 639: fr → French."""
    if code == "multilingual":
        return gettext("many languages")
    return str(get_locale().languages.get(code, code))

"""The OpenAPI description is valid, complete, and says what the checks check."""

import schemathesis
from jsonschema_rs import Draft202012Validator
from schemathesis.core.result import Ok

from tests.pool.conftest import Box


def test_the_description_is_openapi_3_1_with_every_reference_resolved(box: Box) -> None:
    document = box.get("/openapi.json").json()
    assert document["openapi"] == "3.1.0"
    operations = {
        (result.ok().method, result.ok().path)
        for result in schemathesis.openapi.from_dict(document).get_all_operations()
        if isinstance(result, Ok)
    }
    assert operations == {
        ("post", "/v1/chat/completions"),
        ("post", "/v1/completions"),
        ("post", "/v1/embeddings"),
        ("post", "/v1/rerank"),
        ("post", "/v1/audio/transcriptions"),
        ("post", "/v1/images/generations"),
        ("get", "/v1/models"),
        ("get", "/v1/models/{model}"),
    }
    for schema in document["components"]["schemas"].values():
        Draft202012Validator(schema | {"components": document["components"]})
    for operation in document["paths"]["/v1/chat/completions"].values():
        assert {"400", "401", "403", "404", "413", "429", "503"} <= set(operation["responses"])


def test_a_refusal_is_as_described(box: Box) -> None:
    document = box.get("/openapi.json").json()
    schema = document["components"]["schemas"]["ErrorBody"] | {"components": document["components"]}
    Draft202012Validator(schema).validate(box.get("/v1/models").json())

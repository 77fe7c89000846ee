"""The API's own description, OpenAPI 3.1, made from what serves and validates it.

An `Operation` registers a route and describes it, so the document cannot say anything else than
what the desk does.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Generic, Literal, TypeVar

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.json_schema import models_json_schema

from broadcaster.desk.deps import DESK, Desk
from broadcaster.desk.middleware import STATUS
from broadcaster.desk.session import cookie_name, require_person
from broadcaster.errors import Kind, Refusal
from broadcaster.roster import Person

VERSION = "1.0.0"

B = TypeVar("B", bound=BaseModel)
Json = dict[str, Any]
#: Where the document holds a model's schema, by the model and whether it is read or written.
Named = dict[Any, Json]


class Nothing(BaseModel):
    """A body without fields."""

    model_config = ConfigDict(extra="forbid")


class Problem(BaseModel):
    """How every refusal is said (RFC 9457). Further members are facts that help to go on."""

    model_config = ConfigDict(extra="allow")

    title: str = Field(description="The status in words.")
    status: int
    code: str = Field(description="Stable: what a program may decide by.")
    why: str = Field(description="What happened and why, a sentence for a person.")
    do: str = Field(description="What to do about it, a sentence for a person.")
    field: str | None = Field(default=None, description="The field at fault, where there is one.")


@dataclass(frozen=True)
class Call(Generic[B]):
    """One call of an operation by somebody signed in."""

    request: web.Request
    desk: Desk
    person: Person
    body: B

    def part(self, name: str) -> str:
        """A part of the address."""
        return self.request.match_info[name]


async def of_session(request: web.Request, body: BaseModel) -> Person:
    """Who calls: whoever is signed in. Raises SignInFirst."""
    return require_person(request)


@dataclass(frozen=True)
class Operation(Generic[B]):
    """One thing that a program may ask of the desk."""

    method: Literal["GET", "POST"]
    path: str
    name: str
    summary: str
    body: type[B]
    answer: type[BaseModel]
    handle: Callable[[Call[B]], Awaitable[BaseModel]]
    refuses: tuple[Kind, ...] = ()
    status: int = 200
    query: tuple[tuple[str, Sequence[str], str], ...] = ()  #: name, the values it may have, why
    #: Who calls, where something in the body says so instead of a session. Raises Refusal.
    who: Callable[[web.Request, B], Awaitable[Person]] = of_session

    def route(self) -> web.RouteDef:
        async def handler(request: web.Request) -> web.StreamResponse:
            if self.who is of_session:
                require_person(request)  # a stranger is told nothing about the body
            body = await read(request, self.body)
            person = await self.who(request, body)
            answer = await self.handle(Call(request, request.app[DESK], person, body))
            return said(answer, self.status)

        return web.route(self.method, self.path, handler)


def said(answer: BaseModel, status: int) -> web.Response:
    return web.Response(
        text=answer.model_dump_json(), status=status, content_type="application/json"
    )


async def read(request: web.Request, model: type[B]) -> B:
    """The body as the model says. Raises Refusal `not_json` or `invalid_field`, quoting nothing."""
    raw = b"" if request.method == "GET" else await request.read()
    try:
        return model.model_validate_json(raw or b"{}")
    except ValidationError as error:
        first = error.errors(include_input=False, include_context=False, include_url=False)[0]
        if first["type"] == "json_invalid":
            raise Refusal(
                "not_json", "This message is not JSON in UTF-8, or is nested too deep.",
                "Send one JSON object as /api/v1/openapi.json describes it.",
            ) from None  # fmt: skip
        name = ".".join(str(part) for part in first["loc"]) or "body"
        raise Refusal(
            "invalid_field",
            f"The field {name} cannot be used: {_plain(first['type'], first['msg'])}.",
            "Mend it as /api/v1/openapi.json describes it, and send it again.",
            field=name,
        ) from None


def _plain(kind: str, message: str) -> str:
    return {"missing": "it is missing", "extra_forbidden": "there is no such field"}.get(
        kind, message[0].lower() + message[1:]
    )


# --- The document -----------------------------------------------------------------------------


@dataclass(frozen=True)
class SignedOperation:
    """The one operation that is proved by a signature instead of a session."""

    path: str
    name: str
    summary: str
    answer: type[BaseModel]
    refuses: tuple[Kind, ...]


def document(desk: Desk, operations: Sequence[Operation[Any]], signed: SignedOperation) -> Json:
    """The whole OpenAPI document. Bodies and answers are the models that validate them."""
    bodies: set[type[BaseModel]] = {o.body for o in operations} | {desk.intake.schema}
    answers: set[type[BaseModel]] = {o.answer for o in operations} | {signed.answer, Problem}
    said, definitions = models_json_schema(
        [
            *((model, "validation") for model in sorted(bodies, key=_name)),
            *((model, "serialization") for model in sorted(answers, key=_name)),
        ],
        ref_template="#/components/schemas/{model}",
    )
    named: Named = dict(said)
    paths: dict[str, Json] = {
        signed.path: {"post": _signed(desk, signed, named)},
    }
    for operation in operations:
        entry = paths.setdefault(operation.path, {})
        entry[operation.method.lower()] = _described(operation, named)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Incident alert broadcaster",
            "version": VERSION,
            "description": "Reports come in signed; everything else is done by a person who is "
            "signed in. A program that is no browser sends `application/json` and "
            "`X-Broadcaster: 1` with each change.",
        },
        "externalDocs": {
            "url": f"{desk.address}/api/v1/asyncapi.json",
            "description": "The topics for programs outside: AsyncAPI 3.0.",
        },
        "servers": [{"url": desk.address}],
        "paths": paths,
        "components": {
            "schemas": definitions["$defs"],
            "securitySchemes": {
                "session": {
                    "type": "apiKey", "in": "cookie",
                    "name": cookie_name(desk),
                    "description": "The cookie of somebody who is signed in.",
                },
                "signature": {
                    "type": "apiKey", "in": "header", "name": "webhook-signature",
                    "description": "Standard Webhooks: webhook-id, webhook-timestamp and "
                    "webhook-signature over the raw bytes, with a secret of the source "
                    "(BROADCASTER_INTAKE_SECRETS).",
                },
            },
        },
    }  # fmt: skip


def _name(model: type[BaseModel]) -> str:
    return f"{model.__module__}.{model.__qualname__}"


def _described(operation: Operation[Any], named: Named) -> Json:
    entry: Json = {
        "operationId": operation.name,
        "summary": operation.summary,
        "security": [{"session": []}] if operation.who is of_session else [],
        "responses": _responses(
            operation.status, named[(operation.answer, "serialization")],
            (Kind.UNKNOWN, Kind.UNAVAILABLE, *operation.refuses), named,
        ),
    }  # fmt: skip
    parts = [part[1:-1] for part in operation.path.split("/") if part.startswith("{")]
    parameters: list[Json] = [
        {"name": part, "in": "path", "required": True, "schema": {"type": "string"}}
        for part in parts
    ]
    parameters += [
        {"name": name, "in": "query", "description": why,
         "schema": {"type": "string", "enum": list(values)}}
        for name, values, why in operation.query
    ]  # fmt: skip
    if parameters:
        entry["parameters"] = parameters
    if operation.body is not Nothing:
        entry["requestBody"] = _content(named[(operation.body, "validation")])
    return entry


def _signed(desk: Desk, signed: SignedOperation, named: Named) -> Json:
    return {
        "operationId": signed.name,
        "summary": signed.summary,
        "security": [{"signature": []}],
        "parameters": [
            {"name": name, "in": "header", "required": True, "schema": {"type": "string"},
             "description": why}
            for name, why in (
                ("webhook-id", "The same as the body's id."),
                ("webhook-timestamp", "Seconds since 1970, at most 5 minutes from our time."),
                ("webhook-signature", "`v1,` and base64 of HMAC-SHA256 over `id.timestamp.body`."),
            )
        ]
        + [
            {"name": "traceparent", "in": "header", "schema": {"type": "string"},
             "description": "W3C Trace Context: its trace id is kept with the report, and stands "
             "in the log at all that follows from it. Without one, or with one that is ill "
             "formed, a trace begins here."}
        ],
        "requestBody": _content(named[(desk.intake.schema, "validation")]),
        "responses": {
            **_responses(202, named[(signed.answer, "serialization")], signed.refuses, named),
            "200": _answer("The same report as before: the first answer again.",
                           named[(signed.answer, "serialization")]),
        },
    }  # fmt: skip


def _responses(status: int, answer: Json, refuses: Sequence[Kind], named: Named) -> Json:
    said = {str(status): _answer(HTTPStatus(status).phrase, answer)}
    problem = named[(Problem, "serialization")]
    codes = {STATUS[kind] for kind in refuses}
    if Kind.INVALID in refuses:
        codes.add(400)
    for code in sorted(codes):
        said[str(code)] = _answer(
            HTTPStatus(code).phrase, problem, media="application/problem+json"
        )
    return said


def _answer(description: str, schema: Json, media: str = "application/json") -> Json:
    return {"description": description, "content": {media: {"schema": schema}}}


def _content(schema: Json) -> Json:
    return {"required": True, "content": {"application/json": {"schema": schema}}}

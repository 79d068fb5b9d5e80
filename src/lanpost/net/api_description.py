"""The registration API as OpenAPI 3.1 describes it: what `/v1/openapi.json` answers."""

from __future__ import annotations

from typing import Any

from lanpost import __version__

_BINDING = {"$ref": "#/components/schemas/Binding"}
_SECRET: list[dict[str, list[str]]] = [{"secret": []}]
_ADDRESS = {
    "name": "address",
    "in": "path",
    "required": True,
    "description": "Mail address, percent-encoded, or a terminal name, which is completed with the domain.",
    "schema": {"type": "string", "examples": ["fax1", "fax1@office.lan"]},
}

_PREFER = {
    "name": "Prefer",
    "in": "header",
    "description": "`handling=lenient`: fields that this version does not know are left aside, not refused.",
    "schema": {"type": "string", "examples": ["handling=lenient"]},
}


def _json(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _text(description: str, media_type: str) -> dict[str, Any]:
    return {"description": description, "content": {media_type: {"schema": {"type": "string"}}}}


def _problems(**meanings: str) -> dict[str, Any]:
    problems = {
        **meanings,
        "s503": "The chart cannot be asked or written now; Retry-After says when to try again.",
    }
    schema = {"schema": {"$ref": "#/components/schemas/Problem"}}
    return {
        name[1:]: {"description": meaning, "content": {"application/problem+json": schema}}
        for name, meaning in problems.items()
    }


_NO_PROGRAM = "The server was not installed from such a file, or nobody signed it."


def _beside_program(operation: str, summary: str) -> dict[str, Any]:
    responses = {"200": _text("It.", "text/plain"), **_problems(s404=_NO_PROGRAM)}
    return {"get": {"operationId": operation, "summary": summary, "responses": responses}}


_REFUSALS = {
    "s401": "No secret, or a wrong one.",
    "s403": "The secret is of another terminal, or the request came by plain HTTP from another machine.",
    "s404": "Not enrolled, or not bound.",
    "s429": "Too many wrong secrets from this machine; Retry-After says when to try again.",
}

DESCRIPTION: dict[str, Any] = {
    "openapi": "3.1.0",
    "info": {
        "title": "lanpost registration API",
        "version": __version__,
        "description": (
            "A terminal says where it is each time it is given a network address. HTTPS with the server's own CA "
            "(`/v1/ca.pem`); plain HTTP is answered on loopback only."
        ),
    },
    "paths": {
        "/v1/bindings": {
            "get": {
                "operationId": "listBindings",
                "summary": "The whole chart, by address; for administrators",
                "security": _SECRET,
                "responses": {
                    "200": _json(
                        "Every known address, bound or not.",
                        {
                            "type": "object",
                            "required": ["bindings"],
                            "properties": {
                                "bindings": {"type": "array", "items": {"$ref": "#/components/schemas/Entry"}}
                            },
                        },
                    ),
                    **_problems(**{name: _REFUSALS[name] for name in ("s401", "s403", "s429")}),
                },
            }
        },
        "/v1/leases": {
            "post": {
                "operationId": "tellLease",
                "summary": "A DHCP server says what became of an address",
                "description": (
                    "For accounts that speak for others, and administrators. The terminal is found by hardware "
                    "address, else by client identifier, else by host name; of machines that are no terminals "
                    "nothing is kept. A binding made by hand or by the terminal itself is not moved; one to an "
                    "address that another machine has now, or that was taken back, is dropped."
                ),
                "security": _SECRET,
                "parameters": [_PREFER],
                "requestBody": {
                    "required": True,
                    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Lease"}}},
                },
                "responses": {
                    "200": _json("The binding that was made or renewed.", _BINDING),
                    "204": {"description": "Heard; no binding was made of it."},
                    **_problems(
                        s400="The body is not a JSON object.",
                        s401=_REFUSALS["s401"],
                        s403="The secret is of an account that speaks for itself only.",
                        s422="A field that is wrong; `detail` names it.",
                        s429=_REFUSALS["s429"],
                    ),
                },
            }
        },
        "/v1/bindings/{address}": {
            "parameters": [_ADDRESS],
            "put": {
                "operationId": "bind",
                "summary": "Register: mail for the address goes to this machine from now on",
                "description": (
                    "Repeated, it renews the binding and is a sign of life: mail held for the terminal is sent at "
                    "once. The endpoint is the address the request comes from; only those who speak for others and "
                    "administrators may name another. Where the server lets strangers claim free addresses, the "
                    "first request needs no secret and is answered with a key, to be shown as the secret later."
                ),
                "security": [*_SECRET, {}],
                "parameters": [_PREFER],
                "requestBody": {
                    "required": False,
                    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Registration"}}},
                },
                "responses": {
                    "200": _json("The binding now in force.", _BINDING),
                    "201": _json(
                        "A free address was claimed. `key` is told this once.",
                        {
                            "allOf": [
                                _BINDING,
                                {"type": "object", "required": ["key"], "properties": {"key": {"type": "string"}}},
                            ]
                        },
                    ),
                    **_problems(
                        s400="The body is not JSON.",
                        **_REFUSALS,
                        s408="The body came too slowly.",
                        s409="The address is a person's mailbox, or belongs to somebody else.",
                        s413="The body is too long.",
                        s422="An address, endpoint, port or lifetime that is not to be had.",
                    ),
                },
            },
            "get": {
                "operationId": "getBinding",
                "summary": "The binding, live or expired; for the terminal itself and administrators",
                "security": _SECRET,
                "responses": {"200": _json("The binding.", _BINDING), **_problems(**_REFUSALS)},
            },
            "delete": {
                "operationId": "unbind",
                "summary": "Say goodbye: mail for the address is held until it registers again",
                "security": _SECRET,
                "responses": {"204": {"description": "The address has no binding now."}, **_problems(**_REFUSALS)},
            },
        },
        "/v1/ca.pem": {
            "get": {
                "operationId": "getCa",
                "summary": "The CA certificate; its SHA-256 (DER) is the pin in enrolment tokens",
                "responses": {"200": _text("The certificate.", "application/x-pem-file")},
            }
        },
        "/v1/openapi.json": {
            "get": {
                "operationId": "getDescription",
                "summary": "This description",
                "responses": {"200": _json("OpenAPI 3.1.", {"type": "object"})},
            }
        },
        "/healthz": {
            "get": {
                "operationId": "getHealth",
                "summary": "Whether the server serves",
                "responses": {
                    "200": _json("It does.", {"type": "object", "properties": {"status": {"const": "ok"}}}),
                    **_problems(),
                },
            }
        },
        "/metrics": {
            "get": {
                "operationId": "getMetrics",
                "summary": "Counters and gauges for Prometheus",
                "responses": {"200": _text("Exposition format 0.0.4.", "text/plain")},
            }
        },
        "/lanpost.pyz": {
            "get": {
                "operationId": "getProgram",
                "summary": "The program in one file, as this server runs it; with ranges",
                "responses": {
                    "200": {
                        "description": "The whole file; its ETag is its SHA-256.",
                        "content": {"application/zip": {"schema": {"type": "string", "format": "binary"}}},
                    },
                    "206": {"description": "The range that was asked for."},
                    "304": {"description": "It is the one that If-None-Match names."},
                    "416": {"description": "No range of this file."},
                    **_problems(s404=_NO_PROGRAM, s503="Too many are being sent it; see Retry-After."),
                },
            }
        },
        "/lanpost.pyz.sha256": _beside_program("getProgramDigest", "Its SHA-256, as sha256sum --check reads it"),
        "/lanpost.pyz.sig": _beside_program(
            "getProgramSignature", "This server's signature, for ssh-keygen -Y verify"
        ),
        "/lanpost.pyz.signers": _beside_program(
            "getProgramSigners", "This server's key, as a line of allowed_signers(5)"
        ),
        "/lanpost.pyz.publisher.sig": _beside_program(
            "getPublisherSignature", "The signature of whoever published the file, where it came with one"
        ),
    },
    "components": {
        "securitySchemes": {
            "secret": {
                "type": "http",
                "scheme": "bearer",
                "description": (
                    "A terminal's secret, from its enrolment token; the whole token is taken too. Administrators: "
                    "the line in `admin.token` in the server's data folder."
                ),
            }
        },
        "schemas": {
            "Registration": {
                "type": "object",
                "additionalProperties": False,
                "properties": {
                    "port": {
                        "type": "integer",
                        "minimum": 1,
                        "maximum": 65535,
                        "default": 25,
                        "description": "Where SMTP is spoken.",
                    },
                    "lifetime": {
                        "type": "string",
                        "examples": ["24h"],
                        "description": "Number and unit of ms, s, m, h, d, w. The server may shorten it.",
                    },
                    "endpoint": {
                        "type": "string",
                        "examples": ["10.0.0.7:25", "[2001:db8::7]:25"],
                        "description": "IP address and port; its port counts, not `port`, where it names one.",
                    },
                    "key": {
                        "type": "string",
                        "pattern": "^[A-Za-z0-9_-]{32,256}$",
                        "description": (
                            "For a claim: random, chosen by the claimant and kept before it asks, so that a lost "
                            "answer costs nothing. Left out, the server makes one."
                        ),
                    },
                    "proof": {
                        "type": "string",
                        "examples": ["tls:" + 64 * "0", "greeting:fax1.office.lan"],
                        "description": (
                            "What whoever answers there shows before it is given mail: behind STARTTLS the "
                            "certificate with this SHA-256 (DER), or this name in its greeting."
                        ),
                    },
                },
            },
            "Lease": {
                "type": "object",
                "required": ["event", "address"],
                "properties": {
                    "event": {"enum": ["bound", "renewed", "released", "expired", "declined"]},
                    "address": {"type": "string", "examples": ["10.0.0.7", "2001:db8::7"]},
                    "mac": {"type": "string", "examples": ["00:11:22:33:44:55"]},
                    "client_id": {
                        "type": "string",
                        "examples": ["01001122334455"],
                        "description": "Hexadecimal: DHCPv4's option 61, DHCPv6's DUID.",
                    },
                    "hostname": {"type": "string", "description": "Its first label counts."},
                    "lifetime": {
                        "type": "number",
                        "description": "Seconds of the lease; none, or 4294967295: it has no end.",
                    },
                    "age": {
                        "type": "number",
                        "default": 0,
                        "description": "Seconds since it happened; what is known to be newer stands.",
                    },
                },
            },
            "Binding": {
                "type": "object",
                "required": ["address", "endpoint", "updated", "expires", "source", "live"],
                "properties": {
                    "address": {"type": "string"},
                    "endpoint": {"type": "string", "examples": ["10.0.0.7:25"]},
                    "updated": {"type": "string", "format": "date-time"},
                    "expires": {
                        "type": ["string", "null"],
                        "format": "date-time",
                        "description": "null: never, set by an administrator.",
                    },
                    "source": {"enum": ["agent", "administrator", "dhcp", "smtp", "ldap"]},
                    "live": {"type": "boolean", "description": "Not expired: mail is sent there."},
                    "proof": {"type": "string", "description": "As registered; not there where nothing was."},
                    "refresh_key": {
                        "type": "string",
                        "contentEncoding": "base64",
                        "description": "Ed25519 public key of the server's refresh requests; in answers to PUT.",
                    },
                },
            },
            "Entry": {
                "anyOf": [
                    _BINDING,
                    {
                        "type": "object",
                        "required": ["address", "endpoint"],
                        "properties": {"address": {"type": "string"}, "endpoint": {"type": "null"}},
                    },
                ]
            },
            "Problem": {
                "type": "object",
                "description": "RFC 9457",
                "required": ["type", "title", "status", "detail"],
                "properties": {
                    "type": {"type": "string", "format": "uri-reference"},
                    "title": {"type": "string"},
                    "status": {"type": "integer"},
                    "detail": {"type": "string", "description": "What is wrong and what to do."},
                },
            },
        },
    },
}

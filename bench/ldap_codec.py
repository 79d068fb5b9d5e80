"""The LDAP codec beside those of ldap3, ldaptor and sansldap: `python -m bench.ldap_codec`.

One search as the chart is asked by it, its entry and its end, decoded and encoded again and again in one thread.
Rounds of all codecs in turn, the best of each: noise only ever adds. What each gives differs: ours, ldaptor and
sansldap give typed messages; ldap3's fast decoder gives a tree that a second step interprets, which has a row of
its own; to read requests ldap3 has only pyasn1, with which it also writes, here from a message built already.
"""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Callable
from typing import Any

from lanpost.wire.ldap_decode import decode_message
from lanpost.wire.ldap_encode import encode_attribute, encode_message, encode_search_done, encode_search_entry
from lanpost.wire.ldap_filter import Equals
from lanpost.wire.ldap_messages import Message, Result, Scope, SearchDone, SearchEntry, SearchRequest
from lanpost.wire.ldap_server import LdapServer

ROUNDS = 15
SECONDS = 0.02  # of one round
NAME = "cn=fax1,ou=chart,dc=office,dc=lan"
ATTRIBUTES = (
    ("ipHostNumber", (b"192.168.100.107",)),
    ("lanpostPort", (b"25",)),
    ("mailLocalAddress", (b"terminal1@office.lan",)),
)
REQUEST = Message(
    7,
    SearchRequest(
        "ou=chart,dc=office,dc=lan",
        Scope.SUBTREE,
        Equals("mailLocalAddress", b"terminal1@office.lan"),
        tuple(name for name, _ in ATTRIBUTES),
    ),
)
ENTRY = Message(7, SearchEntry(NAME, ATTRIBUTES))
DONE = Message(7, SearchDone(Result()))
IN_FLIGHT = 64

Work = Callable[[], object]
Codec = dict[str, Work]  # by task
TASKS = (
    "decode the request",
    "decode the entry",
    "decode the entry, interpreted",
    "decode the end",
    "encode the request",
    "encode the entry",
    "encode the entry, attributes kept encoded",
    "encode the end",
    "a server's session: take and answer one search",
)


def ours() -> Codec:
    request, entry, done = encode_message(REQUEST), encode_message(ENTRY), encode_message(DONE)
    kept = b"".join(encode_attribute(name, values) for name, values in ATTRIBUTES)
    chunk = b"".join(encode_message(Message(number, REQUEST.operation)) for number in range(1, IN_FLIGHT + 1))
    session = LdapServer()

    def serve() -> None:
        session.receive_data(chunk)
        while (event := session.next_event()) is not None:
            answer = encode_search_entry(event.id, NAME, kept) + encode_search_done(event.id)
            session.send_encoded(answer, event.id)
        session.data_to_send()

    return {
        "decode the request": lambda: decode_message(request),
        "decode the entry": lambda: decode_message(entry),
        "decode the entry, interpreted": lambda: decode_message(entry),
        "decode the end": lambda: decode_message(done),
        "encode the request": lambda: encode_message(REQUEST),
        "encode the entry": lambda: encode_message(ENTRY),
        "encode the entry, attributes kept encoded": lambda: encode_search_entry(7, NAME, kept),
        "encode the end": lambda: encode_search_done(7),
        "a server's session: take and answer one search": serve,
    }


def ldap3() -> Codec:
    asn1 = importlib.import_module("ldap3.utils.asn1")
    search = importlib.import_module("ldap3.operation.search")
    specification = importlib.import_module("ldap3.protocol.rfc4511").LDAPMessage()
    decoder = importlib.import_module("pyasn1.codec.ber.decoder")
    request, entry, done = encode_message(REQUEST), encode_message(ENTRY), encode_message(DONE)
    request_message = decoder.decode(request, asn1Spec=specification)[0]
    entry_message = decoder.decode(entry, asn1Spec=specification)[0]
    done_message = decoder.decode(done, asn1Spec=specification)[0]

    def interpreted() -> object:
        found = asn1.decode_message_fast(entry)
        return search.search_result_entry_response_to_dict_fast(found["payload"], None, None, check_names=False)

    return {
        "decode the request": lambda: decoder.decode(request, asn1Spec=specification),
        "decode the entry": lambda: asn1.decode_message_fast(entry),
        "decode the entry, interpreted": interpreted,
        "decode the end": lambda: asn1.decode_message_fast(done),
        "encode the request": lambda: asn1.encode(request_message),
        "encode the entry": lambda: asn1.encode(entry_message),
        "encode the end": lambda: asn1.encode(done_message),
    }


def ldaptor() -> Codec:
    pureber: Any = importlib.import_module("ldaptor.protocols.pureber")
    pureldap: Any = importlib.import_module("ldaptor.protocols.pureldap")
    server: Any = importlib.import_module("ldaptor.protocols.ldap.ldapserver")
    client: Any = importlib.import_module("ldaptor.protocols.ldap.ldapclient")
    at_server, at_client = server.BaseLDAPServer.berdecoder, client.LDAPClient.berdecoder
    request, entry, done = encode_message(REQUEST), encode_message(ENTRY), encode_message(DONE)
    messages = [
        pureber.berDecodeObject(context, data)[0]
        for context, data in ((at_server, request), (at_client, entry), (at_client, done))
    ]
    assert isinstance(messages[1].value, pureldap.LDAPSearchResultEntry)
    return {
        "decode the request": lambda: pureber.berDecodeObject(at_server, request),
        "decode the entry": lambda: pureber.berDecodeObject(at_client, entry),
        "decode the end": lambda: pureber.berDecodeObject(at_client, done),
        "encode the request": messages[0].toWire,
        "encode the entry": messages[1].toWire,
        "encode the end": messages[2].toWire,
    }


def sansldap() -> Codec:
    internal: Any = importlib.import_module("sansldap._messages")
    reader = importlib.import_module("sansldap.asn1").ASN1Reader
    options = internal.PackingOptions()
    request, entry, done = encode_message(REQUEST), encode_message(ENTRY), encode_message(DONE)

    def decode(data: bytes) -> Any:
        return internal.unpack_ldap_message(reader(data), options)

    messages = [decode(data) for data in (request, entry, done)]
    return {
        "decode the request": lambda: decode(request),
        "decode the entry": lambda: decode(entry),
        "decode the end": lambda: decode(done),
        "encode the request": lambda: messages[0].pack(options),
        "encode the entry": lambda: messages[1].pack(options),
        "encode the end": lambda: messages[2].pack(options),
    }


def microseconds(work: Work) -> float:
    """For one call, of one round."""
    count = 0
    begun = now = time.perf_counter()
    while now - begun < SECONDS:
        for _ in range(10):
            work()
        count += 10
        now = time.perf_counter()
    return (now - begun) / count * 1e6


def main() -> int:
    """Status 1 when a peer could not be measured."""
    codecs: dict[str, Codec] = {"lanpost": ours()}
    missing = []
    for load in (ldap3, ldaptor, sansldap):
        try:
            codecs[load.__name__] = load()
        except ImportError as error:
            missing.append(f"  NOT MEASURED: {load.__name__}: {error} (make bench installs requirements/bench.txt)")
    octets = len(encode_message(REQUEST)), len(encode_message(ENTRY)), len(encode_message(DONE))
    print("  microseconds; in brackets: how many times longer than ours")
    print(f"  request {octets[0]} octets, entry {octets[1]}, end {octets[2]}\n")
    print(f"  {'':47}" + "".join(f"{name:>17}" for name in codecs), flush=True)
    for task in TASKS:
        best = {name: float("inf") for name, codec in codecs.items() if task in codec}
        for _ in range(ROUNDS):
            for name in best:
                best[name] = min(best[name], microseconds(codecs[name][task]))
        if task.startswith("a server"):
            best = {name: each / IN_FLIGHT for name, each in best.items()}
        cells = [_cell(best.get(name), best["lanpost"]) for name in codecs]
        print(f"  {task:47}" + "".join(cells), flush=True)
    print(*missing, sep="\n", end="\n" if missing else "")
    return 1 if missing else 0


def _cell(found: float | None, own: float) -> str:
    if found is None:
        return f"{'':>17}"
    return f"{found:9.2f}" + (f"{f'({found / own:.1f})':>8}" if found != own else " " * 8)


if __name__ == "__main__":
    sys.exit(main())

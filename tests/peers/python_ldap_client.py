"""Run by /usr/bin/python3, which has Debian's python-ldap: what it is told of one directory, as JSON lines.

python_ldap_client.py URL CA_FILE CERTIFICATE_FILE PASSWORD dialogue | follow
"""

from __future__ import annotations

import json
import sys
import uuid
from typing import Any

import ldap
import ldap.extop.dds
import ldap.ldapobject
import ldap.modlist
import ldap.sasl
import ldap.schema
import ldap.syncrepl
from ldap.controls.libldap import SimplePagedResultsControl

BASE = "ou=chart,dc=office,dc=lan"
ADMIN = "cn=admin,dc=office,dc=lan"
ENTRY = f"cn=judge1,{BASE}"


def say(what: str, value: object) -> None:
    print(json.dumps([what, value]), flush=True)


def plain(found: list[tuple[str, dict[str, list[bytes]]]]) -> list[Any]:
    return [
        [name, {key: [each.decode() for each in values] for key, values in entry.items()}] for name, entry in found
    ]


class Follower(ldap.ldapobject.SimpleLDAPObject, ldap.syncrepl.SyncreplConsumer):  # type: ignore[misc]
    """Keeps a copy by RFC 4533, and tells what it is told."""

    cookie: str | None = None
    names: dict[str, str]

    def syncrepl_get_cookie(self) -> str | None:
        return self.cookie

    def syncrepl_set_cookie(self, cookie: str) -> None:
        self.cookie = cookie

    def syncrepl_entry(self, name: str, entry: dict[str, list[bytes]], identity: str) -> None:
        self.names[str(uuid.UUID(identity))] = name
        say("entry", plain([(name, entry)])[0])

    def syncrepl_delete(self, identities: list[str]) -> None:
        say("deleted", [self.names.pop(str(uuid.UUID(each))) for each in identities])

    def syncrepl_present(self, identities: list[str] | None, refreshDeletes: bool = False) -> None:  # noqa: N803
        if identities is None:  # the end of it; before that it is called for each entry that was told
            say("present", refreshDeletes)

    def syncrepl_refreshdone(self) -> None:
        say("refreshed", bool(self.cookie))


def dialogue(url: str, certificate_file: str, password: str) -> None:
    connection = ldap.initialize(url)
    connection.start_tls_s()
    connection.simple_bind_s(ADMIN, password)
    say("who", connection.whoami_s())
    read_schema(connection)
    attributes = {
        "objectClass": [b"device", b"lanpostTerminal", b"ipHost"],
        "cn": [b"judge1"],
        "ipHostNumber": [b"10.0.7.1"],
        "telephoneNumber": [b"+49 30 1"],
        "lanpostExpires": [b"20991231235959Z"],
    }
    connection.add_s(ENTRY, ldap.modlist.addModlist(attributes))
    say("added", plain(connection.search_s(ENTRY, ldap.SCOPE_BASE, attrlist=["cn", "mailHost", "telephoneNumber"])))
    (_, old), *_ = connection.search_s(ENTRY, ldap.SCOPE_BASE, attrlist=["ipHostNumber", "telephoneNumber"])
    new = {"ipHostNumber": [b"10.0.7.2"], "telephoneNumber": [b"+49 30 1", b"+49 30 2"]}
    connection.modify_s(ENTRY, ldap.modlist.modifyModlist(old, new))
    say("modified", plain(connection.search_s(BASE, ldap.SCOPE_ONELEVEL, "(cn=judge1)", list(new))))
    say("compared", [connection.compare_s(ENTRY, "mailHost", value) for value in (b"[10.0.7.2]", b"[10.0.7.1]")])
    refresh = ldap.extop.dds.RefreshRequest(entryName=ENTRY, requestTtl=5000)
    refreshed = connection.extop_s(refresh, extop_resp_class=ldap.extop.dds.RefreshResponse)
    say("refreshed", refreshed.responseTtl)
    pages(connection)
    for name, call in (
        ("renamed", lambda: connection.rename_s(ENTRY, "cn=judge2")),
        ("added twice", lambda: connection.add_s(ENTRY, ldap.modlist.addModlist(attributes))),
        ("found nowhere", lambda: connection.search_s(f"cn=nobody,{BASE}", ldap.SCOPE_BASE)),
        ("deleted", lambda: connection.delete_s(ENTRY)),
        ("deleted twice", lambda: connection.delete_s(ENTRY)),
    ):
        try:
            call()  # type: ignore[no-untyped-call]
        except ldap.LDAPError as error:
            say(name, type(error).__name__)
        else:
            say(name, "")
    connection.unbind_s()
    by_certificate(url, certificate_file)


def read_schema(connection: Any) -> None:
    name = connection.search_subschemasubentry_s()
    schema = ldap.schema.SubSchema(connection.read_subschemasubentry_s(name), check_uniqueness=2)
    classes = [schema.get_obj(ldap.schema.ObjectClass, oid) for oid in schema.listall(ldap.schema.ObjectClass)]
    undefined = {
        attribute
        for each in classes
        for attribute in (*each.must, *each.may)
        if schema.get_obj(ldap.schema.AttributeType, attribute) is None
    }
    must, may = schema.attribute_types(["device", "ipHost", "lanpostTerminal"])
    say("schema", [sorted(undefined), sorted(name for each in must.values() for name in each.names), len(may) > 10])


def pages(connection: Any) -> None:
    control = SimplePagedResultsControl(True, size=4, cookie="")
    found = []
    while True:
        number = connection.search_ext(BASE, ldap.SCOPE_ONELEVEL, "(cn=scan*)", ["cn"], serverctrls=[control])
        _, entries, _, controls = connection.result3(number)
        found.append(sorted(entry["cn"][0].decode() for _, entry in entries))
        (answer,) = [each for each in controls if each.controlType == SimplePagedResultsControl.controlType]
        if not answer.cookie:
            break
        control.cookie = answer.cookie
    say("pages", found)


def by_certificate(url: str, certificate_file: str) -> None:
    ldap.set_option(ldap.OPT_X_TLS_CERTFILE, certificate_file)
    ldap.set_option(ldap.OPT_X_TLS_KEYFILE, certificate_file)
    ldap.set_option(ldap.OPT_X_TLS_NEWCTX, 0)
    connection = ldap.initialize(url.replace("ldap:", "ldaps:"))
    connection.sasl_interactive_bind_s("", ldap.sasl.external())
    say("certified", connection.whoami_s())


def follow(url: str) -> None:
    connection = Follower(url)
    connection.names = {}
    number = connection.syncrepl_search(
        BASE, ldap.SCOPE_SUBTREE, mode="refreshAndPersist", filterstr="(cn=judge*)", attrlist=["ipHostNumber"]
    )
    while connection.syncrepl_poll(msgid=number, all=1, timeout=None):
        pass


def main() -> None:
    url, ca_file, certificate_file, password, what = sys.argv[1:]
    ldap.set_option(ldap.OPT_X_TLS_CACERTFILE, ca_file)
    ldap.set_option(ldap.OPT_NETWORK_TIMEOUT, 20)
    if what == "dialogue":
        dialogue(url, certificate_file, password)
    else:
        follow(url)


if __name__ == "__main__":
    main()

"""The schema of the directory that we serve: attribute types with their matching rules, and object classes.

Standard ones as RFC 4519, RFC 4512 and others define them, and the few of our own (deploy/openldap/lanpost.schema).
"""

from __future__ import annotations

from dataclasses import dataclass

from lanpost.model.details import DETAIL_NAMES

OUR_ARC = "2.25.43591447684224728649138212133976947884"

_DIRECTORY_STRING = "1.3.6.1.4.1.1466.115.121.1.15"
_IA5_STRING = "1.3.6.1.4.1.1466.115.121.1.26"
_INTEGER = "1.3.6.1.4.1.1466.115.121.1.27"
_TIME = "1.3.6.1.4.1.1466.115.121.1.24"
_DN = "1.3.6.1.4.1.1466.115.121.1.12"
_OID = "1.3.6.1.4.1.1466.115.121.1.38"
_OCTETS = "1.3.6.1.4.1.1466.115.121.1.40"
_TELEPHONE = "1.3.6.1.4.1.1466.115.121.1.50"
_FACSIMILE = "1.3.6.1.4.1.1466.115.121.1.22"
_BOOLEAN = "1.3.6.1.4.1.1466.115.121.1.7"
_UUID = "1.3.6.1.1.16.1"


@dataclass(frozen=True, slots=True)
class Rule:
    """One way to compare values: equality, and ordering and substrings where there are any."""

    equality: str
    ordering: str = ""
    substrings: str = ""


CASE_IGNORE = Rule("caseIgnoreMatch", "caseIgnoreOrderingMatch", "caseIgnoreSubstringsMatch")
CASE_EXACT = Rule("caseExactMatch", "caseExactOrderingMatch", "caseExactSubstringsMatch")
IA5 = Rule("caseIgnoreIA5Match", "", "caseIgnoreIA5SubstringsMatch")
INTEGER = Rule("integerMatch", "integerOrderingMatch")
TIME = Rule("generalizedTimeMatch", "generalizedTimeOrderingMatch")
NAME = Rule("distinguishedNameMatch")
IDENTIFIER = Rule("objectIdentifierMatch")
DESCRIPTION = Rule("objectIdentifierFirstComponentMatch")
OCTETS = Rule("octetStringMatch")
TELEPHONE = Rule("telephoneNumberMatch", "", "telephoneNumberSubstringsMatch")
BOOLEAN = Rule("booleanMatch")
UUID = Rule("uuidMatch", "uuidOrderingMatch")


@dataclass(frozen=True, slots=True)
class AttributeType:
    """One attribute type; `operational` ones are shown only to those who ask for them."""

    oid: str
    name: str
    syntax: str
    rule: Rule
    single: bool = False
    operational: bool = False
    other_names: tuple[str, ...] = ()

    def definition(self) -> str:
        """AttributeTypeDescription (RFC 4512 §4.1.2)."""
        names = " ".join(f"'{name}'" for name in (self.name, *self.other_names))
        parts = [self.oid, f"NAME ( {names} )" if self.other_names else f"NAME {names}"]
        parts.append(f"EQUALITY {self.rule.equality}")
        if self.rule.ordering:
            parts.append(f"ORDERING {self.rule.ordering}")
        if self.rule.substrings:
            parts.append(f"SUBSTR {self.rule.substrings}")
        parts.append(f"SYNTAX {self.syntax}")
        if self.single:
            parts.append("SINGLE-VALUE")
        if self.operational:
            parts.append("NO-USER-MODIFICATION USAGE directoryOperation")
        return f"( {' '.join(parts)} )"


@dataclass(frozen=True, slots=True)
class ObjectClass:
    oid: str
    name: str
    kind: str  # ABSTRACT, STRUCTURAL, AUXILIARY
    superior: str = "top"
    must: tuple[str, ...] = ()
    may: tuple[str, ...] = ()

    def definition(self) -> str:
        """ObjectClassDescription (RFC 4512 §4.1.1)."""
        parts = [self.oid, f"NAME '{self.name}'"]
        if self.superior:
            parts.append(f"SUP {self.superior}")
        parts.append(self.kind)
        for word, names in (("MUST", self.must), ("MAY", self.may)):
            if names:
                parts.append(f"{word} ( {' $ '.join(names)} )")
        return f"( {' '.join(parts)} )"


def _text(oid: str, name: str, *other_names: str, single: bool = False) -> AttributeType:
    return AttributeType(oid, name, _DIRECTORY_STRING, CASE_IGNORE, single, other_names=other_names)


def _operational(oid: str, name: str, syntax: str, rule: Rule, *, single: bool = True) -> AttributeType:
    return AttributeType(oid, name, syntax, rule, single, operational=True)


ATTRIBUTE_TYPES = (
    AttributeType("2.5.4.0", "objectClass", _OID, IDENTIFIER),
    _text("2.5.4.3", "cn", "commonName"),
    _text("2.5.4.5", "serialNumber"),
    _text("2.5.4.6", "c", "countryName", single=True),
    _text("2.5.4.7", "l", "localityName"),
    _text("2.5.4.10", "o", "organizationName"),
    _text("2.5.4.11", "ou", "organizationalUnitName"),
    _text("2.5.4.13", "description"),
    AttributeType("2.5.4.20", "telephoneNumber", _TELEPHONE, TELEPHONE),
    # RFC 4519 §2.10 gives it no matching rule; an address book that looks for a number must find it all the same.
    AttributeType("2.5.4.23", "facsimileTelephoneNumber", _FACSIMILE, TELEPHONE, other_names=("fax",)),
    AttributeType("2.5.4.35", "userPassword", _OCTETS, OCTETS),
    AttributeType("0.9.2342.19200300.100.1.3", "mail", _IA5_STRING, IA5, other_names=("rfc822Mailbox",)),
    AttributeType(
        "0.9.2342.19200300.100.1.25", "dc", _IA5_STRING, IA5, single=True, other_names=("domainComponent",)
    ),
    _text("2.16.840.1.113730.3.1.241", "displayName", single=True),
    AttributeType("2.16.840.1.113730.3.1.13", "mailLocalAddress", _IA5_STRING, IA5),
    AttributeType("2.16.840.1.113730.3.1.18", "mailHost", _IA5_STRING, IA5, single=True),
    AttributeType("1.3.6.1.1.1.1.19", "ipHostNumber", _IA5_STRING, IA5),
    AttributeType(f"{OUR_ARC}.1.1", "lanpostKey", _DIRECTORY_STRING, CASE_EXACT, single=True),
    _text(f"{OUR_ARC}.1.2", "lanpostAddress", single=True),
    AttributeType(f"{OUR_ARC}.1.3", "lanpostPort", _INTEGER, INTEGER, single=True),
    AttributeType(f"{OUR_ARC}.1.4", "lanpostNextHop", _IA5_STRING, IA5, single=True),
    AttributeType(f"{OUR_ARC}.1.5", "lanpostUpdated", _TIME, TIME, single=True),
    AttributeType(f"{OUR_ARC}.1.6", "lanpostExpires", _TIME, TIME, single=True),
    _text(f"{OUR_ARC}.1.7", "lanpostSource", single=True),
    AttributeType(f"{OUR_ARC}.1.8", "lanpostOwner", _DIRECTORY_STRING, CASE_EXACT, single=True),
    AttributeType(f"{OUR_ARC}.1.9", "lanpostExpiredEndpoint", _IA5_STRING, IA5, single=True),
    AttributeType(f"{OUR_ARC}.1.10", "lanpostProof", _IA5_STRING, IA5, single=True),
    _operational("1.3.6.1.4.1.1466.101.119.3", "entryTtl", _INTEGER, INTEGER),
    _operational("1.3.6.1.1.16.4", "entryUUID", _UUID, UUID),
    _operational("1.3.6.1.1.20", "entryDN", _DN, NAME),
    _operational("2.5.18.1", "createTimestamp", _TIME, TIME),
    _operational("2.5.18.2", "modifyTimestamp", _TIME, TIME),
    _operational("2.5.18.9", "hasSubordinates", _BOOLEAN, BOOLEAN),
    _operational("2.5.18.10", "subschemaSubentry", _DN, NAME),
    _operational("2.5.21.9", "structuralObjectClass", _OID, IDENTIFIER),
    _operational("2.5.21.5", "attributeTypes", "1.3.6.1.4.1.1466.115.121.1.3", DESCRIPTION, single=False),
    _operational("2.5.21.6", "objectClasses", "1.3.6.1.4.1.1466.115.121.1.37", DESCRIPTION, single=False),
    _operational("2.5.21.4", "matchingRules", "1.3.6.1.4.1.1466.115.121.1.30", DESCRIPTION, single=False),
    _operational(
        "1.3.6.1.4.1.1466.101.120.16", "ldapSyntaxes", "1.3.6.1.4.1.1466.115.121.1.54", DESCRIPTION, single=False
    ),
    _operational("1.3.6.1.4.1.1466.101.120.5", "namingContexts", _DN, NAME, single=False),
    _operational("1.3.6.1.4.1.1466.101.120.7", "supportedExtension", _OID, IDENTIFIER, single=False),
    _operational("1.3.6.1.4.1.1466.101.120.13", "supportedControl", _OID, IDENTIFIER, single=False),
    _operational(
        "1.3.6.1.4.1.1466.101.120.14", "supportedSASLMechanisms", _DIRECTORY_STRING, CASE_IGNORE, single=False
    ),
    _operational("1.3.6.1.4.1.1466.101.120.15", "supportedLDAPVersion", _INTEGER, INTEGER, single=False),
    _operational("1.3.6.1.4.1.4203.1.3.5", "supportedFeatures", _OID, IDENTIFIER, single=False),
    _operational("1.3.6.1.1.4", "vendorName", _DIRECTORY_STRING, CASE_EXACT),
    _operational("1.3.6.1.1.5", "vendorVersion", _DIRECTORY_STRING, CASE_EXACT),
)

OBJECT_CLASSES = (
    ObjectClass("2.5.6.0", "top", "ABSTRACT", "", ("objectClass",)),
    ObjectClass("2.5.6.4", "organization", "STRUCTURAL", must=("o",), may=("description", "l", "telephoneNumber")),
    ObjectClass("2.5.6.5", "organizationalUnit", "STRUCTURAL", must=("ou",), may=("description", "l")),
    ObjectClass("2.5.6.2", "country", "STRUCTURAL", must=("c",), may=("description",)),
    ObjectClass("1.3.6.1.4.1.1466.344", "dcObject", "AUXILIARY", must=("dc",)),
    ObjectClass("2.5.17.0", "subentry", "STRUCTURAL", must=("cn",)),
    ObjectClass(
        "2.5.20.1",
        "subschema",
        "AUXILIARY",
        may=("attributeTypes", "objectClasses", "matchingRules", "ldapSyntaxes"),
    ),
    ObjectClass(
        "2.5.6.14", "device", "STRUCTURAL", must=("cn",), may=("serialNumber", "l", "o", "ou", "description")
    ),
    ObjectClass("1.3.6.1.1.1.2.6", "ipHost", "AUXILIARY", must=("cn", "ipHostNumber"), may=("l", "description")),
    ObjectClass(
        "2.16.840.1.113730.3.2.147", "inetLocalMailRecipient", "AUXILIARY", may=("mailLocalAddress", "mailHost")
    ),
    ObjectClass("0.9.2342.19200300.100.4.19", "simpleSecurityObject", "AUXILIARY", must=("userPassword",)),
    ObjectClass("1.3.6.1.4.1.1466.101.119.2", "dynamicObject", "AUXILIARY"),
    ObjectClass(
        f"{OUR_ARC}.2.1",
        "lanpostTerminal",
        "AUXILIARY",
        may=("mail", *(kind.name for kind in ATTRIBUTE_TYPES if kind.oid.startswith(OUR_ARC)), *DETAIL_NAMES),
    ),
)

_TYPES = {name.lower(): kind for kind in ATTRIBUTE_TYPES for name in (kind.name, *kind.other_names, kind.oid)}
_CLASSES = {name.lower(): each for each in OBJECT_CLASSES for name in (each.name, each.oid)}


def attribute_type(description: str) -> AttributeType | None:
    """The type of an attribute description, by any of its names or its OID; None: unknown, or with options."""
    return _TYPES.get(description.lower())


def object_class(text: str) -> ObjectClass | None:
    """The object class, by name or OID."""
    return _CLASSES.get(text.lower())


def class_name(text: str) -> str:
    """The canonical name of an object class, by name or OID; "" where it is unknown."""
    found = object_class(text)
    return found.name if found else ""


def oid_of(text: str) -> str:
    """The OID of an attribute type or object class, by any name of it; "" where it is unknown."""
    found = attribute_type(text) or object_class(text)
    return found.oid if found else ""

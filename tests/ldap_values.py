"""Any message of LDAP, for hypothesis; and what OpenLDAP has been seen to send."""

from __future__ import annotations

from hypothesis import strategies as st

from lanpost.wire.ldap_filter import (
    And,
    Approximately,
    Equals,
    Extensible,
    Filter,
    GreaterOrEqual,
    LessOrEqual,
    Not,
    Or,
    Present,
    Substrings,
)
from lanpost.wire.ldap_messages import (
    AbandonRequest,
    AddRequest,
    AddResponse,
    BindRequest,
    BindResponse,
    CompareRequest,
    CompareResponse,
    Control,
    DeleteRequest,
    DeleteResponse,
    ExtendedRequest,
    ExtendedResponse,
    IntermediateResponse,
    Message,
    Modification,
    ModificationKind,
    ModifyDnRequest,
    ModifyDnResponse,
    ModifyRequest,
    ModifyResponse,
    Request,
    Response,
    Result,
    ResultCode,
    Scope,
    SearchDone,
    SearchEntry,
    SearchReference,
    SearchRequest,
    UnbindRequest,
)

octets = st.binary(max_size=20) | st.binary(min_size=120, max_size=300)
texts = st.text(max_size=20) | st.text(min_size=60, max_size=150)
words = st.text(min_size=1, max_size=10)
integers = st.integers(0, 2**31 - 1)
message_ids = st.integers(1, 2**31 - 1)
attributes = st.tuples(texts, st.lists(octets, max_size=4).map(tuple))
descriptions = st.from_regex(r"[A-Za-z][A-Za-z0-9-]{0,8}(;[a-z]{1,3})?", fullmatch=True) | st.just("2.5.4.3")
rules = st.from_regex(r"[A-Ca-c][A-Za-z]{3,8}|1\.2\.[1-9]", fullmatch=True)
parts = st.binary(min_size=1, max_size=6)


def _substrings(attribute: str, initial: bytes, middle: list[bytes], final: bytes) -> Substrings:
    return Substrings(attribute, initial, tuple(middle), final)


leaves: st.SearchStrategy[Filter] = st.one_of(
    st.builds(Equals, descriptions, octets),
    st.builds(GreaterOrEqual, descriptions, octets),
    st.builds(LessOrEqual, descriptions, octets),
    st.builds(Approximately, descriptions, octets),
    st.builds(Present, descriptions),
    st.builds(
        _substrings, descriptions, st.just(b"") | parts, st.lists(parts, max_size=3), st.just(b"") | parts
    ).filter(lambda found: bool(found.initial or found.any or found.final)),
    st.builds(Extensible, descriptions, st.just("") | rules, octets, st.booleans()),
    st.builds(Extensible, st.just(""), rules, octets, st.booleans()),
)
filters: st.SearchStrategy[Filter] = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.builds(And, st.lists(inner, max_size=3).map(tuple)),
        st.builds(Or, st.lists(inner, max_size=3).map(tuple)),
        st.builds(Not, inner),
    ),
    max_leaves=12,
)

results = st.builds(
    Result,
    st.sampled_from(ResultCode) | st.integers(5000, 2**31 - 1),
    texts,
    texts,
    st.lists(texts, max_size=2).map(tuple),
)
requests: st.SearchStrategy[Request] = st.one_of(
    st.builds(BindRequest, texts, octets, st.just(""), st.integers(1, 127)),
    st.builds(BindRequest, texts, st.none() | octets, words),
    st.builds(UnbindRequest),
    st.builds(
        SearchRequest,
        texts,
        st.sampled_from(Scope),
        filters,
        st.lists(texts, max_size=4).map(tuple),
        integers,
        integers,
        st.booleans(),
        st.integers(0, 3),
    ),
    st.builds(
        ModifyRequest,
        texts,
        st.lists(
            st.builds(
                Modification, st.sampled_from(ModificationKind), texts, st.lists(octets, max_size=3).map(tuple)
            ),
            max_size=3,
        ).map(tuple),
    ),
    st.builds(AddRequest, texts, st.lists(attributes, max_size=4).map(tuple)),
    st.builds(DeleteRequest, texts),
    st.builds(ModifyDnRequest, texts, texts, st.booleans(), st.none() | texts),
    st.builds(CompareRequest, texts, texts, octets),
    st.builds(AbandonRequest, message_ids),
    st.builds(ExtendedRequest, texts, st.none() | octets),
)
responses: st.SearchStrategy[Response] = st.one_of(
    st.builds(BindResponse, results, st.none() | octets),
    st.builds(SearchEntry, texts, st.lists(attributes, max_size=4).map(tuple)),
    st.builds(SearchReference, st.lists(texts, max_size=3).map(tuple)),
    *(
        st.builds(kind, results)
        for kind in (SearchDone, ModifyResponse, AddResponse, DeleteResponse, ModifyDnResponse, CompareResponse)
    ),
    st.builds(ExtendedResponse, results, texts, st.none() | octets),
    st.builds(IntermediateResponse, texts, st.none() | octets),
)
controls = st.lists(st.builds(Control, texts, st.booleans(), st.none() | octets), max_size=3).map(tuple)
messages = st.builds(Message, st.integers(0, 2**31 - 1), requests | responses, controls)

# OpenLDAP 2.5.13 on Debian 12: its tools to a listener of ours, its server to a client of ours.
SEEN: dict[str, tuple[str, Message]] = {
    'ldapsearch -l 5 -z 10 -b dc=office,dc=lan "(mailLocalAddress=fax1@office.lan)" ipHostNumber lanpostPort': (
        (
            "30680201026363041064633d6f66666963652c64633d6c616e0a01020a010002010a020105010100a32304106d61696c4c6f63616c41"
            "646472657373040f66617831406f66666963652e6c616e301b040c6970486f73744e756d626572040b6c616e706f7374506f7274"
        ),
        Message(
            2,
            SearchRequest(
                "dc=office,dc=lan",
                Scope.SUBTREE,
                Equals("mailLocalAddress", b"fax1@office.lan"),
                ("ipHostNumber", "lanpostPort"),
                size_limit=10,
                time_limit=5,
            ),
        ),
    ),
    "ldapsearch -s one -E pr=100/noprompt -E '!sss=cn/-mail' and every kind of filter": (
        (
            "3081cd0201026371040664633d6c616e0a01010a0100020100020100010100a056870b6f626a656374436c617373a211a40f0402636e"
            "3009800161810162820163a118a506040161040131a606040162040132a806040163040133a91a810e6361736545786163744d617463"
            "688202636e8301788401ff3000a05530210416312e322e3834302e3131333535362e312e342e33313904073005020164040030300416"
            "312e322e3834302e3131333535362e312e342e3437330101ff0413301130040402636e300904046d61696c8101ff"
        ),
        Message(
            2,
            SearchRequest(
                "dc=lan",
                Scope.ONE,
                And(
                    (
                        Present("objectClass"),
                        Not(Substrings("cn", b"a", (b"b",), b"c")),
                        Or((GreaterOrEqual("a", b"1"), LessOrEqual("b", b"2"), Approximately("c", b"3"))),
                        Extensible("cn", "caseExactMatch", b"x", dn_attributes=True),
                    )
                ),
            ),
            (
                Control("1.2.840.113556.1.4.319", value=bytes.fromhex("30050201640400")),
                Control(
                    "1.2.840.113556.1.4.473",
                    critical=True,
                    value=bytes.fromhex("301130040402636e300904046d61696c8101ff"),
                ),
            ),
        ),
    ),
    "ldapsearch -s base -E sync=rp/abc/1": (
        (
            "304f020102632004000a01000a0100020100020100010100870b6f626a656374636c6173733000a02830260418312e332e362e312e34"
            "2e312e343230332e312e392e312e31040a30080a01030403616263"
        ),
        Message(
            2,
            SearchRequest("", Scope.BASE, Present("objectclass")),
            (Control("1.3.6.1.4.1.4203.1.9.1.1", value=bytes.fromhex("30080a01030403616263")),),
        ),
    ),
    "ldapwhoami": (
        "301e02010277198017312e332e362e312e342e312e343230332e312e31312e33",
        Message(2, ExtendedRequest("1.3.6.1.4.1.4203.1.11.3")),
    ),
    "ldapwhoami -ZZ": (
        "301d02010177188016312e332e362e312e342e312e313436362e3230303337",
        Message(1, ExtendedRequest("1.3.6.1.4.1.1466.20037")),
    ),
    "ldapwhoami -D cn=admin,dc=lan -w secret": (
        "3021020101601c020103040f636e3d61646d696e2c64633d6c616e8006736563726574",
        Message(1, BindRequest("cn=admin,dc=lan", b"secret")),
    ),
    "ldapdelete": ("30130201024a0e636e3d666178312c64633d6c616e", Message(2, DeleteRequest("cn=fax1,dc=lan"))),
    "ldapcompare": (
        "30210201026e1c040e636e3d666178312c64633d6c616e300a0402636e040466617831",
        Message(2, CompareRequest("cn=fax1,dc=lan", "cn", b"fax1")),
    ),
    "ldapmodrdn -r -s dc=lan": (
        "30290201026c24040e636e3d666178312c64633d6c616e0407636e3d666178320101ff800664633d6c616e",
        Message(2, ModifyDnRequest("cn=fax1,dc=lan", "cn=fax2", delete_old_rdn=True, new_superior="dc=lan")),
    ),
    "ldapexop refresh": (
        (
            "30390201027734801a312e332e362e312e342e312e313436362e3130312e3131392e3181163014800e636e3d666178312c64633d6c61"
            "6e81020e10"
        ),
        Message(
            2,
            ExtendedRequest(
                "1.3.6.1.4.1.1466.101.119.1", bytes.fromhex("3014800e636e3d666178312c64633d6c616e81020e10")
            ),
        ),
    ),
    "ldapexop cancel 5": (
        "30190201027714800b312e332e362e312e312e3881053003020105",
        Message(2, ExtendedRequest("1.3.6.1.1.8", bytes.fromhex("3003020105"))),
    ),
    "ldapmodify": (
        (
            "307b0201026676040e636e3d666178312c64633d6c616e3064301f0a0102301a040c6970486f73744e756d626572310a040831302e30"
            "2e302e3730140a0101300f040b6465736372697074696f6e310030120a0103300d040673657269616c310304013130170a0100301204"
            "046d61696c310a04036140620403634064"
        ),
        Message(
            2,
            ModifyRequest(
                "cn=fax1,dc=lan",
                (
                    Modification(ModificationKind.REPLACE, "ipHostNumber", (b"10.0.0.7",)),
                    Modification(ModificationKind.DELETE, "description"),
                    Modification(ModificationKind.INCREMENT, "serial", (b"1",)),
                    Modification(ModificationKind.ADD, "mail", (b"a@b", b"c@d")),
                ),
            ),
        ),
    ),
    "ldapadd": (
        (
            "3043020102683e040e636e3d666178312c64633d6c616e302c301c040b6f626a656374436c617373310d0403746f7004066465766963"
            "65300c0402636e3106040466617831"
        ),
        Message(
            2,
            AddRequest("cn=fax1,dc=lan", (("objectClass", (b"top", b"device")), ("cn", (b"fax1",)))),
        ),
    ),
    "the unbind of all of them": ("30050201034200", Message(3, UnbindRequest())),
    "slapd: an entry of a synchronisation": (
        (
            "304e02010e6412040e636e3d666178302c64633d6c616e3000a03530330418312e332e362e312e342e312e343230332e"
            "312e392e312e32041730150a01010410ba87d71e7c8c1041884be1227b8f99e4"
        ),
        Message(
            14,
            SearchEntry("cn=fax0,dc=lan", ()),
            (
                Control(
                    "1.3.6.1.4.1.4203.1.9.1.2",
                    value=bytes.fromhex("30150a01010410ba87d71e7c8c1041884be1227b8f99e4"),
                ),
            ),
        ),
    ),
    "slapd: what is still there, in the midst of a synchronisation": (
        (
            "304902011079448018312e332e362e312e342e312e343230332e312e392e312e348128a32631240410ba87f7d07c8c10"
            "41884ce1227b8f99e40410ba881d287c8c1041884de1227b8f99e4"
        ),
        Message(
            16,
            IntermediateResponse(
                "1.3.6.1.4.1.4203.1.9.1.4",
                bytes.fromhex("a32631240410ba87f7d07c8c1041884ce1227b8f99e40410ba881d287c8c1041884de1227b8f99e4"),
            ),
        ),
    ),
    "slapd: the end of a page": (
        (
            "303902010d65070a010004000400a02b30290416312e322e3834302e3131333535362e312e342e333139040f300d0201"
            "0004080300000000000000"
        ),
        Message(
            13,
            SearchDone(Result()),
            (Control("1.2.840.113556.1.4.319", value=bytes.fromhex("300d02010004080300000000000000")),),
        ),
    ),
    "slapd: who the client is": (
        "3020020109781b0a0100040004008b12646e3a636e3d61646d696e2c64633d6c616e",
        Message(9, ExtendedResponse(Result(), value=b"dn:cn=admin,dc=lan")),
    ),
    "slapd: no such object": (
        "301202010b6b0d0a0120040664633d6c616e0400",
        Message(11, DeleteResponse(Result(ResultCode.NO_SUCH_OBJECT, matched_name="dc=lan"))),
    ),
}

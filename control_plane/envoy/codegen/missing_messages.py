"""Messages of the xDS API that envoy-data-plane lacks, as fields in the proto language.

Sources: github.com/cncf/xds, xds/type/v3/typed_struct.proto, xds/type/v3/range.proto and xds/type/matcher/v3.
"""

from __future__ import annotations

_ON_MATCH = "xds.type.matcher.v3.Matcher.OnMatch on_match"

MISSING_MESSAGES: dict[str, tuple[str, ...]] = {
    "udpa.type.v1.TypedStruct": ("string type_url = 1", "google.protobuf.Struct value = 2"),
    "xds.type.v3.TypedStruct": ("string type_url = 1", "google.protobuf.Struct value = 2"),
    "xds.type.v3.Int64Range": ("int64 start = 1", "int64 end = 2"),
    "xds.type.v3.Int32Range": ("int32 start = 1", "int32 end = 2"),
    "xds.type.v3.DoubleRange": ("double start = 1", "double end = 2"),
    "xds.type.matcher.v3.CelMatcher": (
        "xds.type.v3.CelExpression expr_match = 1",
        "string description = 2",
    ),
    "xds.type.matcher.v3.HttpAttributesCelMatchInput": (),
    "xds.type.matcher.v3.IPMatcher": (
        "repeated xds.type.matcher.v3.IPMatcher.IPRangeMatcher range_matchers = 1",
    ),
    "xds.type.matcher.v3.IPMatcher.IPRangeMatcher": (
        "repeated xds.core.v3.CidrRange ranges = 1",
        f"{_ON_MATCH} = 2",
        "bool exclusive = 3",
    ),
    "xds.type.matcher.v3.Int64RangeMatcher": (
        "repeated xds.type.matcher.v3.Int64RangeMatcher.RangeMatcher range_matchers = 1",
    ),
    "xds.type.matcher.v3.Int64RangeMatcher.RangeMatcher": (
        "repeated xds.type.v3.Int64Range ranges = 1",
        f"{_ON_MATCH} = 2",
    ),
    "xds.type.matcher.v3.ServerNameMatcher": (
        "repeated xds.type.matcher.v3.ServerNameMatcher.DomainMatcher domain_matchers = 1",
    ),
    "xds.type.matcher.v3.ServerNameMatcher.DomainMatcher": (
        "repeated string domains = 1",
        f"{_ON_MATCH} = 2",
    ),
}

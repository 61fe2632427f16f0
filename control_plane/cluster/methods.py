"""The methods that control planes serve each other (service ControlPlane of cluster.proto), typed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from google.protobuf.message import Message

from meshwright.control_plane.cluster import cluster_pb2 as pb

RequestT = TypeVar("RequestT", bound=Message)
ResponseT = TypeVar("ResponseT", bound=Message)

SERVICE = "meshwright.cluster.v1.ControlPlane"


@dataclass(frozen=True, slots=True)
class Method(Generic[RequestT, ResponseT]):
    """A unary gRPC method and its message types."""

    name: str
    request: type[RequestT]
    response: type[ResponseT]


PING = Method("Ping", pb.PingRequest, pb.PingResponse)
GET_STATE = Method("GetState", pb.StateRequest, pb.StateReport)
GET_HISTORY = Method("GetHistory", pb.HistoryRequest, pb.HistoryResponse)

WAIT_UNTIL_DRAINED = Method("WaitUntilDrained", pb.DrainRequest, pb.DrainResponse)
PREVIEW_CHANGE = Method("PreviewChange", pb.PreviewRequest, pb.PreviewResponse)

FIND_PROXY = Method("FindProxy", pb.Command, pb.ProxyLocation)
RUN_COMMAND = Method("RunCommand", pb.Command, pb.CommandResult)
FIND_ENROLMENTS = Method("FindEnrolments", pb.Command, pb.EnrolmentList)

LIST_TRACE_NAMES = Method("ListTraceNames", pb.TraceNamesRequest, pb.TraceNames)
MATCH_TRACES = Method("MatchTraces", pb.TraceMatchRequest, pb.TraceMatches)
GET_SPANS = Method("GetSpans", pb.SpansRequest, pb.Spans)
GET_CALL_LINKS = Method("GetCallLinks", pb.CallLinksRequest, pb.CallLinks)

LIST_REQUESTS = Method("ListRequests", pb.RequestListQuery, pb.RequestList)
FIND_REQUEST_IDS = Method("FindRequestIds", pb.IdQuery, pb.IdList)
FIND_REQUESTS = Method("FindRequests", pb.IdQuery, pb.RequestList)
TAP_REQUESTS = Method("TapRequests", pb.TapCursor, pb.TapPage)

LIST_REFUSALS = Method("ListRefusals", pb.RefusalQuery, pb.RefusalList)

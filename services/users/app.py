"""Users' API: sign up, log in, refresh, log out; profiles, roles, export and erasure of a person's data.

The gateway verifies access tokens and passes their claims on as headers. These routes look at the session
too, so here a token ends with its session; elsewhere it is accepted until it expires.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from typing import Annotated, Any

import structlog
from pydantic import Field, StringConstraints, ValidationError

from meshwright.services.events.broker import open_broker
from meshwright.services.events.outbox import publish_outbox
from meshwright.services.kit.callers import ADMIN
from meshwright.services.kit.client import ServiceClient, ServiceUnavailableError
from meshwright.services.kit.operations import (
    BodyModel,
    HttpError,
    Id,
    Operation,
    OperationRequest,
    OperationResponse,
    PlainText,
    QueryModel,
)
from meshwright.services.kit.service import Runtime, ServiceDefinition
from meshwright.services.rpc import server as rpc
from meshwright.services.rpc import users as directory
from meshwright.services.users import domain, tokens
from meshwright.services.users.key_store import KeyStore
from meshwright.services.users.passwords import hash_password, verify_password
from meshwright.services.users.store import TABLES, EmailTakenError, RefreshRefusedError, UserStore, outbox

KEYS_SECONDS = 60.0
"""Seconds between looks at the age of the signing keys."""

Email = Annotated[
    str, StringConstraints(max_length=254, pattern=r"^[^@\s\x00-\x1f\x7f]+@[^@\s\x00-\x1f\x7f]+$")
]
Password = Annotated[str, StringConstraints(min_length=10, max_length=128)]
log = structlog.get_logger()


class SignupRequest(BodyModel):
    """A new user."""

    email: Email
    password: Password = Field(repr=False)
    name: PlainText = Field("", max_length=200)


class LoginRequest(BodyModel):
    """Who logs in."""

    email: Email
    password: str = Field(repr=False, max_length=128)


class RefreshRequest(BodyModel):
    """A refresh token, by the name that OAuth gives it."""

    refresh_token: str = Field(alias="refresh_token", repr=False, min_length=1, max_length=128)


class TokenResponse(BodyModel):
    """Tokens, by the names that OAuth gives them. `expires_in` is in seconds."""

    access_token: str = Field(alias="access_token", repr=False)
    refresh_token: str = Field(alias="refresh_token", repr=False)
    expires_in: int = Field(domain.ACCESS_SECONDS, alias="expires_in")


class ProfileRequest(BodyModel):
    """What a person can change."""

    name: PlainText = Field(max_length=200)
    email: Email | None = None


class UserResponse(BodyModel):
    """A user. `created` is in milliseconds since the epoch."""

    id: Id
    email: str
    name: str
    roles: list[domain.Role]
    created: int


class SessionResponse(BodyModel):
    """A session, in milliseconds since the epoch."""

    created: int
    ended: int | None


class ExportResponse(BodyModel):
    """All that this service keeps of a person."""

    user: UserResponse
    sessions: list[SessionResponse]


class RolesResponse(BodyModel):
    """A user's roles."""

    roles: list[domain.Role]


class RoleRequest(BodyModel):
    """A role to grant or to take."""

    role: domain.Role


class OwnedNft(QueryModel):
    """What users needs of an NFT."""

    id: Id
    name: str


class OwnedNftsResponse(QueryModel):
    """A user's NFTs, newest first."""

    nfts: list[OwnedNft]


class KeyResponse(BodyModel):
    """A public key (RFC 7517)."""

    kid: str
    kty: str
    crv: str
    x: str
    y: str
    alg: str
    use: str


class KeySetResponse(BodyModel):
    """The public keys that verify access tokens."""

    keys: list[KeyResponse]


class UsersApi:
    """The operations of users."""

    def __init__(self, store: UserStore, keys: KeyStore, client: ServiceClient) -> None:
        self._store = store
        self._keys = keys
        self._client = client

    def operations(self) -> list[Operation]:
        """All operations."""
        auth, user = "/api/auth", "/api/users/{userId}"
        profile, roles, token = {200: UserResponse}, {200: RolesResponse}, {200: TokenResponse}
        return [
            Operation("POST", f"{auth}/signup", "Sign up", self.sign_up, {201: UserResponse}, SignupRequest),
            Operation("POST", f"{auth}/login", "Log in", self.log_in, token, LoginRequest),
            Operation("POST", f"{auth}/refresh", "Get new tokens", self.refresh, token, RefreshRequest),
            Operation("POST", f"{auth}/logout", "Log out", self.log_out, {204: None}, RefreshRequest),
            Operation("GET", user, "Get a user", self.get, profile, needs_caller=True),
            Operation("PUT", user, "Change a user", self.change, profile, ProfileRequest, needs_caller=True),
            Operation("DELETE", user, "Erase a user", self.erase, {204: None}, needs_caller=True),
            Operation(
                "GET", f"{user}/export", "Export a user's data", self.export, {200: ExportResponse},
                needs_caller=True,
            ),
            Operation(
                "GET", f"{user}/nfts", "List a user's NFTs", self.nfts, {200: OwnedNftsResponse},
                needs_caller=True,
            ),
            Operation("GET", f"{user}/roles", "List roles", self.roles, roles, roles=ADMIN),
            Operation("PUT", f"{user}/roles", "Grant a role", self.grant, roles, RoleRequest, roles=ADMIN),
            Operation("DELETE", f"{user}/roles", "Take a role", self.take, roles, RoleRequest, roles=ADMIN),
            Operation(
                "GET", "/.well-known/jwks.json", "Get the public keys", self.key_set, {200: KeySetResponse}
            ),
        ]  # fmt: skip

    def rpcs(self) -> list[rpc.RpcMethod]:
        """All gRPC methods. They are for other services."""
        return [
            rpc.RpcMethod(directory.SERVICE, directory.METHOD, directory.GetUserRequest, self.get_for_service)
        ]

    async def sign_up(self, request: OperationRequest[SignupRequest, None]) -> OperationResponse:
        body = request.body
        email = domain.normal_email(body.email)
        user = domain.User(uuid.uuid4().hex, email, body.name, ("customer",), _now())
        try:
            await self._store.add(user, await hash_password(body.password))
        except EmailTakenError:
            raise _email_taken() from None
        log.info("signed up", user_id=user.id)
        return OperationResponse(_response(user), 201, {"Location": f"/api/users/{user.id}"})

    async def log_in(self, request: OperationRequest[LoginRequest, None]) -> OperationResponse:
        user_and_hash = await self._store.find(domain.normal_email(request.body.email))
        is_right = await verify_password(request.body.password, user_and_hash[1] if user_and_hash else None)
        if user_and_hash is None or not is_right:
            raise HttpError(401, "login_failed", "the email address or the password is wrong")
        user, session_id, refresh_token = user_and_hash[0], uuid.uuid4().hex, tokens.new_refresh_token()
        await self._store.open_session(user.id, session_id, tokens.digest(refresh_token), _now())
        return await self._tokens(user, session_id, refresh_token)

    async def refresh(self, request: OperationRequest[RefreshRequest, None]) -> OperationResponse:
        old, new = request.body.refresh_token, tokens.new_refresh_token()
        try:
            user, session_id = await self._store.rotate(tokens.digest(old), tokens.digest(new), _now())
        except RefreshRefusedError as error:
            log.warning("refresh refused", reason=error.code)
            raise HttpError(401, error.code, "this refresh token does not count: log in again") from None
        return await self._tokens(user, session_id, new)

    async def log_out(self, request: OperationRequest[RefreshRequest, None]) -> OperationResponse:
        """204 in every case: afterwards the token counts no more."""
        await self._store.end_session_of(tokens.digest(request.body.refresh_token), _now())
        return OperationResponse(status=204)

    async def _tokens(self, user: domain.User, session_id: str, refresh_token: str) -> OperationResponse:
        now = _now()
        key = domain.signing_key(await self._keys.read(), now)
        token = tokens.access_token(user, session_id, key, now)
        return OperationResponse(TokenResponse(access_token=token, refresh_token=refresh_token))

    async def get(self, request: OperationRequest[None, None]) -> OperationResponse:
        return OperationResponse(_response(await self._user(request, change=False)))

    async def change(self, request: OperationRequest[ProfileRequest, None]) -> OperationResponse:
        user, body = await self._user(request, change=True), request.body
        values = {"name": body.name}
        if body.email is not None:
            values["email"] = domain.normal_email(body.email)
        try:
            changed = await self._store.change(user.id, values)
        except EmailTakenError:
            raise _email_taken() from None
        return OperationResponse(_response(changed or user))

    async def erase(self, request: OperationRequest[None, None]) -> OperationResponse:
        user = await self._user(request, change=True)
        await self._store.erase(user.id)
        log.info("user erased", user_id=user.id)
        return OperationResponse(status=204)

    async def export(self, request: OperationRequest[None, None]) -> OperationResponse:
        user = await self._user(request, change=False)
        sessions = [SessionResponse.model_validate(row) for row in await self._store.sessions(user.id)]
        return OperationResponse(ExportResponse(user=_response(user), sessions=sessions))

    async def nfts(self, request: OperationRequest[None, None]) -> OperationResponse:
        """What nfts says that a user owns."""
        user = await self._user(request, change=False)
        response = await self._client.call("GET", "nfts", f"/api/nfts/user/{user.id}")
        if response.status != 200:
            raise ServiceUnavailableError("nfts", f"status {response.status} instead of a list")
        try:
            return OperationResponse(OwnedNftsResponse.model_validate(response.body))
        except ValidationError as error:
            raise ServiceUnavailableError("nfts", str(error)) from None

    async def get_for_service(self, request: directory.GetUserRequest) -> directory.User:
        """What another service may know of a user."""
        if not (user := await self._store.get(request.id)):
            raise HttpError(404, "user_not_found", f"there is no user {request.id}")
        return directory.User(id=user.id, name=user.name)

    async def roles(self, request: OperationRequest[None, None]) -> OperationResponse:
        return OperationResponse(RolesResponse(roles=list((await self._user(request, change=True)).roles)))

    async def grant(self, request: OperationRequest[RoleRequest, None]) -> OperationResponse:
        return await self._set_role(request, granted=True)

    async def take(self, request: OperationRequest[RoleRequest, None]) -> OperationResponse:
        return await self._set_role(request, granted=False)

    async def _set_role(
        self, request: OperationRequest[RoleRequest, None], *, granted: bool
    ) -> OperationResponse:
        user = await self._user(request, change=True)
        changed = await self._store.set_role(user.id, request.body.role, granted=granted)
        log.info("role changed", user_id=user.id, role=request.body.role, granted=granted)
        return OperationResponse(RolesResponse(roles=list((changed or user).roles)))

    async def _user(self, request: OperationRequest[Any, None], *, change: bool) -> domain.User:
        """The user that a request is about. Raises HttpError unless the caller may see or change it."""
        caller, user_id = request.caller, request.path["userId"]
        if not await self._store.is_open(caller.session_id):
            raise HttpError(401, "session_ended", "this session has ended: log in again")
        request.check_may_read(user_id)
        if change and not domain.may_change(caller.user_id, caller.roles, user_id):
            raise HttpError(403, "forbidden", "only an admin can change another person's data")
        if not (user := await self._store.get(user_id)):
            raise HttpError(404, "user_not_found", f"there is no user {user_id}")
        return user

    async def key_set(self, _: OperationRequest[None, None]) -> OperationResponse:
        public = tokens.key_set(await self._keys.read())
        return OperationResponse(KeySetResponse.model_validate(public))


def _email_taken() -> HttpError:
    return HttpError(409, "email_taken", "there is a user with this email address: log in")


def _response(user: domain.User) -> UserResponse:
    return UserResponse(
        id=user.id, email=user.email, name=user.name, roles=list(user.roles), created=user.created
    )


def _now() -> int:
    return time.time_ns() // 1_000_000


async def build_operations(runtime: Runtime) -> Sequence[Operation]:
    """Open the stores, make the first key, start the gRPC server, and rotate keys and publish events in the
    background.
    """
    keys = KeyStore(runtime.database)
    await keys.rotate(_now())

    async def rotate() -> bool:
        await keys.rotate(_now())
        return False

    await runtime.repeat("rotate keys", KEYS_SECONDS, rotate)
    if redis := open_broker(runtime):
        await publish_outbox(runtime, redis, outbox)
    api = UsersApi(UserStore(runtime.database), keys, runtime.client)
    await runtime.exit_stack.enter_async_context(rpc.serve_rpcs(runtime, api.rpcs()))
    return api.operations()


SERVICE = ServiceDefinition("users", TABLES, build_operations)

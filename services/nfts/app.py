"""NFTs' API: mint, transfer, list by owner, and a person's portfolio by today's quotes."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Iterable, Sequence
from typing import Annotated, Any

import structlog
from pydantic import Field

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
    WholeNumber,
)
from meshwright.services.kit.service import Runtime, ServiceDefinition
from meshwright.services.nfts import domain
from meshwright.services.nfts.store import TABLES, NftStore
from meshwright.services.nfts.user_directory import UserDirectory

BASE = "/api/nfts"
QUOTE_SECONDS = 1.0
"""Seconds that a portfolio waits for a quote: without it, that asset has no worth."""

MetadataText = Annotated[PlainText, Field(max_length=500)]
log = structlog.get_logger()


class Backing(BodyModel):
    """What an NFT stands for: a quantity of an asset that has a quote."""

    symbol: Id
    quantity: WholeNumber = Field(ge=1, le=domain.MAX_QUANTITY)


class MintRequest(BodyModel):
    """A new NFT. Without a backing it has no price."""

    name: PlainText = Field(min_length=1, max_length=200)
    metadata: dict[Id, MetadataText] = Field(default={}, max_length=20)
    backing: Backing | None = None


class TransferRequest(BodyModel):
    """Who gets the NFT."""

    to_user_id: Id


class NftResponse(BodyModel):
    """An NFT. `owners` are all that it has had, in order. `created` is in milliseconds since the epoch."""

    id: Id
    name: str
    metadata: dict[str, str]
    backing: Backing | None
    creator_id: Id
    owner_id: Id
    owners: list[Id]
    created: int


class NftListResponse(BodyModel):
    """NFTs, newest first."""

    nfts: list[NftResponse]


class NftListQuery(QueryModel):
    """The maximum number of NFTs."""

    limit: int = Field(50, ge=1, le=200)


class HoldingResponse(BodyModel):
    """What a person owns of one asset. `worth` is in minor units, null without a quote."""

    symbol: Id
    nfts: int
    quantity: int
    worth: int | None


class PortfolioResponse(BodyModel):
    """What a person owns. `total` is the worth of all holdings but those in `missing`: trading was silent."""

    user_id: Id
    nfts: int
    holdings: list[HoldingResponse]
    total: int
    missing: list[Id]


class NftsApi:
    """The operations of nfts."""

    def __init__(self, store: NftStore, client: ServiceClient, directory: UserDirectory) -> None:
        self._store = store
        self._client = client
        self._directory = directory

    def operations(self) -> list[Operation]:
        """All operations."""
        nft, nfts, portfolio = {200: NftResponse}, {200: NftListResponse}, {200: PortfolioResponse}
        return [
            Operation(
                "POST", BASE, "Mint an NFT", self.mint, {201: NftResponse}, MintRequest, needs_caller=True
            ),
            Operation("GET", f"{BASE}/{{nftId}}", "Get an NFT", self.get, nft, needs_caller=True),
            Operation(
                "POST", f"{BASE}/{{nftId}}/transfer", "Transfer an NFT", self.transfer, nft, TransferRequest,
                needs_caller=True,
            ),
            Operation(
                "GET", f"{BASE}/user/{{userId}}", "List a user's NFTs", self.list_by_user, nfts,
                query=NftListQuery, needs_caller=True,
            ),
            Operation(
                "GET", "/api/portfolio", "Get what one owns", self.portfolio, portfolio, needs_caller=True
            ),
        ]  # fmt: skip

    async def mint(self, request: OperationRequest[MintRequest, None]) -> OperationResponse:
        """201 with the NFT. With an Idempotency-Key it is minted once, however often it is asked for."""
        user_id, body = request.caller.user_id, request.body
        symbol, quantity = (body.backing.symbol, body.backing.quantity) if body.backing else ("", 0)
        if symbol and await self._quote(symbol) is None:
            raise HttpError(422, "unknown_symbol", f"there is no market for {symbol}")
        id_ = domain.nft_id(user_id, request.key) if request.key else uuid.uuid4().hex
        nft = domain.Nft(id_, body.name, body.metadata, (user_id,), symbol, quantity, _now())
        if await self._store.mint(nft):
            log.info("minted", nft_id=nft.id, user_id=user_id)
        else:
            nft = self._minted_before(nft, await self._store.get(id_))
        return OperationResponse(_response(nft), 201, {"Location": f"{BASE}/{nft.id}"})

    def _minted_before(self, nft: domain.Nft, existing: domain.Nft | None) -> domain.Nft:
        """The NFT that the same request has minted before. Raises HttpError if that was another one."""

        def facts(item: domain.Nft) -> tuple[Any, ...]:
            return (item.name, dict(item.metadata), item.symbol, item.quantity)

        if existing is None or facts(existing) != facts(nft):
            message = f"this key was used for another NFT, {nft.id}"
            raise HttpError(422, "idempotency_key_reused", message)
        return existing

    async def get(self, request: OperationRequest[None, None]) -> OperationResponse:
        """Whose an NFT is and was is no secret: that is what it is for."""
        if not (nft := await self._store.get(request.path["nftId"])):
            raise _not_found(request)
        return OperationResponse(_response(nft))

    async def transfer(self, request: OperationRequest[TransferRequest, None]) -> OperationResponse:
        """200 once the recipient owns it, when repeated too; 403 unless the caller owns it."""
        sender, recipient = request.caller.user_id, request.body.to_user_id
        if not await self._directory.exists(recipient):
            raise HttpError(422, "unknown_user", f"there is no user {recipient}")
        try:
            nft = await self._store.change_owner(
                request.path["nftId"], lambda nft: domain.transfer(nft, sender, recipient), _now()
            )
        except domain.NotOwnerError:
            raise HttpError(403, "not_owner", "only its owner can transfer an NFT") from None
        if nft is None:
            raise _not_found(request)
        log.info("transferred", nft_id=nft.id, user_id=sender, to=recipient)
        return OperationResponse(_response(nft))

    async def list_by_user(self, request: OperationRequest[None, NftListQuery]) -> OperationResponse:
        user_id = request.path["userId"]
        request.check_may_read(user_id)
        nfts = await self._store.list_by_owner(user_id, request.query.limit)
        return OperationResponse(NftListResponse(nfts=[_response(nft) for nft in nfts]))

    async def portfolio(self, request: OperationRequest[None, None]) -> OperationResponse:
        """The caller's holdings. A quote that does not arrive is listed as missing, and the rest is shown."""
        user_id = request.caller.user_id
        holdings = await self._store.holdings(user_id)
        quotes = await self._quotes(holding.symbol for holding in holdings if holding.symbol)
        valued, total = domain.portfolio(holdings, quotes)
        return OperationResponse(
            PortfolioResponse(
                user_id=user_id,
                nfts=sum(holding.nfts for holding in holdings),
                holdings=[
                    HoldingResponse(
                        symbol=item.holding.symbol,
                        nfts=item.holding.nfts,
                        quantity=item.holding.quantity,
                        worth=item.worth,
                    )
                    for item in valued
                ],
                total=total,
                missing=[item.holding.symbol for item in valued if item.worth is None],
            )
        )

    async def _quotes(self, symbols: Iterable[str]) -> dict[str, int]:
        """The quotes that arrive in time."""
        symbols = list(symbols)
        prices = await asyncio.gather(*map(self._timely_quote, symbols))
        return {symbol: price for symbol, price in zip(symbols, prices, strict=True) if price is not None}

    async def _timely_quote(self, symbol: str) -> int | None:
        try:
            async with asyncio.timeout(QUOTE_SECONDS):
                return await self._quote(symbol)
        except (TimeoutError, ServiceUnavailableError) as error:
            log.warning("quote missing", symbol=symbol, error=str(error) or type(error).__name__)
            return None

    async def _quote(self, symbol: str) -> int | None:
        """The price of an asset in minor units; None if it has no market. Raises ServiceUnavailableError."""
        response = await self._client.call("GET", "trading", f"/api/quotes/{symbol}")
        if response.status == 404 and response.code == "symbol_not_found":
            return None
        price = response.body.get("price") if isinstance(response.body, dict) else None
        if response.status != 200 or not isinstance(price, int):
            raise ServiceUnavailableError("trading", f"status {response.status} instead of a quote")
        return price


def _not_found(request: OperationRequest[Any, Any]) -> HttpError:
    return HttpError(404, "nft_not_found", f"there is no NFT {request.path['nftId']}")


def _response(nft: domain.Nft) -> NftResponse:
    return NftResponse(
        id=nft.id,
        name=nft.name,
        metadata=dict(nft.metadata),
        backing=Backing(symbol=nft.symbol, quantity=nft.quantity) if nft.symbol else None,
        creator_id=nft.creator,
        owner_id=nft.owner,
        owners=list(nft.owners),
        created=nft.created,
    )


def _now() -> int:
    return time.time_ns() // 1_000_000


async def build_operations(runtime: Runtime) -> Sequence[Operation]:
    """Open the store and the channel to users."""
    directory = UserDirectory(runtime.environ.get("USERS") or "users:50051")
    await runtime.exit_stack.enter_async_context(directory)
    return NftsApi(NftStore(runtime.database), runtime.client, directory).operations()


SERVICE = ServiceDefinition("nfts", TABLES, build_operations)

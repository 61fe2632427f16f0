"""Ownership of NFTs and what they are worth."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwright.services.nfts import domain
from meshwright.services.nfts.domain import Holding, Nft

PEOPLE = st.sampled_from(["ada", "bob", "eve"])
NFT = Nft("n", "First", {}, ("ada",), "BTC", 2, 0)


def test_same_key_of_the_same_person_names_the_same_nft() -> None:
    assert domain.nft_id("ada", "k") == domain.nft_id("ada", "k")
    assert len({domain.nft_id(user, key) for user in ("ada", "bob") for key in ("k", "l")}) == 4


@given(st.lists(st.tuples(PEOPLE, PEOPLE)))
def test_only_the_owner_gives_it_away_and_the_creator_stays(transfers: list[tuple[str, str]]) -> None:
    nft = NFT
    for sender, recipient in transfers:
        may = sender == nft.owner or nft.owners[-2:] == (sender, recipient)
        before = nft
        try:
            nft = domain.transfer(nft, sender, recipient)
        except domain.NotOwnerError:
            assert not may
            continue
        assert may
        assert nft.owner == recipient
        assert nft.owners[: len(before.owners)] == before.owners
        assert domain.transfer(nft, sender, recipient) == nft
    assert nft.creator == "ada"


def test_transfer_to_oneself_changes_nothing() -> None:
    assert domain.transfer(NFT, "ada", "ada") == NFT
    with pytest.raises(domain.NotOwnerError):
        domain.transfer(NFT, "bob", "bob")


def test_portfolio_is_the_worth_of_what_has_a_quote() -> None:
    holdings = [Holding("", 3, 0), Holding("BTC", 2, 5), Holding("ETH", 1, 4)]
    valued, total = domain.portfolio(holdings, {"BTC": 100, "XMR": 7})
    assert [(item.holding.symbol, item.worth) for item in valued] == [("BTC", 500), ("ETH", None)]
    assert total == 500

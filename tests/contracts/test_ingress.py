"""The ingress needs the keys of users, and tokens with the claims that its policy passes on."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import aiohttp
from joserfc import jwt
from joserfc.jwk import KeySet
from ruamel.yaml import YAML

from meshwright.services.kit.callers import EMAIL, ROLES, SESSION, USER
from meshwright.services.users.app import SERVICE as USERS
from tests.contracts.conftest import Exchange
from tests.services.processes import ROOT


def authentication() -> Any:
    """The spec of the ingress's JWTAuthentication."""
    documents = YAML(typ="safe").load_all(ROOT / "services/policies/ingress.yaml")
    [spec] = [document["spec"] for document in documents if document["kind"] == "JWTAuthentication"]
    return spec


async def test_tokens_of_users_are_those_that_the_ingress_accepts(
    exchange: Exchange, session: aiohttp.ClientSession
) -> None:
    [issuer] = authentication()["issuers"]
    jwks = urlsplit(issuer["jwks"]["url"])
    url = await exchange.serve(USERS)
    credentials = {"email": "ada@example.com", "password": "correct horse battery"}
    async with session.post(f"{url}/api/auth/signup", json=credentials) as response:
        user = (await response.json())["id"]
    async with session.post(f"{url}/api/auth/login", json=credentials) as response:
        token = (await response.json())["access_token"]
    keys = await exchange.client.call("GET", str(jwks.hostname), jwks.path)
    claims = jwt.decode(token, KeySet.import_key_set(keys.body), algorithms=["ES256"]).claims
    assert claims["iss"] == issuer["issuer"]
    assert claims["aud"] in issuer["audiences"]
    passed_on = {entry["header"]: claims[entry["claim"]] for entry in authentication()["claimHeaders"]}
    assert passed_on.keys() == {USER, EMAIL, ROLES, SESSION}
    assert (passed_on[USER], passed_on[EMAIL], passed_on[ROLES]) == (user, "ada@example.com", ["customer"])

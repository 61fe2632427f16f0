"""Signing in at the ingress of a running exchange, as a person would."""

from __future__ import annotations

import requests

from tests.envoy.harness import until

PASSWORD = "correct horse battery"


def authorization(base_url: str, email: str = "ada@example.com") -> dict[str, str]:
    """The header of a person who signs up if necessary and logs in; waits until that works."""
    credentials = {"email": email, "password": PASSWORD}

    def token() -> str:
        with requests.Session() as session:
            session.trust_env = False
            try:
                # Refused if it was done before.
                session.post(f"{base_url}/api/auth/signup", json=credentials, timeout=30)
                response = session.post(f"{base_url}/api/auth/login", json=credentials, timeout=30)
            except requests.RequestException:
                return ""
        return str(response.json()["access_token"]) if response.status_code == 200 else ""

    return {"authorization": f"Bearer {until(token, 'a login', 120, 1.0)}"}

"""Programs that tests run in the containers: a stand-in for PostgreSQL, traffic, faults, a webhook."""

from __future__ import annotations

POSTGRES = """
set -e
bin=$(ls -d /usr/lib/postgresql/*/bin | tail -1) data=/tmp/pg
install -d -o postgres /tmp/pg /var/run/postgresql
install -m 600 -o postgres "$POSTGRES_PASSWORD_FILE" /tmp/pg.password
install -m 600 -o postgres -t /var/run/postgresql /run/secrets/postgres.pem /run/secrets/postgres.key
as() { setpriv --reuid postgres --regid postgres --clear-groups "$@"; }
as $bin/initdb -D $data -U $POSTGRES_USER --pwfile /tmp/pg.password --auth scram-sha-256 >/dev/null
echo 'hostssl all all 0.0.0.0/0 scram-sha-256' >> $data/pg_hba.conf
PGPASSWORD=$(cat "$POSTGRES_PASSWORD_FILE") ; export PGPASSWORD
as $bin/pg_ctl -D $data -w -o '-c listen_addresses=' start >/dev/null
as $bin/psql -q -U $POSTGRES_USER -d postgres -f /docker-entrypoint-initdb.d/databases.sql
as $bin/pg_ctl -D $data -w stop >/dev/null
set -- $bin/postgres -D $data -c listen_addresses='*' "$@"
exec setpriv --reuid postgres --regid postgres --clear-groups "$@"
"""
"""The steps of the file's entrypoint and of that of the PostgreSQL image, with the PostgreSQL of Debian."""

READ_ONLY_CALLS = """
call() { curl -sS --max-time 20 -o /dev/null -w '%{http_code} ' "$@"; }
for host in "$@"; do
    token="Authorization: Bearer $(cat /run/secrets/read.token)"
    call -H "$token" "$host/api/services"
    call -H "$token" -d '{"refs": []}' "$host/api/v1/delete"
done
"""

WEBHOOK = """
import http.server
class Receiver(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        print(self.rfile.read(int(self.headers["content-length"])).decode())
        self.send_response(200)
        self.end_headers()
http.server.HTTPServer(("127.0.0.1", 9999), Receiver).serve_forever()
"""
"""A webhook receiver that prints each request body."""

LOGIN = """
import json, urllib.request
base, json_headers = "http://127.0.0.1:8080", {"content-type": "application/json"}
def post(path, body):
    request = urllib.request.Request(base + path, json.dumps(body).encode(), json_headers)
    try:
        return json.load(urllib.request.urlopen(request, timeout=20))
    except OSError:
        return {}
credentials = {"email": "ada@example.com", "password": "correct horse battery"}
post("/api/auth/signup", credentials)  # refused if it was done before
token = {"Authorization": "Bearer " + post("/api/auth/login", credentials).get("access_token", "")}
"""
"""Signs a person in at the ingress; `token` is the header of the requests."""

ORDER = (
    LOGIN
    + """
import sys
headers = {**json_headers, **token, "Idempotency-Key": "one"}
body = {"items": [{"productId": "seed-plate", "quantity": 2}], "cardToken": "tok"}
request = urllib.request.Request(base + "/api/orders", json.dumps(body).encode(), headers)
try:
    print(urllib.request.urlopen(request, timeout=20).read().decode())
except OSError as error:
    sys.exit(f"{error}: {error.read() if hasattr(error, 'read') else ''}")
"""
)
"""Places the same order each time, and prints the response."""

TRAFFIC = (
    LOGIN
    + """
import http.client, sys, time
deadline = time.monotonic() + float(sys.argv[1])
while time.monotonic() < deadline:
    paths = ("/api/catalog/products", "/api/dashboard", "/api/inventory/seed-plate", "/api/quotes/BTC")
    requests = [(path, None, {}) for path in paths]
    for quantity in (1, 10_000):  # of so many there is no stock: inventory refuses with 409
        items = [{"productId": "seed-plate", "quantity": quantity}]
        order = json.dumps({"items": items, "cardToken": "tok"}).encode()
        key = {"Idempotency-Key": f"traffic-{time.time_ns()}"}
        requests.append(("/api/orders", order, {**json_headers, **key}))
    for path, body, headers in requests:
        try:
            request = urllib.request.Request(base + path, body, {**headers, **token})
            urllib.request.urlopen(request, timeout=20).read()
            urllib.request.urlopen(base + "/api/dashboard", timeout=20)  # without a token: refused
        except (OSError, http.client.HTTPException):
            pass  # an error response, or none in time
    time.sleep(0.1)
"""
)

FAILING_APP = """
import http.server
class FailingApp(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        ok = self.path in ("/health/ready", "/metrics")
        self.send_response(200 if ok else 503)
        self.send_header("content-length", "0")
        self.end_headers()
    do_POST = do_GET
    def log_message(self, *args):
        pass
http.server.ThreadingHTTPServer(("127.0.0.1", 8000), FailingApp).serve_forever()
"""
"""An app that passes its health check and responds to every other request with 503."""

STRANGER = """mesh ps catalog -o json | python -c '
import json, socket, sys
host, port = json.load(sys.stdin)["items"][0]["address"].rsplit(":", 1)
with socket.create_connection((host, int(port)), 20) as connection:
    connection.sendall(b"GET / HTTP/1.1\\r\\nHost: catalog\\r\\n\\r\\n")
    try:
        connection.recv(1)
    except ConnectionResetError:
        pass
'"""
"""Calls a sidecar without a certificate."""

VERSIONS = """mesh apply -f - --wait <<'END'
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: inventory-versions}
spec:
  parentRefs: [{kind: Service, group: "", name: inventory}]
  rules:
  - backendRefs:
    - {group: meshwright.io, kind: Subset, name: inventory-v1}
    - {group: meshwright.io, kind: Subset, name: inventory-v2}
END
"""
"""Sends half of the requests to each version of inventory."""

FAULTS = """mesh apply -f - --immediate --wait <<'END'
apiVersion: meshwright.io/v1
kind: CircuitBreaker
metadata: {name: inventory}
spec:
  targetRefs: [{kind: Service, name: inventory}]
  consecutiveFailures: 3
  openFor: 5s
---
apiVersion: meshwright.io/v1
kind: FaultInjection
metadata: {name: catalog}
spec:
  targetRefs: [{kind: Service, name: catalog}]
  abort: {percent: 90, status: 503}
---
apiVersion: meshwright.io/v1
kind: FaultInjection
metadata: {name: analytics}
spec:
  targetRefs: [{kind: Service, name: analytics}]
  from: [trading]
  abort: {percent: 50, status: 503}
---
apiVersion: meshwright.io/v1
kind: RateLimit
metadata: {name: catalog}
spec:
  targetRefs: [{kind: Service, name: catalog}]
  enforcement: audit
  limits: [{requests: 1, per: 1m}]
---
apiVersion: meshwright.io/v1
kind: Rollout
metadata: {name: quotes}
spec:
  route: {name: quotes, sectionName: read}
  stable: {name: legacy, port: 80}
  canary: {name: trading, port: 80}
  steps: [{weight: 1}]
END
"""

"""Uploads logs as a program that uses azure-monitor-ingestion does, and prints how many requests it took
and how many bytes their bodies had. Arguments: gateway, endpoint, certificate."""

import base64
import json
import random
import sys
import time

from azure.core.credentials import AccessToken
from azure.monitor.ingestion import LogsIngestionClient

LOGS = 3000
RULE = "dcr-00000000000000000000000000000000"


class Credential:
    """Signs in nowhere: what takes the logs does not look at tokens."""

    def get_token(self, *scopes, **options):
        return AccessToken("token", int(time.time()) + 3600)


gateway, endpoint, certificate = sys.argv[1:]
client = LogsIngestionClient(
    endpoint,
    Credential(),
    proxies={"https": gateway},
    connection_verify=certificate,
    # A refusal is to be shown at once, and nothing waited for for ever.
    retry_total=0,
    connection_timeout=20,
    read_timeout=20,
)
chance = random.Random(1)
# The client compresses what it sends, so the logs are of a kind that stays large.
logs = [
    {"TimeGenerated": "2026-01-01T00:00:00Z", "RawData": base64.b64encode(chance.randbytes(750)).decode()}
    for _ in range(LOGS)
]
bodies = []
client.upload(
    RULE, "Custom-Test_CL", logs, raw_request_hook=lambda request: bodies.append(len(request.http_request.content))
)
print(json.dumps({"requests": len(bodies), "bytes": sum(bodies)}))

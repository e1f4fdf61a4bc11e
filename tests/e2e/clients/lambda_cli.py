"""The command line of AWS, version 1."""

import json
import os
import subprocess
import sys

from common import ENDPOINT, counted, get, key, same

AWS = os.path.join(os.path.dirname(sys.executable), "aws")
identity, secret = key("OPERATOR")
ENVIRONMENT = {
    **os.environ, "AWS_ACCESS_KEY_ID": identity, "AWS_SECRET_ACCESS_KEY": secret, "AWS_DEFAULT_REGION": "eu-west-1",
    "AWS_ENDPOINT_URL_LAMBDA": ENDPOINT, "AWS_MAX_ATTEMPTS": "1", "AWS_PAGER": "",
}


def aws(*words):
    """Exit code, output as JSON where it is some, and errors."""
    done = subprocess.run([AWS, "lambda", *words], env=ENVIRONMENT, capture_output=True, text=True, check=False)
    return done.returncode, json.loads(done.stdout) if done.stdout.strip() else None, done.stderr


def told(*words):
    code, answer, errors = aws(*words)
    same(" ".join(words) + errors, code, 0)
    return answer


same("publish-version", told("publish-version", "--function-name", "shop")["Version"], "2")
made = told("create-alias", "--function-name", "shop", "--name", "beta", "--function-version", "1")
changed = told(
    "update-alias", "--function-name", "shop", "--name", "live", "--function-version", "1",
    "--routing-config", "AdditionalVersionWeights={2=0.05}",
)
same("update-alias", changed["RoutingConfig"], {"AdditionalVersionWeights": {"2": 0.05}})
same("over HTTP", counted(get() for _ in range(100)), {"1": 95, "2": 5})
same("get-alias", told("get-alias", "--function-name", "shop", "--name", "live"), changed)
same("list-aliases", [one["Name"] for one in told("list-aliases", "--function-name", "shop")["Aliases"]], ["beta", "live"])
listed = told("list-versions-by-function", "--function-name", "shop", "--page-size", "1")
same("list-versions-by-function", [one["Version"] for one in listed["Versions"]], ["$LATEST", "1", "2"])
invoked = told("invoke", "--function-name", "shop", "--qualifier", "1", "--payload", "{}", "answer.json")
same("invoke", (invoked["StatusCode"], invoked["ExecutedVersion"]), (200, "1"))
with open("answer.json", encoding="utf-8") as answer:
    same("answer", answer.read(), "v1")
stale = ("--revision-id", "00000000-0000-8000-8000-000000000000")
code, _, errors = aws("update-alias", "--function-name", "shop", "--name", "beta", "--function-version", "2", *stale)
assert code != 0 and "PreconditionFailedException" in errors, errors
uri = os.environ["WEIR_V3"]
updated = told("update-function-code", "--function-name", "shop", "--image-uri", uri, "--publish")
same("update-function-code", updated["Version"], "3")
same("its endpoint", told("get-function", "--function-name", "shop:3")["Code"]["ImageUri"], uri)
told("wait", "function-updated-v2", "--function-name", "shop")
told("delete-alias", "--function-name", "shop", "--name", "beta")
told("delete-function", "--function-name", "shop", "--qualifier", "3")
code, _, errors = aws("list-layers")
assert code != 0 and "NotImplementedException" in errors, errors
print("aws is served")

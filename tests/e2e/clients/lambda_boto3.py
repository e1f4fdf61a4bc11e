"""boto3 manages and invokes: publish, aliases, exact splits, conditions, lists, waiters, error classes, ARNs, roles, events."""

import base64
import json
import threading

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError
from common import ENDPOINT, counted, get, key, same

REGION = "eu-west-1"
CONFIG = Config(retries={"total_max_attempts": 1})
ARN = "arn:aws:lambda:eu-west-1:000000000000:function:shop"


def client(role="OPERATOR", **more):
    identity, secret = key(role)
    given = {"aws_access_key_id": identity, "aws_secret_access_key": secret, **more}
    return boto3.client("lambda", region_name=REGION, endpoint_url=ENDPOINT, config=CONFIG, **given)


aws = client()


def fails(error, call, **parameters):
    """The call fails by this class of the client's, or with this code."""
    try:
        call(**parameters)
    except ClientError as failure:
        code = failure.response["Error"]["Code"]
        same(f"{call} {parameters}", code, error)
        known = getattr(aws.exceptions, error, None)
        assert known is None or isinstance(failure, known), failure
        return failure.response["Error"]["Message"]
    raise AssertionError(f"{parameters} went well instead of {error}")


def versions():
    for name in ["shop", "shop:$LATEST", "000000000000:function:shop", ARN, ARN + ":$LATEST"]:
        found = aws.get_function(FunctionName=name)["Configuration"]
        same(name, (found["FunctionName"], found["Version"]), ("shop", "$LATEST"))
    assert aws.get_function(FunctionName="shop", Qualifier="1")["Code"]["ImageUri"]
    fails("ResourceNotFoundException", aws.get_function, FunctionName="nothing")
    fails("ResourceNotFoundException", aws.get_function, FunctionName="arn:aws:lambda:eu-west-1:111111111111:function:shop")
    draft = aws.get_function_configuration(FunctionName="shop")
    fails("InvalidParameterValueException", aws.publish_version, FunctionName="shop", CodeSha256="c29tZXRoaW5nIGVsc2U=")
    fails("PreconditionFailedException", aws.publish_version, FunctionName="shop", RevisionId="00000000-0000-8000-8000-000000000000")
    made = aws.publish_version(
        FunctionName="shop", CodeSha256=draft["CodeSha256"], RevisionId=draft["RevisionId"], Description="second"
    )
    same("published", (made["Version"], made["FunctionArn"], made["Description"]), ("2", ARN + ":2", "second"))
    assert made["LastModified"].startswith("20"), made["LastModified"]
    same("unchanged", aws.publish_version(FunctionName="shop")["Version"], "2")
    listed = aws.get_paginator("list_versions_by_function").paginate(
        FunctionName="shop", PaginationConfig={"PageSize": 1}
    )
    same("versions", [one["Version"] for page in listed for one in page["Versions"]], ["$LATEST", "1", "2"])
    names = [one["FunctionName"] for page in aws.get_paginator("list_functions").paginate() for one in page["Functions"]]
    same("functions", names, ["broken", "shop"])
    everything = aws.list_functions(FunctionVersion="ALL")["Functions"]
    same("all", [one["FunctionArn"].rsplit(":", 1)[1] for one in everything if one["FunctionName"] == "shop"], ["$LATEST", "1", "2"])


def weighted(weights, main="1", name="live"):
    return aws.update_alias(
        FunctionName="shop", Name=name, FunctionVersion=main, RoutingConfig={"AdditionalVersionWeights": weights}
    )


def splits():
    weighted({"2": 0.05})
    same("read back", aws.get_alias(FunctionName="shop", Name="live")["RoutingConfig"], {"AdditionalVersionWeights": {"2": 0.05}})
    same("over HTTP", counted(get() for _ in range(100)), {"1": 95, "2": 5})
    invoked = [aws.invoke(FunctionName="shop", Qualifier="live", Payload=b"{}")["ExecutedVersion"] for _ in range(100)]
    same("over Invoke", counted(invoked), {"1": 95, "2": 5})
    same("kept", aws.update_alias(FunctionName="shop", Name="live", Description="kept")["RoutingConfig"], {"AdditionalVersionWeights": {"2": 0.05}})
    fails("InvalidParameterValueException", aws.update_alias, FunctionName="shop", Name="live", FunctionVersion="2")
    for weights in [{"2": 1.5}, {"2": 0.00001}, {"1": 0.5}, {"2": 0.1, "3": 0.1}, {"$LATEST": 0.1}]:
        try:
            weighted(weights)
        except ClientError as failure:
            same(f"{weights}", failure.response["Error"]["Code"], "InvalidParameterValueException")
        else:
            raise AssertionError(weights)
    weighted({"2": 1.0})
    whole = aws.get_alias(FunctionName="shop", Name="live")
    same("all to one", (whole["FunctionVersion"], whole["RoutingConfig"]), ("1", {"AdditionalVersionWeights": {"2": 1.0}}))
    same("all to one", counted(get() for _ in range(10)), {"2": 10})
    cleared = weighted({}, main="2")
    same("cleared", (cleared["FunctionVersion"], "RoutingConfig" in cleared), ("2", False))
    weighted({}, main="1")


def aliases():
    made = aws.create_alias(FunctionName="shop", Name="beta", FunctionVersion="1", Description="for tests")
    same("made", (made["AliasArn"], made["Description"]), (ARN + ":beta", "for tests"))
    fails("ResourceConflictException", aws.create_alias, FunctionName="shop", Name="beta", FunctionVersion="1")
    fails("ResourceNotFoundException", aws.create_alias, FunctionName="shop", Name="gone", FunctionVersion="77")
    assert "cannot be the name" in fails("InvalidParameterValueException", aws.create_alias, FunctionName="shop", Name="-x", FunctionVersion="1")
    fails("ResourceNotFoundException", aws.get_alias, FunctionName="shop", Name="gone")
    listed = aws.get_paginator("list_aliases").paginate(FunctionName="shop", PaginationConfig={"PageSize": 1})
    same("aliases", [one["Name"] for page in listed for one in page["Aliases"]], ["beta", "live"])
    same("of 2", aws.list_aliases(FunctionName="shop", FunctionVersion="2")["Aliases"], [])
    first = made["RevisionId"]
    changed = aws.update_alias(FunctionName="shop", Name="beta", FunctionVersion="2", RevisionId=first)
    assert changed["RevisionId"] != first
    fails("PreconditionFailedException", aws.update_alias, FunctionName="shop", Name="beta", FunctionVersion="1", RevisionId=first)
    ten = [client() for _ in range(10)]
    won = []

    def write(number):
        try:
            ten[number].update_alias(FunctionName="shop", Name="beta", Description=f"by {number}", RevisionId=changed["RevisionId"])
            won.append(number)
        except ClientError as failure:
            same("of ten", failure.response["Error"]["Code"], "PreconditionFailedException")

    writers = [threading.Thread(target=write, args=(number,)) for number in range(10)]
    [writer.start() for writer in writers]
    [writer.join() for writer in writers]
    same("of ten writers one wins", len(won), 1)
    same("it wrote", aws.get_alias(FunctionName="shop", Name="beta")["Description"], f"by {won[0]}")
    fails("ResourceConflictException", aws.delete_function, FunctionName="shop", Qualifier="2")
    for _ in range(2):
        same("deleted", aws.delete_alias(FunctionName="shop", Name="beta")["ResponseMetadata"]["HTTPStatusCode"], 204)


def waiters():
    names = ["function_exists", "function_active", "function_active_v2", "function_updated", "function_updated_v2", "published_version_active"]
    broken = []

    def wait(name):
        try:
            client().get_waiter(name).wait(FunctionName="shop", Qualifier="1", WaiterConfig={"Delay": 1, "MaxAttempts": 1})
        except Exception as failure:  # told below, on the main thread
            broken.append((name, failure))

    waiting = [threading.Thread(target=wait, args=(name,)) for name in names]
    [one.start() for one in waiting]
    [one.join() for one in waiting]
    same("six waiters", broken, [])


def who():
    viewer, invoker = client("VIEWER"), client("INVOKER")
    same("a viewer reads", viewer.get_alias(FunctionName="shop", Name="live")["Name"], "live")
    fails("AccessDeniedException", viewer.publish_version, FunctionName="shop")
    fails("AccessDeniedException", viewer.invoke, FunctionName="shop", Qualifier="live")
    fails("AccessDeniedException", invoker.get_alias, FunctionName="shop", Name="live")
    same("an invoker invokes", invoker.invoke(FunctionName="shop", Qualifier="live")["StatusCode"], 200)
    fails("InvalidSignatureException", client(aws_secret_access_key="some other secret").get_function, FunctionName="shop")
    fails("UnrecognizedClientException", client(aws_access_key_id="WEIRKEYNOBODY").get_function, FunctionName="shop")
    fails("UnrecognizedClientException", client(aws_session_token="token").get_function, FunctionName="shop")
    code = {"ZipFile": b"x"}
    fails("NotImplementedException", aws.create_function, FunctionName="new", Role="arn:aws:iam::000000000000:role/x", Code=code)
    fails("InvalidParameterValueException", aws.update_function_code, FunctionName="shop", ZipFile=b"x")


def events():
    answer = aws.invoke(FunctionName="shop", Qualifier="1", Payload=b'{"a": 1}', LogType="Tail")
    same("payload", answer["Payload"].read(), b"v1")
    log = base64.b64decode(answer["LogResult"]).decode()
    assert "START RequestId: " in log and "Version: 1" in log and "END " in log and "REPORT " in log, log
    same("unqualified", aws.invoke(FunctionName="shop", Payload=b"{}")["ExecutedVersion"], "$LATEST")
    failed = aws.invoke(FunctionName="shop:1", Payload=b'{"version": "1"}', ClientContext=base64.b64encode(b"{}").decode())
    assert "FunctionError" not in failed
    failed = aws.invoke(FunctionName="broken", Qualifier="1", Payload=b"{}")
    same("a failure", (failed["StatusCode"], failed["FunctionError"]), (200, "Unhandled"))
    assert "boom" in json.loads(failed["Payload"].read())["errorMessage"]
    fails("ServiceException", aws.invoke, FunctionName="broken", Qualifier="2", Payload=b"{}")
    fails("ResourceNotFoundException", aws.invoke, FunctionName="shop", Qualifier="77")
    fails("ResourceNotFoundException", aws.invoke, FunctionName="broken", Payload=b"{}")
    fails("NotImplementedException", aws.invoke, FunctionName="shop", Qualifier="1", InvocationType="Event", Payload=b"{}")
    same("a dry run", aws.invoke(FunctionName="shop", Qualifier="1", InvocationType="DryRun")["StatusCode"], 204)
    event = {
        "version": "2.0", "rawPath": "/cart", "rawQueryString": "a=1", "headers": {"x-one": "1"}, "cookies": ["c=1"],
        "requestContext": {"http": {"method": "GET", "path": "/cart"}},
    }
    packed = json.loads(aws.invoke(FunctionName="shop", Qualifier="1", Payload=json.dumps(event))["Payload"].read())
    same("proxied", (packed["statusCode"], packed["body"], packed["isBase64Encoded"]), (200, "v1", False))
    fails("RequestTooLargeException", aws.invoke, FunctionName="shop", Qualifier="1", Payload=b" " * ((6 << 20) + 1))


def guesses():
    nobody = client(aws_access_key_id="WEIRKEYNOBODY")
    codes = []
    while "TooManyRequestsException" not in codes and len(codes) < 30:
        try:
            nobody.get_function(FunctionName="shop")
        except ClientError as failure:
            codes.append(failure.response["Error"]["Code"])
    same("who guesses is told to wait", codes[-1], "TooManyRequestsException")
    same("who signs rightly gets in", aws.get_alias(FunctionName="shop", Name="live")["Name"], "live")


versions()
splits()
aliases()
waiters()
who()
events()
guesses()
print("boto3 is served")

"""Tencent's SDK: three stages, a rule for Bob, ranges, routing keys, weights, and back by leaving RoutingConfig out."""

import json
import re

from common import ENDPOINT, counted, get, key, same
from tencentcloud.common import credential
from tencentcloud.common.exception.tencent_cloud_sdk_exception import TencentCloudSDKException
from tencentcloud.common.profile.client_profile import ClientProfile
from tencentcloud.common.profile.http_profile import HttpProfile
from tencentcloud.scf.v20180416 import models, scf_client


def client(role="OPERATOR", secret=None, token=None, sign=None):
    identity, own = key(role)
    profile = ClientProfile(httpProfile=HttpProfile(protocol="http", endpoint=ENDPOINT.removeprefix("http://")))
    if sign:
        profile.signMethod = sign
    return scf_client.ScfClient(credential.Credential(identity, secret or own, token), "ap-guangzhou", profile)


scf = client()


def call(action, by=None, **parameters):
    """The answer of an action, as a dictionary."""
    request = getattr(models, f"{action}Request")()
    request.from_json_string(json.dumps({"FunctionName": "shop", **parameters}))
    return json.loads(getattr(by or scf, action)(request).to_json_string())


def fails(code, action, by=None, **parameters):
    try:
        call(action, by, **parameters)
    except TencentCloudSDKException as failure:
        same(f"{action} {parameters}: {failure.message}", failure.code, code)
        assert failure.requestId, "every answer has an id"
        return
    raise AssertionError(f"{action} {parameters} went well instead of {code}")


def invoked(routing=None, qualifier="live", **more):
    """The version that an invocation reached, as its log says."""
    if routing is not None:
        more["RoutingKey"] = json.dumps(routing)
    answer = call("InvokeFunction", Qualifier=qualifier, Event="{}", LogType="Tail", **more)
    same("result", answer["Result"]["InvokeResult"], 0)
    return re.search(r"Version: (\S+)", answer["Result"]["Log"]).group(1)


def match(expression, method="exact", header="User", version="2"):
    return {"Version": version, "Key": f"invoke.headers.{header}", "Method": method, "Expression": expression}


def routed(*matches):
    call("UpdateAlias", Name="live", FunctionVersion="1", RoutingConfig={"AddtionVersionMatchs": list(matches)})


same("published", call("PublishVersion", Description="second")["FunctionVersion"], "2")
same("unchanged", call("PublishVersion")["FunctionVersion"], "2")
same("versions", call("ListVersionByFunction")["FunctionVersion"], ["$LATEST", "1", "2"])
same("total", call("ListVersionByFunction", Offset=1, Limit=1)["TotalCount"], 3)
for stage in ["dev", "prepub", "release"]:
    call("CreateAlias", Name=stage, FunctionVersion="1", Description=f"for {stage}")
call("UpdateAlias", Name="dev", FunctionVersion="$LATEST")
call("UpdateAlias", Name="prepub", FunctionVersion="2")
stages = {one["Name"]: one["FunctionVersion"] for one in call("ListAliases", Offset="0", Limit="50")["Aliases"]}
same("stages", stages, {"$DEFAULT": "$LATEST", "dev": "$LATEST", "live": "1", "prepub": "2", "release": "1"})
same("description", call("GetAlias", Name="prepub")["Description"], "for prepub")
fails("ResourceInUse.Alias", "CreateAlias", Name="dev", FunctionVersion="1")

routed(match("Bob"))
same("Bob over HTTP", (get(headers={"User": "Bob"}), get(headers={"User": "Ann"}), get()), ("2", "1", "1"))
same("Bob by routing key", (invoked({"User": "Bob"}), invoked({"User": "Ann"}), invoked()), ("2", "1", "1"))
shown = call("GetAlias", Name="live")["RoutingConfig"]
same("matches", [(one["Method"], one["Expression"]) for one in shown["AddtionVersionMatchs"]], [("exact", "Bob")])
routed(match("[1,50]", "range"), match("(60,70)", "range", version="2"))
seen = {value: invoked({"User": value}) for value in [1, 50, 0, 51, "30", "abc", 60, 61]}
same("ranges", seen, {1: "2", 50: "2", 0: "1", 51: "1", "30": "2", "abc": "1", 60: "1", 61: "2"})

weights = {"AdditionalVersionWeights": [{"Version": "2", "Weight": 0.05}]}
call("UpdateAlias", Name="live", FunctionVersion="1", RoutingConfig=weights)
same("weights clear matches", call("GetAlias", Name="live")["RoutingConfig"]["AddtionVersionMatchs"], [])
same("over HTTP", counted(get() for _ in range(100)), {"1": 95, "2": 5})
same("over Invoke", counted(invoked() for _ in range(100)), {"1": 95, "2": 5})
call("UpdateAlias", Name="live", FunctionVersion="1")
same("back by leaving RoutingConfig out", counted(get() for _ in range(20)), {"1": 20})
both = {**weights, "AddtionVersionMatchs": [match("Bob")]}
fails("InvalidParameterValue.RoutingConfig", "UpdateAlias", Name="live", FunctionVersion="1", RoutingConfig=both)
two = {"AdditionalVersionWeights": [{"Version": "2", "Weight": 0.1}, {"Version": "$LATEST", "Weight": 0.1}]}
fails("InvalidParameterValue.AdditionalVersionWeights", "UpdateAlias", Name="live", FunctionVersion="1", RoutingConfig=two)

same("unqualified", invoked(qualifier=""), "$LATEST")
answer = call("Invoke", Qualifier="1", ClientContext='{"a": 1}')["Result"]
same("Invoke", (answer["RetMsg"], answer["ErrMsg"]), ("v1", ""))
failed = call("Invoke", FunctionName="broken", Qualifier="1", ClientContext="{}")["Result"]
assert failed["InvokeResult"] != 0 and "boom" in failed["ErrMsg"], failed
fails("InternalError", "Invoke", FunctionName="broken", Qualifier="2", ClientContext="{}")
fails("ResourceNotFound.Qualifier", "Invoke", Qualifier="gone")
fails("ResourceNotFound.Function", "GetFunction", FunctionName="nothing")
fails("ResourceNotFound.Alias", "GetAlias", Name="gone")
fails("ResourceNotFound.FunctionVersion", "UpdateAlias", Name="live", FunctionVersion="77")
fails("UnsupportedOperation", "DeleteFunction")
same("functions", [one["FunctionName"] for one in call("ListFunctions")["Functions"]], ["broken", "shop"])
same("function", call("GetFunction")["Status"], "Active")
call("DeleteAlias", Name="dev")

fails("AuthFailure.UnauthorizedOperation", "PublishVersion", client("VIEWER"))
fails("AuthFailure.SignatureFailure", "GetFunction", client(secret="some other secret"))
fails("AuthFailure.TokenFailure", "GetFunction", client(token="token"))
fails("AuthFailure.SignatureFailure", "GetFunction", client(sign="HmacSHA256"))
print("SCF is served")

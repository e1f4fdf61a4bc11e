"""boto3 beside a rollout: it sees what requests see, and its word ends the rollout."""

import boto3
from common import ENDPOINT, counted, get, key, same

identity, secret = key("OPERATOR")
aws = boto3.client(
    "lambda", region_name="eu-west-1", endpoint_url=ENDPOINT, aws_access_key_id=identity, aws_secret_access_key=secret
)
before = aws.get_alias(FunctionName="shop", Name="live")
same("during the rollout", (before["FunctionVersion"], before["RoutingConfig"]), ("1", {"AdditionalVersionWeights": {"2": 0.2}}))
described = aws.update_alias(FunctionName="shop", Name="live", Description="watched", RevisionId=before["RevisionId"])
same("a description leaves it alone", described["RoutingConfig"], before["RoutingConfig"])
after = aws.update_alias(FunctionName="shop", Name="live", FunctionVersion="1", RoutingConfig={}, RevisionId=described["RevisionId"])
same("after it", (after["FunctionVersion"], "RoutingConfig" in after), ("1", False))
same("over HTTP", counted(get() for _ in range(20)), {"1": 20})
print("the rollout is over")

"""Invokes the qualifiers that are named, and says what came of each."""

import sys

import boto3
from botocore.config import Config
from common import ENDPOINT, key

identity, secret = key("OPERATOR")
aws = boto3.client(
    "lambda", region_name="eu-west-1", endpoint_url=ENDPOINT, aws_access_key_id=identity, aws_secret_access_key=secret,
    config=Config(retries={"total_max_attempts": 1}),
)
for qualifier in sys.argv[2:]:
    answer = aws.invoke(FunctionName=sys.argv[1], Qualifier=qualifier, Payload=b"{}")
    print(f"{qualifier}: {answer['StatusCode']} {answer.get('FunctionError')}")

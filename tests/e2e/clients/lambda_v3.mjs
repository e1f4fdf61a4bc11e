// The SDK for JavaScript, version 3: the alias Production at 50/50, and back by a new version with the old code at weight 1.0.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import http from "node:http";

const require = createRequire(`${process.env.WEIR_NODE_MODULES}/`);
const aws = require("@aws-sdk/client-lambda");

const client = new aws.LambdaClient({
  endpoint: process.env.WEIR_DIALECTS,
  region: "eu-west-1",
  maxAttempts: 1,
  credentials: { accessKeyId: process.env.WEIR_OPERATOR_ID, secretAccessKey: process.env.WEIR_OPERATOR_SECRET },
});
const call = (name, parameters) => client.send(new aws[`${name}Command`]({ FunctionName: "shop", ...parameters }));
const fails = async (name, parameters, error) => {
  await assert.rejects(call(name, parameters), (failure) => failure instanceof aws[error], `${name} fails by ${error}`);
};

const listed = [];
for await (const page of aws.paginateListFunctions({ client }, {})) listed.push(...page.Functions.map((one) => one.FunctionName));
assert.deepEqual(listed, ["broken", "shop"]);

const second = await call("PublishVersion", {});
assert.equal(second.Version, "2");
await call("CreateAlias", { Name: "Production", FunctionVersion: "1" });
const half = await call("UpdateAlias", {
  Name: "Production",
  FunctionVersion: "1",
  RoutingConfig: { AdditionalVersionWeights: { 2: 0.5 } },
});
assert.deepEqual(half.RoutingConfig, { AdditionalVersionWeights: { 2: 0.5 } });
const invoked = async (count) => {
  const versions = {};
  for (let number = 0; number < count; number += 1) {
    const answer = await call("Invoke", { Qualifier: "Production", Payload: "{}" });
    versions[answer.ExecutedVersion] = (versions[answer.ExecutedVersion] ?? 0) + 1;
  }
  return versions;
};
assert.deepEqual(await invoked(100), { 1: 50, 2: 50 });

// Version 2 fails: the old code is published again, and gets everything.
await call("UpdateFunctionCode", { ImageUri: process.env.WEIR_V1 });
const third = await call("PublishVersion", {});
assert.equal(third.Version, "3");
const back = await call("UpdateAlias", {
  Name: "Production",
  FunctionVersion: "2",
  RoutingConfig: { AdditionalVersionWeights: { 3: 1.0 } },
});
assert.deepEqual([back.FunctionVersion, back.RoutingConfig.AdditionalVersionWeights], ["2", { 3: 1 }]);
assert.deepEqual(await invoked(20), { 3: 20 });

await aws.waitUntilFunctionActiveV2({ client, maxWaitTime: 10 }, { FunctionName: "shop" });
await fails("GetAlias", { Name: "gone" }, "ResourceNotFoundException");
await fails("CreateAlias", { Name: "Production", FunctionVersion: "1" }, "ResourceConflictException");
await fails("UpdateAlias", { Name: "Production", RevisionId: second.RevisionId, FunctionVersion: "1" }, "PreconditionFailedException");
await fails("UpdateAlias", { Name: "Production", RoutingConfig: { AdditionalVersionWeights: { 1: 1.5 } } }, "InvalidParameterValueException");
await fails("Invoke", { FunctionName: "broken", Qualifier: "2", Payload: "{}" }, "ServiceException");
const failed = await call("Invoke", { FunctionName: "broken", Qualifier: "1", Payload: "{}" });
assert.equal(failed.FunctionError, "Unhandled");

const bare = await new Promise((resolve) => http.get(`${process.env.WEIR_DIALECTS}/2015-03-31/functions`, resolve));
assert.equal(bare.statusCode, 403, "nobody gets in without a signature");
console.log("JS v3 is served");

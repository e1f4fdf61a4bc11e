// The SDK for JavaScript, version 2.

const assert = require("node:assert/strict");
const AWS = require(`${process.env.WEIR_NODE_MODULES}/aws-sdk`);

const lambda = new AWS.Lambda({
  endpoint: process.env.WEIR_DIALECTS,
  region: "eu-west-1",
  maxRetries: 0,
  accessKeyId: process.env.WEIR_OPERATOR_ID,
  secretAccessKey: process.env.WEIR_OPERATOR_SECRET,
});
const call = (name, parameters) => lambda[name]({ FunctionName: "shop", ...parameters }).promise();

(async () => {
  const { Functions } = await lambda.listFunctions().promise();
  assert.deepEqual(Functions.map((one) => one.FunctionName), ["broken", "shop"]);
  assert.equal((await call("publishVersion", {})).Version, "2");
  const weights = { AdditionalVersionWeights: { 2: 0.5 } };
  await call("createAlias", { Name: "Production", FunctionVersion: "1", RoutingConfig: weights });
  assert.deepEqual((await call("getAlias", { Name: "Production" })).RoutingConfig, weights);
  const versions = {};
  for (let number = 0; number < 100; number += 1) {
    const { ExecutedVersion } = await call("invoke", { Qualifier: "Production", Payload: "{}" });
    versions[ExecutedVersion] = (versions[ExecutedVersion] ?? 0) + 1;
  }
  assert.deepEqual(versions, { 1: 50, 2: 50 });
  const cleared = await call("updateAlias", { Name: "Production", FunctionVersion: "1", RoutingConfig: {} });
  assert.equal(cleared.RoutingConfig, undefined);
  await assert.rejects(call("getAlias", { Name: "gone" }), { code: "ResourceNotFoundException", statusCode: 404 });
  console.log("JS v2 is served");
})().catch((failure) => {
  console.error(failure);
  process.exitCode = 1;
});

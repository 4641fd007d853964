// Trims the AWS API models of the pinned aws-sdk package to what the codecs read: shapes, names, locations.
// usage: node models.mjs APIS_DIR OUT
// OUT: one line of JSON, {"ec2": [offset, length], ...} (bytes after that line), then the services' JSON texts one after another,
// so that the program can parse a service on its first use only.
import {readFileSync, writeFileSync} from 'node:fs';

const services = {
  ec2: 'ec2-2016-11-15', sns: 'sns-2010-03-31', sqs: 'sqs-2012-11-05', states: 'states-2016-11-23', events: 'eventbridge-2015-10-07',
  lambda: 'lambda-2015-03-31', s3: 's3-2006-03-01', iam: 'iam-2010-05-08', sts: 'sts-2011-06-15', rbin: 'rbin-2021-06-15',
  ebs: 'ebs-2019-11-02', dlm: 'dlm-2018-01-12', scheduler: 'scheduler-2021-06-30', logs: 'logs-2014-03-28',
  cloudformation: 'cloudformation-2010-05-15', dynamodb: 'dynamodb-2012-08-10', secretsmanager: 'secretsmanager-2017-10-17',
};
const kept = new Set(['type', 'required', 'locationName', 'location', 'queryName', 'flattened', 'shape', 'payload', 'streaming',
  'timestampFormat', 'xmlAttribute', 'resultWrapper', 'wrapper', 'idempotencyToken', 'eventstream', 'jsonvalue']);

function shape(s) {
  const out = {};
  for (const [key, value] of Object.entries(s)) if (kept.has(key)) out[key] = value;
  if (s.members) out.members = Object.fromEntries(Object.entries(s.members).map(([name, m]) => [name, shape(m)]));
  for (const part of ['member', 'key', 'value']) if (s[part]) out[part] = shape(s[part]);
  if (s.xmlNamespace?.uri) out.xmlNamespace = s.xmlNamespace.uri;
  return out;
}

// SQS speaks json in its model and, for older clients, query: there its lists and maps are flat and have names of their own
// (SQS API Reference of 2012-11-05, "Making Query API requests").
const sqsItems = {AttributeNames: 'AttributeName', MessageAttributeNames: 'MessageAttributeName', MessageSystemAttributeNames: 'MessageSystemAttributeName',
  Messages: 'Message', QueueUrls: 'QueueUrl', queueUrls: 'QueueUrl', TagKeys: 'TagKey', Failed: 'BatchResultErrorEntry', AWSAccountIds: 'AWSAccountId', Actions: 'ActionName',
  StringListValues: 'StringListValue', BinaryListValues: 'BinaryListValue'};
const sqsMaps = {Attributes: ['Attribute', 'Name', 'Value'], MessageAttributes: ['MessageAttribute', 'Name', 'Value'],
  MessageSystemAttributes: ['MessageSystemAttribute', 'Name', 'Value'], Tags: ['Tag', 'Key', 'Value'], tags: ['Tag', 'Key', 'Value']};
function nameForQuery(api, s, operation, seen = new Set()) {
  if (!s || seen.has(s)) return;
  seen.add(s);
  for (const [name, use] of Object.entries(s.members ?? {})) {
    const definition = use.shape ? api.shapes[use.shape] : use;
    const item = name === 'Entries' ? `${operation}RequestEntry` : name === 'Successful' ? `${operation}ResultEntry` : sqsItems[name];
    if (definition.type === 'list' && item) {
      definition.member = {...definition.member, locationName: item};
      use.flattened = true;
      nameForQuery(api, definition.member.shape ? api.shapes[definition.member.shape] : definition.member, operation, seen);
    } else if (definition.type === 'map' && sqsMaps[name]) {
      const [entry, key, value] = sqsMaps[name];
      Object.assign(use, {locationName: entry, flattened: true});
      definition.key = {...definition.key, locationName: key};
      definition.value = {...definition.value, locationName: value};
      nameForQuery(api, definition.value, operation, seen);
    } else {
      nameForQuery(api, definition, operation, seen);
    }
  }
}

// What Step Functions has learnt since the package was last published: variables and JSONata in histories, mocks in TestState
// (Step Functions API Reference of 2025-11).
function learnStates(api) {
  const text = {}, number = {type: 'integer'}, flag = {type: 'boolean'}, real = {type: 'float'};
  const structure = (members, required) => ({type: 'structure', members, ...(required && {required})});
  const map = value => ({type: 'map', key: {}, value});
  const list = member => ({type: 'list', member});
  const event = Object.values(api.shapes).concat(Object.values(api.operations).map(o => o.output))
    .flatMap(function find(s) { return !s ? [] : s.members?.stateExitedEventDetails ? [s] : [...Object.values(s.members ?? {}), s.member].flatMap(find); })[0];
  event.members.evaluationFailedEventDetails = structure({error: text, cause: text, location: text, state: text});
  Object.assign(event.members.stateExitedEventDetails.members, {assignedVariables: map({}), assignedVariablesDetails: structure({truncated: flag})});
  for (const operation of ['DescribeStateMachine', 'DescribeStateMachineForExecution'])
    api.operations[operation].output.members.variableReferences = map(list({}));
  const {input, output} = api.operations.TestState;
  input.required = ['definition'];
  Object.assign(input.members, {
    variables: text, stateName: text, context: text,
    mock: structure({result: text, errorOutput: structure({error: text, cause: text}), fieldValidationMode: text}),
    stateConfiguration: structure({retrierRetryCount: number, errorCausedByState: text, mapIterationFailureCount: number, mapItemReaderData: text}),
  });
  Object.assign(output.members.inspectionData.members, {
    afterArguments: text, variables: text, afterItemsPath: text, afterItemSelector: text, afterItemBatcher: text, afterItemsPointer: text,
    toleratedFailureCount: number, toleratedFailurePercentage: real, maxConcurrency: number,
    errorDetails: structure({catchIndex: number, retryIndex: number, retryBackoffIntervalSeconds: number}),
  });
}

const [apis, target] = process.argv.slice(2);
const index = {};
const texts = [];
let offset = 0;
for (const [name, file] of Object.entries(services)) {
  const api = JSON.parse(readFileSync(`${apis}/${file}.min.json`, 'utf8'));
  const m = api.metadata;
  if (name === 'states') learnStates(api);
  if (name === 'sqs') {
    m.xmlNamespace = 'http://queue.amazonaws.com/doc/2012-11-05/';
    for (const [operation, o] of Object.entries(api.operations)) for (const side of [o.input, o.output]) nameForQuery(api, side, operation);
  }
  const text = JSON.stringify({
    protocol: m.protocol, jsonVersion: m.jsonVersion, targetPrefix: m.targetPrefix, apiVersion: m.apiVersion, xmlNamespace: m.xmlNamespace,
    serviceId: m.serviceId, queryCompatible: m.awsQueryCompatible !== undefined || undefined,
    operations: Object.fromEntries(Object.entries(api.operations).map(([op, o]) => [op, {
      method: o.http?.method, uri: o.http?.requestUri, input: o.input && shape(o.input), output: o.output && shape(o.output)}])),
    shapes: Object.fromEntries(Object.entries(api.shapes).map(([s, o]) => [s, shape(o)])),
  });
  const size = Buffer.byteLength(text);
  index[name] = [offset, size];
  offset += size;
  texts.push(text);
}
writeFileSync(target, JSON.stringify(index) + '\n' + texts.join(''));

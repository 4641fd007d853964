// What runs a Node.js function: asks Lambda's Runtime API for events, one after another, and answers them.
import http from 'node:http';
import {existsSync} from 'node:fs';
import {createRequire} from 'node:module';
import {pathToFileURL} from 'node:url';

const root = process.env.LAMBDA_TASK_ROOT;
const [host, port] = process.env.AWS_LAMBDA_RUNTIME_API.split(':');
const base = '/2018-06-01/runtime/invocation/';
const agent = new http.Agent({keepAlive: true});

function exchange(method, path, body) {
  return new Promise((resolve, reject) => {
    const request = http.request({host, port, method, path, agent, headers: body === undefined ? {} : {'Content-Type': 'application/json'}}, response => {
      const parts = [];
      response.on('data', part => parts.push(part));
      response.on('end', () => resolve({status: response.statusCode, headers: response.headers, body: Buffer.concat(parts).toString()}));
    });
    request.on('error', reject);
    request.end(body);
  });
}

const failure = (type, message, trace = []) => ({errorType: type, errorMessage: message, trace});
const thrown = e => e instanceof Error
  ? failure(e.name, e.message, (e.stack ?? '').split('\n').filter(line => !line.includes('node.mjs')).map(line => line.replaceAll(`file://${root}`, 'file:///var/task').replaceAll(root, '/var/task')))
  : failure(typeof e, String(e));

async function findHandler(name) {
  const dot = name.lastIndexOf('.');
  if (dot <= 0) throw failure('Runtime.MalformedHandlerName', 'Bad handler');
  const path = `${root}/${name.slice(0, dot)}`;
  const file = ['.js', '.mjs', '.cjs'].map(end => path + end).find(existsSync);
  if (!file) throw failure('Runtime.ImportModuleError', `Error: Cannot find module '${name.slice(0, dot)}'`);
  let module;
  try {
    module = createRequire(file)(file);
  } catch (e) {
    if (e.code !== 'ERR_REQUIRE_ESM' && !(e instanceof SyntaxError)) throw thrown(e);
    try {
      module = await import(pathToFileURL(file));
    } catch (again) {
      throw again instanceof SyntaxError ? failure('Runtime.UserCodeSyntaxError', `SyntaxError: ${again.message}`) : thrown(again);
    }
  }
  const handler = module[name.slice(dot + 1)] ?? module.default?.[name.slice(dot + 1)];
  if (typeof handler !== 'function') throw failure('Runtime.HandlerNotFound', `${name} is undefined or not exported`);
  return handler;
}

let handler, broken;
try {
  handler = await findHandler(process.env._HANDLER);
} catch (e) {
  broken = e.errorType ? e : thrown(e);
}

function run(event, context) {
  return new Promise((resolve, reject) => {
    const callback = (error, result) => (error ? reject(error) : resolve(result));
    const result = handler(event, context, callback);
    if (typeof result?.then === 'function') result.then(resolve, reject);
    else if (handler.length < 3) resolve(result);
  });
}

for (;;) {
  let got;
  try {
    got = await exchange('GET', base + 'next');
  } catch {
    process.exit(0);  // the server is gone
  }
  if (got.status !== 200) process.exit(0);
  const id = got.headers['lambda-runtime-aws-request-id'];
  const deadline = Number(got.headers['lambda-runtime-deadline-ms']);
  const context = {
    awsRequestId: id,
    invokedFunctionArn: got.headers['lambda-runtime-invoked-function-arn'],
    functionName: process.env.AWS_LAMBDA_FUNCTION_NAME,
    functionVersion: process.env.AWS_LAMBDA_FUNCTION_VERSION,
    memoryLimitInMB: process.env.AWS_LAMBDA_FUNCTION_MEMORY_SIZE,
    logGroupName: process.env.AWS_LAMBDA_LOG_GROUP_NAME,
    logStreamName: process.env.AWS_LAMBDA_LOG_STREAM_NAME,
    callbackWaitsForEmptyEventLoop: true,
    getRemainingTimeInMillis: () => Math.max(0, deadline - Date.now()),
  };
  let failed = broken, text;
  if (!failed) {
    try {
      text = JSON.stringify(await run(JSON.parse(got.body), context)) ?? 'null';
    } catch (e) {
      failed = thrown(e);
    }
  }
  if (failed) console.error(`ERROR\tInvoke Error\t${JSON.stringify(failed)}`);
  try {
    await exchange('POST', `${base}${id}/${failed ? 'error' : 'response'}`, failed ? JSON.stringify(failed) : text);
  } catch {
    process.exit(0);
  }
}

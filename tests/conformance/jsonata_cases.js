// Makes a suite for JsonataSuite out of the reference implementation: random expressions, and what jsonata-js answers to them.
//
//   npm pack jsonata@2.0.6 && tar xzf jsonata-2.0.6.tgz
//   node tests/conformance/jsonata_cases.js package/jsonata.js SUITE_FOLDER SEED COUNT functions|expressions
//   JSONATA_SUITE=SUITE_FOLDER ./dev unit 'JsonataSuite.*'
//
// `functions` calls each built-in with fitting and unfitting arguments, `expressions` puts operators, paths, predicates, sorting,
// grouping, variables, lambdas and transforms together. An expression that takes the reference too long stops the whole run: take
// another seed. What still differs, and why, stands in README.md.
"use strict";
const fs = require("fs"),
  path_ = require("path");
const [reference, folder, seed, wanted, mode] = process.argv.slice(2);
if (!mode) {
  console.error("usage: jsonata_cases.js REFERENCE FOLDER SEED COUNT functions|expressions");
  process.exit(2);
}
const jsonata = require(path_.resolve(reference));
const N = Number(wanted);
let state = (Number(seed) * 2654435761 + 1) >>> 0;
function rnd() {
  state ^= state << 13;
  state >>>= 0;
  state ^= state >>> 17;
  state ^= state << 5;
  state >>>= 0;
  return state / 4294967296;
}
const ri = (n) => Math.floor(rnd() * n),
  pick = (a) => a[ri(a.length)];
const data = {
  Fleet: {
    "Fleet Name": "north",
    Region: [
      {
        RegionID: "us-west-2",
        Volume: [
          {
            "Volume Name": "journal",
            VolumeID: 41,
            Zone: "west-b",
            Disk: { Kind: "ssd", Iops: 3000, Rate: 125, Share: 0.75 },
            Size: 34.45,
            Count: 2,
          },
          {
            "Volume Name": "archive",
            VolumeID: 7,
            Zone: "west-a",
            Disk: { Kind: "tape", Iops: 90, Rate: 40, Share: 0.6 },
            Size: 121.67,
            Count: 1,
          },
        ],
      },
      {
        RegionID: "us-east-2",
        Volume: [
          {
            "Volume Name": "journal",
            VolumeID: 41,
            Zone: "east-a",
            Disk: { Kind: "ssd", Iops: 3000, Rate: 125, Share: 0.75 },
            Size: 34.45,
            Count: 4,
          },
          {
            VolumeID: 1999,
            Zone: "east-c",
            "Volume Name": "cache",
            Disk: { Kind: "ram", Iops: 90000, Rate: 2000, Share: 2 },
            Size: 8.5,
            Count: 1,
          },
        ],
      },
    ],
  },
  n: [3, 1, 2, 2, 10],
  s: ["b", "a", "c", "a"],
  e: [],
  o: { a: 1, b: { c: [1, 2, { d: 3 }] }, "x y": "z" },
  nul: null,
  t: true,
  f: false,
  z: 0,
  str: "Night Watch",
  num: 42.5,
  neg: -7,
  nest: [[1, [2, 3]], [4], []],
  mix: [1, "a", null, true, { k: 1 }, [2]],
  recs: [{ g: "x", v: 1 }, { g: "y", v: 2 }, { g: "x", v: 3 }, { g: "z" }],
};
const lits = [
  "1",
  "0",
  "-1",
  "2.5",
  "1e3",
  '"abc"',
  '""',
  '"a,b,c"',
  '"Night Watch"',
  "true",
  "false",
  "null",
  "[]",
  "[1,2,3]",
  '["a","b"]',
  "{}",
  '{"a":1,"b":2}',
  '[1,"a",null]',
  "[[1,2],[3]]",
  "nothing",
  "n",
  "s",
  "e",
  "o",
  "nul",
  "str",
  "num",
  "neg",
  "mix",
  "recs",
  "recs.v",
  "Fleet.Region.Volume.Size",
  "function($x){$x}",
  "$uppercase",
  "/b/",
  "/[a-z]+/i",
  '"1"',
  '"0x1F"',
  '"-3.5"',
  "10",
  "100",
  '"é😀x"',
  '"  pad  me "',
  "123456789",
  "0.1",
  '"yes"',
  "o.b.c",
  "[1..5]",
  '"2026-01-01T00:00:00Z"',
  "1700000000123",
];
const fns = {
  string: [0, 2],
  length: [0, 1],
  substring: [1, 3],
  substringBefore: [1, 2],
  substringAfter: [1, 2],
  uppercase: [0, 1],
  lowercase: [0, 1],
  trim: [0, 1],
  pad: [1, 3],
  contains: [1, 2],
  split: [1, 3],
  join: [1, 2],
  match: [1, 3],
  replace: [2, 4],
  base64encode: [0, 1],
  base64decode: [0, 1],
  encodeUrlComponent: [0, 1],
  encodeUrl: [0, 1],
  decodeUrlComponent: [0, 1],
  decodeUrl: [0, 1],
  number: [0, 1],
  abs: [0, 1],
  floor: [0, 1],
  ceil: [0, 1],
  round: [0, 2],
  power: [1, 2],
  sqrt: [0, 1],
  formatNumber: [1, 3],
  formatBase: [1, 2],
  formatInteger: [2, 2],
  parseInteger: [2, 2],
  sum: [1, 1],
  max: [1, 1],
  min: [1, 1],
  average: [1, 1],
  boolean: [0, 1],
  not: [0, 1],
  exists: [1, 1],
  count: [1, 1],
  append: [2, 2],
  sort: [1, 2],
  reverse: [1, 1],
  distinct: [1, 1],
  zip: [1, 3],
  keys: [0, 1],
  lookup: [2, 2],
  spread: [0, 1],
  merge: [1, 1],
  sift: [1, 2],
  each: [1, 2],
  error: [0, 1],
  assert: [1, 2],
  type: [1, 1],
  map: [2, 2],
  filter: [2, 2],
  single: [1, 2],
  reduce: [2, 3],
  fromMillis: [1, 3],
  toMillis: [1, 2],
};
const special = {
  formatNumber: [
    ["1234.5", "0", "-12.345", "0.14", "1e10", "123.9", "34.555"],
    ['"#,##0.00"', '"0"', '"00.00"', '"#.#"', '"##0.0e0"', '"01%"', '"#0.00;(#)"', '"‰0"', '"###,##"', '"0,000"', '"0.0.0"', '"#"', '""'],
  ],
  formatInteger: [
    ["0", "1", "12", "99", "123", "1999", "2789", "-45", "1234567", "555.9"],
    ['"w"', '"W"', '"Ww"', '"w;o"', '"Ww;o"', '"I"', '"i"', '"A"', '"a"', '"0"', '"000"', '"#,##0"', '"1;o"', '"#"', '"0000;o"', '"wo"'],
  ],
  parseInteger: [
    ['"nine thousand and seven"', '"MMXXVI"', '"xii"', '"1,234"', '"B"', '"zz"', '"one hundred and first"', '"21st"', '"0012"'],
    ['"w"', '"w;o"', '"I"', '"i"', '"#,##0"', '"A"', '"a"', '"0;o"', '"0000"'],
  ],
  fromMillis: [
    ["1700000000123", "0", "-1", "1609459199999", "253402300799999", "951782400000"],
    [
      '"[Y]-[M01]-[D01]"',
      '"[Y0001]-[M01]-[D01]T[H01]:[m01]:[s01].[f001][Z01:01t]"',
      '"[D1o] [MNn] [Y]"',
      '"[FNn], [D] [MNn,3-3] [Y,2]"',
      '"[h]:[m01] [P]"',
      '"[H01][m01]z[z]"',
      '"[W01]/[w] [d001] [F0]"',
      '"[[x]] [X0001]-W[W01]-[F1]"',
      '"[YI] [Mi] [Dw]"',
      '"[Yw]"',
      '"[D01]/[M01]/[Y,*-4] [C] [E]"',
      '"[H#1]:[m]:[s].[f]"',
      '"[M"',
      '"[q]"',
      '"[PN] [Pn]"',
      '"[h#1][P] [Z]"',
      '"[Z0000] [z0] [Z0:00]"',
      "undefined",
    ],
    ['"+0100"', '"-0730"', '"0530"', '"+0000"'],
  ],
  toMillis: [
    [
      '"2026-11-26T00:00:00.123Z"',
      '"1970-01-01"',
      '"2026"',
      '"2026-11-26T14:03:00.123+0100"',
      '"26/11/2026"',
      '"November 26, 2026"',
      '"2026-W48-4"',
      '"3:05 pm"',
      '"twenty-sixth November 2026"',
      '"13:45"',
      '"Q"',
    ],
    [
      '"[D01]/[M01]/[Y0001]"',
      '"[MNn] [D], [Y]"',
      '"[Y]-[M]-[D]"',
      '"[X0001]-W[W01]-[F1]"',
      '"[h]:[m] [P]"',
      '"[Dwo] [MNn] [Y]"',
      '"[H]:[m]"',
      '"[Y]"',
      '"[Y]-[M01]-[D01]T[H01]:[m]:[s].[f001]Z"',
    ],
  ],
  replace: [
    ['"Vol Blue"', '"banana split"', '"980GiB"', "str"],
    ["/(\\w+)\\s(\\w+)/", '"a"', "/a.*?a/", "/([0-9]+)GiB/", "/b/i", '""', "/(o)|(x)/"],
    ['"$2, $1"', '"*"', '"$$$1"', "function($m){$uppercase($m.match)}", '"$10"', '"$0$0"', '"[$3]"', '"$w"'],
    ["1", "2", "0", "-1", "1.5"],
  ],
  match: [
    ['"nanbxnabbc"', "str", '""'],
    ["/a(b+)/", "/a(b+)|x/", "/z/", "/o/", "/[a-c](?=b)/"],
    ["1", "2", "0"],
  ],
  split: [
    ['"two  blanks here"', '"one, two; three. four"', '""', '"a1b2c3"'],
    ['" "', "/[ ,.;]+/", '""', "/\\d/", "/(\\d)/", '"x"'],
    ["2", "0", "-1", "1.5"],
  ],
  map: [
    ["[1..4]", "s", "recs", "o", "e", "5"],
    ["function($v){$v}", "function($v,$i){$i}", "function($v,$i,$a){$count($a)}", "$string", "$uppercase", "function(){1}", "λ($x){$x.v}"],
  ],
  filter: [
    ["[1..5]", "s", "recs", "o", "e", "5"],
    ["function($v){$v>2}", "function($v,$i){$i%2=0}", "function($v,$i,$a){$v=$max($a)}", "$boolean", "λ($x){$x.v}"],
  ],
  single: [
    ["[1..5]", "s", "recs", "[1]"],
    ["function($v){$v=2}", "function($v){$v>2}", "λ($x){$x.v=2}", "function($v){false}"],
  ],
  reduce: [
    ["[1..5]", "s", "[7]", "e", "nothing"],
    ["function($i,$j){$i+$j}", "function($i,$j){$i&$j}", "function($i,$j,$k,$l){$k}", "function($i){$i}", "$append", "$max"],
    ["10", '""', "[]", '"x"'],
  ],
  sift: [
    ["o", '{"a":1,"b":2,"c":null}', "recs", "[1,2]"],
    ["function($v){$v>1}", 'function($v,$k){$k="a"}', "function($v,$k,$o){$count($keys($o))>2}"],
  ],
  each: [
    ["o", '{"a":1,"b":2}', "recs", "5"],
    ['function($v,$k){$k & ": " & $string($v)}', "function($v){$v}", "function($v,$k,$o){$o}"],
  ],
  sort: [
    ["n", "s", "recs", '[1,"a"]', "[true,false]", "[[2],[1]]", "5"],
    ["function($l,$r){$l>$r}", "function($l,$r){$l<$r}", "function($l,$r){$l.v>$r.v}"],
  ],
  formatBase: [
    ["100", "-255", "2.7", "0"],
    ["2", "16", "36", "37", "1", '"x"'],
  ],
  number: [
    ['"0xFf"', '"0b101"', '"0o17"', '"1e5"', '"Infinity"', '"1e400"', '" 5"', "true", "false", "null", '"5.","-"', '"-0"', '".5"', '"1_0"'],
  ],
  round: [
    ["11.5", "12.5", "-0.5", "125", "155.555", "2.675", "123.456", "0.5"],
    ["0", "1", "2", "-1", "-2"],
  ],
  pad: [
    ['"foo"', '"é"', '""'],
    ["5", "-5", "0", "10", "-8"],
    ['"#"', '"ab"', '""', '"😀"'],
  ],
  substring: [
    ['"Night Watch"', '"😀é𝒳bc"'],
    ["0", "3", "-4", "20", "-20", "1.5"],
    ["2", "-1", "0", "100", "1.7"],
  ],
  zip: [
    ["[1,2,3]", "n", "5", "e", "nothing"],
    ["[4,5]", "s", '"x"', "nothing"],
    ["[7,8,9]", "[true]"],
  ],
  string: [
    [
      '{"a":[1,{"b":"c"}],"d":null}',
      "[1,[2,[]],{}]",
      "5.0",
      "1e21",
      "1e-7",
      "0.1+0.2",
      "100000000000000000000",
      "$sum",
      "/x/",
      '"a\\n\\"b\\u00e9"',
      '[1,$sum,"x"]',
      "123456789012345680",
      "1/3",
      "22/7*1e10",
      "nothing",
      "-0",
    ],
    ["true", "false"],
  ],
  lookup: [
    ["o", "recs", '{"a":1}', "5"],
    ['"a"', '"g"', '"x y"', '"nope"'],
  ],
  merge: [['[{"a":1},{"b":2,"a":3}]', "recs", "o", "[]", "[1,2]"]],
  spread: [["o", "recs", '[{"a":1},{"b":2,"c":3}]', "5", '"x"']],
  join: [
    ["s", '["a","b","c"]', '"x"', "[]", "[1,2]"],
    ['"-"', '""', '","'],
  ],
  distinct: [["n", "s", '[1,1.0,"1"]', '[{"a":1},{"a":1}]', "[[1],[1]]", "5", "mix"]],
  contains: [
    ["str", '"banana split"'],
    ['"World"', '"w"', "/ra/", "/^b/", '""'],
  ],
  type: [["1", '"s"', "nul", "[]", "{}", "true", "$sum", "/x/", "nothing"]],
};
function fnExpr() {
  const f = pick(Object.keys(fns));
  const [a, b] = fns[f];
  const args = [];
  const sp = special[f];
  const useSp = sp && rnd() < 0.75;
  let k = a + ri(b - a + 1);
  for (let i = 0; i < k; i++) args.push(useSp && sp[i] ? pick(sp[i]) : pick(lits));
  let e = "$" + f + "(" + args.join(", ") + ")";
  if (rnd() < 0.1) e = pick(lits) + "." + e;
  if (rnd() < 0.06 && args.length) e = args[0] + " ~> $" + f + "(" + args.slice(1).join(", ") + ")";
  return e;
}
const names = [
  "Fleet",
  "Region",
  "Volume",
  "Size",
  "Count",
  "Disk",
  "Kind",
  "`Volume Name`",
  "o",
  "a",
  "b",
  "c",
  "d",
  "recs",
  "g",
  "v",
  "n",
  "s",
  "nest",
  "mix",
  "e",
  "nul",
  "t",
  "f",
  "str",
  "nope",
  "`x y`",
  "Zone",
  "RegionID",
];
function path(d) {
  let k = 1 + ri(4),
    out = [];
  const starts = [
    "Fleet.Region.Volume",
    "Fleet.Region",
    "recs",
    "o.b.c",
    "n",
    "nest",
    "mix",
    "Fleet.Region.Volume.Disk",
    "o",
    "s",
    "$",
    "*",
    "**",
  ];
  let e = rnd() < 0.75 ? pick(starts) : pick(names);
  for (let i = 1; i < k; i++) {
    const r = rnd();
    if (r < 0.35) e += "." + pick(names);
    else if (r < 0.5) e += "[" + pick(["0", "-1", "1", "5", "[0,1]", "[0..1]", "-2", "1.7"]) + "]";
    else if (r < 0.62) e += "[" + expr(d - 1) + "]";
    else if (r < 0.66) e += ".*";
    else if (r < 0.69) e += ".**";
    else if (r < 0.73) e += "[]";
    else if (r < 0.8)
      e +=
        "^(" +
        pick(["<", ">", ""]) +
        pick(["Size", "v", "$", "Count", "g", "a"]) +
        (rnd() < 0.3 ? ", >" + pick(["Zone", "v", "$"]) : "") +
        ")";
    else if (r < 0.85)
      e +=
        "{" +
        pick(["g", "RegionID", "`Volume Name`", '"k"', "$string($)", "Zone"]) +
        ": " +
        pick(["v", "Size", "$", "$sum(Size)", "$count($)", "[v]", "Size*Count"]) +
        "}";
    else if (r < 0.88) e += "#$i." + pick(["$i", '{"i":$i}', "$", "[$i,$]"]);
    else if (r < 0.91) e += ".%." + pick(names);
    else if (r < 0.94) e += "@$p." + pick(["$p", '{"p":$p}', "$p.v", "$.v"]);
    else if (r < 0.97) e += ".(" + expr(d - 1) + ")";
    else e += ".{" + pick(['"a"', "g", '"k"']) + ": " + expr(d - 1) + "}";
  }
  return e;
}
function expr(d) {
  if (d <= 0) return rnd() < 0.5 ? pick(lits.slice(0, 28)) : path(0);
  const r = rnd();
  if (r < 0.28) return path(d);
  if (r < 0.36) return "(" + expr(d - 1) + pick([" + ", " - ", " * ", " / ", " % "]) + expr(d - 1) + ")";
  if (r < 0.44) return "(" + expr(d - 1) + pick([" = ", " != ", " < ", " > ", " <= ", " >= ", " in "]) + expr(d - 1) + ")";
  if (r < 0.5) return "(" + expr(d - 1) + pick([" and ", " or "]) + expr(d - 1) + ")";
  if (r < 0.56) return "(" + expr(d - 1) + " & " + expr(d - 1) + ")";
  if (r < 0.61) return "(" + expr(d - 1) + " ? " + expr(d - 1) + (rnd() < 0.8 ? " : " + expr(d - 1) : "") + ")";
  if (r < 0.66) return "[" + expr(d - 1) + ", " + expr(d - 1) + "]";
  if (r < 0.7) return '{"a": ' + expr(d - 1) + ", " + pick(['"b"', "str", "g"]) + ": " + expr(d - 1) + "}";
  if (r < 0.74) return "($x := " + expr(d - 1) + "; " + pick(["$x", "$x + 1", "[$x]", "$count($x)", "$x[0]", "$x.a"]) + ")";
  if (r < 0.78) return "-" + pick(["(1)", "num", "neg", "n", '"a"', "nope", "(n[0])"]);
  if (r < 0.81) return "[" + pick(["1", "0", "-2", "n[1]", "2.5", "nope"]) + ".." + pick(["3", "0", "5", "n[0]", '"a"', "nope"]) + "]";
  if (r < 0.84)
    return (
      "function($a" +
      (rnd() < 0.5 ? ", $b" : "") +
      "){" +
      pick(["$a", '$a & "!"', "$a + 1", "$b"]) +
      "}(" +
      expr(d - 1) +
      (rnd() < 0.4 ? ", " + expr(d - 1) : "") +
      ")"
    );
  if (r < 0.87)
    return (
      pick(["recs", "o", "Fleet.Region", "$"]) +
      " ~> |" +
      pick(["$", "Volume", "b", "*"]) +
      "|" +
      pick(['{"v":99}', '{"w":v*2}', '{"Size":Size+1}', "5"]) +
      (rnd() < 0.4 ? ", " + pick(['"v"', '["g","Size"]', "5"]) : "") +
      "|"
    );
  return fnExpr();
}
(async () => {
  const rows = [];
  while (rows.length < N) {
    const e = mode === "functions" ? fnExpr() : expr(3);
    let row = { expr: e, dataset: "d", bindings: {} };
    try {
      const c = jsonata(e);
      const p = c.evaluate(JSON.parse(JSON.stringify(data)), {});
      let to;
      const r = await Promise.race([p, new Promise((_, j) => (to = setTimeout(() => j({ code: "TIMEOUT" }), 800)))]);
      clearTimeout(to);
      if (r === undefined) row.undefinedResult = true;
      else {
        const t = JSON.stringify(r, (k, v) => {
          if (typeof v === "function" || (v && (v._jsonata_function || v._jsonata_lambda))) throw { fn: 1 };
          if (typeof v === "number" && !isFinite(v)) throw { fn: 1 };
          if (v === undefined && k !== "") throw { fn: 1 };
          return v;
        });
        if (t === undefined) continue;
        row.result = JSON.parse(t);
      }
    } catch (x) {
      if (x && x.fn) continue;
      if (!x || !x.code || x.code === "TIMEOUT") {
        continue;
      }
      row.code = x.code;
    }
    rows.push(row);
  }
  fs.mkdirSync(path_.join(folder, "groups/random"), { recursive: true });
  fs.mkdirSync(path_.join(folder, "datasets"), { recursive: true });
  fs.writeFileSync(path_.join(folder, "datasets/d.json"), JSON.stringify(data));
  fs.writeFileSync(path_.join(folder, "groups/random/" + mode + "-" + seed + ".json"), JSON.stringify(rows));
  console.log(rows.length + " expressions");
  process.exit(0);
})();

// Runs the script of verify.html on the packs on standard input, and prints what the page would show.

import { readFileSync } from "node:fs";

const html = readFileSync(process.argv[2], "utf8");
const script = html.slice(html.indexOf("<script>") + "<script>".length, html.indexOf("</script>"));
const element = { addEventListener() {} };
const document = { ...element, getElementById: () => element };
const examine = new Function("document", `${script}; return examine;`)(document);

const results = [];
for (const { files, key, witnesses } of JSON.parse(readFileSync(0, "utf8"))) {
  const list = files.map(([name, content]) => new File([Buffer.from(content, "base64")], name));
  results.push(await examine(list, key, witnesses));
}
console.log(JSON.stringify(results));

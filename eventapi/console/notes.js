// Signed notes, checkpoints and proofs as in C2SP (docs/log-format.md). Texts that are not well formed throw `Malformed`.

import { same } from "./merkle.js";

export class Malformed extends Error {}

const utf8 = new TextEncoder();
const ID_BYTES = 4;

export function fromBase64(text) {
  let bytes;
  try {
    bytes = Uint8Array.from(atob(text), (one) => one.charCodeAt(0));
  } catch {
    throw new Malformed(`${text} is not base64`);
  }
  if (toBase64(bytes) !== text) throw new Malformed(`${text} is not canonical base64`);
  return bytes;
}

export const toBase64 = (bytes) => btoa(String.fromCharCode(...bytes));

export const toHex = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");

// A verifier key, `NAME+ID+KEY`.
export async function parseKey(vkey) {
  const [name, id, ...rest] = vkey.trim().split("+");
  const data = fromBase64(rest.join("+"));
  const digest = await crypto.subtle.digest("SHA-256", new Uint8Array([...utf8.encode(`${name}\n`), ...data]));
  const found = new Uint8Array(digest).slice(0, ID_BYTES);
  if (data.length !== 33 || data[0] !== 1 || toHex(found) !== id) throw new Malformed("this is no key of a log");
  return { vkey: vkey.trim(), name, id: found, bytes: data.slice(1) };
}

// A checkpoint: {note, text, origin, size, root, signatures}.
export function parseCheckpoint(note) {
  const end = note.lastIndexOf("\n\n");
  const text = note.slice(0, end + 1);
  const [origin, size, root] = text.split("\n");
  const lines = note.slice(end + 2).split("\n").filter(Boolean);
  const matches = lines.map((line) => /^— ([^\s+]+) ([A-Za-z0-9+/]+=*)$/.exec(line));
  if (end < 0 || !/^(0|[1-9][0-9]{0,14})$/.test(size) || !matches.length || matches.includes(null)) {
    throw new Malformed("this is no checkpoint");
  }
  const signatures = matches.map((match) => ({ name: match[1], box: fromBase64(match[2]) }));
  return { note, text, origin, size: Number(size), root: fromBase64(root), signatures };
}

// `/log/consistency/N`: {old, hashes, checkpoint}.
export function parseConsistency(content) {
  const end = content.indexOf("\n\n");
  const [first, ...hashes] = content.slice(0, end).split("\n");
  const match = /^old (0|[1-9][0-9]{0,14})$/.exec(first);
  if (end < 0 || !match) throw new Malformed("this is no proof of consistency");
  const checkpoint = parseCheckpoint(content.slice(end + 2));
  return { old: Number(match[1]), hashes: hashes.map(fromBase64), checkpoint };
}

// A C2SP tlog-proof: {index, hashes, checkpoint}.
export function parseInclusion(content) {
  const end = content.indexOf("\n\n");
  const [kind, ...lines] = content.slice(0, end).split("\n");
  const [index, ...hashes] = lines.filter((line) => !line.startsWith("extra "));
  const match = /^index (0|[1-9][0-9]{0,14})$/.exec(index || "");
  if (end < 0 || kind !== "c2sp.org/tlog-proof@v1" || !match) throw new Malformed("this is no proof of inclusion");
  const checkpoint = parseCheckpoint(content.slice(end + 2));
  return { index: Number(match[1]), hashes: hashes.map(fromBase64), checkpoint };
}

// Whether a checkpoint has a signature of a key. Throws an error of WebCrypto if this browser has no Ed25519.
export async function isSigned(checkpoint, key) {
  const found = checkpoint.signatures.find(
    (one) => one.name === key.name && same(one.box.slice(0, ID_BYTES), key.id),
  );
  if (!found || checkpoint.origin !== key.name) return false;
  const imported = await crypto.subtle.importKey("raw", key.bytes, { name: "Ed25519" }, false, ["verify"]);
  return crypto.subtle.verify("Ed25519", imported, found.box.slice(ID_BYTES), utf8.encode(checkpoint.text));
}

// What the light means: check a server's log against what this browser kept. No page and no storage, so that a
// program can run it, too.
//
// `get(path)` returns the text of a path of the API, or throws an error with a `status`. `kept` is what the last check
// returned as `keep`: {vkey, note, time}. A verdict is {state, title, text, keep?, evidence?, size?}.

import { parse } from "./json.js";
import { isConsistent, leafHash, rootFromInclusion, same } from "./merkle.js";
import { Malformed, isSigned, parseCheckpoint, parseConsistency, parseInclusion, parseKey } from "./notes.js";

const RETRIES = 3;

export const GREEN = "green";
export const AMBER = "amber";
export const RED = "red";

class Contradiction extends Error {
  constructor(title, text, shown, line) {
    super(title);
    Object.assign(this, { title, text, shown, line });
  }
}

// Check the log. `heads` are further checkpoints that it must continue; `least` is a position that the server has
// acknowledged; `own()` returns a line that the user has written, as an export has it, or null: it must be in the log;
// `pause()` waits before a server that is behind is asked again.
export async function check({ get, kept, heads = [], least = 0, own = async () => null, now = new Date(), pause = async () => {} }) {
  if (!globalThis.crypto?.subtle) {
    return amber("This browser only checks pages that are sent with TLS (https), or from this machine.");
  }
  let key = null;
  try {
    const shown = await parseKey(await get("/log/key"));
    key = kept ? await parseKey(kept.vkey) : shown;
    const known = [...(kept ? [parseCheckpoint(kept.note)] : []), ...heads];
    if (shown.vkey !== key.vkey) throw await otherKey(get, known, key, shown);
    for (const head of heads) await requireSigned(head, key);
    const line = await own();
    const written = line && (await included(line, key));
    if (written) known.push(written.checkpoint);
    const newest = await newestOf({ get, key, known, least, pause });
    const keep = { vkey: key.vkey, note: newest.note, time: now.toISOString() };
    const since = kept ? { size: parseCheckpoint(kept.note).size, time: kept.time } : null;
    return { state: GREEN, title: "Intact", size: newest.size, since, own: written && written.index + 1, keep };
  } catch (error) {
    if (error instanceof Contradiction) {
      const shown = { vkey: error.shown.vkey || key?.vkey, note: error.shown.note };
      return { state: RED, title: error.title, text: error.text, evidence: { kept, shown, line: error.line, time: now.toISOString() } };
    }
    return amber(reasonOf(error));
  }
}

const amber = (text) => ({ state: AMBER, title: "Cannot check", text });

function reasonOf(error) {
  if (error instanceof Malformed) return `The server's answer is not well formed: ${error.message}.`;
  if (error.name === "NotSupportedError") return "This browser does not know Ed25519 signatures. A newer one does.";
  return error.message || String(error);
}

// The newest checkpoint, which continues all of the known ones.
async function newestOf({ get, key, known, least, pause }) {
  const largest = Math.max(least, ...known.map((head) => head.size));
  for (let tries = 0; ; tries++) {
    const newest = parseCheckpoint(await get("/log/checkpoint"));
    await requireSigned(newest, key);
    if (newest.size < largest) {
      // Another instance of the server may be a moment behind.
      if (tries < RETRIES) await pause();
      else await tooShort(get, newest, largest, known);
      continue;
    }
    const moved = await continued(get, key, known, newest);
    if (!moved) return newest;
    if (tries >= RETRIES) return moved;
  }
}

async function tooShort(get, newest, largest, known) {
  const health = parse(await get("/health"));
  if (health.database === "lost") {
    throw new Error("The server has lost its database, and shows an older state until it is back.");
  }
  const seen = known.some((head) => head.size === largest) ? "this browser has seen" : "the server has confirmed";
  throw new Contradiction(
    "The log became shorter",
    `It has ${count(newest.size)} events, but ${seen} event ${count(largest)} of it. Events are missing.`,
    newest,
  );
}

// Check that `newest` continues each known checkpoint. Returns null, or a newer checkpoint if one was written between.
async function continued(get, key, known, newest) {
  let moved = null;
  for (const head of known) {
    const proof = parseConsistency(await get(`/log/consistency/${head.size}`));
    await requireSigned(proof.checkpoint, key);
    const { size, root } = proof.checkpoint;
    const holds = proof.old === head.size && (await isConsistent(head.size, size, head.root, root, proof.hashes));
    if (!holds) throw rewritten(head, proof.checkpoint);
    if (size === newest.size && !same(root, newest.root)) throw rewritten(newest, proof.checkpoint);
    if (size !== newest.size) moved = proof.checkpoint;
  }
  return moved;
}

function rewritten(head, shown) {
  const [title, text] =
    head.size === shown.size
      ? ["There are two logs", `The server signed two different logs of ${count(head.size)} events.`]
      : [
          "The log was rewritten",
          `The first ${count(head.size)} events are not those that this browser has seen: at least one was changed.`,
        ];
  return new Contradiction(title, text, shown);
}

async function requireSigned(checkpoint, key) {
  if (await isSigned(checkpoint, key)) return;
  const text = "The checkpoint that the server shows is not signed by the key of this log.";
  throw new Contradiction("The signature is wrong", text, checkpoint);
}

async function included(line, key) {
  try {
    return await checkEvent(line, key.vkey);
  } catch (error) {
    if (!(error instanceof NotIncluded)) throw error;
    const text = "The last line that you wrote is not the one that the server has signed: it was changed or left out.";
    throw new Contradiction("Your change is not in the log", text, error.checkpoint, line);
  }
}

async function otherKey(get, known, key, shown) {
  const note = await get("/log/checkpoint");
  let rest = "It does not continue the log that this browser has seen.";
  try {
    const newest = parseCheckpoint(note);
    if ((await isSigned(newest, shown)) && !(await continued(get, shown, known, newest))) {
      rest = "All events that this browser has seen are still there, unchanged.";
    }
  } catch {
    // It contradicts what was kept, or cannot be checked: the sentence above says so.
  }
  const text =
    `Checkpoints were signed by ${key.name}, and now by ${shown.name}. ${rest} ` +
    "After a restore, an operator may begin a new key: ask before you trust it.";
  return new Contradiction("The key was replaced", text, { vkey: shown.vkey, note });
}

class NotIncluded extends Malformed {
  constructor(checkpoint) {
    super("its bytes are not those that were signed");
    this.checkpoint = checkpoint;
  }
}

// Check an event of `/audit/events/N` or a line of an export: the bytes of its line are in the tree of a signed
// checkpoint. Returns {line, index, checkpoint}; throws `Malformed` with the reason otherwise.
export async function checkEvent(text, vkey) {
  const line = rawMember(text, "record");
  const { proof } = parse(text);
  const { index, hashes, checkpoint } = parseInclusion(proof);
  if (!(await isSigned(checkpoint, await parseKey(vkey)))) {
    throw new Malformed("its checkpoint is not signed by the key of this log");
  }
  if (index !== Number(parse(line).id) - 1) throw new Malformed("its proof is one of another event");
  const leaf = await leafHash(new TextEncoder().encode(line));
  const root = await rootFromInclusion(index, checkpoint.size, leaf, hashes);
  if (!root || !same(root, checkpoint.root)) throw new NotIncluded(checkpoint);
  return { line, index, checkpoint };
}

// Check the lines of an export. `size` is the one of a checkpoint that was seen before the export was asked for. Returns
// {signed, unsigned, checkpoint}: two counts, and the checkpoint of the last proof or null. A line may be without a proof
// only if it is newer than all of these checkpoints, or a server could hide a changed line; throws `Malformed` otherwise.
export async function checkExport(text, vkey, size) {
  const lines = text.split("\n").filter(Boolean);
  const signed = lines.filter((line) => parse(line).proof);
  let covered = size;
  let checkpoint = null;
  for (const line of signed) {
    ({ checkpoint } = await checkEvent(line, vkey));
    covered = Math.max(covered, checkpoint.size);
  }
  for (const line of lines.filter((one) => !parse(one).proof)) {
    const { id } = parse(rawMember(line, "record"));
    if (!(Number(id) > covered)) throw new Malformed(`event ${id} has no proof, although it is signed`);
  }
  return { signed: signed.length, unsigned: lines.length - signed.length, checkpoint };
}

// The text of the first member of a JSON object, byte for byte, because hashes are of bytes.
export function rawMember(text, name) {
  const start = `{"${name}":`;
  if (!text.startsWith(start)) throw new Malformed(`the answer does not begin with ${name}`);
  let depth = 0;
  let inString = false;
  for (let at = start.length; at < text.length; at++) {
    const one = text[at];
    if (inString) {
      if (one === "\\") at++;
      else if (one === '"') inString = false;
    } else if (one === '"') inString = true;
    else if (one === "{" || one === "[") depth++;
    else if (one === "}" || one === "]") {
      depth--;
      if (depth === 0) return text.slice(start.length, at + 1);
    }
  }
  throw new Malformed("the answer ends early");
}

const count = (number) => number.toLocaleString("en");

// The Merkle tree of RFC 6962 over the lines of the log, checked as in RFC 9162, sections 2.1.3.2 and 2.1.4.2.
// Hashes are Uint8Arrays of 32 bytes. Sizes are numbers: they are exact up to 2^53 lines.

const sha256 = async (bytes) => new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));

function joined(...parts) {
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

export const leafHash = (line) => sha256(joined([0], line));
export const nodeHash = (left, right) => sha256(joined([1], left, right));

export const same = (one, other) =>
  one.length === other.length && one.every((byte, place) => byte === other[place]);

const half = (number) => Math.floor(number / 2);
const isOdd = (number) => number % 2 === 1;

// The root of the tree of `size` leaves from the hash of the leaf `index` and its proof; null if the proof's length
// is wrong.
export async function rootFromInclusion(index, size, leaf, proof) {
  if (index >= size) return null;
  let [node, last, found] = [index, size - 1, leaf];
  for (const sibling of proof) {
    if (last === 0) return null;
    if (isOdd(node) || node === last) {
      found = await nodeHash(sibling, found);
      while (!isOdd(node) && node !== 0) [node, last] = [half(node), half(last)];
    } else {
      found = await nodeHash(found, sibling);
    }
    [node, last] = [half(node), half(last)];
  }
  return last === 0 ? found : null;
}

// Whether the tree of `size` leaves with `root` begins with the tree of `old` leaves with `oldRoot`.
export async function isConsistent(old, size, oldRoot, root, proof) {
  if (old > size) return false;
  if (old === size) return proof.length === 0 && same(oldRoot, root);
  if (old === 0) return proof.length === 0;
  let [node, last] = [old - 1, size - 1];
  while (isOdd(node)) [node, last] = [half(node), half(last)];
  // Of a complete tree, the old root is the first hash and not in the proof.
  const hashes = node === 0 ? [oldRoot, ...proof] : [...proof];
  if (hashes.length === 0) return false;
  let before = hashes[0];
  let after = hashes[0];
  for (const found of hashes.slice(1)) {
    if (last === 0) return false;
    if (isOdd(node) || node === last) {
      before = await nodeHash(found, before);
      after = await nodeHash(found, after);
      while (!isOdd(node) && node !== 0) [node, last] = [half(node), half(last)];
    } else {
      after = await nodeHash(after, found);
    }
    [node, last] = [half(node), half(last)];
  }
  return last === 0 && same(before, oldRoot) && same(after, root);
}

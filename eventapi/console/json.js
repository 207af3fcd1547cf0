// JSON as the server has it: its integers have 64 bits, and JavaScript's numbers 53. The others are kept as BigInt, where
// the browser has the text that a number was made of.

export const parse = (text) => JSON.parse(text, (_, value, context) => (isRounded(value, context) ? BigInt(context.source) : value));

const isRounded = (value, context) =>
  Number.isInteger(value) && !Number.isSafeInteger(value) && /^-?\d+$/.test(context?.source);

export const stringify = (value, indent) =>
  JSON.stringify(value, (_, one) => (typeof one === "bigint" ? JSON.rawJSON(String(one)) : one), indent);

// Shared by all clients: their arguments, and the report of a call.

export const [address, name] = process.argv.slice(2) as [string, string];
export const password = "correct horse battery staple";
export const account = { username: name, email: `${name}@example.org`, password };

export function report(call: string, status: number): void {
  console.log(`${call} ${status}`);
}

export function check(condition: boolean, what: string): void {
  if (!condition) {
    throw new Error(what);
  }
}

// An interceptor that refreshes once after a 401, and logs the user out when that fails.
import axios from "axios";

const [url, name] = process.argv.slice(2);
const password = "correct horse";
const plain = axios.create({ baseURL: url });
const api = axios.create({ baseURL: url });
await plain.post("/auth/register", { username: name, email: `${name}@example.com`, password });
let { data: tokens } = await plain.post("/auth/login", new URLSearchParams({ username: name, password }));
let refreshed = 0;
let loggedOut = false;

api.interceptors.request.use((config) => {
  config.headers.Authorization = `Bearer ${tokens.access_token}`;
  return config;
});
api.interceptors.response.use(undefined, async (error) => {
  if (error.response?.status !== 401) throw error;
  if (error.config.retried) {
    loggedOut = true;
    throw error;
  }
  refreshed += 1;
  const { refresh_token } = tokens;
  const form = new URLSearchParams({ grant_type: "refresh_token", refresh_token });
  tokens = (await plain.post("/auth/refresh", form)).data;
  return api({ ...error.config, retried: true });
});

const status = async (promise) => promise.then(({ status }) => status, (error) => error.response.status);
const seen = [
  await status(api.post("/auth/password", { current_password: "wrong", new_password: "another horse" })),
  await status(api.delete("/auth/me", { data: { password: "wrong" } })),
];
const before = refreshed;
tokens.access_token += "x";
seen.push(await status(api.get("/auth/me")));
console.log(JSON.stringify({ seen, before, refreshed, loggedOut }));

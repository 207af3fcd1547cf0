// A page of the replaced service: axios with a base URL, a token as default, and `detail` in alerts.
import axios from "axios";

const [url, name] = process.argv.slice(2);
const api = axios.create({ baseURL: url });
const seen = [];

const failure = async (promise) => {
  try {
    await promise;
    return "no error";
  } catch (error) {
    const { status, data } = error.response;
    return Array.isArray(data.detail)
      ? [status, data.detail.map(({ loc }) => loc.join("."))]
      : [status, data.detail];
  }
};

const user = { username: name, email: `${name}@example.com`, password: "correct horse" };
seen.push(await failure(api.post("/auth/register", { ...user, password: "short", email: "x" })));
await api.post("/auth/register", { ...user, confirm_password: user.password });
seen.push(await failure(api.post("/auth/register", user)));
seen.push(await failure(api.post("/auth/login", { ...user, password: "wrong" })));

const form = new FormData();
form.append("username", user.username);
form.append("password", user.password);
const tokens = [
  await api.post("/auth/login", user),
  await api.post("/auth/login", new URLSearchParams({ username: name, password: user.password })),
  await api.post("/auth/login", form),
  await api.postForm("/auth/login", { username: name, password: user.password }),
].map(({ data }) => data.access_token);
seen.push(tokens.map((token) => JSON.parse(atob(token.split(".")[1])).sub === name));

seen.push(await failure(api.get("/items")));
api.defaults.headers.common.Authorization = `Bearer ${tokens[0]}`;
seen.push((await api.get("/auth/me")).data.email === user.email);
const { data: item } = await api.post("/items", { title: "First", description: "one\r\ntwo" });
seen.push(Object.keys(item).sort(), item.description);
seen.push((await api.put(`/items/${item.id}`, { ...item, title: "Changed" })).data.title);
// Some programs encode JSON themselves.
const text = JSON.stringify({ title: "Second" });
seen.push((await api.post("/items", text, { headers: { "Content-Type": "application/json" } })).status);
seen.push((await api.get("/items")).data.map(({ title }) => title));
seen.push((await api.delete(`/items/${item.id}`)).status);
seen.push(await failure(api.get(`/items/${item.id}`)));
seen.push(new Date(`${item.created_at}Z`).getTime() > 0);
console.log(JSON.stringify(seen));

// The package eventsource: the data of every event is JSON.
import { EventSource } from "eventsource";

const [url, token, count] = process.argv.slice(2);
const titles = [];
const failed = (error) => {
  console.error(error);
  process.exit(1);
};
const source = new EventSource(`${url}/items/events?after=0`, {
  fetch: (input, init) =>
    fetch(input, { ...init, headers: { ...init.headers, Authorization: `Bearer ${token}` } }),
});
source.onmessage = () => failed("an event without a name");
source.onerror = (event) => failed(event.message);
source.addEventListener("item.created", (event) => {
  titles.push(JSON.parse(event.data).changes.title);
  if (titles.length < Number(count)) return;
  console.log(JSON.stringify(titles));
  source.close();
});

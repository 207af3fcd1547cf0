// What the OpenAPI document says about resources: their fields, filters, forms and actions. Pure functions.

const PREFIX = "/api/v2/";

export const has = (document, path, method = "get") => Boolean(document.paths[PREFIX + path]?.[method]);

// The resource of every collection that the server has. A collection is a path that lists and has a history.
export function resources(document) {
  return Object.keys(document.paths)
    .map((path) => /^\/api\/v2\/([a-z][a-z0-9_]*)\/\{[^/]+\}\/history$/.exec(path)?.[1])
    .filter((name) => name && has(document, name))
    .map((name) => resource(document, name))
    .sort((one, other) => one.title.localeCompare(other.title));
}

function resource(document, collection) {
  const list = document.paths[PREFIX + collection].get;
  const create = document.paths[PREFIX + collection].post;
  const one = Object.keys(document.paths).find((path) => isBelow(path, collection, /^\{[^/]+\}$/));
  const page = resolve(document, okSchema(document, list));
  const view = resolve(document, page.properties.items.items);
  const body = create && resolve(document, bodySchema(create));
  const tag = (document.tags || []).find((found) => found.name === collection);
  const noun = /^Create an? (.+)/.exec(create?.summary || "")?.[1] || collection.replace(/s$/, "");
  const form = body && fieldsOf(document, body);
  const fields = fieldsOf(document, view);
  return {
    collection,
    noun,
    title: label(collection),
    description: (tag?.description || view.description || "").split("\n")[0],
    fields,
    filters: filtersOf(document, list, fields),
    form,
    canShare: has(document, `${collection}/${lastOf(one)}/shares/{username}`, "put"),
    actions: actionsOf(document, collection),
  };
}

function isBelow(path, collection, rest) {
  const start = `${PREFIX}${collection}/`;
  return path.startsWith(start) && rest.test(path.slice(start.length));
}

const lastOf = (path) => path.split("/").pop();

function actionsOf(document, collection) {
  const found = [];
  for (const [path, operations] of Object.entries(document.paths)) {
    if (!operations.post || !isBelow(path, collection, /^\{[^/]+\}\/[a-z0-9_]+$/)) continue;
    const name = lastOf(path);
    if (name === "restore") continue;
    const schema = bodySchema(operations.post);
    const form = schema ? fieldsOf(document, resolve(document, schema)) : [];
    found.push({ name, label: label(name), summary: operations.post.summary || "", form });
  }
  return found;
}

const bodySchema = (operation) => operation.requestBody?.content?.["application/json"]?.schema;

function okSchema(document, operation) {
  const answer = operation.responses["200"];
  return answer.content["application/json"].schema;
}

export function resolve(document, schema) {
  let found = schema;
  while (found?.$ref) found = found.$ref.slice(2).split("/").reduce((node, key) => node[key], document);
  return found || {};
}

function fieldsOf(document, schema) {
  const required = new Set(schema.required || []);
  return Object.entries(schema.properties || {}).map(([name, given]) => {
    const whole = resolve(document, given);
    const options = (whole.anyOf || whole.oneOf || [whole]).map((one) => resolve(document, one));
    const values = options.filter((one) => one.type !== "null");
    const type = values.length === 1 ? values[0] : {};
    const items = resolve(document, type.items);
    const isNullable = values.length < options.length;
    const hasThree = type.type === "boolean" && isNullable; // A check box has two states.
    return {
      name,
      label: label(name),
      description: whole.description || type.description || "",
      kind: hasThree ? "choice" : kindOf(type, items),
      schema: type,
      choices: hasThree ? [true, false] : type.enum || items.enum || (type.const === undefined ? null : [type.const]),
      isNullable,
      isRequired: required.has(name),
    };
  });
}

export const formOf = (document, name) => fieldsOf(document, document.components.schemas[name]);

function kindOf(schema, items) {
  if (schema.type === "array" && items.enum) return "choices";
  if (schema.type === "array" && items.type === "string") return "words";
  if (schema.enum || schema.const !== undefined) return "choice";
  if (schema.type === "boolean" || schema.type === "integer" || schema.type === "number") return schema.type;
  if (schema.type !== "string") return "json";
  if (schema.format === "date" || schema.format === "date-time" || schema.format === "decimal") return schema.format;
  return schema.format !== "uuid" && (schema.maxLength === undefined || schema.maxLength > 1000) ? "long" : "text";
}

const OPERATORS = {
  eq: "is",
  contains: "contains",
  prefix: "begins with",
  ne: "is not",
  lt: "is below",
  le: "is at most",
  gt: "is above",
  ge: "is at least",
  in: "is one of",
  null: "is empty",
};

// The filters of a list: the parameters that are named after a field and perhaps an operator, with all of their operators.
function filtersOf(document, list, fields) {
  const found = [];
  for (const given of list.parameters || []) {
    const parameter = resolve(document, given);
    const [name, first = "eq"] = parameter.name.split(".");
    const field = fields.find((one) => one.name === name);
    if (parameter.in !== "query" || !field || !/^Only /.test(parameter.description || "")) continue;
    const more = [...parameter.description.matchAll(/`[a-z0-9_]+\.([a-z]+)`/g)].map((match) => match[1]);
    const names = [first, ...Object.keys(OPERATORS).filter((name) => more.includes(name))];
    const operators = names.map((name) => ({ name, label: OPERATORS[name] }));
    found.push({ field, operators });
  }
  return found;
}

// Whether a table can be sorted by a field: its values have an order, or are flags.
export const isSortable = (resource, { name, schema }) =>
  schema.type === "boolean" ||
  resource.filters.some(({ field, operators }) => field.name === name && operators.some((one) => one.name === "lt"));

// The console's own parameters of a table. A filter has an operator after a dot, so a field may have their names.
const OWN = new Set(["at", "q", "sort", "after"]);

// The filters in the address bar: [{key, parameter, field, operator, value}], where `key` is the name there, and `parameter`
// the one of the API. Older links have no operator where it is `eq`.
export function filtersIn(query, resource) {
  return Object.entries(query).flatMap(([key, value]) => {
    const [name, operator = OWN.has(key) ? null : "eq"] = key.split(".");
    const filter = resource.filters.find((one) => one.field.name === name);
    const known = filter?.operators.find((one) => one.name === operator);
    return known ? [{ key, parameter: `${name}.${operator}`, field: filter.field, operator: known, value }] : [];
  });
}

export function label(name) {
  const text = name.replaceAll("_", " ");
  return text.charAt(0).toUpperCase() + text.slice(1);
}

// The field that names a thing to a person: the first text that must be given, else the first one.
export function titleField(resource) {
  const texts = (resource.form || resource.fields).filter((one) => one.kind === "text" || one.kind === "long");
  return (texts.find((one) => one.isRequired) || texts[0])?.name;
}

export function titleOf(resource, entity) {
  const text = entity[titleField(resource)];
  return text ? String(text) : `${label(resource.noun)} ${entity.id}`;
}

// Texts, numbers and times in the person's language and zone. No other file holds a text.

export const LANGUAGES = { en: "English", es: "Español" };

let messages = {};
let plural = new Intl.PluralRules("en");
export let language = "en";

/** Loads the texts: those of the person's choice, else those of the browser, else English. */
export async function loadLanguage() {
  const choice = localStorage.getItem("language");
  const offered = [choice, ...navigator.languages.map((tag) => tag.split("-")[0])];
  language = offered.find((tag) => tag in LANGUAGES) ?? "en";
  messages = (await import(`./messages/${language}.js`)).default;
  plural = new Intl.PluralRules(language);
  document.documentElement.lang = language;
}

/** A text with `{name}` replaced. With `count`, the form for that number: `key.one`, `key.other`. */
export function t(key, values = {}) {
  const form = "count" in values ? `${key}.${plural.select(values.count)}` : key;
  const text = messages[form] ?? messages[`${key}.other`] ?? messages[key] ?? missing(key);
  return text.replace(/\{(\w+)\}/g, (whole, name) => {
    const value = values[name] ?? whole;
    return typeof value === "number" ? number(value) : value;
  });
}

function missing(key) {
  console.error(`there is no message ${key}`);
  return key;
}

/** Whether there is a text of this key: a newer server may use a word that this page does not know. */
export const known = (key) => key in messages;

/** The text of a word of the API, such as a reason; the word itself where it is not known. */
export const word = (group, value) => (known(`${group}.${value}`) ? t(`${group}.${value}`) : String(value));

export const number = (value, digits) =>
  value === null || value === undefined
    ? "–"
    : new Intl.NumberFormat(language, { maximumFractionDigits: digits ?? 0, minimumFractionDigits: digits }).format(value);

export const percent = (value, digits = 0) =>
  new Intl.NumberFormat(language, { style: "percent", maximumFractionDigits: digits }).format(value);

/** A size, such as `1.4 MB`. */
export function bytes(value) {
  if (value === null || value === undefined) return "–";
  const units = ["byte", "kilobyte", "megabyte", "gigabyte", "terabyte"];
  const step = value < 1000 ? 0 : Math.min(Math.floor(Math.log10(value) / 3), units.length - 1);
  const format = { style: "unit", unit: units[step], unitDisplay: step ? "short" : "long", maximumFractionDigits: step ? 1 : 0 };
  return new Intl.NumberFormat(language, format).format(value / 1000 ** step);
}

const SPANS = [["year", 31557600], ["month", 2629800], ["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]];

function largest(seconds) {
  const [unit, size] = SPANS.find(([, size]) => Math.abs(seconds) >= size) ?? SPANS.at(-1);
  return [Math.round(seconds / size), unit];
}

/** A length of time in its largest unit, such as `3 days`. */
export function duration(seconds) {
  const [value, unit] = largest(seconds);
  return new Intl.NumberFormat(language, { style: "unit", unit, unitDisplay: "long" }).format(value);
}

/** A time in words, such as `3 days ago`. */
export function relative(time) {
  const seconds = (new Date(time) - Date.now()) / 1000;
  const [value, unit] = largest(seconds);
  return new Intl.RelativeTimeFormat(language, { numeric: "auto" }).format(value, unit);
}

/** A date and time in the person's zone, or in UTC. */
export const dateTime = (time, zone, seconds = false) =>
  new Intl.DateTimeFormat(language, {
    dateStyle: "medium",
    timeStyle: seconds ? "medium" : "short",
    timeZone: zone,
    hourCycle: "h23",
  }).format(new Date(time));

// Tables as text: reading what a spreadsheet saved, and writing what a spreadsheet may open safely.

/** Rows of a text with commas, semicolons or tabs, with quotes as spreadsheets write them. */
export function parse(text) {
  const source = text.replace(/^\uFEFF/, "");
  const first = source.split(/\r?\n/, 1)[0];
  const separator = [";", "\t", ","].reduce((best, one) => (first.split(one).length > first.split(best).length ? one : best), ",");
  const rows = [];
  let row = [];
  let cell = "";
  let quoted = false;
  const endRow = () => {
    row.push(cell);
    if (row.some((value) => value.trim())) rows.push(row.map((value) => value.trim()));
    row = [];
    cell = "";
  };
  for (let i = 0; i < source.length; i++) {
    const c = source[i];
    if (quoted) {
      if (c !== '"') cell += c;
      else if (source[i + 1] === '"') cell += source[++i];
      else quoted = false;
    } else if (c === '"' && !cell.trim()) (quoted = true), (cell = "");
    else if (c === separator) row.push(cell), (cell = "");
    else if (c === "\n") endRow();
    else if (c !== "\r") cell += c;
  }
  endRow();
  return rows;
}

/** A cell. One that a spreadsheet would take for a formula begins with an apostrophe. */
const cell = (value) => {
  const text = String(value ?? "");
  return `"${(/^[=+\-@\t\r]/.test(text) ? `'${text}` : text).replaceAll('"', '""')}"`;
};

/** Rows as text. */
export const format = (rows) => `\uFEFF${rows.map((row) => row.map(cell).join(",")).join("\r\n")}\r\n`;

// Tables whose rows come from the server. What people wrote is only ever text.

/**
 * Shows rows in a table. A column is `{head, of, number?, off?}`: `of` makes a text, or a button as `{label, act}`, of a row.
 * The focus stays where it was, as far as the row is still there.
 */
export function show(table, columns, rows) {
  const focused = document.activeElement?.dataset?.name;
  const head = document.createElement('tr');
  for (const { head: text } of columns) {
    const cell = document.createElement('th');
    cell.scope = 'col';
    cell.textContent = text;
    head.append(cell);
  }
  const lines = rows.map((row) => {
    const line = document.createElement('tr');
    for (const column of columns) {
      const cell = document.createElement('td');
      const value = column.of(row);
      if (value?.label) cell.append(button(value));
      else cell.textContent = value ?? '–';
      cell.classList.toggle('number', Boolean(column.number));
      cell.classList.toggle('off', Boolean(column.off?.(row)));
      line.append(cell);
    }
    return line;
  });
  if (lines.length === 0) {
    const cell = document.createElement('td');
    cell.colSpan = columns.length;
    cell.textContent = 'Nothing here yet.';
    const line = document.createElement('tr');
    line.append(cell);
    lines.push(line);
  }
  table.replaceChildren(head, ...lines);
  if (focused) table.querySelector(`[data-name="${CSS.escape(focused)}"]`)?.focus();
}

function button({ label, name, act }) {
  const button = document.createElement('button');
  button.type = 'button';
  button.textContent = label;
  button.ariaLabel = `${label} ${name}`;
  button.dataset.name = name;
  button.addEventListener('click', act);
  return button;
}

// Elements, and how what stands on the page is brought in line with what should stand there.

/** An element. Children that are text become text, never markup; `false` and `null` are left out. */
export function h(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (name === 'value') element.value = value;
    else if (value !== false && value != null) element.setAttribute(name, value === true ? '' : value);
  }
  element.append(...children.flat(2).filter((child) => child !== false && child != null));
  return element;
}

/** A button that acts; what it shows is text, an icon or several, and where it is no text it has a label. */
export function button(kind, act, id, shown, label, attributes) {
  const named = { class: kind, type: 'button', 'data-act': act, 'data-id': id, 'aria-label': label, title: label };
  return h('button', { ...named, ...attributes }, shown);
}

/** The first letter of a name, on a colour of the person's own. */
export function avatar(id, name, online) {
  return h('span', { class: `avatar hue-${id % 8}`, 'aria-hidden': 'true' }, [...name][0]?.toUpperCase() ?? '?',
    online && h('span', { class: 'dot' }));
}

const STROKES = {
  back: 'M15 5l-7 7 7 7',
  send: 'M12 19V5M5.5 11.5L12 5l6.5 6.5',
  more: 'M5 12h.01M12 12h.01M19 12h.01',
  reply: 'M9 6l-5 5 5 5M4 11h10a6 6 0 0 1 6 6v1',
  edit: 'M5 19l1-4L16.5 4.5l3 3L9 18l-4 1z',
  trash: 'M5 7h14M10 7V4.5h4V7M7 7l1 12.5h8L17 7',
  close: 'M6 6l12 12M18 6L6 18',
  group: 'M9 11a3 3 0 1 0 0-6 3 3 0 0 0 0 6zM3.5 19a5.5 5.5 0 0 1 11 0M16 5.5a3 3 0 0 1 0 5M17.5 14a5.5 5.5 0 0 1 3 5',
  leave: 'M14 5H6v14h8M11 12h9M17 9l3 3-3 3',
};

export function icon(name) {
  const make = (tag, attributes) => {
    const element = document.createElementNS('http://www.w3.org/2000/svg', tag);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    return element;
  };
  const svg = make('svg', { viewBox: '0 0 24 24', class: 'icon', 'aria-hidden': 'true' });
  svg.append(make('path', { d: STROKES[name] }));
  return svg;
}

/**
 * Makes `old` look like `wanted`, keeping what is the same: so focus, scrolling and half-typed text stay.
 * Children with a `data-key` are known by it, the others by their place.
 */
export function morph(old, wanted) {
  for (const { name } of [...old.attributes]) if (!wanted.hasAttribute(name)) old.removeAttribute(name);
  for (const { name, value } of wanted.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  const news = [...wanted.childNodes];
  const kept = new Set(news.map(key));
  for (const child of [...old.childNodes]) if (key(child) && !kept.has(key(child))) child.remove();
  const keyed = new Map([...old.children].filter(key).map((child) => [key(child), child]));
  let at = old.firstChild;
  for (const child of news) {
    const same = key(child) ? keyed.get(key(child)) : like(at, child) ? at : null;
    if (same && same === at) at = at.nextSibling;
    else old.insertBefore(same ?? child, at);
    if (same instanceof Element) morph(same, child);
    else if (same && same.data !== child.data) same.data = child.data;
  }
  while (at) {
    const next = at.nextSibling;
    at.remove();
    at = next;
  }
}

const key = (node) => node.dataset?.key;
const like = (a, b) => a && !key(a) && a.nodeName === b.nodeName;

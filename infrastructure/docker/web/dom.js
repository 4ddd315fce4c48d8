// Creates elements and updates the page to match a new tree of elements.

import { t } from './i18n.js';

/** Creates an element. Strings become text nodes, never markup; `false` and `null` are omitted. */
export function h(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (name === 'value') element.value = value;
    else if (name === 'style') element.style.cssText = value;
    else if (value !== false && value != null) element.setAttribute(name, value === true ? '' : value);
  }
  element.append(...children.flat(2).filter((child) => child !== false && child != null));
  return element;
}

/** Creates a button for the action `act`. The content is text, an icon or both; without text, a label is required. */
export function button(kind, act, id, content, label, attributes) {
  const all = { class: kind, type: 'button', 'data-act': act, 'data-id': id, 'aria-label': label, title: label };
  return h('button', { ...all, ...attributes }, content);
}

/**
 * Creates a labelled field. The text of the label has the name of the field as its key. `error` says what is wrong with
 * the present value.
 */
export function field(name, attributes, hint, error) {
  const about = [error && `${name}-error`, hint && `${name}-hint`].filter(Boolean).join(' ');
  return h('div', { class: 'field', 'data-key': name },
    h('label', { for: `field-${name}` }, t(name)),
    h('input', { id: `field-${name}`, name, ...attributes, 'aria-describedby': about || null,
      'aria-invalid': error && 'true' }),
    error && h('small', { id: `${name}-error`, class: 'error', 'data-key': 'error' }, error),
    hint && h('small', { id: `${name}-hint`, class: 'muted', 'data-key': 'hint' }, hint));
}

const LINK = /https?:\/\/[^\s<>"]+/g;

/** The parts of a text, with its addresses as links. Punctuation after an address is not part of it. */
export function withLinks(text) {
  const parts = [];
  let end = 0;
  for (const { 0: match, index } of text.matchAll(LINK)) {
    let address = match.replace(/[.,;:!?'*]+$/, '');
    if (address.endsWith(')') && !address.includes('(')) address = address.slice(0, -1);
    if (!URL.canParse(address)) continue;
    const attributes = { href: address, target: '_blank', rel: 'noopener noreferrer', class: 'address' };
    parts.push(text.slice(end, index), h('a', attributes, address));
    end = index + address.length;
  }
  return [...parts, text.slice(end)].filter((part) => part !== '');
}

/** The first letter of a name on a colour that depends on the user's id. */
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
  shield: 'M12 3l7 2.5v6c0 4.5-3 7.5-7 9.5-4-2-7-5-7-9.5v-6zM9 12l2 2 4-4',
  pin: 'M9 4h6l-1 6 3 3v2H7v-2l3-3zM12 15v6',
  mute: 'M6 17V11a6 6 0 0 1 12 0v6l1.5 1.5h-15zM10.5 21h3M4 4l16 16',
  search: 'M11 17.5a6.5 6.5 0 1 0 0-13 6.5 6.5 0 0 0 0 13zM15.8 15.8L20 20',
  info: 'M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18zM12 11v5.5M12 7.5h.01',
  down: 'M12 5v14M5.5 12.5L12 19l6.5-6.5',
  up: 'M12 19V5M5.5 11.5L12 5l6.5 6.5',
  clip: 'M19.5 11l-8 8a4.7 4.7 0 0 1-6.7-6.7l8.3-8.3a3.1 3.1 0 0 1 4.4 4.4l-8.3 8.3a1.5 1.5 0 0 1-2.2-2.2l7.5-7.5',
  picture: 'M4 5h16v14H4zM4 16.5l4.5-4.5 4.5 4.5 2.5-2.5 4.5 4.5M15.5 9.5h.01',
  file: 'M6 3h8l4 4v14H6zM14 3v4h4',
  text: 'M6 3h8l4 4v14H6zM14 3v4h4M9 12h6M9 16h6',
  audio: 'M9 18V5l10-2v13M9 18a2.5 2.5 0 1 1-5 0 2.5 2.5 0 0 1 5 0zM19 16a2.5 2.5 0 1 1-5 0 2.5 2.5 0 0 1 5 0z',
  video: 'M4 6h11v12H4zM15 11l5-3.5v9L15 13',
  archive: 'M4 4h16v5H4zM6 9v11h12V9M10 13h4',
  download: 'M12 4v11M7 10.5l5 5 5-5M5 20h14',
  next: 'M9 5l7 7-7 7',
  leave: 'M14 5H6v14h8M11 12h9M17 9l3 3-3 3',
};

export function icon(name) {
  const create = (tag, attributes) => {
    const element = document.createElementNS('http://www.w3.org/2000/svg', tag);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    return element;
  };
  const svg = create('svg', { viewBox: '0 0 24 24', class: 'icon', 'aria-hidden': 'true' });
  svg.append(create('path', { d: STROKES[name] }));
  return svg;
}

/**
 * Updates `current` to equal `target`. Unchanged nodes stay in the document, so focus, scroll position and typed text
 * are preserved. Children are matched by `data-key`, or by position if they have none.
 */
export function morph(current, target) {
  for (const { name } of [...current.attributes]) if (!target.hasAttribute(name)) current.removeAttribute(name);
  for (const { name, value } of target.attributes) {
    if (current.getAttribute(name) === value) continue;
    // The security policy forbids the attribute, but not its object.
    if (name === 'style') current.style.cssText = value;
    else current.setAttribute(name, value);
  }
  const children = [...target.childNodes];
  const keys = new Set(children.map(key));
  for (const child of [...current.childNodes]) if (key(child) && !keys.has(key(child))) child.remove();
  const keyed = new Map([...current.children].filter(key).map((child) => [key(child), child]));
  let at = current.firstChild;
  for (const child of children) {
    const match = key(child) ? keyed.get(key(child)) : sameKind(at, child) ? at : null;
    if (match && match === at) at = at.nextSibling;
    else if (match) move(current, match, at);
    else current.insertBefore(child, at);
    if (match instanceof Element) update(match, child);
    else if (match && match.data !== child.data) match.data = child.data;
  }
  while (at) {
    const next = at.nextSibling;
    at.remove();
    at = next;
  }
}

/** Most rows of a list are as they were, which the browser finds out faster than a script. */
function update(current, target) {
  if (!key(current) || !current.isEqualNode(target)) morph(current, target);
}

/** Moves a child. `moveBefore` keeps its focus and scroll position; browsers without it lose them. */
function move(parent, child, before) {
  if (parent.moveBefore) return parent.moveBefore(child, before);
  const focused = document.activeElement;
  parent.insertBefore(child, before);
  if (child.contains(focused)) focused.focus({ preventScroll: true });
}

const key = (node) => node.dataset?.key;
const sameKind = (a, b) => a && !key(a) && a.nodeName === b.nodeName;

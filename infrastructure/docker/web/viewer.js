// The full view of a picture, in a dialog above the page.

import { button, h, icon, morph } from './dom.js';
import { sizeText, t } from './i18n.js';
import * as pictures from './pictures.js';
import { state } from './store.js';
import { draw } from './ui.js';
import { isPicture, nameOf } from './values.js';

/** The id of the message whose picture is shown. */
let shown = null;
let dialog = null;

/** The messages of the open room that have pictures. */
const messages = () => (state.rooms.get(state.openRoomId)?.messages ?? []).filter(isPicture);
const indexOfShown = (all) => all.findIndex(({ id }) => id === shown);

export function show(id) {
  shown = id;
  pictures.load(id, pictures.LARGE);
  draw();
}

/** Shows the picture that is this many places after the shown one, if there is one. */
export function step(by) {
  const all = messages();
  const next = all[indexOfShown(all) + by];
  if (next) show(next.id);
}

/** The browser returns the focus to the element that had it. */
export const close = () => dialog?.close();

/** Draws the dialog, after each change of the page. It ends with the message. */
export function drawViewer() {
  const all = messages();
  const at = indexOfShown(all);
  if (at < 0) return close();
  const view = figure(all[at], at === 0, at === all.length - 1);
  if (dialog) morph(dialog.firstElementChild, view);
  else open(view);
}

function open(view) {
  dialog = h('dialog', { class: 'viewer', 'aria-labelledby': 'viewer-title' }, view);
  dialog.addEventListener('close', () => {
    dialog.remove();
    [dialog, shown] = [null, null];
  });
  dialog.addEventListener('click', ({ target }) => target.matches('dialog, figure') && close());
  dialog.addEventListener('keydown', ({ key }) => {
    if (key === 'ArrowLeft') step(-1);
    if (key === 'ArrowRight') step(1);
  });
  document.body.append(dialog);
  dialog.showModal();
}

function figure({ id, image, file_name, file_size, user_id, username }, isFirst, isLast) {
  const source = pictures.urlOf(id, pictures.LARGE) ?? pictures.urlOf(id, pictures.SMALL) ?? image.preview;
  const size = `width: min(100%, ${image.width}px); height: min(100%, ${image.height}px)`;
  return h('figure', null,
    h('img', { src: source, alt: file_name, style: size, 'data-key': id }),
    h('figcaption', { class: 'line' },
      h('span', { class: 'grow' },
        h('strong', { class: 'ellipsis', id: 'viewer-title' }, file_name),
        h('small', { class: 'ellipsis' }, `${nameOf(user_id, username)} · ${sizeText(file_size)}`)),
      button('round', 'stepPicture', -1, icon('back'), t('previous_picture'), { 'aria-disabled': String(isFirst) }),
      button('round', 'stepPicture', 1, icon('next'), t('next_picture'), { 'aria-disabled': String(isLast) }),
      button('quiet', 'openFile', id, t('original')),
      button('round', 'closePicture', null, icon('close'), t('close'), { autofocus: true })));
}

// The views of files: those that wait to be sent, and those of messages.

import { button, h, icon } from './dom.js';
import { noticeText, sizeText, t } from './i18n.js';
import * as pictures from './pictures.js';
import { state } from './store.js';
import { canRetry, filesOf, isActive } from './uploads.js';
import { isPicture } from './values.js';

/** The longest side of a picture among the messages, which style.css limits too. */
const MAX_PICTURE_PX = 320;

/** The icons of media types. */
const ICONS = [
  [/^image\//, 'picture'],
  [/^audio\//, 'audio'],
  [/^video\//, 'video'],
  [/^text\/|pdf|document|msword|rtf/, 'text'],
  [/zip|compressed|x-tar|rar/, 'archive'],
];
const iconOf = (type) => icon(ICONS.find(([types]) => types.test(type))?.[1] ?? 'file');

// Files that wait to be sent

/** The buttons that choose files. On a phone, the one for pictures offers the camera. */
export function pickers() {
  const picker = (id, kind, image, label, accept) => [
    button(kind, 'pick', id, icon(image), t(label)),
    h('input', { type: 'file', id, name: 'files', multiple: true, hidden: true, accept, 'aria-label': t(label) }),
  ];
  return state.fileLimits && [
    picker('pick-files', 'round', 'clip', 'attach_files'),
    picker('pick-pictures', 'round only-touch', 'picture', 'attach_pictures', 'image/*'),
  ].flat();
}

export function waitingFiles(room) {
  const files = filesOf(room);
  return files.length > 0 && h('ul', { class: 'uploads', 'aria-label': t('files_to_send'), 'data-key': 'uploads' },
    files.map(waitingFile));
}

function waitingFile(file) {
  const { id, name, type, size, state: progress, sent, problem } = file;
  return h('li', { class: 'upload', 'data-key': id },
    iconOf(type),
    h('span', { class: 'grow' },
      h('strong', { class: 'ellipsis' }, name),
      h('small', { class: problem ? 'error' : 'muted' }, problem ? noticeText(problem) : progressText(file)),
      isActive(file) && h('progress', { max: size, value: sent, 'aria-label': t('progress_of', { name }) })),
    canRetry(file) && button('quiet', 'retryFile', id, t('try_again'), t('try_again_with', { name })),
    progress !== 'sending' && button('round small', 'cancelFile', id, icon('close'), t('remove_file', { name })));
}

function progressText({ state: progress, size, sent }) {
  if (progress === 'queued') return t('file_queued');
  return progress === 'transferring' ? t('sent_of', { sent: sizeText(sent), size: sizeText(size) }) : sizeText(size);
}

// Files of messages

/** The picture or the file of a message, if it has one. */
export function attachment(message) {
  if (isPicture(message)) return picture(message);
  return message.file_name && file(message);
}

/** The space is reserved by the size of the picture, so that nothing moves when it is loaded. */
function picture({ id, image, file_name }) {
  const { width, height, preview } = image;
  const scale = Math.min(1, MAX_PICTURE_PX / Math.max(width, height));
  const url = pictures.urlOf(id, pictures.SMALL);
  return button('picture', 'showPicture', id,
    h('img', { src: url ?? (preview || null), alt: file_name, class: url ? null : 'preview' }), null,
    { style: `width: ${Math.round(scale * width)}px; aspect-ratio: ${width} / ${height}`, title: file_name,
      'data-unloaded': !url && id });
}

function file({ id, file_name, file_size, file_type, file_state }) {
  const lines = (about) => [
    iconOf(file_type ?? ''),
    h('span', { class: 'grow' }, h('strong', { class: 'file-name' }, file_name), ' ', h('small', null, about)),
  ];
  const size = file_size ? sizeText(file_size) : '';
  if (file_state === 'ready') {
    return button('file', 'openFile', id,
      [h('span', { class: 'visually-hidden' }, `${t('download')} `), lines(size), icon('download')], null, { title: t('download') });
  }
  // A file of the original has no state, and is not in the store.
  return h('div', { class: 'file' }, lines(file_state ? t(`file_${file_state}`) : size));
}

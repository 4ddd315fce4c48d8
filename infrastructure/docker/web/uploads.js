// The files that wait to be sent: what the user has attached in each room, their transfers, and their messages.
//
// A file is attached first. When the user sends, its bytes go to the object store, piece by piece, and then the message is
// sent. A retry goes on where the last attempt ended: with the first piece that is missing, or with the same message.

import { client } from './client.js';
import { noticeText, sizeText, t } from './i18n.js';
import { newId } from './sdk/outbox.js';
import { ChatError } from './sdk/index.js';
import * as store from './store.js';
import { put, TransferError } from './transfer.js';
import { turns } from './turns.js';
import { announce, draw, drawComposer } from './ui.js';

/** The files of a room that wait at once. */
export const MAX_FILES = 20;
/** The files whose bytes are sent at a time. */
const MAX_TRANSFERS = 3;
/** The longest name that the API accepts, in code points. */
const MAX_NAME_CHARS = 200;
/** The composer is drawn at most this often for the progress of transfers. */
const PROGRESS_INTERVAL_MS = 150;
/** The progress is announced in steps of this many per cent. */
const ANNOUNCED_PERCENT = 25;
/** The types that the API shows as pictures. */
const PICTURES = ['image/gif', 'image/jpeg', 'image/png', 'image/webp'];
/** After one of these answers, another attempt needs another upload. */
const LOST_UPLOAD = ['UPLOAD_NOT_FOUND', 'UPLOAD_EXPIRED', 'UPLOAD_INCOMPLETE', 'UPLOAD_CHANGED'];
/** After one of these answers, another attempt cannot succeed. */
const FINAL = ['FILE_TYPE_NOT_ALLOWED', 'FILE_TOO_LARGE', 'ATTACHMENTS_DISABLED', 'BLOCKED'];

const inTurn = turns(MAX_TRANSFERS);

/** The waiting files by room, in the order of their messages. */
const waiting = new Map();

/** The waiting files of a room. Their `state` is attached, queued, transferring, sending, failed or refused. */
export const filesOf = (room) => waiting.get(room) ?? [];

/** Whether the user has attached files that the next send takes along. */
export const hasAttached = (room) => filesOf(room).some(({ state }) => state === 'attached');

/** Whether the end of the page would interrupt a transfer. */
export const isSending = () => [...waiting.values()].flat().some(isActive);
export const isActive = ({ state }) => ['queued', 'transferring', 'sending'].includes(state);

// Attaching

/** Attaches files to the next message of a room. Returns false if there are too many. */
export function attach(room, files) {
  const attached = filesOf(room);
  const added = files.slice(0, MAX_FILES - attached.length).map((file) => fileToSend(room, file));
  waiting.set(room, [...attached, ...added]);
  draw();
  return added.length === files.length;
}

function fileToSend(room, file) {
  const type = /^[\w.+-]+\/[\w.+-]+$/.test(file.type) ? file.type : 'application/octet-stream';
  const refusal = refusalOf(file.size, type);
  return {
    // The id of the message, so that it is stored once however often it is sent.
    id: newId(), room, file, type, name: nameFor(file.name), size: file.size,
    content: undefined, replyTo: undefined,
    state: refusal ? 'refused' : 'attached', problem: refusal, // a notice, see `noticeText`
    upload: null, sent: 0, announced: 0, delivery: null, cancelling: new AbortController(),
  };
}

/** A name that the API accepts: without a path and characters that hide its end, and with its extension. */
function nameFor(name) {
  const plain = name.normalize('NFC').replace(/[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}/\\]/gu, '_').trim();
  const characters = [...plain];
  const extension = plain.match(/\.\w{1,10}$/)?.[0] ?? '';
  if (characters.length <= MAX_NAME_CHARS) return plain || '_';
  return characters.slice(0, MAX_NAME_CHARS - extension.length).join('') + extension;
}

/** The notice that a file cannot be sent here, or null. */
function refusalOf(size, type) {
  const { image_max_bytes, file_max_bytes, file_quota_bytes, file_types } = store.state.fileLimits;
  const limit = Math.min(PICTURES.includes(type) ? image_max_bytes : file_max_bytes, file_quota_bytes);
  if (size === 0) return { key: 'file_empty' };
  const kind = type.replace(/\/.*/, '/*');
  if (!file_types.some((accepted) => accepted === type || accepted === kind)) return { code: 'FILE_TYPE_NOT_ALLOWED' };
  return size > limit ? { key: 'larger_than', limit: sizeText(limit) } : null;
}

// Sending

/** Sends the attached files of a room; the text and the reply belong to the first one. */
export function send(room, content, replyTo) {
  const files = filesOf(room).filter(({ state }) => state === 'attached');
  Object.assign(files[0], { content: content || undefined, replyTo });
  for (const file of files) start(file);
}

/** Whether another attempt can succeed. */
export const canRetry = ({ state, problem }) => state === 'failed' && !FINAL.includes(problem.code);

/** Sends a file again that has failed. */
export const retry = (room, id) => start(filesOf(room).find((file) => file.id === id));

function start(file) {
  Object.assign(file, { state: 'queued', problem: null });
  const files = filesOf(file.room);
  const previous = files.slice(0, files.indexOf(file)).findLast(isActive);
  file.delivery = deliver(file, previous?.delivery);
  announce(t('sending_file', { name: file.name }));
  draw();
}

/** Sends the bytes of a file, and its message after that of the file before it. Never throws. */
async function deliver(file, previous) {
  const { signal } = file.cancelling;
  try {
    await inTurn(() => signal.aborted || transfer(file));
    await previous;
    if (!signal.aborted) await sendMessage(file);
  } catch (error) {
    if (!signal.aborted) fail(file, error);
  } finally {
    if (signal.aborted) dropUpload(file);
  }
}

async function transfer(file) {
  file.state = 'transferring';
  const { signal } = file.cancelling;
  file.upload ??= await requestUpload(file);
  const { id, headers, pieces, isMultipart } = file.upload;
  for (const piece of pieces.filter((one) => !one.isStored)) {
    const before = storedBytes(pieces);
    piece.etag = await put(piece.url, headers, piece.blob, signal, (bytes) => progress(file, before + bytes));
    piece.isStored = true;
  }
  if (!isMultipart) return;
  const body = { etags: pieces.map(({ etag }) => etag) };
  await client.request('POST', `/messages/${file.room}/uploads/${id}/complete`, { body, idempotent: true });
}

const storedBytes = (pieces) => pieces.reduce((sum, { blob, isStored }) => sum + (isStored ? blob.size : 0), 0);

async function requestUpload({ room, file, name, size, type }) {
  const body = { file_name: name, file_size: size, file_type: type };
  const { upload_id, url, headers, parts } = await client.request('POST', `/messages/${room}/uploads`, { body });
  const part = (partUrl, at) => ({ url: partUrl, blob: file.slice(at * parts.size, (at + 1) * parts.size) });
  const pieces = parts ? parts.urls.map(part) : [{ url, blob: file }];
  return { id: upload_id, headers, pieces, isMultipart: Boolean(parts) };
}

async function sendMessage(file) {
  file.state = 'sending';
  draw();
  const message = await postMessage(file, PICTURES.includes(file.type) ? 'image' : 'file').catch((error) => {
    // A picture with too many pixels, or under a wrong name, is a file.
    if (error.code !== 'IMAGE_NOT_VALID') throw error;
    return postMessage(file, 'file');
  });
  forget(file);
  announce(t('file_sent', { name: file.name }));
  store.addMessage(store.state.rooms.get(file.room), message);
  draw();
}

function postMessage({ id, room, content, replyTo, upload }, message_type) {
  const body = { message_type, upload_id: upload.id, content, reply_to: replyTo, client_message_id: id };
  return client.request('POST', `/messages/${room}`, { body, idempotent: true });
}

function fail(file, error) {
  if (!(error instanceof ChatError)) throw error;
  // A signature that the store refuses has expired.
  if (LOST_UPLOAD.includes(error.code) || (error instanceof TransferError && !error.isTransient)) dropUpload(file);
  Object.assign(file, { state: 'failed', problem: error });
  announce(t('file_failed', { name: file.name, problem: noticeText(error) }));
  draw();
}

let drawing = null;

function progress(file, sent) {
  file.sent = sent;
  const percent = Math.floor((100 * sent) / file.size / ANNOUNCED_PERCENT) * ANNOUNCED_PERCENT;
  if (percent > file.announced && percent < 100) announce(t('sending_part', { name: file.name, percent }));
  file.announced = Math.max(file.announced, percent);
  drawing ??= setTimeout(() => {
    drawing = null;
    drawComposer();
  }, PROGRESS_INTERVAL_MS);
}

// The end

/** Takes a file away, and stops its transfer. Returns the text that belonged to it. */
export function cancel(room, id) {
  const file = filesOf(room).find((one) => one.id === id);
  if (!file) return '';
  file.cancelling.abort();
  dropUpload(file);
  forget(file);
  draw();
  return file.content ?? '';
}

/** Stops everything, at the end of the session. */
export function cancelAll() {
  for (const { cancelling } of [...waiting.values()].flat()) cancelling.abort();
  waiting.clear();
}

function forget(file) {
  waiting.set(file.room, filesOf(file.room).filter((one) => one !== file));
}

/** Gives the bytes of an upload back to the quota of the user. The service forgets it within a day without this. */
function dropUpload(file) {
  if (!file.upload) return;
  client.request('DELETE', `/messages/${file.room}/uploads/${file.upload.id}`).catch(() => {});
  Object.assign(file, { upload: null, sent: 0, announced: 0 });
}

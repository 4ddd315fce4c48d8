// Files that are dropped on the open conversation, or pasted into it.

import { canAttach, attachFiles } from './actions.js';
import { draw, notify, ui } from './ui.js';

const hasFiles = ({ dataTransfer }) => dataTransfer?.types.includes('Files');
const isOnConversation = ({ target }) => canAttach() && Boolean(target.closest?.('.conversation'));

export function takeDroppedAndPastedFiles() {
  addEventListener('dragover', onDrag);
  addEventListener('dragenter', onDrag);
  addEventListener('dragleave', (event) => !event.relatedTarget && setDropping(false));
  addEventListener('drop', onDrop);
  addEventListener('paste', onPaste);
}

/** Without this, the browser would open a dropped file in place of the page. */
function onDrag(event) {
  if (!hasFiles(event)) return;
  event.preventDefault();
  event.dataTransfer.dropEffect = isOnConversation(event) ? 'copy' : 'none';
  setDropping(isOnConversation(event));
}

function setDropping(isDropping) {
  if (ui.dropping === isDropping) return;
  ui.dropping = isDropping;
  draw();
}

function onDrop(event) {
  setDropping(false);
  if (!hasFiles(event)) return;
  event.preventDefault();
  if (!isOnConversation(event)) return;
  const isFolder = [...event.dataTransfer.items].some((item) => item.webkitGetAsEntry?.()?.isDirectory);
  if (isFolder) return notify({ key: 'folder_refused' });
  attachFiles(event.dataTransfer.files);
}

function onPaste(event) {
  const { files, types } = event.clipboardData;
  // A table or a formatted text has a picture of itself, too.
  const isText = types.includes('text/plain') && types.includes('text/html');
  const isElsewhere = event.target.closest?.('dialog, input, textarea:not([name=content])');
  if (files.length === 0 || isText || isElsewhere || !canAttach()) return;
  event.preventDefault();
  attachFiles(files);
}

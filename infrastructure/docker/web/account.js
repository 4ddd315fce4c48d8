// The view of the account: the profile, the password, and the sessions.

import { button, field, h } from './dom.js';
import { fieldError, t, when } from './i18n.js';
import { CODE } from './security.js';
import { state } from './store.js';

export function account(ui) {
  return [profile(ui), password(ui), sessions(ui)];
}

const section = (name, ...content) =>
  h('section', { class: 'security', 'aria-labelledby': `${name}-title`, 'data-key': name },
    h('h2', { id: `${name}-title` }, t(name)), content);

const form = (act, ui, submit, ...content) =>
  h('form', { class: 'group', 'data-act': act, 'data-key': act }, content,
    h('div', { class: 'line' }, h('button', { class: 'primary', disabled: ui.busy }, t(submit))));

function profile(ui) {
  const input = (name, maxlength) =>
    field(name, { maxlength, value: state.me[name] ?? '' }, null, fieldError(ui.fieldErrors, 'saveProfile', name));
  return section('profile', form('saveProfile', ui, 'save', input('display_name', 100), input('status_message', 500)));
}

function password(ui) {
  if (ui.accountForm !== 'password') {
    return section('password', h('div', { class: 'group' },
      h('div', { class: 'line' }, button('quiet', 'accountForm', 'password', t('change_password')))));
  }
  const input = (name, autocomplete, hint) => field(name,
    { type: 'password', required: true, maxlength: 128, autocomplete, 'data-focus': name === 'current_password' },
    hint, fieldError(ui.fieldErrors, 'changePassword', name));
  return section('password', form('changePassword', ui, 'change_password',
    input('current_password', 'current-password'),
    input('new_password', 'new-password', t('password_hint')),
    ui.needsCode && field('mfa_code', { ...CODE, 'data-focus': null }, t('mfa_code_hint'))));
}

function sessions(ui) {
  const list = ui.sessions ?? [];
  return section('sessions', h('ul', { class: 'rows' }, list.map((session) => row(session, ui))));
}

function row({ sid, user_agent, ip, last_used_at, current }, ui) {
  const asks = ui.accountForm === sid;
  const lastUse = current ? t('this_session') : t('last_used', { when: when(last_used_at) });
  return h('li', { class: 'entry', 'data-key': sid },
    h('div', { class: 'row' },
      h('span', { class: 'grow' },
        h('strong', null, nameOfAgent(user_agent)), h('small', { class: 'muted about' }, `${lastUse} · ${ip ?? ''}`)),
      !current && !asks && button('quiet', 'endSession', sid, t('end_session'))),
    asks && form('proveAndEnd', ui, 'end_session', h('input', { type: 'hidden', name: 'sid', value: sid }),
      field('current_password', { type: 'password', required: true, maxlength: 128, autocomplete: 'current-password',
        'data-focus': true }, t('prove_owner'), fieldError(ui.fieldErrors, 'proveAndEnd', 'current_password')),
      ui.needsCode && field('mfa_code', { ...CODE, 'data-focus': null }, t('mfa_code_hint'))));
}

/** The browser and the system that a `User-Agent` names, as far as it does. */
function nameOfAgent(agent) {
  const [browser] = agent?.match(/Firefox|Edg|OPR|Chrome|Safari/) ?? [];
  const [system] = agent?.match(/Android|iPhone|iPad|Windows|Mac OS X|Linux/) ?? [];
  return [browser, system].filter(Boolean).join(' · ') || agent || t('unknown_device');
}

// The view of the security of the account: the second factor with its recovery codes, and groups of strangers.

import { button, field, h } from './dom.js';
import { t } from './i18n.js';
import { state } from './store.js';

/** The input of a code of the authenticator app, or of a recovery code, which has letters. */
export const CODE = {
  required: true, maxlength: 64, autocomplete: 'one-time-code', autocapitalize: 'none', spellcheck: 'false',
  'data-focus': true,
};

export function security(ui) {
  const { mfa, newSecret, recoveryCodes, factorForm } = ui;
  const content = recoveryCodes ? codes(recoveryCodes)
    : !mfa ? h('p', { class: 'hint', role: 'status' }, t('connecting'))
    : newSecret ? confirmation(newSecret, ui)
    : !mfa.enabled ? enrollment(ui)
    : factorForm ? bothFactors(factorForm, ui)
    : enabled(mfa);
  return [
    h('section', { class: 'security', 'aria-labelledby': 'security-title', 'data-key': 'factor' },
      h('h2', { id: 'security-title' }, t('second_factor')), content),
    groups(),
  ];
}

/** The switch for groups of strangers. A user-service of the original has no such setting. */
function groups() {
  const { refuse_stranger_groups: refuses } = state.me;
  if (refuses === undefined) return null;
  const attributes = { role: 'switch', 'aria-checked': String(refuses), 'aria-describedby': 'groups-state' };
  return h('section', { class: 'security', 'aria-labelledby': 'groups-title', 'data-key': 'groups' },
    h('h2', { id: 'groups-title' }, t('groups')),
    h('div', { class: 'group' },
      h('p', { id: 'groups-state' }, t(refuses ? 'friends_add_me' : 'anyone_adds_me')),
      h('div', { class: 'line' },
        button(refuses ? 'primary' : 'quiet', 'refuseStrangers', null, t('friends_only'), null, attributes))));
}

const password = (attributes) => field('current_password',
  { type: 'password', required: true, maxlength: 128, autocomplete: 'current-password', ...attributes });

/** `back` is the tab that the button Cancel opens. */
function form(act, { busy }, submit, back, ...content) {
  return h('form', { class: 'group', 'data-act': act, 'data-key': act }, content,
    h('div', { class: 'line' },
      button('quiet', 'tab', back, t('cancel')),
      h('button', { class: 'primary', disabled: busy }, t(submit))));
}

function enrollment(ui) {
  return form('enroll', ui, 'set_up', 'chats', h('p', null, t('factor_is_off')), password({ 'data-focus': true }));
}

/** An authenticator app takes the secret as text, or opens the link on the same device. */
function confirmation({ secret, otpauth_url }, ui) {
  const groups = secret.match(/.{1,4}/g).join(' ');
  return form('confirm', ui, 'turn_on', 'security',
    h('p', null, t('enter_secret')),
    h('p', null, h('span', { class: 'muted' }, t('secret')), ' ', h('code', { class: 'secret' }, groups)),
    h('div', { class: 'line' },
      h('a', { class: 'link', href: otpauth_url }, t('open_app')),
      button('link', 'copy', secret, t('copy'))),
    field('code', { ...CODE, inputmode: 'numeric' }));
}

function enabled({ recovery_codes_left }) {
  return h('div', { class: 'group' },
    h('p', null, t('factor_is_on')),
    h('p', null, t('codes_left', { n: recovery_codes_left })),
    h('div', { class: 'line' },
      button('danger', 'factorForm', 'disable', t('turn_off')),
      button('quiet', 'factorForm', 'renew', t('new_codes'))));
}

/** `act` is `disable` or `renew`. Only a code of the app renews the recovery codes. */
function bothFactors(act, ui) {
  const [submit, code] = act === 'disable'
    ? ['turn_off', field('mfa_code', { ...CODE, 'data-focus': null }, t('mfa_code_hint'))]
    : ['new_codes', field('code', { ...CODE, 'data-focus': null, inputmode: 'numeric' })];
  return form(act, ui, submit, 'security', h('p', null, t(`${act}_hint`)), password({ 'data-focus': true }), code);
}

function codes(recoveryCodes) {
  return h('div', { class: 'group', 'data-key': 'codes' },
    h('h3', { tabindex: -1, 'data-focus': true }, t('recovery_codes')),
    h('p', null, t('save_codes')),
    h('ul', { class: 'codes', 'aria-label': t('recovery_codes') }, recoveryCodes.map((code) => h('li', null, code))),
    h('div', { class: 'line' },
      button('quiet', 'copy', recoveryCodes.join('\n'), t('copy')),
      button('primary', 'tab', 'security', t('codes_saved'))));
}
